// The engine that an app holds: detects the device, loads models onto lanes, and closes everything again. All its side
// effects go through its `effects`; nothing is kept at module level, so two engines on a page are independent.
import { eitherOf, untilAborted } from "../core/abort.ts";
import { assess } from "./availability.ts";
import type { Availability } from "./availability.ts";
import { chooseBuild, resolveAssets } from "../assets.ts";
import type { Assets } from "../assets.ts";
import type { BackendName } from "../rpc/backend.ts";
import { CacheClient } from "./cache-client.ts";
import type { FetchOptions } from "./cache-client.ts";
import type { Plan, Updated, Wish } from "../cache/messages.ts";
import type { ResultCounts, Results } from "./result-cache.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { CrashMarkers } from "./crash-markers.ts";
import type { DeviceFacts } from "../core/device.ts";
import { Dispatcher } from "./dispatcher.ts";
import { browserEffects } from "../effects/effects.ts";
import type { Effects } from "../effects/effects.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { followLife } from "./page-lifecycle.ts";
import type { WorkerSource } from "../rpc/worker-link.ts";
import { Loader } from "./loader.ts";
import { AGAIN_MS } from "./measuring.ts";
import type { Measure, Measured } from "./measuring.ts";
import { Model } from "./model.ts";
import { Counters } from "../observe/counters.ts";
import type { BatchCounts, RequestCounts } from "../observe/counters.ts";
import { takeDown } from "../observe/prelude.ts";
import type { Trace } from "../observe/trace.ts";
import { checkAvailabilityOptions, checkEngineOptions, checkLoadOptions, checkTraceOptions } from "./options.ts";
import type { AvailabilityOptions, EngineOptions, LoadOptions, TraceOptions } from "./options.ts";
import { Placer } from "./choose-backend.ts";
import type { Placing } from "./choose-backend.ts";
import type { LaneStats } from "../pool/lane-state.ts";
import { GpuLedger } from "../pool/gpu-loss-ledger.ts";
import { Pool } from "../pool/pool.ts";
import type { RequestSummary } from "./result.ts";
import { PRIORITIES } from "../schedule/events.ts";
import type { Priority } from "../schedule/events.ts";
import type { Placed } from "./routes.ts";
import { resolveAddress, resolveSource } from "../core/resolve-source.ts";
import type { ModelSource } from "../core/resolve-source.ts";
import { withTicker } from "./worker-timers.ts";

/** Counters of an engine. */
export interface EngineStats {
  /** Requests by outcome, and those that are queued or running now. */
  readonly requests: RequestCounts & { readonly queued: number; readonly running: number };
  /** The same by priority, without those that are queued or running. */
  readonly classes: Readonly<Record<Priority, RequestCounts>>;
  /** Number of batches, and of the requests in them. */
  readonly batches: BatchCounts;
  /** Counters per lane, and the busy share of the engine's lifetime, 0 to 1. */
  readonly lanes: readonly (LaneStats & { readonly utilisation: number })[];
  /** Number of loaded models. */
  readonly models: number;
  /** Counters of the result cache; null where no request used it. */
  readonly results: ResultCounts | null;
}

