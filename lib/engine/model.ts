// A loaded model, as an app holds it: checks inputs, passes them to the dispatcher, and shapes the results.
import { inTime, untilAborted } from "../core/abort.ts";
import type { Signal } from "../core/abort.ts";
import { resolveOptions } from "./resolve-options.ts";
import type { ResolvedOptions } from "./resolve-options.ts";
import type { BackendName } from "../rpc/backend.ts";
import type { ModelCheck } from "./check-model.ts";
import type { Assignment } from "../core/bundle.ts";
import type { LazyResults } from "./lazy-results.ts";
import type { Loader } from "./loader.ts";
import type { BackendChooser, BackendDecision } from "./backend-chooser.ts";
import type { Why } from "../core/reasons.ts";
import type { ModelRoutes } from "./routes.ts";
import type { Executor } from "./executor.ts";
import { REFUSED_KEY } from "../pool/gpu-loss-ledger.ts";
import type { Effects } from "../effects/effects.ts";
import { Disposes, endByUsing } from "../core/disposing.ts";
import { codeOf, SelvedgeError } from "../core/errors.ts";
import { whyShared } from "./explain-run.ts";
import { Coalescer } from "./coalesce.ts";
import { estimateShape } from "./batch-key.ts";
import { mapRuns } from "./map.ts";
import type { MapResult, MapFailure } from "./map.ts";
import type { Measuring } from "./measuring.ts";
import { release, Slab, takeInputs } from "./inputs.ts";
import type { Accepts, Inputs } from "./inputs.ts";
import type { Counters } from "../observe/counters.ts";
import { checkMapOptions, checkRunOptions } from "./check-options.ts";
import type { EmbedOptions, Precision, Vectors } from "./embed.ts";
import type { AskOptions, LoadOptions, MapOptions, RunOptions, StatefulOptions } from "./options.ts";
import type { RemoteSide } from "./remote-lanes.ts";
import type { StateStep } from "../pool/lane-options.ts";
import type { Feeds } from "../rpc/messages.ts";
import type { RunInfo, RunResult, RequestSummary } from "./result.ts";
import { PRIORITIES } from "../schedule/events.ts";
import type { BatchLimits, Priority } from "../schedule/events.ts";
import { canBatch } from "../core/batch-shape.ts";
import type { Stateful } from "./stateful.ts";
import type { Port, Tensor } from "../core/tensor.ts";

/** The parts of an engine that its models use. */
export interface ModelHost {
  readonly effects: Effects;
  readonly executor: Executor;
  readonly chooser: BackendChooser;
  readonly counters: Counters;
  /** Receives every request as it is settled; null without `observe`. */
  readonly observe: ((settled: RequestSummary) => void) | null;
  readonly results: LazyResults;
  /** Servers and their counters; absent without the option `remote`. */
  readonly remote?: RemoteSide | undefined;
  /** The loaded models. */
  readonly models: Set<Model>;
}

/** A loaded model; made by `engine.load`. `using` and `await using` unload it where the browser has them. */
export class Model extends Disposes {
  readonly #host: ModelHost;
  readonly #loader: Loader;
  readonly #accepts: Accepts;
  readonly #batching: BatchLimits;
  /** Number of lanes that it may run on at once. */
  readonly #concurrency: number;
  /** Whether answers are cached by default. */
  readonly #cache: boolean;
  #current: ModelRoutes;
  #measuring: Measuring | null = null;
  /** Inputs of an answered request with which the model is being measured. */
  readonly #inUse: Set<Feeds> = new Set();
  /** Whether its requests can be batched at all. */
  readonly #canJoin: boolean;
  readonly #coalescer: Coalescer;
  readonly #slab: Slab = new Slab();
  /** Makes recurrent states; null for a model without one. */
  readonly #state: typeof Stateful | null;
  #unloaded = false;

