// What an app holds: finds out about the device, loads models onto lanes, and closes everything again. Everything it
// does to the world goes through its effects; nothing is kept at module level, so two engines on a page never meet.
import { chooseBuild, resolveAssets } from "./assets.ts";
import type { Assets } from "./assets.ts";
import type { BackendName, ModelFacts } from "./backend/backend.ts";
import type { Bundle, DecodeSpec, ImageSpec } from "./bundle.ts";
import { candidates, decide, settled } from "./choose.ts";
import type { Candidate, Measured, Pins, Placement } from "./choose.ts";
import type { DownloadOptions, Progress } from "./cache/download.ts";
import type { DeviceFacts } from "./device.ts";
import { Dispatcher } from "./dispatcher.ts";
import { browserEffects } from "./effects.ts";
import type { Effects } from "./effects.ts";
import { isSelvedgeError, SelvedgeError } from "./errors.ts";
import { Model } from "./model.ts";
import type { Placed } from "./model.ts";
import { Counters } from "./observe/counters.ts";
import type { RequestCounts } from "./observe/counters.ts";
import { checkEngineOptions, checkLoadOptions } from "./options.ts";
import type { EngineOptions, LoadOptions } from "./options.ts";
import type { LaneStats } from "./pool/lane.ts";
import { Pool } from "./pool/pool.ts";
import type { LoadMessage, RunMessage } from "./pool/protocol.ts";
import { probe, typicalFeeds } from "./probe.ts";
import { openSource } from "./source.ts";
import type { ModelSource, Opened } from "./source.ts";
import type { Port } from "./tensor.ts";

/** What an engine counts. */
export interface EngineStats {
  /** Counts requests by how they ended, and those that wait or run now. */
  readonly requests: RequestCounts & { readonly queued: number; readonly running: number };
  /** Counts per lane. */
  readonly lanes: readonly LaneStats[];
  /** How many models are loaded. */
  readonly models: number;
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
  // Only the JSPI build holds WebGPU kernels: without JSPI the GPU is out of reach.
  const gpu = wanted.includes("webgpu") && facts.jspi && facts.workers ? await effects.probeGpu() : null;
  const device: DeviceFacts = { cores: facts.cores, isolated: facts.isolated, jspi: facts.jspi, gpu };
  return new Engine(effects, options, device);
}

/** A pool of workers with models on it; made by `createEngine`. */
export class Engine {
  /** Describes the device, as far as the browser tells. */
  readonly device: DeviceFacts;
  readonly #effects: Effects;
  readonly #backends: readonly BackendName[];
  readonly #pool: Pool;
  readonly #dispatcher: Dispatcher;
  readonly #counters: Counters = new Counters();
  readonly #models: Set<Model> = new Set();
  readonly #threads: number;
  readonly #stop: AbortController = new AbortController();
  #nextModelId = 1;

