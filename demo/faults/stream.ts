// A stream of requests with known answers: each input is answered once before any fault, and every later answer is
// compared with that. Sends at a steady pace, so that queued requests are visible while a worker is down.
import { isSelvedgeError } from "selvedge";
import type { Attempt, Model } from "selvedge";

/** A request that was settled; times by `performance.now()`. */
export interface Settled {
  readonly id: number;
  readonly startMs: number;
  readonly endMs: number;
  /** Every attempt, the successful one last; empty if the error has none. */
  readonly history: readonly Attempt[];
  /** Null if it was answered. */
  readonly error: string | null;
  readonly isRight: boolean;
}

/** Counters. */
export interface Counts {
  sent: number;
  answered: number;
  /** Answered after more than one attempt. */
  again: number;
  /** Rejected with an error. */
  failed: number;
  wrong: number;
}

const INPUTS = 4;
/** Answers of one model on two backends differ by less; answers to two inputs by more. */
const TOLERANCE = 0.02;

/** Sends requests to models in turn, and passes on each result. */
export class Stream {
  readonly counts: Counts = { sent: 0, answered: 0, again: 0, failed: 0, wrong: 0 };
  /** Send time of each request in flight, by its id. */
  readonly inFlight: Map<number, number> = new Map();
  readonly #onSettled: (settled: Settled) => void;
  readonly #lanes: { readonly model: Model; readonly expected: readonly Float32Array[]; readonly everyMs: number }[] =
    [];
  #timers: ReturnType<typeof setInterval>[] = [];

  constructor(onSettled: (settled: Settled) => void) {
    this.#onSettled = onSettled;
  }

  /** Adds a model, and records its answers. */
  async add(model: Model): Promise<void> {
    const expected: Float32Array[] = [];
    let ms = 0;
    for (let i = 0; i < INPUTS; i += 1) {
      const began = performance.now();
      expected.push(outputOf(await model.run(inputOf(model, i))));
      ms = performance.now() - began; // the last one counts: the first compiles
    }
    this.#lanes.push({ model, expected, everyMs: Math.max(80, 1.3 * ms) });
  }

  /** Starts sending. */
  start(): void {
    for (const { model, expected, everyMs } of this.#lanes)
      this.#timers.push(
        setInterval(() => {
          if (this.inFlight.size < 200) void this.#send(model, expected);
        }, everyMs),
      );
  }

  /** Stops sending; requests in flight continue. */
  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  async #send(model: Model, expected: readonly Float32Array[]): Promise<void> {
    const id = ++this.counts.sent;
    const which = id % INPUTS;
    const startMs = performance.now();
    this.inFlight.set(id, startMs);
    let history: readonly Attempt[] = [];
    let error: string | null = null;
    let isRight = false;
    try {
      const result = await model.run(inputOf(model, which));
      history = result.info.history;
      isRight = isClose(outputOf(result), expected[which] ?? new Float32Array());
      this.counts.answered += 1;
      if (history.length > 1) this.counts.again += 1;
      if (!isRight) this.counts.wrong += 1;
    } catch (reason) {
      error = isSelvedgeError(reason) ? reason.code : String(reason);
      this.counts.failed += 1;
    }
    this.inFlight.delete(id);
    this.#onSettled({ id, startMs, endMs: performance.now(), history, error, isRight });
  }
}

function inputOf(model: Model, which: number): Parameters<Model["run"]>[0] {
  const [port] = model.inputs;
  if (port === undefined) throw new Error("The model has no input.");
  const dims = [1, 3, 48, 192];
  const data = Float32Array.from({ length: 3 * 48 * 192 }, (_, at) => Math.sin((at * (which + 1)) / 9));
  return { [port.name]: { dtype: "float32", dims, data } };
}

function outputOf({ outputs }: Awaited<ReturnType<Model["run"]>>): Float32Array {
  const data = Object.values(outputs)[0]?.data;
  return data instanceof Float32Array ? data : new Float32Array();
}

function isClose(got: Float32Array, expected: Float32Array): boolean {
  return (
    got.length > 0 &&
    got.length === expected.length &&
    got.every((x, i) => Math.abs(x - (expected[i] ?? 0)) < TOLERANCE)
  );
}