/**
 * Creates an engine. Workers start with the first model, not here.
 * @throws TypeError or RangeError for a wrong option
 * @example
 * const engine = await createEngine();
 * const model = await engine.load("/models/ocr-rec/bundle.json");
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  checkEngineOptions(options);
  const effects = options.effects ?? browserEffects();
  const { facts } = effects;
  const wanted = options.backends ?? ["webgpu", "wasm"];
  // Only the JSPI build holds WebGPU kernels: without JSPI the GPU can't be used.
  const gpu = wanted.includes("webgpu") && facts.jspi && facts.workers ? await effects.probeGpu() : null;
  const device: DeviceFacts = { cores: facts.cores, isolated: facts.isolated, jspi: facts.jspi, gpu };
  return new Engine(effects, options, device);
}

/** A pool of workers with models on it; made by `createEngine`. */
export class Engine {
  /** Facts about the device, as far as the browser reports them. */
  readonly device: DeviceFacts;
  readonly #effects: Effects;
  readonly #backends: readonly BackendName[];
  readonly #cache: CacheClient;
  readonly #trustedKeys: readonly string[];
  readonly #onLog: ((line: string) => void) | null;
  readonly #pool: Pool;
  readonly #dispatcher: Dispatcher;
  readonly #counters: Counters<Priority> = new Counters(PRIORITIES);
  readonly #observe: ((settled: RequestSummary) => void) | null;
  readonly #startMs: number;
  readonly #models: Set<Model> = new Set();
  /** Names of the models by the ids that lanes know them by. */
  readonly #names: Map<number, { readonly name: string; readonly variant: string }> = new Map();
  /** Models that are kept in memory, by the ids of lanes. */
  readonly #keptInMemory: Set<number> = new Set();
  readonly #placer: Placer;
  readonly #markers: CrashMarkers;
  readonly #stopLife: () => void;
  readonly #stop: AbortController = new AbortController();
  readonly #makeResults: () => Promise<Results>;
  #results: Promise<Results> | null = null;
  #kept: Results | null = null;
  /** Whether persistent storage is still to be requested: once, when something is stored. */
  #mustAskToKeep: boolean;
  #nextModelId = 1;
  #lastMark = 0;

