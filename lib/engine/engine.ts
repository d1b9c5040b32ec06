// The engine that an app holds: detects the device, loads models onto lanes, and closes everything again. All its side
// effects go through its `effects`; nothing is kept at module level, so two engines on a page are independent.
import { eitherOf, untilAborted } from "../core/abort.ts";
import type { Availability } from "./availability.ts";
import { resolveAssets, workerSource } from "../assets.ts";
import type { Assets, BuildFiles, OrtBuild } from "../assets.ts";
import type { BackendName } from "../rpc/backend.ts";
import { CacheClient } from "./cache-client.ts";
import type { CacheSource, FetchOptions } from "./cache-client.ts";
import type { Updated } from "../cache/messages.ts";
import type { DeviceFacts } from "../core/device.ts";
import { browserEffects } from "../effects/effects.ts";
import type { Effects } from "../effects/effects.ts";
import type { EngineStats } from "./engine-stats.ts";
import { AsyncDisposes, endByUsing } from "../core/disposing.ts";
import { SelvedgeError } from "../core/errors.ts";
import { Executor } from "./executor.ts";
import { LazyResults } from "./lazy-results.ts";
import { loadModel } from "./load-plan.ts";
import type { LoadHost } from "./load-plan.ts";
import type { Model } from "./model.ts";
import { Counters } from "../observe/counters.ts";
import { takeDown } from "../observe/prelude.ts";
import type { Trace } from "../observe/trace.ts";
import type { Build, Builds } from "../pool/lane-options.ts";
import { Opener } from "./opener.ts";
import { checkEngineOptions, checkLoadOptions } from "./check-options.ts";
import type {
  AvailabilityOptions,
  EngineOptions,
  HubOptions,
  LoadOptions,
  SourceOptions,
  TraceOptions,
  UpdateOptions,
} from "./options.ts";
import { BackendChooser } from "./backend-chooser.ts";
import type { RemoteSide } from "./remote-lanes.ts";
import { PRIORITIES } from "../schedule/events.ts";
import { resolveAddress, resolveSource } from "../core/resolve-source.ts";
import type { ModelSource, RepositorySource } from "../core/resolve-source.ts";

const BACKENDS = ["webgpu", "wasm"] as const;

/** Files of the JSPI build; null for an entry of the package that has none, and so no WebGPU. */
export type JspiFiles = (() => BuildFiles) | null;

const NO_WEBGPU = '"selvedge/wasm" has no "webgpu"; import "selvedge"';

/** Makes an engine; `createEngine` of the package's entries. */
export function makeEngine(options: EngineOptions, jspiFiles: JspiFiles): Promise<Engine> {
  const effects = (options as EngineOptions | null)?.effects ?? browserEffects();
  const engine = make(effects, options, jspiFiles).catch(effects.rethrow);
  // Otherwise Node ends a server whose modules create an engine that nobody uses there.
  if (!effects.facts.workers) engine.catch(() => undefined);
  return engine;
}

async function make(effects: Effects, options: EngineOptions, jspiFiles: JspiFiles): Promise<Engine> {
  checkEngineOptions(options);
  if (jspiFiles === null && options.backends?.includes("webgpu") === true)
    throw new TypeError(`backends: ${NO_WEBGPU}`);
  const { cores, isolated, jspi, secure, memoryBytes, workers } = effects.facts;
  if (!workers)
    throw (
      (await effects.diagnose?.(null).catch(() => null)) ??
      // Service workers can't import the code that distinguishes them.
      new SelvedgeError("setup-failed", "No Web Workers here; extensions need an offscreen document.", {
        reason: "no-worker",
      })
    );
  const wanted = options.backends ?? BACKENDS;
  // Only the JSPI build holds WebGPU kernels: without JSPI the GPU can't be used.
  const gpu = jspiFiles !== null && wanted.includes("webgpu") && jspi ? await effects.probeGpu() : null;
  if (!secure) options.onLog?.("selvedge: not https or localhost: no WebGPU, threads or storage");
  // The one place where lanes to servers come from: without the option there is none.
  const remote =
    options.remote === undefined ? undefined : (await import("./remote-lanes.ts")).remoteSide(effects, options.remote);
  return new Engine(effects, options, { cores, isolated, secure, jspi, memoryBytes, gpu }, jspiFiles, remote);
}

