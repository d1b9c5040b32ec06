// The iteration of a map. The source is read no further ahead than answers are taken, so an endless one takes constant
// memory. Answers are yielded while the source is still being waited for.
import { Stop } from "../core/abort.ts";
import type { Signal } from "../core/abort.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { Inputs } from "./inputs.ts";
import { lazyProperty } from "../core/lazy-property.ts";
import type { MapFailure, MapParts, MapResult } from "./map.ts";
import type { AskOptions, MapOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

/** Bytes that inputs in flight may hold, unless the caller sets `concurrency`. */
const HELD_BYTES = 64 * 2 ** 20;

/** Share of `concurrency` that is started at once. */
const PART = 1 / 16;

/** Items that may be yielded before a macrotask is requested; at twice as many the map waits for it. */
const TURN_ITEMS = 128;

/** Yields the answers to a source that can be iterated. */
export async function* answersOf(
  parts: MapParts,
  source: Iterable<Inputs> | AsyncIterable<Inputs>,
  options: MapOptions,
): AsyncGenerator<MapResult | MapFailure, void, undefined> {
  const { ordered = true, errors = "stop", concurrency, ...own } = options;
  const signal = new Stop();
  const cancel = (): void => {
    signal.abort(own.signal?.reason);
  };
  let wake = (): void => undefined;
  const woken = (): void => {
    wake();
  };
  const ends = (error: unknown): boolean => errors === "stop" || (isSelvedgeError(error) && error.code === "closed");
  const ahead = new RunsAhead(parts, { ...own, signal }, concurrency, { ends, settled: woken });
  let turn: Promise<void> | undefined;
  let sinceTurn = 0;
  let isFailed = false;
  signal.addEventListener("abort", woken);
  try {
    own.signal?.addEventListener("abort", cancel);
    if (own.signal?.aborted === true) cancel();
    ahead.open(source);
    for (;;) {
      ahead.read();
      signal.throwIfAborted();
      const [index = ahead.taken] = ordered ? [] : ahead.settled.keys();
      const next = ahead.settled.get(index);
      if (next !== undefined) {
        if ("error" in next && ends(next.error)) throw next.error;
        ahead.settled.delete(index);
        yield next;
        ahead.taken += 1;
        sinceTurn += 1;
        if (sinceTurn === TURN_ITEMS)
          turn = parts.pause?.().then(() => {
            sinceTurn = 0;
          });
        if (sinceTurn >= 2 * TURN_ITEMS) await turn;
      } else if (ahead.isOver && ahead.taken === ahead.begun) {
        for (const { error } of ahead.failures) throw error;
        return;
      } else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } catch (error) {
    isFailed = true;
    throw error;
  } finally {
    own.signal?.removeEventListener("abort", cancel);
    signal.abort(new DOMException("The iteration ended early.", "AbortError"));
    const left = ahead.close();
    const quiet = left.catch(() => undefined);
    // A pending source may never answer. An error that ends the map takes precedence over one of `return`.
    if (!ahead.isReading) await (isFailed ? quiet : left);
  }
}

/** The inputs that were read ahead of the answers taken, and their outcomes. */
class RunsAhead {
  /** Outcomes that were not yielded yet, in order of arrival. */
  readonly settled: Map<number, MapResult | MapFailure> = new Map();
  /** The source's error, if it failed. */
  readonly failures: { readonly error: unknown }[] = [];
  begun: number = 0;
  taken: number = 0;
  /** Whether the source ended or failed. */
  isOver: boolean = false;
  /** Whether the source's next input is pending. */
  isReading: boolean = false;
  readonly #parts: MapParts;
  readonly #options: AskOptions & { readonly signal: Signal };
  readonly #events: { readonly ends: (error: unknown) => boolean; readonly settled: () => void };
  readonly #given: number | undefined;
  #iterator: Iterator<Inputs, unknown> | AsyncIterator<Inputs, unknown> | null = null;
  #isAsync = false;
  #concurrency: number;
  /** Inputs started at once, where the source has them: each start makes the scheduler check all lanes. */
  #part = 1;
  /** Whether one of the outcomes is an error that ends the map. */
  #isEnding = false;

  constructor(
    parts: MapParts,
    options: AskOptions & { readonly signal: Signal },
    concurrency: number | undefined,
    events: { readonly ends: (error: unknown) => boolean; readonly settled: () => void },
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#events = events;
    this.#given = concurrency;
    this.#concurrency = concurrency ?? parts.atLeast;
  }

  open(source: Iterable<Inputs> | AsyncIterable<Inputs>): void {
    this.#isAsync = Symbol.asyncIterator in source;
    this.#iterator = this.#isAsync
      ? (source as AsyncIterable<Inputs>)[Symbol.asyncIterator]()
      : (source as Iterable<Inputs>)[Symbol.iterator]();
  }

  /** Reads as far ahead as `concurrency` allows. A source may abort the signal, so it is checked for each input. */
  read(): void {
    if (this.begun - this.taken > this.#concurrency - this.#part) return;
    while (this.#mayRead())
      try {
        const result = this.#iterator?.next() as IteratorResult<Inputs, unknown>;
        if (this.#isAsync) this.#wait(Promise.resolve(result));
        // Like `for await`, awaits a promise among plain values.
        else if (result.done !== true && (result.value as unknown) instanceof Promise)
          this.#wait(Promise.resolve(result.value).then((value) => ({ value })));
        else this.#take(result);
      } catch (error) {
        this.#fail(error);
      }
  }

  /** Closes a source that was not read to its end; rejects with the error of its `return`. */
  async close(): Promise<void> {
    if (!this.isOver) await this.#iterator?.return?.();
  }

  #mayRead(): boolean {
    const mayBegin = this.begun - this.taken < this.#concurrency && !this.#options.signal.aborted;
    return mayBegin && !this.isOver && !this.isReading && !this.#isEnding;
  }

  #wait(coming: Promise<IteratorResult<Inputs, unknown>>): void {
    this.isReading = true;
    void coming
      .then((result) => {
        this.#take(result);
      })
      .catch((error: unknown) => {
        this.#fail(error);
      })
      .finally(() => {
        this.isReading = false;
        this.#events.settled();
      });
  }

  #take(result: IteratorResult<Inputs, unknown>): void {
    if (result.done === true) this.isOver = true;
    else if (!this.#options.signal.aborted) this.#begin(result.value);
  }

  #fail(error: unknown): void {
    this.isOver = true;
    this.failures.push({ error });
  }

  #begin(inputs: Inputs): void {
    const { atLeast, atMost, run } = this.#parts;
    const index = this.begun++;
    if (index === 0) {
      if (this.#given === undefined)
        this.#concurrency = Math.max(atLeast, Math.min(atMost, Math.floor(HELD_BYTES / bytesOf(inputs))));
      if (!this.#isAsync) this.#part = Math.max(1, Math.floor(this.#concurrency * PART));
    }
    run(inputs, this.#options).then(
      (result) => {
        this.settled.set(index, new MappedAnswer(index, result));
        this.#events.settled();
      },
      (error: unknown) => {
        this.settled.set(index, { index, error });
        this.#isEnding ||= this.#events.ends(error);
        this.#events.settled();
      },
    );
  }
}

/** An answer with its index; decodes it when `decoded` is read. */
class MappedAnswer implements MapResult {
  static readonly #DECODED = lazyProperty((answer: MappedAnswer) => answer.#result.decoded);
  static readonly #ANSWER = lazyProperty((answer: MappedAnswer) => answer.#result.answer);
  readonly index: number;
  readonly outputs: MapResult["outputs"];
  declare readonly decoded: MapResult["decoded"];
  declare readonly answer: MapResult["answer"];
  readonly info: MapResult["info"];
  readonly #result: RunResult;

  constructor(index: number, result: RunResult) {
    this.index = index;
    this.outputs = result.outputs;
    this.info = result.info;
    this.#result = result;
    Object.defineProperty(this, "decoded", MappedAnswer.#DECODED);
    Object.defineProperty(this, "answer", MappedAnswer.#ANSWER);
  }
}

/** Estimates the bytes that an input holds, at least one. */
function bytesOf(inputs: Inputs): number {
  let bytes = 1;
  for (const value of Object.values(inputs ?? {}) as unknown[]) {
    if (typeof value !== "object" || value === null) continue; // its run reports it
    // An ort.Tensor on the GPU throws where its data is read; its run reports it.
    const hasData = "data" in value && !/^(gpu|ml|texture)/.test(String((value as { location?: string }).location));
    const held = (hasData ? (value.data ?? {}) : value) as Partial<
      Record<"byteLength" | "size" | "width" | "height" | "displayWidth" | "displayHeight", number>
    >;
    const { byteLength, size, displayWidth, displayHeight } = held;
    const { width = displayWidth ?? 0, height = displayHeight ?? 0 } = held;
    bytes += byteLength ?? size ?? width * height * 4;
  }
  // Of an object that is no input, `size` may be anything: its run reports it.
  return bytes > 0 ? bytes : 1;
}
