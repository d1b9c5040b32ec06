// Coalesces identical requests in flight: a request with the inputs of a running one waits for its answer and gets a
// copy. Inputs are compared by a hash of a few words first, and by all bytes only where the hashes match: requests that
// differ pay next to nothing, and none gets the answer of another. Comparing is paused where it costs more than a
// twentieth of what it saves. A request joins only a run that is as urgent (joinable.ts). A cancel stops the run only
// once no request waits for it. If the run fails, each request runs by itself, or joins another one if the failure was
// specific to the first request, such as its deadline.
import { Stop } from "../core/abort.ts";
import type { Signal } from "../core/abort.ts";
import { isOwnFailure, mayJoin } from "./joinable.ts";
import type { Urgency } from "./joinable.ts";
import type { RunResult } from "./result.ts";
import { IdMap } from "../core/id-map.ts";
import type { Tensor } from "../core/tensor.ts";

/** A request as coalescing sees it: its inputs, signal and urgency. */
export interface RunRequest extends Urgency {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly signal: Signal | undefined;
}

/** A run, and the number of requests that wait for it. */
interface SharedRun {
  readonly ask: RunRequest;
  readonly words: number;
  readonly answer: Promise<RunResult>;
  /** Ends it; null where one of the waiting requests has no signal. */
  stop: Stop | null;
  waiting: number;
}

/** Bound on the runs with equal hash that a request is compared with. */
const COMPARED = 4;
/** Number of words of an input that are hashed. */
const WORDS = 16;
const COST_MAX = 0.05;
/** Comparisons before their cost is judged, and the number of requests that skip comparing after that. */
const TRIAL = 32;
const PAUSE = 1_000;

/** Runs of one model that are in flight. */
export class Coalescer {
  readonly #now: () => number;
  readonly #shared: (copy: RunResult) => RunResult;
  readonly #runs: IdMap<SharedRun[]> = new IdMap();
  #compared = 0;
  #spentMs = 0;
  #savedMs = 0;
  #pause = 0;

  /** `shared` maps each answer that is a copy of another request's. */
  constructor(now: () => number, shared: (copy: RunResult) => RunResult) {
    this.#now = now;
    this.#shared = shared;
  }

  /** Returns the answer of an identical run in flight, else of a new run; the signal passed to `run` cancels it. */
  ask(ask: RunRequest, run: (signal: Signal | undefined) => Promise<RunResult>): Promise<RunResult> {
    if (this.#pause > 0) {
      this.#pause -= 1;
      return run(ask.signal);
    }
    const words = wordsOf(ask.inputs);
    const same = this.#find(words, ask);
    if (same === undefined) {
      const shared = this.#begin(words, ask, run);
      return this.#wait(shared.answer, ask.signal, shared, true);
    }
    return this.#join(same, ask, run);
  }