/** A pool of workers with models on it; made by `createEngine`. `await using` closes it where the browser has that. */
export class Engine extends AsyncDisposes {
  /** Facts about the device, as far as the browser reports them. */
  readonly device: DeviceFacts;
  readonly #host: LoadHost;
  readonly #startMs: number;
  readonly #isWasmAlone: boolean;
  readonly #hub: HubOptions;
  readonly #stop: AbortController = new AbortController();
  /** Whether persistent storage is still to be requested: once, when something is stored. */
  #mustAskToKeep: boolean;

  /** Not for callers: `createEngine` makes engines. */
  constructor(
    effects: Effects,
    options: EngineOptions,
    device: DeviceFacts,
    jspiFiles: JspiFiles,
    remote: RemoteSide | undefined,
  ) {
    super();
    this.device = device;
    this.#startMs = effects.now();
    this.#isWasmAlone = jspiFiles === null;
    this.#hub = options.hub ?? {};
    const { observe } = options;
    // Without locks between tabs, and hashes by WebCrypto, nothing is stored beyond the engine.
    const store =
      options.store === "auto" || options.store === undefined ? (device.secure ? "auto" : "memory") : options.store;
    this.#mustAskToKeep = store === "auto";
    const { onResult = null, devtools = false } =
      typeof observe === "function" ? { onResult: observe } : (observe ?? {});
    const backends = usableBackends(effects, options, device);
    const threads = device.isolated ? (options.threads ?? 1) : 1;
    const { cacheSource, builds } = addressesOf(effects, options, backends, jspiFiles);
    const counters = new Counters(PRIORITIES);
    const cache = new CacheClient(effects, cacheSource, store);
    const executor = new Executor(
      {
        ...{ effects, cache, counters, device, backends, threads, builds },
        lanesOf: remote?.lanes,
      },
      options,
    );
    const closed = this.#stop.signal;
    this.#host = {
      ...{ effects, device, cache, executor, counters, backends, closed, remote },
      placement: options.placement ?? "local",
      opener: new Opener(effects, cache, executor.markers, device, backends, options, {
        budgetBytes: options.memoryBudgetBytes ?? null,
        copiesBlobs: jspiFiles === null || !device.jspi,
        holdsBlobs: store !== "auto",
        page: effects.facts.page,
      }),
      chooser: new BackendChooser(
        (Comparer) =>
          new Comparer(effects, device, threads, closed, (key, ms) => {
            executor.dispatcher.measured(key, ms);
          }),
      ),
      results: new LazyResults(effects, options.results, options.onLog),
      observe: onResult,
      models: new Set(),
    };
    if (devtools) void this.#drawTracks();
    endByUsing(this, "asyncDispose", () => this.close());
  }

  /**
   * Loads a model: a `bundle.json` by URL, an `.onnx` by URL, bytes, Blob or File, or a repository in the Hugging Face
   * layout by its name or by the URL of its folder (with a slash at the end). Chooses the variant and the
   * backend for this device unless they are pinned.
   * @throws SelvedgeError `no-backend`, `download-failed`, `integrity-failed`, `bundle-invalid`, `model-invalid`,
   * `wrong-result`, `does-not-fit`, `out-of-memory`, `worker-crashed`, `closed`; the signal's reason for a cancel; an `AbortError` where `onSaveData`
   * says no
   * @example
   * const model = await engine.load("/models/ocr-rec/bundle.json", { onProgress: (p) => show(p.loadedBytes) });
   */
  load(source: ModelSource | RepositorySource, options: LoadOptions = {}): Promise<Model> {
    return this.#begin(source, options).catch(this.#host.effects.rethrow);
  }

  async #begin(source: ModelSource | RepositorySource, options: LoadOptions): Promise<Model> {
    checkLoadOptions(options);
    this.#assertOpen();
    if (this.#isWasmAlone && options.backend === "webgpu")
      throw new SelvedgeError("no-backend", `backend: ${NO_WEBGPU}`, { backend: "webgpu", reason: "pinned" });
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
  async availability(
    source: string | URL | RepositorySource,
    options: AvailabilityOptions = {},
  ): Promise<Availability> {
    this.#assertOpen();
    const { assess, checkAvailabilityOptions } = await import("./availability.ts");
    checkAvailabilityOptions(options);
    const [from, asked] = await this.#resolve(source, options, resolveAddress);
    return assess(this.#host, from, asked, eitherOf(options.signal, this.#stop.signal));
  }

  /** Resolves a source to its address or bytes; a repository's token and encoding become options. */
  async #resolve<T, S>(
    source: S | RepositorySource,
    options: LoadOptions,
    resolve: (source: S, base: string) => T,
  ): Promise<[T | string, SourceOptions]> {
    const { baseUrl } = this.#host.effects.facts;
    if (!isRepository(source)) return [resolve(source, baseUrl), options];
    const { resolveRepository } = await import("./repository-source.ts");
    return resolveRepository(source, options, this.#hub, baseUrl);
  }

  /**
   * Stores the newest version of a bundle for later loads and fetches only the chunks that changed; loaded models stay
   * as they are. Before a first load it fetches all chunks, as a prefetch.
   * @throws SelvedgeError as `load` does, and `quota-exceeded` with `details.missingBytes`; TypeError for options that
   * a load alone has, such as `batching`
   */
  update(source: string | URL | RepositorySource, options: UpdateOptions = {}): Promise<Updated> {
    return this.#update(source, options).catch(this.#host.effects.rethrow);
  }

  async #update(source: string | URL | RepositorySource, options: UpdateOptions): Promise<Updated> {
    checkLoadOptions(options);
    this.#assertOpen();
    (await import("./own-description.ts")).checkUpdateOptions(options);
    const [from, asked] = await this.#resolve(source, options, resolveAddress);
    const signal = eitherOf(options.signal, this.#stop.signal);
    await this.#askOnSaveData(from, asked, signal);
    const download = { signal, onProgress: options.onProgress };
    const updated = await this.#host.opener.update(from, { ...asked, update: "first" }, download);
    this.#askToKeep();
    return updated;
  }

  /** Returns the engine's counters. */
  stats(): EngineStats {
    const { counters, effects, executor, results, remote } = this.#host;
    const requests = { ...counters.read(), ...executor.dispatcher.depth };
    const classes = Object.fromEntries(PRIORITIES.map((x) => [x, counters.read(x)])) as EngineStats["classes"];
    const aliveMs = Math.max(1, effects.now() - this.#startMs);
    const utilisation = (busyMs: number): number => Math.min(1, busyMs / aliveMs);
    const lanes = executor.pool.stats().map((lane) => ({ ...lane, utilisation: utilisation(lane.busyMs) }));
    const models = this.#host.models.size;
    const offload = remote?.offload.read() ?? null;
    return { requests, classes, batches: counters.batches(), lanes, models, results: results.counts, offload };
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
    this.#assertOpen();
    const { dispatcher } = this.#host.executor;
    const watch = dispatcher.watch.bind(dispatcher);
    const inputsOf = (options as TraceOptions | null)?.inputs === true ? dispatcher.inputsOf.bind(dispatcher) : null;
    const prelude = takeDown(this.#host.effects.now(), watch, inputsOf);
    try {
      const { recordTrace } = await import("./record-trace.ts");
      const traced = { host: this.#host, device: this.device, stats: () => this.stats() };
      return await recordTrace(traced, options, prelude, { watch, inputsOf });
    } finally {
      prelude.stop();
    }
  }

  /** Ends all workers and rejects everything that is pending with `closed`. Safe to call twice. */
  close(): Promise<void> {
    const error = new SelvedgeError("closed", "The engine is closed.");
    this.#stop.abort(error);
    this.#host.executor.close(error);
    this.#host.cache.close(error);
    this.#host.models.clear();
    return Promise.resolve();
  }

  async #drawTracks(): Promise<void> {
    const { drawTracks } = await import("./devtools-tracks.ts");
    const { dispatcher, models } = this.#host.executor;
    const stop = drawTracks(dispatcher.watch.bind(dispatcher), (id) => models.get(id)?.name ?? "");
    this.#stop.signal.addEventListener("abort", stop);
  }

  async #load(source: ModelSource | RepositorySource, given: LoadOptions, download: FetchOptions): Promise<Model> {
    const [from, options] = await this.#resolve(source, given, resolveSource);
    const isAddress = typeof from === "string";
    if (isAddress) await this.#askOnSaveData(from, options, download.signal);
    const model = await loadModel(this.#host, from, options, download);
    if (isAddress) this.#askToKeep();
    if (isAddress && options.update === "later") this.#host.opener.updateQuietly(from, options, this.#stop.signal);
    return model;
  }

  async #askOnSaveData(from: string, options: SourceOptions, signal: AbortSignal): Promise<void> {
    if (options.onSaveData === undefined || !this.#host.effects.savesData()) return;
    const { askOnSaveData } = await import("./availability.ts");
    await askOnSaveData(this.#host, from, options, signal);
  }

  #askToKeep(): void {
    if (!this.#mustAskToKeep) return;
    this.#mustAskToKeep = false;
    void this.#host.effects.keepStorage();
  }

  #assertOpen(): void {
    if (this.#stop.signal.aborted) throw new SelvedgeError("closed", "The engine is closed.");
  }
}

function isRepository(source: unknown): source is RepositorySource {
  return typeof source === "object" && source !== null && "repo" in source;
}

/** Returns the backends that the options allow and the device has. */
function usableBackends({ facts }: Effects, options: EngineOptions, { gpu }: DeviceFacts): BackendName[] {
  const allowed = options.backends ?? BACKENDS;
  return BACKENDS.filter((name) => allowed.includes(name) && (name === "wasm" ? facts.wasm : gpu !== null));
}

/**
 * Returns the address of the fetch worker, and the builds of ONNX Runtime: with WebGPU the JSPI build alone; else the
 * smaller build, and for large models the JSPI build, which reads weights without a copy.
 */
function addressesOf(
  effects: Effects,
  { assetsBase, trustedTypesPolicy: policy }: EngineOptions,
  backends: readonly BackendName[],
  jspiFiles: JspiFiles,
): { readonly cacheSource: () => CacheSource; readonly builds: Builds } {
  const { baseUrl, jspi } = effects.facts;
  const assetsOf = (build: OrtBuild): Assets => resolveAssets(build, assetsBase?.toString(), baseUrl, jspiFiles);
  const make = (name: OrtBuild): Build => ({
    source: () => workerSource(effects, policy, assetsOf(name).workerUrl),
    wasmUrls: () => assetsOf(name),
    compiled: { modules: null, rest: null },
  });
  const first = backends.includes("webgpu") ? "jspi" : "wasm";
  const usual = make(first);
  return {
    cacheSource: () => {
      const { cacheUrl, brotliUrl } = assetsOf(first);
      return { ...workerSource(effects, policy, cacheUrl), brotliUrl };
    },
    builds: { usual, large: first === "wasm" && jspi && jspiFiles !== null ? make("jspi") : usual },
  };
}