  /** Not for callers: `engine.load` makes models. */
  /** @internal */
  constructor(
    host: ModelHost,
    loader: Loader,
    options: LoadOptions,
    routes: ModelRoutes,
    decision: BackendDecision,
    state: typeof Stateful | null,
  ) {
    super();
    this.#host = host;
    this.#state = state;
    this.#loader = loader;
    const { batching, concurrency = Infinity, cache = false } = options;
    const { maxBatchSize = 64, maxQueueDelayMs = 0, preferredBatchSizes = [] } = batching || {};
    const shared = (copy: RunResult): RunResult => {
      const { info } = copy;
      return { ...copy, info: { ...info, why: whyShared(info.lane, info.ranMs) } };
    };
    this.#coalescer = new Coalescer(() => host.effects.now(), shared);
    this.#accepts = { ports: loader.inputs };
    this.#canJoin = batching !== false && canBatch(loader.inputs, loader.outputs);
    this.#batching = { maxBatchSize, maxQueueDelayMs, preferredBatchSizes };
    this.#concurrency = concurrency;
    this.#cache = cache;
    this.#current = routes;
    this.#follow(decision);
    loader.onRoutes = (current, next = null) => {
      this.#current = current;
      if (next !== null) this.#follow(next);
    };
    loader.onRefused = (error) => void this.#leaveGpu(error);
    endByUsing(this, "dispose", () => {
      this.unload();
    });
  }

  /** Name from the bundle, or the file's. */
  get name(): string {
    return this.#loader.plan.name;
  }

  /** Identity of the bundle (or of a bare model's bytes): 64 hex digits. */
  get identity(): string {
    return this.#loader.plan.identity;
  }

  /** The model's inputs. */
  get inputs(): readonly Port[] {
    return this.#loader.inputs;
  }

  /** The model's outputs. */
  get outputs(): readonly Port[] {
    return this.#loader.outputs;
  }

  /** The backend that currently runs the model. */
  get backend(): BackendName {
    return this.#current.routes[0].backend;
  }

  /** The variant that currently runs. */
  get variant(): string {
    return this.#current.routes[0].variant;
  }

  /**
   * Whether rows that run together get the answers that they would get alone. False where the current variant mixes rows,
   * where the model has no batch axis, and with `batching: false`.
   */
  get mayBatch(): boolean {
    return this.#canJoin && this.#current.mixesRows !== true;
  }

  /** Reason for the current backend. */
  get why(): Why {
    return this.#current.routes[0].why;
  }

  /** Number of operators per execution provider; null unless the engine was created `verbose`. */
  get assignment(): Assignment | null {
    return this.#current.assignment;
  }

  /**
   * Runs the model once.
   * @param inputs - tensors by input name, or images or texts where the bundle declares such an input
   * @throws TypeError or RangeError for wrong inputs, the signal's reason for a cancel, else SelvedgeError
   * @example
   * const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [1, 784], data } });
   */
  run(inputs: Inputs, options: RunOptions = {}): Promise<RunResult> {
    return this.#run(inputs, options);
  }