  /** Not for callers: `createEngine` makes engines. */
  constructor(effects: Effects, options: EngineOptions, device: DeviceFacts) {
    this.device = device;
    this.#effects = effects;
    const { facts } = effects;
    const wanted = options.backends ?? ["webgpu", "wasm"];
    const usable = (name: BackendName): boolean =>
      wanted.includes(name) && facts.workers && (name === "wasm" ? facts.wasm : device.gpu !== null);
    this.#backends = (["webgpu", "wasm"] as const).filter(usable);
    this.#threads = device.isolated ? (options.threads ?? 1) : 1;
    const base = options.assetsBase?.toString();
    const assets = (): Assets => resolveAssets(chooseBuild(facts), base, facts.baseUrl);
    const size = { webgpu: usable("webgpu") ? 1 : 0, wasm: usable("wasm") ? (options.workers ?? wasmLanes(facts.cores)) : 0 };
    const { trustedTypesPolicy: policy } = options;
    this.#pool = new Pool(size, {
      effects,
      source: () => {
        const { workerUrl } = assets();
        return { href: workerUrl, script: policy === undefined ? workerUrl : policy.createScriptURL(workerUrl) };
      },
      wasmUrl: () => assets().wasmUrl,
      threads: this.#threads,
      verbose: options.verbose ?? false,
      onLog: options.onLog ?? null,
      idleMs: options.idleMs ?? 120_000,
      callTimeoutMs: options.callTimeoutMs ?? null,
      onFree: () => {
        this.#dispatcher.pump();
      },
    });
    this.#dispatcher = new Dispatcher(effects, this.#pool.lanes);
    if (Symbol.asyncDispose !== undefined)
      Object.defineProperty(this, Symbol.asyncDispose, { value: () => this.close() });
  }

  /**
   * Loads a model: a `bundle.json` by URL, or an `.onnx` by URL, bytes, Blob or File. Chooses the variant and the
   * backend for this device unless they are pinned.
   * @throws SelvedgeError `no-backend`, `download-failed`, `integrity-failed`, `bundle-invalid`, `model-invalid`,
   * `out-of-memory`, `worker-crashed`, `closed`; the signal's reason for a cancel
   * @example
   * const model = await engine.load("/models/ocr-rec/bundle.json", { onProgress: (p) => show(p.loadedBytes) });
   */
  async load(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
    checkLoadOptions(options);
    this.#assertOpen();
    const signal = options.signal === undefined ? this.#stop.signal : AbortSignal.any([options.signal, this.#stop.signal]);
    signal.throwIfAborted();
    const loading = this.#load(source, options, { effects: this.#effects, signal, onProgress: options.onProgress });
    return untilAborted(loading, signal);
  }

  /** Gives what the engine counted so far. */
  stats(): EngineStats {
    const requests = { ...this.#counters.read(), ...this.#dispatcher.depth };
    return { requests, lanes: this.#pool.stats(), models: this.#models.size };
  }

  /** Ends all workers and rejects everything that is pending with `closed`. Safe to call twice. */
  close(): Promise<void> {
    const error = new SelvedgeError("closed", "The engine is closed.");
    this.#stop.abort(error);
    this.#dispatcher.close();
    this.#pool.close(error);
    this.#models.clear();
    return Promise.resolve();
  }

  async #load(source: ModelSource, options: LoadOptions, download: DownloadOptions): Promise<Model> {
    const opened = await openSource(source, download);
    const pins: Pins = { backend: options.backend, variant: options.variant };
    const found = candidates(opened.bundle, this.device, this.#backends, pins);
    const loader = new Loader(this.#pool, opened, download, () => this.#nextModelId++);
    const { placement, measurable } = await this.#place(loader, found, pins, opened);
    const placed = await loader.placed(placement);
    const model: Model = new Model({
      effects: this.#effects,
      dispatcher: this.#dispatcher,
      counters: this.#counters,
      name: opened.bundle.model.name,
      identity: opened.identity,
      accepts: { ports: loader.inputs, images: loader.images },
      outputs: loader.outputs,
      placed,
      laneCount: (backend) => this.#pool.lanes.filter((lane) => lane.backend === backend).length,
      measure: measurable
        ? async (feeds) => loader.placed(await this.#measure(loader, found, opened.identity, feeds))
        : null,
      unload: () => {
        this.#models.delete(model);
        const error = new SelvedgeError("closed", `The model "${opened.bundle.model.name}" is unloaded.`);
        for (const modelId of loader.modelIds) {
          this.#dispatcher.drop(modelId, error);
          this.#pool.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
        }
      },
    });
    this.#models.add(model);
    return model;
  }

  /** Decides where a model runs; `measurable` where only a first request's inputs can tell. */
  async #place(
    loader: Loader,
    found: readonly Candidate[],
    pins: Pins,
    { bundle, identity }: Opened,
  ): Promise<{ placement: Placement & Candidate; measurable: boolean }> {
    const certain = settled(found, this.device, pins);
    if (certain !== null) return { placement: withVariant(certain, found), measurable: false };
    const remembered = this.#recall(identity, found);
    if (remembered !== null) {
      const placement = withVariant(decide(remembered), found);
      try {
        await loader.placed(placement);
        return { placement, measurable: false };
      } catch (error) {
        if (placement.backend === "wasm" || !isSelvedgeError(error)) throw error;
        const failed = { wasm: remembered.wasm, webgpu: null };
        return { placement: withVariant(decide(failed), found), measurable: false };
      }
    }
    await loader.on(candidateOf(found, "wasm"));
    const feeds = typicalFeeds(loader.inputs, bundle.model.typical ?? {});
    if (feeds !== null)
      return { placement: await this.#measure(loader, found, identity, feeds), measurable: false };
    const why = { code: "not-measured", text: "wasm: until a first request gives the means to measure" } as const;
    return { placement: { ...candidateOf(found, "wasm"), why }, measurable: true };
  }

  /** Measures both backends with the same inputs, and remembers. */
  async #measure(
    loader: Loader,
    found: readonly Candidate[],
    identity: string,
    feeds: RunMessage["feeds"],
  ): Promise<Placement & Candidate> {
    const on = async (backend: BackendName): Promise<number | null> => {
      try {
        const { message, lane } = await loader.on(candidateOf(found, backend));
        return await probe(this.#effects, lane, message, feeds);
      } catch {
        return null; // can't be loaded there: that is the answer
      }
    };
    const measured: Measured = { wasm: await on("wasm"), webgpu: await on("webgpu") };
    const placement = decide(measured);
    this.#effects.memo.set(this.#memoKey(identity, found), JSON.stringify(measured));
    return withVariant(placement, found);
  }

  #recall(identity: string, found: readonly Candidate[]): Measured | null {
    try {
      const kept: unknown = JSON.parse(this.#effects.memo.get(this.#memoKey(identity, found)) ?? "null");
      if (typeof kept !== "object" || kept === null || !("wasm" in kept) || !("webgpu" in kept)) return null;
      const { wasm, webgpu } = kept;
      const known = (x: unknown): x is number | null => x === null || typeof x === "number";
      return known(wasm) && known(webgpu) ? { wasm, webgpu } : null;
    } catch {
      return null;
    }
  }

  #memoKey(identity: string, found: readonly Candidate[]): string {
    const { gpu, cores } = this.device;
    const device = [gpu?.vendor, gpu?.architecture, gpu?.description, cores, this.#threads].join("|");
    return ["selvedge/measured/1", identity, found.map((x) => x.variant.id).join("+"), device].join("/");
  }

  #assertOpen(): void {
    if (this.#stop.signal.aborted) throw new SelvedgeError("closed", "The engine is closed.");
  }
}

/** One model on its way onto lanes: fetches each variant once, loads each candidate once. */
class Loader {
  readonly modelIds: number[] = [];
  readonly images: Record<string, ImageSpec> = {};
  readonly #decodes: Record<string, DecodeSpec> = {};
  readonly #pool: Pool;
  readonly #opened: Opened;
  readonly #download: DownloadOptions;
  readonly #newId: () => number;
  readonly #files: Map<string, Promise<LoadMessage["files"]>> = new Map();
  readonly #messages: Map<string, Promise<LoadMessage>> = new Map();
  #assets: Promise<Record<string, string>> | null = null;
  #facts: ModelFacts | null = null;

  constructor(pool: Pool, opened: Opened, download: DownloadOptions, newId: () => number) {
    this.#pool = pool;
    this.#opened = opened;
    this.#download = download;
    this.#newId = newId;
    for (const x of opened.bundle.model.inputs) if (x.image !== undefined) this.images[x.name] = x.image;
    for (const x of opened.bundle.model.outputs) if (x.decode !== undefined) this.#decodes[x.name] = x.decode;
  }

  get inputs(): readonly Port[] {
    const { bundle, declared } = this.#opened;
    return declared ? bundle.model.inputs : (this.#facts?.inputs ?? []);
  }

  get outputs(): readonly Port[] {
    const { bundle, declared } = this.#opened;
    return declared ? bundle.model.outputs : (this.#facts?.outputs ?? []);
  }

  /** Loads a candidate onto a lane of its backend. */
  async on(candidate: Candidate) {
    const message = await this.#message(candidate);
    const lane = this.#pool.pick(candidate.backend, message.modelId);
    if (lane === undefined) throw new SelvedgeError("no-backend", `There is no ${candidate.backend} lane.`);
    const facts = await lane.load(message);
    checkDeclared(this.#opened.bundle, this.#opened.declared, facts);
    this.#facts ??= facts;
    return { message, lane, facts };
  }

  /** Loads where a placement says, and gives what a model holds of it. */
  async placed(placement: Placement & Candidate): Promise<Placed> {
    const { message, facts } = await this.on(placement);
    const { backend, variant, why } = placement;
    return { backend, variant: variant.id, why, message, assignment: facts.assignment };
  }

  #message({ backend, variant }: Candidate): Promise<LoadMessage> {
    const key = `${variant.id} ${backend}`;
    const known = this.#messages.get(key);
    if (known !== undefined) return known;
    const modelId = this.#newId();
    this.modelIds.push(modelId);
    const made = this.#make(modelId, backend, variant);
    this.#messages.set(key, made);
    return made;
  }

  async #make(modelId: number, backend: BackendName, variant: Candidate["variant"]): Promise<LoadMessage> {
    const files = this.#files.get(variant.id) ?? this.#opened.files(variant, this.#download);
    this.#files.set(variant.id, files);
    this.#assets ??= this.#opened.assets(this.#download);
    return {
      modelId,
      files: await files,
      session: variant.session?.[backend] ?? {},
      images: this.images,
      decodes: this.#decodes,
      assets: await this.#assets,
    };
  }
}

/** A bundle that declares other ports than its model has would fail later and less clearly. */
function checkDeclared(bundle: Bundle, declared: boolean, facts: ModelFacts): void {
  if (!declared) return;
  const check = (kind: string, ports: readonly Port[], real: readonly Port[]): void => {
    for (const port of ports) {
      const match = real.find((x) => x.name === port.name);
      if (match?.dtype === port.dtype && match.dims.length === port.dims.length) continue;
      const got = match === undefined ? "none" : `${match.dtype} [${match.dims.join(", ")}]`;
      const message = `${bundle.model.name}: the bundle declares ${kind} "${port.name}" as ${port.dtype} [${port.dims.join(", ")}], the model has ${got}.`;
      throw new SelvedgeError("bundle-invalid", message, { at: port.name });
    }
  };
  check("input", bundle.model.inputs, facts.inputs);
  check("output", bundle.model.outputs, facts.outputs);
}

function candidateOf(found: readonly Candidate[], backend: BackendName): Candidate {
  const candidate = found.find((x) => x.backend === backend);
  if (candidate === undefined) throw new SelvedgeError("internal", `There is no candidate for ${backend}.`);
  return candidate;
}

function withVariant(placement: Placement, found: readonly Candidate[]): Placement & Candidate {
  return { ...placement, variant: candidateOf(found, placement.backend).variant };
}

/** One lane a core, four at most: more only cost memory, since each holds its own copy of the weights. */
function wasmLanes(cores: number): number {
  return Math.min(4, Math.max(1, cores));
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    void promise.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}
