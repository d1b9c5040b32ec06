// What an app holds of a loaded model. It checks what goes in, hands it to the dispatcher, and shapes what comes out.
import type { BackendName } from "./backend/backend.ts";
import type { Assignment } from "./bundle.ts";
import type { Why } from "./choose.ts";
import type { Attempt, Dispatcher, Done, Route } from "./dispatcher.ts";
import type { Effects } from "./effects.ts";
import { SelvedgeError } from "./errors.ts";
import { takeInputs } from "./inputs.ts";
import type { Accepts, Inputs } from "./inputs.ts";
import type { Counters } from "./observe/counters.ts";
import type { Decoded, LoadMessage, RunMessage } from "./pool/protocol.ts";
import type { Port, Tensor } from "./tensor.ts";

/** Options of one run. */
export interface RunOptions {
  /** Cancels: a queued request is removed, a running one is settled at once; rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Moves the inputs' buffers instead of copying them; they are detached afterwards. Default false. */
  readonly transfer?: boolean | undefined;
}

/** Options of a map over many inputs. */
export interface MapOptions extends RunOptions {
  /** How many runs may be under way at once, 1 to 1,024. Default: twice the lanes of the model's backend. */
  readonly concurrency?: number | undefined;
}

/** Says what produced an answer, and how long it took. Times in ms. */
export interface RunInfo {
  /** The backend that really ran it. */
  readonly backend: BackendName;
  /** The variant that really ran it. */
  readonly variant: string;
  /** The lane that ran it, as `wasm-0`. */
  readonly lane: string;
  /** How many requests ran together. */
  readonly batchSize: number;
  /** From the call until a lane took it. */
  readonly queuedMs: number;
  /** The backend's run alone. */
  readonly ranMs: number;
  /** Images to tensors; 0 where tensors came. */
  readonly preprocessMs: number;
  /** Outputs to answers; 0 where the bundle declares none. */
  readonly decodeMs: number;
  /** How often it was tried: more than once where a lane died and the work was run again. */
  readonly attempts: number;
  /** Every try, the answer's last. */
  readonly history: readonly Attempt[];
  /** Where it ran: on this device. */
  readonly placement: "local";
  /** Why it ran there. */
  readonly why: Why;
}

/** The answer to one run. */
export interface RunResult {
  /** Tensors by output name; the caller's own. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Answers by output name, one per item of the batch, where the bundle declares how to decode the output. */
  readonly decoded: Readonly<Record<string, readonly Decoded[]>>;
  /** What produced the answer, and how long it took. */
  readonly info: RunInfo;
}

/** Where a model runs now. May change once, when a first request gave the means to measure. */
export interface Placed {
  /** The ways to run it: the chosen one first, then those to go down to. */
  readonly routes: readonly [Route, ...Route[]];
  readonly message: LoadMessage;
  readonly assignment: Assignment | null;
}

/** What the engine hands to a model. */
export interface ModelParts {
  readonly effects: Effects;
  readonly dispatcher: Dispatcher;
  readonly counters: Counters;
  readonly name: string;
  readonly identity: string;
  readonly accepts: Accepts;
  readonly outputs: readonly Port[];
  readonly placed: Placed;
  /** How many lanes a backend has. */
  readonly laneCount: (backend: BackendName) => number;
  /** Measures with the inputs of a first request, where nothing could be measured at load; else null. */
  readonly measure: ((feeds: RunMessage["feeds"]) => Promise<Placed>) | null;
  readonly unload: () => void;
}

/** A loaded model; made by `engine.load`. */
export class Model {
  readonly #parts: ModelParts;
  #placed: Placed;
  #measure: ModelParts["measure"];
  #unloaded = false;

  /** Not for callers: `engine.load` makes models. */
  constructor(parts: ModelParts) {
    this.#parts = parts;
    this.#placed = parts.placed;
    this.#measure = parts.measure;
  }

  /** Gives the name from the bundle, or the file's. */
  get name(): string {
    return this.#parts.name;
  }

  /** Gives the identity of the bundle (or of a bare model's bytes): 64 hex digits. */
  get identity(): string {
    return this.#parts.identity;
  }

  /** Describes the inputs. */
  get inputs(): readonly Port[] {
    return this.#parts.accepts.ports;
  }