  /** Not for callers: `createEngine` makes engines. */
  constructor(effects: Effects, options: EngineOptions, device: DeviceFacts) {
    this.device = device;
    this.#effects = effects;
    this.#startMs = effects.now();
    const { facts } = effects;
    const { observe } = options;
    const { onResult = null, devtools = false } =
      typeof observe === "function" ? { onResult: observe } : (observe ?? {});
    this.#observe = onResult;
    if (devtools) void this.#drawTracks();
    const wanted = options.backends ?? ["webgpu", "wasm"];
    const usable = (name: BackendName): boolean =>
      wanted.includes(name) && facts.workers && (name === "wasm" ? facts.wasm : device.gpu !== null);
    this.#backends = (["webgpu", "wasm"] as const).filter(usable);
    const threads = device.isolated ? (options.threads ?? 1) : 1;
    this.#placer = new Placer(effects, device, threads, this.#stop.signal, (identity, { variant, backend }, ms) => {
      this.#dispatcher.measured(identity, variant.id, backend, ms);
    });
    const ledger = new GpuLedger(effects);
    const base = options.assetsBase?.toString();
    const assets = (): Assets => resolveAssets(chooseBuild(usable("webgpu")), base, facts.baseUrl);
    /** Whether the engine chooses the workers that share the cores. */
    const isOurs = usable("wasm") && options.workers === undefined;
    const size = {
      webgpu: usable("webgpu") ? 1 : 0,
      wasm: usable("wasm") ? (options.workers ?? wasmLanes(facts.cores)) : 0,
      hasExpress: isOurs,
      // One thread per core, eight at most.
      wideThreads: isOurs && options.threads === undefined && device.isolated ? Math.min(8, facts.cores) : 0,
    };
    const { trustedTypesPolicy: policy } = options;
    const sourceOf = (href: string): WorkerSource => ({
      href,
      script: policy === undefined ? href : policy.createScriptURL(href),
    });
    this.#cache = new CacheClient(
      effects,
      () => ({ ...sourceOf(assets().cacheUrl), brotliUrl: assets().brotliUrl }),
      options.store ?? "auto",
    );
    this.#mustAskToKeep = (options.store ?? "auto") === "auto";
    this.#trustedKeys = options.trustedKeys ?? [];
    this.#onLog = options.onLog ?? null;
    const wait = (ms: number): Promise<unknown> => this.#cache.wait(ms);
    this.#pool = new Pool(size, {
      effects: withTicker(effects, wait, "once late"),
      source: () => sourceOf(assets().workerUrl),
      wasmUrls: assets,
      threads,
      verbose: options.verbose ?? false,
      onLog: this.#onLog,
      idleMs: options.idleMs ?? 120_000,
      callTimeoutMs: options.callTimeoutMs ?? null,
      onTrying: (modelId, isTrying) => {
        this.#markers.set(modelId, isTrying);
      },
      isUnloaded: (modelId) => !this.#names.has(modelId),
      onLoaded: (modelId, ms, lane) => {
        this.#dispatcher.loaded(modelId, ms, lane);
      },
      onGrown: () => {
        this.#pool.trim(options.memoryBudgetBytes ?? Infinity, (modelId) => this.#keptInMemory.has(modelId));
      },
      mayStart: (backend) => backend === "wasm" || ledger.allowed,
      onCrash: (error) => {
        if (isSelvedgeError(error) && error.code === "device-lost") ledger.note();
      },
      onFree: () => {
        this.#dispatcher.pump();
      },
    });
    const settings = { agingMs: options.agingMs ?? 2_000, maxSize: options.queue?.maxSize ?? 100_000 };
    this.#dispatcher = new Dispatcher(withTicker(effects, wait), this.#pool.lanes, ledger, this.#counters, settings);
    this.#markers = new CrashMarkers(effects);
    // On demand: most pages never keep an answer.
    this.#makeResults = async () => {
      const { Results, RESULTS_MAX_BYTES } = await import("./result-cache.ts");
      const { maxBytes = RESULTS_MAX_BYTES, ttlMs, persist } = options.results ?? {};
      const answers = persist === true ? await import("./result-store.ts") : null;
      const kept = (await answers?.openAnswers(maxBytes, () => effects.wallClock())) ?? null;
      const clocks = { now: () => effects.now(), wallClock: () => effects.wallClock() };
      return (this.#kept = new Results({ maxBytes, ttlMs }, { ...clocks, persist: kept }));
    };
    this.#stopLife = followLife(effects, this.#pool, this.#markers);
    if (Symbol.asyncDispose !== undefined)
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.close() });
  }

  /**
   * Loads a model: a `bundle.json` by URL, or an `.onnx` by URL, bytes, Blob or File. Chooses the variant and the
   * backend for this device unless they are pinned.
   * @throws SelvedgeError `no-backend`, `download-failed`, `integrity-failed`, `bundle-invalid`, `model-invalid`,
   * `out-of-memory`, `worker-crashed`, `closed`; the signal's reason for a cancel; an `AbortError` where `onSaveData`
   * says no
   * @example
   * const model = await engine.load("/models/ocr-rec/bundle.json", { onProgress: (p) => show(p.loadedBytes) });
   */
  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    checkLoadOptions(options);
    this.#assertOpen();
    const signal = eitherOf(options.signal, this.#stop.signal);
    signal.throwIfAborted();
    const loading = this.#load(source, options, { signal, onProgress: options.onProgress });
    return untilAborted(loading, signal);
  }

  /**
   * Estimates the cost of a model before it is fetched: bytes, time, storage, and whether a deadline can be met here.
   * Fetches `bundle.json` and no weights.
   * @throws the signal's reason for a cancel
   * @example
   * const { state, bytesToFetch, saveData } = await engine.availability("/models/ocr-rec/bundle.json");
   */
  async availability(source: string | URL, options: AvailabilityOptions = {}): Promise<Availability> {
    checkAvailabilityOptions(options);
    this.#assertOpen();
    const from = resolveAddress(source, this.#effects.facts.baseUrl);
    return this.#assess(from, options, eitherOf(options.signal, this.#stop.signal));
  }

  async #assess(from: string, options: AvailabilityOptions & LoadOptions, signal: AbortSignal): Promise<Availability> {
    const look = await this.#cache.look(from, this.#wish(options), { signal, onProgress: undefined });
    const { plan } = look;
    const { placement = null, ms = null } = plan === null ? {} : this.#placer.expect(plan);
    const at = plan?.candidates.find((x) => x.backend === placement?.backend);
    const learnt = plan && at && this.#dispatcher.expectedMs(plan.identity, at.variant.id, at.backend);
    return assess(look, placement, learnt ?? ms, options.deadlineMs);
  }

  /**
   * Stores the newest version of a bundle for later loads and fetches only the chunks that changed; loaded models stay
   * as they are. Before a first load it fetches all chunks, as a prefetch.
   * @throws SelvedgeError as `load` does, and `quota-exceeded` with `details.missingBytes`
   */
  async update(source: string | URL, options: LoadOptions = {}): Promise<Updated> {
    checkLoadOptions(options);
    this.#assertOpen();
    const from = resolveAddress(source, this.#effects.facts.baseUrl);
    const signal = eitherOf(options.signal, this.#stop.signal);
    const wish = this.#wish({ ...options, update: "first" });
    await this.#askOnSaveData(from, options, signal);
    const updated = await this.#cache.update(from, wish, { signal, onProgress: options.onProgress });
    this.#askToKeep();
    return updated;
  }

  /** Returns the engine's counters. */
  stats(): EngineStats {
    const counters = this.#counters;
    const requests = { ...counters.read(), ...this.#dispatcher.depth };
    const classes = Object.fromEntries(PRIORITIES.map((x) => [x, counters.read(x)])) as EngineStats["classes"];
    const aliveMs = Math.max(1, this.#effects.now() - this.#startMs);
    const lanes = this.#pool.stats().map((lane) => ({ ...lane, utilisation: Math.min(1, lane.busyMs / aliveMs) }));
    const [models, results] = [this.#models.size, this.#kept?.read() ?? null];
    return { requests, classes, batches: counters.batches(), lanes, models, results };
  }

  /**
   * Records requests and lanes for the given time, or until the engine is closed. Returns one Chrome trace-event file:
   * `JSON.stringify` it, and open it in Perfetto, in chrome://tracing, or with `selvedge replay`. Holds no inputs
   * unless the options ask for them, and nothing leaves the page.
   * @throws TypeError or RangeError for a wrong option, SelvedgeError `closed`
   * @example
   * const trace = await engine.trace({ seconds: 5 });
   * save(new Blob([JSON.stringify(trace)], { type: "application/json" }));
   */
  async trace(options: TraceOptions): Promise<Trace> {
    checkTraceOptions(options);
    this.#assertOpen();
    const { now, setTimer, wallClock } = this.#effects;
    const watch = this.#dispatcher.watch.bind(this.#dispatcher);
    const inputsOf = options.inputs === true ? this.#dispatcher.inputsOf.bind(this.#dispatcher) : null;
    const about = () => {
      const models = new Map(this.#names);
      return { device: this.device, models, stats: this.stats(), wallClock: wallClock() };
    };
    const prelude = takeDown(now(), watch, inputsOf);
    try {
      const { record } = await import("../observe/recorder.ts");
      const source = { now, setTimer, signal: this.#stop.signal, watch, inputsOf, about };
      return await record(source, prelude, 1_000 * options.seconds);
    } finally {
      prelude.stop();
    }
  }

  /** Ends all workers and rejects everything that is pending with `closed`. Safe to call twice. */
  close(): Promise<void> {
    const error = new SelvedgeError("closed", "The engine is closed.");
    this.#stop.abort(error);
    this.#stopLife();
    this.#markers.clear();
    this.#dispatcher.close();
    this.#cache.close(error);
    this.#pool.close(error);
    this.#models.clear();
    return Promise.resolve();
  }

  async #drawTracks(): Promise<void> {
    const { drawTracks } = await import("./devtools-tracks.ts");
    const stop = drawTracks(this.#dispatcher.watch.bind(this.#dispatcher), (id) => this.#names.get(id)?.name ?? "");
    this.#stop.signal.addEventListener("abort", stop);
  }

  async #load(source: ModelSource, options: LoadOptions, download: FetchOptions): Promise<Model> {
    const from = resolveSource(source, this.#effects.facts.baseUrl);
    if (typeof from === "string") await this.#askOnSaveData(from, options, download.signal);
    const backends = options.backend === undefined ? this.#backends : [options.backend];
    // With one backend, its worker and WebAssembly load in parallel to the bundle.
    if (backends.length === 1) this.#pool.warm(backends[0] as BackendName);
    const plan = await this.#plan(from, options, download);
    const load = async (plan: Plan): Promise<Model> => {
      const free = this.#cache.use(plan.identity);
      return this.#loadPlan(plan, from, options, download, free).catch((error: unknown) => {
        free();
        throw error;
      });
    };
    try {
      return await load(plan);
    } catch (error) {
      // The server's version can't be fetched whole: the stored one is used, where there is one.
      const { update = "first", identity } = options;
      if (!isWithheld(error) || update !== "first" || identity !== undefined) throw error;
      const stored = await this.#plan(from, { ...options, update: "never" }, download).catch(() => plan);
      download.signal.throwIfAborted();
      if (stored.identity === plan.identity) throw error;
      this.#onLog?.(`The stored version of ${stored.name} is used. ${error.message}`);
      return await load(stored);
    }
  }

  async #loadPlan(
    plan: Plan,
    from: string | Blob,
    options: LoadOptions,
    download: FetchOptions,
    free: () => void,
  ): Promise<Model> {
    const markers = this.#markers;
    const { identity, name, spared } = plan;
    const loader = new Loader(plan, {
      pool: this.#pool,
      cache: this.#cache,
      from,
      download,
      reopen: () => this.#plan(from, { ...options, identity }, { signal: this.#stop.signal, onProgress: undefined }),
      closed: this.#stop.signal,
      newId: (candidate) => {
        markers.name(this.#nextModelId, identity, candidate);
        this.#names.set(this.#nextModelId, { name, variant: candidate.variant.id });
        if (options.keepInMemory === true) this.#keptInMemory.add(this.#nextModelId);
        return this.#nextModelId++;
      },
    });
    const unload = (error: Error): void => {
      loader.end();
      for (const modelId of loader.modelIds) {
        this.#names.delete(modelId);
        this.#keptInMemory.delete(modelId);
        markers.forget(modelId);
        this.#dispatcher.drop(modelId, error);
        this.#pool.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
      }
    };
    const place = async (): Promise<Placing & { readonly placed: Placed }> => {
      const placing = await this.#placer.place(loader);
      const placed = await loader.placed(spared === null ? placing.placement : { ...placing.placement, why: spared });
      download.signal.throwIfAborted();
      return { ...placing, placed };
    };
    const { measure, measuring, placed } = await place().catch((error: unknown) => {
      unload(new SelvedgeError("closed", "The load failed.")); // the part that was loaded so far
      throw error;
    });
    const remeasure = async (measuring: Promise<Placing>): Promise<Measured> => {
      const { placement, measure } = await measuring;
      return { placed: await loader.placed(placement), again: measure === null ? null : measureWith };
    };
    const measureWith: Measure = (feeds) => remeasure(this.#placer.measure(loader, feeds));
    const model: Model = new Model({
      effects: this.#effects,
      dispatcher: this.#dispatcher,
      counters: this.#counters,
      observe: this.#observe,
      name,
      identity,
      accepts: { ports: loader.inputs, images: plan.images },
      outputs: loader.outputs,
      states: plan.states,
      typical: plan.typical,
      placed,
      batching: options.batching,
      concurrency: options.concurrency ?? Infinity,
      laneCount: (backend) =>
        this.#pool.lanes.filter((lane) => lane.backend === backend && lane.kind === "usual").length,
      measure: measure === null ? null : { run: measureWith, afterMs: measure === "first" ? 0 : AGAIN_MS },
      measuring: measuring && { result: remeasure(measuring), again: measureWith },
      cache: options.cache ?? false,
      results: () =>
        (this.#results ??= this.#makeResults().catch((error: unknown) => {
          this.#results = null; // the next request tries again
          throw error;
        })),
      newMark: () => ++this.#lastMark,
      forget: (stateId) => {
        this.#pool.forget(stateId).catch(() => undefined); // a worker that ended has freed it already
      },
      unload: () => {
        this.#models.delete(model);
        free();
        unload(new SelvedgeError("closed", `The model "${model.name}" is unloaded.`));
      },
    });
    this.#models.add(model);
    if (typeof from === "string") this.#askToKeep();
    if (options.update === "later" && typeof from === "string")
      // For the next load; a failure is reported by that load. Skipped where the user saves data.
      this.#cache
        .update(from, this.#wish(options), { signal: this.#stop.signal, onProgress: undefined })
        .catch(() => undefined);
    return model;
  }

  async #askOnSaveData(from: string, options: LoadOptions, signal: AbortSignal): Promise<void> {
    if (options.onSaveData === undefined || !this.#effects.savesData()) return;
    const cost = await this.#assess(from, options, signal);
    // The load itself reports the error.
    if (cost.bytesToFetch === 0 || cost.state === "unavailable" || (await options.onSaveData(cost))) return;
    throw new DOMException("Save-Data is on and onSaveData declined, so nothing was fetched.", "AbortError");
  }

  #askToKeep(): void {
    if (!this.#mustAskToKeep) return;
    this.#mustAskToKeep = false;
    void this.#effects.keepStorage();
  }

  #wish({ backend, variant, update = "first", identity, name }: LoadOptions, crashed: readonly Candidate[] = []): Wish {
    const [pins, trustedKeys] = [{ backend, variant }, this.#trustedKeys];
    const seen = trustedKeys.length === 0 ? null : this.#effects.memo.get(SEEN_RELEASES);
    return { device: this.device, backends: this.#backends, pins, crashed, trustedKeys, update, identity, name, seen };
  }

  /** Opens a source; where a page died loading the best variant, asks again for another. */
  async #plan(from: string | Blob, options: LoadOptions, download: FetchOptions): Promise<Plan> {
    const crashed: Candidate[] = [];
    for (;;) {
      const plan = await this.#cache.open(from, this.#wish(options, crashed), download);
      if (plan.seen !== null) this.#effects.memo.set(SEEN_RELEASES, plan.seen);
      if (plan.refused !== null) this.#onLog?.(`The stored version of ${plan.name} is used. ${plan.refused}`);
      const died = plan.candidates.filter((x) => this.#markers.has(plan.identity, x));
      const known = crashed.length;
      for (const x of died) if (!crashed.some((y) => isSame(x, y))) crashed.push(x);
      if (crashed.length === known) return plan;
    }
  }

  #assertOpen(): void {
    if (this.#stop.signal.aborted) throw new SelvedgeError("closed", "The engine is closed.");
  }
}

/** Key in localStorage of the signed releases that this device has seen; the store has its own copy. */
const SEEN_RELEASES = "selvedge/releases/1";

function isSame(a: Candidate, b: Candidate): boolean {
  return a.backend === b.backend && a.variant.id === b.variant.id;
}

/** Whether a server did not serve a file that its own bundle.json names. */
function isWithheld(error: unknown): error is SelvedgeError {
  return isSelvedgeError(error) && (error.code === "download-failed" || error.code === "integrity-failed");
}

/** One lane per core, four at most: more only cost memory, since each holds its own copy of the weights. */
function wasmLanes(cores: number): number {
  return Math.min(4, Math.max(1, cores));
}