  async #join(
    same: SharedRun,
    ask: RunRequest,
    run: (signal: Signal | undefined) => Promise<RunResult>,
  ): Promise<RunResult> {
    same.waiting += 1;
    if (ask.signal === undefined) same.stop = null;
    let copy: RunResult;
    try {
      copy = await this.#wait(same.answer.then(copyOf), ask.signal, same, false);
    } catch (error) {
      if (ask.signal?.aborted === true) throw error;
      // The cause of that failure, a deadline or a fault, must not fail this request.
      return isOwnFailure(error) ? this.ask(ask, run) : run(ask.signal);
    }
    this.#savedMs += copy.info.ranMs;
    return this.#shared(copy);
  }

  #begin(words: number, ask: RunRequest, run: (signal: Signal | undefined) => Promise<RunResult>): SharedRun {
    const stop = ask.signal === undefined ? null : new Stop();
    const shared: SharedRun = { ask, words, answer: run(stop ?? undefined), stop, waiting: 1 };
    const alike = this.#runs.get(words);
    if (alike === undefined) this.#runs.set(words, [shared]);
    else alike.push(shared);
    return shared;
  }

  #ended(shared: SharedRun): void {
    const alike = this.#runs.get(shared.words) ?? [];
    if (alike.length > 1) alike.splice(alike.indexOf(shared), 1);
    else this.#runs.delete(shared.words);
  }

  /**
   * Waits for an answer until the signal aborts; the last waiter to leave ends the run. The first one removes it at its
   * end.
   */
  #wait(
    answer: Promise<RunResult>,
    signal: Signal | undefined,
    shared: SharedRun,
    isFirst: boolean,
  ): Promise<RunResult> {
    return new Promise<RunResult>((resolve, reject) => {
      const leave = (): void => {
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
        reject(signal?.reason);
        shared.waiting -= 1;
        if (shared.waiting === 0) shared.stop?.abort(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      if (signal?.aborted === true) leave();
      answer.then(
        (value) => {
          signal?.removeEventListener("abort", leave);
          if (isFirst) this.#ended(shared);
          resolve(value);
        },
        (error: unknown) => {
          signal?.removeEventListener("abort", leave);
          if (isFirst) this.#ended(shared);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the run's own
          reject(error);
        },
      );
    });
  }

  #find(words: number, asked: RunRequest): SharedRun | undefined {
    const alike = this.#runs.get(words)?.slice(-COMPARED) ?? [];
    const asUrgent = alike.filter(({ ask, stop }) => stop?.aborted !== true && mayJoin(ask, asked));
    if (asUrgent.length === 0) return undefined;
    const startMs = this.#now();
    const found = asUrgent.find(({ ask }) => isSame(ask.inputs, asked.inputs));
    this.#spentMs += this.#now() - startMs;
    this.#compared += 1;
    if (this.#compared >= TRIAL) {
      if (this.#spentMs > COST_MAX * this.#savedMs) this.#pause = PAUSE;
      this.#compared = this.#spentMs = this.#savedMs = 0;
    }
    return found;
  }
}

function copyOf(answer: RunResult): RunResult {
  const copy = structuredClone(answer);
  return { ...copy, info: { ...copy.info, isCached: true } };
}

/** Hashes the sizes of inputs and some of their words, including the first and the last, into one number. */
function wordsOf(inputs: RunRequest["inputs"]): number {
  let sum = 0x811c9dc5;
  const add = (word: number): void => {
    sum = Math.imul(sum ^ word, 0x01000193);
  };
  for (const name in inputs) {
    const { data } = inputs[name] as Tensor;
    const { length } = data;
    add(length);
    if (Array.isArray(data)) {
      for (const text of data.slice(0, WORDS)) for (let i = 0; i < 8; i += 1) add(text.charCodeAt(i));
      continue;
    }
    const view = bytesOf(data);
    const last = view.length - 1;
    for (let i = 0; i < WORDS && last >= 0; i += 1) add(view[Math.round((i * last) / (WORDS - 1))] as number);
  }
  return sum;
}

function isSame(a: RunRequest["inputs"], b: RunRequest["inputs"]): boolean {
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => {
    const [one, other] = [a[name] as Tensor, b[name]];
    if (other === undefined || one.dtype !== other.dtype || one.dims.join() !== other.dims.join()) return false;
    const isTexts = Array.isArray(one.data) || Array.isArray(other.data);
    const [left, right]: ArrayLike<unknown>[] = isTexts
      ? [one.data, other.data]
      : [bytesOf(one.data), bytesOf(other.data)];
    if (left === undefined || left.length !== right?.length) return false;
    for (let i = 0; i < left.length; i += 1) if (left[i] !== right[i]) return false;
    return true;
  });
}

/** Views numbers as 32-bit words where alignment allows, so that a NaN equals itself; else as bytes. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint32Array | Uint8Array {
  return byteOffset % 4 === 0 && byteLength % 4 === 0
    ? new Uint32Array(buffer, byteOffset, byteLength / 4)
    : new Uint8Array(buffer, byteOffset, byteLength);
}