  /** Describes the outputs. */
  get outputs(): readonly Port[] {
    return this.#parts.outputs;
  }

  /** Names the backend that runs the model now. */
  get backend(): BackendName {
    return this.#placed.routes[0].backend;
  }

  /** Names the variant that runs now. */
  get variant(): string {
    return this.#placed.routes[0].variant;
  }

  /** Says why it runs there. */
  get why(): Why {
    return this.#placed.routes[0].why;
  }

  /** Counts the operators by where they run; null unless the engine was created `verbose`. */
  get assignment(): Assignment | null {
    return this.#placed.assignment;
  }

  /**
   * Runs the model once.
   * @param inputs - tensors by input name, or images where the bundle declares an image input
   * @throws TypeError or RangeError for wrong inputs, the signal's reason for a cancel, else SelvedgeError
   * @example
   * const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [1, 784], data } });
   */
  async run(inputs: Inputs, options: RunOptions = {}): Promise<RunResult> {
    const { effects, counters, accepts } = this.#parts;
    const { signal, transfer = false } = options;
    const startMs = effects.now();
    try {
      if (this.#unloaded) throw new SelvedgeError("closed", `The model "${this.name}" is unloaded.`);
      signal?.throwIfAborted();
      const feeds = await takeInputs(effects, accepts, inputs, transfer);
      const result = await this.#submit(feeds, signal).finally(() => {
        release(feeds);
      });
      counters.done(effects.now() - startMs);
      return result;
    } catch (error) {
      counters.failed(signal?.aborted === true && error === signal.reason);
      throw error;
    }
  }

  /**
   * Runs the model over many inputs, with as many under way as `concurrency` allows; answers come in the order of the
   * inputs. Reads the source no further ahead than that, so an endless one takes constant memory. The first error
   * ends the iteration and cancels what is under way.
   */
  async *map(
    source: Iterable<Inputs> | AsyncIterable<Inputs>,
    options: MapOptions = {},
  ): AsyncGenerator<RunResult, void, undefined> {
    const concurrency = options.concurrency ?? 2 * this.#parts.laneCount(this.backend);
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 1_024)
      throw new RangeError(`concurrency: expected a whole number from 1 to 1,024, got ${String(concurrency)}`);
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
    const underWay: Promise<RunResult>[] = [];
    try {
      for await (const inputs of source) {
        const run = this.run(inputs, { ...options, signal });
        run.catch(() => undefined); // reported when its turn comes
        underWay.push(run);
        if (underWay.length >= concurrency) yield await (underWay.shift() as Promise<RunResult>);
      }
      while (underWay.length > 0) yield await (underWay.shift() as Promise<RunResult>);
    } finally {
      stop.abort(new DOMException("The iteration was left.", "AbortError"));
    }
  }

  /** Frees the model on every lane. Requests that wait are rejected with `closed`. */
  unload(): void {
    if (this.#unloaded) return;
    this.#unloaded = true;
    this.#parts.unload();
  }

  async #submit(feeds: RunMessage["feeds"], signal: AbortSignal | undefined): Promise<RunResult> {
    const { routes, message } = this.#placed;
    const measure = this.#measure;
    this.#measure = null;
    const done = await this.#parts.dispatcher.submit({ routes, message, feeds, signal });
    if (measure !== null)
      measure(feeds).then(
        (better) => {
          this.#placed = better;
        },
        () => undefined, // stays where it is: a failed measurement must not fail a request that was answered
      );
    return toResult(done);
  }
}

function toResult({ ran, route, queuedMs, attempts }: Done): RunResult {
  const info: RunInfo = {
    backend: route.backend,
    variant: route.variant,
    lane: attempts.at(-1)?.lane ?? "",
    batchSize: 1,
    queuedMs,
    ranMs: ran.runMs,
    preprocessMs: ran.preprocessMs,
    decodeMs: ran.decodeMs,
    attempts: attempts.length,
    history: attempts,
    placement: "local",
    why: route.why,
  };
  return { outputs: ran.outputs, decoded: ran.decoded, info };
}

/** Frees the copies that were made of images; a measurement still under way has posted its own. */
function release(feeds: RunMessage["feeds"]): void {
  for (const value of Object.values(feeds)) if (value.kind === "image" && "close" in value.image) value.image.close();
}