  /**
   * Begins a recurrent state, for a model whose bundle maps outputs to inputs of the next step. Each `run` is a step;
   * the state stays on its lane between steps.
   * @throws TypeError for a model without a state, or an initial state of another kind; RangeError for a wrong size
   * @example
   * const state = model.stateful();
   * for (const chunk of chunks) show((await state.run({ input: chunk })).outputs);
   */
  stateful(options: StatefulOptions = {}): Stateful {
    this.#assertLoaded();
    const { executor } = this.#host;
    const { plan } = this.#loader;
    const count = this.#count.bind(this);
    const submit = this.#dispatch.bind(this);
    if (this.#state === null) throw new TypeError(`"${plan.name}" has no recurrent state: no output maps to an input`);
    return new this.#state(options, { executor, plan, accepts: this.#accepts, count, submit });
  }

  /**
   * Runs the model over many inputs, with up to `concurrency` of them in flight. Answers come in the order of the
   * inputs, or with `ordered: false` as soon as they are ready; `index` is the number of the input. Reads the source no
   * further ahead than that, so an endless one takes constant memory. The first error ends the iteration and cancels
   * what is in flight; with `errors: "yield"` a failed input is yielded as `{ index, error }`.
   */
  map(
    source: Iterable<Inputs> | AsyncIterable<Inputs>,
    options?: MapOptions & { readonly errors?: "stop" | undefined },
  ): AsyncGenerator<MapResult, void, undefined>;
  /** The same with `errors: "yield"`: an input that fails is yielded as `{ index, error }`. */
  map(
    source: Iterable<Inputs> | AsyncIterable<Inputs>,
    options: MapOptions,
  ): AsyncGenerator<MapResult | MapFailure, void, undefined>;
  map(
    source: Iterable<Inputs> | AsyncIterable<Inputs>,
    options: MapOptions = {},
  ): AsyncGenerator<MapResult | MapFailure, void, undefined> {
    checkMapOptions(options);
    const { executor, effects } = this.#host;
    const atLeast = 2 * executor.pool.usual(this.backend).length;
    const atMost = this.mayBatch ? atLeast * this.#batching.maxBatchSize : atLeast;
    const pause = (): Promise<void> =>
      new Promise((resolve) => {
        effects.setTimer(resolve, 0);
      });
    return mapRuns({ run: this.#run.bind(this), atLeast, atMost, pause }, source, options);
  }

  /**
   * Computes the vector of each text, for a model whose bundle or repository declares tokenizer and pooling. Texts are
   * sorted by length, batched, and run on all lanes; the vectors come in the order of the texts.
   * @param options - also `dims`, `prompt`, `precision`; `pooling` and `normalize` for a model that declares none
   * @throws TypeError for a model without pooling, and an unknown prompt; else as `run`
   * @example
   * const [a, b] = await model.embed(["a cat", "a dog"]);
   */
  async embed<P extends Precision = "float32">(
    texts: readonly string[],
    options: EmbedOptions & { readonly precision?: P | undefined } = {},
  ): Promise<Vectors[P][]> {
    const { embedTexts } = await import("./embed.ts");
    const { executor, effects } = this.#host;
    const inFlight = 2 * executor.pool.usual(this.backend).length;
    const how = { inFlight, mayBatch: this.mayBatch, now: effects.now };
    return embedTexts(this, how, texts, options) as Promise<Vectors[P][]>;
  }

  /**
   * Compares the model's answers on this device with the known ones of its bundle, on the backend and variant that run it
   * now: error and bound of each output. Changes nothing, whatever it finds; a GPU is checked before it answers anyway.
   * @throws SelvedgeError as a load does, `closed` where the model was unloaded
   * @example
   * const { verdict, outputs } = await model.check();
   */
  async check(): Promise<ModelCheck> {
    this.#assertLoaded();
    const { checkModel } = await import("./check-model.ts");
    return checkModel(this.#loader, this.backend, this.variant);
  }

  /** Frees the model on every lane. Queued requests are rejected with `closed`; those that run end first. */
  unload(): void {
    if (this.#unloaded) return;
    this.#unloaded = true;
    this.#host.models.delete(this);
    this.#loader.end(this.#unloadedError());
  }

  /** Measures later what a choice left to measure. */
  #follow(decision: BackendDecision): void {
    this.#measuring ??=
      decision.comparer?.measuringOf(this.#loader, (routes) => {
        this.#current = routes;
      }) ?? null;
    this.#measuring?.follow(decision);
  }

  async #leaveGpu(error: SelvedgeError): Promise<void> {
    const { leaveGpu } = await import("./leave-gpu.ts");
    await leaveGpu(this.#loader, this.#host.chooser, error);
  }

  #assertLoaded(): void {
    if (this.#unloaded) throw this.#unloadedError();
  }

  #unloadedError(): SelvedgeError {
    return new SelvedgeError("closed", `The model "${this.name}" is unloaded.`);
  }

  #run(inputs: Inputs, options: AskOptions): Promise<RunResult> {
    return this.#count(this.#accepts, inputs, options, (feeds, resolved) => {
      const tensors = tensorsOf(feeds);
      if (tensors !== null)
        return (options.cache ?? this.#cache)
          ? this.#recall(tensors, feeds, resolved)
          : this.#share(tensors, feeds, resolved);
      return this.#submit(feeds, resolved).finally(() => {
        if (!this.#inUse.has(feeds)) release(feeds);
      });
    });
  }

  /** Checks and takes inputs, passes them to `work`, and counts the outcome. */
  #count(
    accepts: Accepts,
    inputs: Inputs,
    options: AskOptions,
    work: (feeds: Feeds, options: ResolvedOptions) => Promise<RunResult>,
  ): Promise<RunResult> {
    const { effects, counters } = this.#host;
    // Options that are not an object are rejected below.
    const { signal, transfer = false } = (options as AskOptions | null) ?? {};
    // A wrong priority is rejected below; until then it counts as normal.
    const priority = PRIORITIES.find((x) => x === (options as AskOptions | null)?.priority) ?? "normal";
    const startMs = effects.now();
    counters.asked(priority);
    const done = (result: RunResult): RunResult => {
      this.#settled(priority, options, effects.now() - startMs, "done", null, result.info);
      return result;
    };
    const failed = (error: unknown): Promise<never> => {
      const code = codeOf(error);
      const isCancelled = signal?.aborted === true && error === signal.reason && code === null;
      const isRejected = code === "overloaded" || code === "deadline-exceeded";
      const outcome = isCancelled ? "cancelled" : isRejected ? "rejected" : "failed";
      this.#settled(priority, options, effects.now() - startMs, outcome, code, null);
      // DATA_CLONE_ERR
      if ((error as { code?: unknown } | null)?.code === 25)
        return import("./input-fault.ts").then((x) => x.unsent(effects, inputs, error));
      effects.rethrow?.(error);
      throw error;
    };
    // No async function: it would add two promises for each request, and some microseconds in Firefox.
    const begin = (): Promise<RunResult> => {
      this.#assertLoaded();
      checkRunOptions(options);
      signal?.throwIfAborted();
      const taken = takeInputs(effects, accepts, inputs, transfer, this.#slab);
      const resolved = resolveOptions(options, startMs);
      return taken instanceof Promise
        ? untilDecoded(taken, signal).then((feeds) => work(feeds, resolved))
        : work(taken, resolved);
    };
    let answer: Promise<RunResult>;
    try {
      answer = begin();
    } catch (error) {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
      answer = Promise.reject(error);
    }
    return answer.then(done, failed);
  }

  #settled(
    priority: Priority,
    options: AskOptions | null,
    ms: number,
    outcome: RequestSummary["outcome"],
    code: RequestSummary["code"],
    info: RunInfo | null,
  ): void {
    const { counters, observe, remote } = this.#host;
    const deadlineMs = options?.deadlineMs;
    const isLate = outcome === "done" && deadlineMs !== undefined && ms > deadlineMs;
    counters.settled(priority, outcome, ms, isLate);
    remote?.offload.settled(this.identity, info, ms);
    if (observe === null) return;
    const settled = { model: this.name, priority, outcome, code, ms, deadlineMs: deadlineMs ?? null, isLate, info };
    // In a microtask of its own: the caller comes first, and an exception of the observer must reach only the page.
    queueMicrotask(() => {
      observe(settled);
    });
  }

  #dispatch(feeds: Feeds, options: ResolvedOptions, state?: StateStep): Promise<RunResult> {
    const { placement } = options;
    const { servers } = this.#loader;
    const send = (current: ModelRoutes): Promise<RunResult> => this.#send(current, feeds, options, state);
    if (placement === undefined || (placement === "local" && servers === null)) return send(this.#current);
    return import("./remote-lanes.ts")
      .then((x) => x.placed(servers, this.#current, options, this.#host.effects))
      .then(send);
  }

  #send(
    { routes, message }: ModelRoutes,
    feeds: Feeds,
    options: ResolvedOptions,
    state?: StateStep,
  ): Promise<RunResult> {
    // The model may have been unloaded while inputs were read; a lane would load it again.
    if (this.#unloaded) return Promise.reject(this.#unloadedError());
    const shape = state === undefined && this.mayBatch ? estimateShape(this.#accepts, feeds) : null;
    const [batching, concurrency] = [this.#batching, this.#concurrency];
    const work = { routes, message, feeds, shape, batching, concurrency, options, state };
    return this.#loader.servers?.run?.(work) ?? this.#host.executor.dispatcher.submit(work);
  }

  /** Answers from the result cache, by the bytes of the inputs. */
  #recall(inputs: Feeds["tensors"], feeds: Feeds, options: ResolvedOptions): Promise<RunResult> {
    const answer = this.#recalled(inputs, feeds, options);
    return options.signal === undefined ? answer : untilAborted(answer, options.signal);
  }

  async #recalled(inputs: Feeds["tensors"], feeds: Feeds, options: ResolvedOptions): Promise<RunResult> {
    const { results, effects } = this.#host;
    // A result cache that can't be loaded or opened in time is no reason to fail.
    const waitMs = options.dueMs - effects.now();
    const kept = await inTime(results.open(), waitMs, effects.setTimer).catch(() => null);
    if (kept === null) return this.#share(inputs, feeds, options);
    const { identity, variant, backend } = this;
    const run = (): Promise<RunResult> => this.#submit(feeds, options);
    // Answers of a GPU from before one was found to compute wrongly are not used.
    const key = `${identity} ${variant} ${backend} ${backend === "webgpu" ? effects.memo.get(REFUSED_KEY) : ""}`;
    return kept.answer(key, inputs, run, { ...options, variant });
  }

  /** Coalesces with a request in flight that has the same inputs. */
  #share(inputs: Feeds["tensors"], feeds: Feeds, options: ResolvedOptions): Promise<RunResult> {
    if (options.placement !== undefined) return this.#submit(feeds, options);
    return this.#coalescer.ask({ inputs, ...options }, (signal) =>
      this.#submit(feeds, signal === options.signal ? options : { ...options, signal }),
    );
  }

  #submit(feeds: Feeds, options: ResolvedOptions): Promise<RunResult> {
    const isMeasured = this.#measuring?.take() === true;
    const answer = this.#dispatch(feeds, options);
    return isMeasured ? this.#measured(answer, feeds) : answer;
  }

  /** Measures with the inputs of an answered request; if it failed, with those of the next one. */
  async #measured(answer: Promise<RunResult>, feeds: Feeds): Promise<RunResult> {
    try {
      const result = await answer;
      this.#inUse.add(feeds);
      void this.#measuring?.measure(feeds).then(() => {
        this.#inUse.delete(feeds);
        release(feeds);
      });
      return result;
    } catch (error) {
      this.#measuring?.after(0);
      throw error;
    }
  }
}

/** Resolves to inputs once their images are decoded. A cancel does not wait for that, and frees them afterwards. */
function untilDecoded(taken: Promise<Feeds>, signal: Signal | undefined): Promise<Feeds> {
  if (signal === undefined) return taken;
  const free = (feeds: Feeds): void => {
    if (signal.aborted) release(feeds);
  };
  taken.then(free, () => undefined);
  return untilAborted(taken, signal);
}

/** Returns the inputs as tensors, texts included; null where one is an image or a sound. */
function tensorsOf({ tensors, others }: Feeds): Feeds["tensors"] | null {
  if (others === null) return tensors;
  const texts: Record<string, Tensor> = {};
  for (const [name, value] of Object.entries(others)) {
    if (value.kind !== "text") return null;
    texts[name] = { dtype: "string", dims: [value.texts.length], data: [...value.texts] };
  }
  return { ...texts, ...tensors };
}
