// Many inputs through one model: a source that is read no further ahead than answers are taken, so that an endless one
// takes constant memory. Answers are given while the source is still being waited for.
import { Stop } from "./abort.ts";
import type { Inputs } from "./inputs.ts";
import { lazily } from "./lazily.ts";
import type { AskOptions, MapOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

/** The answer to one input of a map. */
export interface Mapped extends RunResult {
  /** Which input it answers, counted from 0. */
  readonly index: number;
}

/** An input of a map that failed, where `errors` is `"yield"`. */
export interface Unmapped {
  /** Which input failed, counted from 0. */
  readonly index: number;
  /** What its run rejected with. */
  readonly error: unknown;
}

/** What a map runs on. */
export interface MapParts {
  readonly run: (inputs: Inputs, options: AskOptions) => Promise<RunResult>;
  /** How many inputs may be under way at the least, and at the most where they are small. */
  readonly atLeast: number;
  readonly atMost: number;
}

/** What inputs under way may hold, unless the caller says how many they may be. */
const HELD_BYTES = 64 * 2 ** 20;

/** Of what may be under way, how much is begun at once. */
const PART = 1 / 16;

/** Runs a model over a source. */
export async function* mapRuns(
  parts: MapParts,
  source: Iterable<Inputs> | AsyncIterable<Inputs>,
  options: MapOptions,
): AsyncGenerator<Mapped | Unmapped, void, undefined> {
  const { ordered = true, errors = "stop", concurrency: given, ...own } = options;
  const signal = new Stop();
  const cancel = (): void => {
    signal.abort(own.signal?.reason);
  };
  own.signal?.addEventListener("abort", cancel);
  if (own.signal?.aborted === true) cancel();
  const isAsync = Symbol.asyncIterator in source;
  const iterator: Iterator<Inputs, unknown> | AsyncIterator<Inputs, unknown> = isAsync
    ? source[Symbol.asyncIterator]()
    : source[Symbol.iterator]();
  const asked: AskOptions = { ...own, signal };
  /** What is through and was not given yet, in the order in which it came. */
  const through = new Map<number, Mapped | Unmapped>();
  let concurrency = given ?? parts.atLeast;
  let begun = 0;
  let taken = 0;
  /** How many more are begun at once, where the source has them: each time costs the scheduler a look at all lanes. */
  let part = 1;
  let isReading = false;
  let isOver = false;
  const failures: { readonly error: unknown }[] = [];
  let wake = (): void => undefined;
  const begin = (inputs: Inputs): void => {
    const index = begun++;
    if (index === 0 && given === undefined)
      concurrency = Math.max(parts.atLeast, Math.min(parts.atMost, Math.floor(HELD_BYTES / bytesOf(inputs))));
    if (index === 0 && !isAsync) part = Math.max(1, Math.floor(concurrency * PART));
    const settle = (outcome: Mapped | Unmapped): void => {
      through.set(index, outcome);
      wake();
    };
    parts.run(inputs, asked).then(
      (result) => {
        settle(new MappedAnswer(index, result));
      },
      (error: unknown) => {
        settle({ index, error });
      },
    );
  };
  const take = (result: IteratorResult<Inputs, unknown>): void => {
    if (result.done === true) isOver = true;
    else if (!signal.aborted) begin(result.value);
  };
  const fail = (error: unknown): void => {
    failures.push({ error });
  };
  /** Reads as far ahead as may be; what is waited for wakes when it comes. */
  const read = (): void => {
    if (begun - taken > concurrency - part) return;
    while (!isOver && !isReading && begun - taken < concurrency && failures.length === 0)
      try {
        const result = iterator.next();
        if (!isAsync) take(result as IteratorResult<Inputs, unknown>);
        else {
          isReading = true;
          void Promise.resolve(result)
            .then(take)
            .catch(fail)
            .finally(() => {
              isReading = false;
              wake();
            });
        }
      } catch (error) {
        fail(error);
      }
  };
  const aborted = (): void => {
    wake();
  };
  signal.addEventListener("abort", aborted);
  try {
    for (;;) {
      signal.throwIfAborted();
      read();
      for (const { error } of failures) throw error;
      const [index = taken] = ordered ? [] : through.keys();
      const next = through.get(index);
      if (next !== undefined) {
        if ("error" in next && errors === "stop") throw next.error;
        through.delete(index);
        yield next;
        taken += 1;
      } else if (isOver && taken === begun) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    signal.removeEventListener("abort", aborted);
    own.signal?.removeEventListener("abort", cancel);
    signal.abort(new DOMException("The iteration was left.", "AbortError"));
    // A source that is being waited for may never answer: it is told, and left.
    const left = isOver ? undefined : iterator.return?.();
    if (isReading) Promise.resolve(left).catch(() => undefined);
    else await left;
  }
}

/** An answer with its index; what is decoded of it is made when it is looked at. */
class MappedAnswer implements Mapped {
  static readonly #DECODED = lazily((answer: MappedAnswer) => answer.#result.decoded);
  readonly index: number;
  readonly outputs: Mapped["outputs"];
  declare readonly decoded: Mapped["decoded"];
  readonly info: Mapped["info"];
  readonly #result: RunResult;

  constructor(index: number, result: RunResult) {
    this.index = index;
    this.outputs = result.outputs;
    this.info = result.info;
    this.#result = result;
    Object.defineProperty(this, "decoded", MappedAnswer.#DECODED);
  }
}

/** Estimates what an input holds, at least one byte. */
function bytesOf(inputs: Inputs): number {
  let bytes = 1;
  for (const value of Object.values(inputs ?? {}) as unknown[]) {
    if (typeof value !== "object" || value === null) continue; // told by its run
    const {
      byteLength,
      size,
      width = 0,
      height = 0,
    } = ("data" in value ? (value.data ?? {}) : value) as {
      byteLength?: number;
      size?: number;
      width?: number;
      height?: number;
    };
    bytes += byteLength ?? size ?? width * height * 4;
  }
  return bytes;
}
