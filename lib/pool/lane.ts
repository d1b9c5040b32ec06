// A lane: a place where one batch runs at a time. It outlives its worker: the worker starts with the first work, ends
// when it idles, crashes or loses its device, and the next work starts another, which loads its models again from
// their blobs. A lane does what it is told, in order; what runs where and when is lib/schedule's business.
import type { BackendFacts, BackendName, ModelFacts } from "../backend/backend.ts";
import type { Effects } from "../effects.ts";
import { SelvedgeError } from "../errors.ts";
import type { WorkerSource } from "../link.ts";
import type { LoadMessage, Ran, RunMessage, WireValue } from "./protocol.ts";
import { WorkerClient } from "./worker-client.ts";

/** What every lane of a pool shares. */
export interface LaneOptions {
  readonly effects: Effects;
  /** Names the worker script; called again for each start, may throw a clear error. */
  readonly source: () => WorkerSource;
  readonly wasmUrl: () => string;
  readonly threads: number;
  readonly verbose: boolean;
  readonly onLog: ((line: string) => void) | null;
  /** Ends a worker after this long idle, in ms. */
  readonly idleMs: number;
  /** Bounds every call, in ms; null lets the lane bound runs by what it has seen. */
  readonly callTimeoutMs: number | null;
  /** Called when a worker ended by a fault, before its calls reject. */
  readonly onCrash: (error: Error) => void;
  /** Called whenever the lane became free. */
  readonly onFree: () => void;
}

const START_BOUND_MS = 60_000;
/** Loading, and the first run, which compiles shaders: minutes on a software adapter. */
const FIRST_BOUND_MS = 180_000;
const RUN_BOUND_MIN_MS = 10_000;
/** A run may take this many times the slowest per element so far. */
const RUN_BOUND_FACTOR = 20;

/** What a lane counted. */
export interface LaneStats {
  /** Name of the lane, as `wasm-0`. */
  readonly id: string;
  /** The backend that its worker runs. */
  readonly backend: BackendName;
  /** What it does now; `off` where no worker is up. */
  readonly state: "off" | "starting" | "idle" | "busy";
  /** How often a worker was started. */
  readonly starts: number;
  /** How often a worker ended by itself, hung, or lost its device. */
  readonly crashes: number;
  /** Batches run. */
  readonly runs: number;
  /** Time spent on them, in ms. */
  readonly busyMs: number;
}

interface Loaded {
  readonly facts: Promise<ModelFacts>;
  slowestMsPerElement: number;
}

/** A place where one batch runs at a time. */
export class Lane {
  readonly id: string;
  readonly backend: BackendName;
  readonly #options: LaneOptions;
  #client: WorkerClient | null = null;
  #starting: Promise<WorkerClient> | null = null;
  #facts: BackendFacts | null = null;
  #loaded: Map<number, Loaded> = new Map();
  #tail: Promise<unknown> = Promise.resolve();
  #outstanding = 0;
  #cancelIdle: (() => void) | null = null;
  #closed = false;
  #starts = 0;
  #crashes = 0;
  #runs = 0;
  #busyMs = 0;

  constructor(id: string, backend: BackendName, options: LaneOptions) {
    this.id = id;
    this.backend = backend;
    this.#options = options;
  }

  /** Tells whether nothing runs or waits here. */
  get free(): boolean {
    return this.#outstanding === 0 && !this.#closed;
  }

  /** Gives what the running worker said of itself; null while there is none. */
  get facts(): BackendFacts | null {
    return this.#facts;
  }

  /** Tells whether a model is loaded, or being loaded, in the worker that runs now. */
  holds(modelId: number): boolean {
    return this.#loaded.has(modelId);
  }

  /** Loads a model, starting the worker where there is none. */
  load(message: LoadMessage): Promise<ModelFacts> {
    return this.#serial(async () => this.#ensureLoaded(await this.#ensureStarted(), message).facts);
  }

  /** Runs a batch, loading its model first where it is not. `boundMs` overrides the lane's own bound. */
  run(model: LoadMessage, feeds: RunMessage["feeds"], boundMs?: number): Promise<Ran> {
    return this.#serial(async () => {
      const client = this.#client !== null ? this.#client : await this.#ensureStarted();
      const loaded = this.#loaded.get(model.modelId) ?? this.#ensureLoaded(client, model);
      await loaded.facts;
      const elements = countElements(feeds);
      const startMs = this.#options.effects.now();
      const bound = boundMs ?? this.#runBound(loaded, elements);
      const ran = await client.run({ modelId: model.modelId, feeds }, bound);
      const ms = this.#options.effects.now() - startMs;
      loaded.slowestMsPerElement = Math.max(loaded.slowestMsPerElement, ms / elements);
      this.#runs += 1;
      this.#busyMs += ms;
      return ran;
    });
  }

  /** Frees a model where it is loaded. */
  async unload(modelId: number): Promise<void> {
    const client = this.#client;
    if (client === null || !this.#loaded.has(modelId)) return;
    await this.#serial(async () => {
      if (this.#client !== client) return;
      this.#loaded.delete(modelId);
      await client.unload(modelId, this.#options.callTimeoutMs ?? RUN_BOUND_MIN_MS);
    });
  }

  /** Ends the worker now; what is pending rejects with the error. The next work starts another. */
  end(error: Error): void {
    this.#client?.end(error);
  }

  /** Ends the worker for good. */
  close(error: Error): void {
    this.#closed = true;
    this.#cancelIdle?.();
    this.end(error);
  }

  /** Gives what the lane counted. */
  stats(): LaneStats {
    const on = this.#client !== null;
    const state = this.#starting !== null ? "starting" : this.#outstanding > 0 ? "busy" : on ? "idle" : "off";
    const { id, backend } = this;
    return { id, backend, state, starts: this.#starts, crashes: this.#crashes, runs: this.#runs, busyMs: this.#busyMs };
  }

  /** Runs one thing after the other: a watchdog must not count the time in which its call waited for another. */
  #serial<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new SelvedgeError("closed", "The engine is closed."));
    this.#cancelIdle?.();
    this.#cancelIdle = null;
    const result = this.#outstanding === 0 ? work() : this.#tail.then(work);
    this.#outstanding += 1;
    const settled = (): void => {
      this.#outstanding -= 1;
      if (this.#outstanding > 0 || this.#closed) return;
      this.#startIdling();
      this.#options.onFree();
    };
    this.#tail = result.then(settled, settled);
    return result;
  }

  #startIdling(): void {
    if (this.#client === null) return;
    this.#cancelIdle = this.#options.effects.setTimer(() => {
      this.#client?.end(new SelvedgeError("closed", "The worker idled out."));
    }, this.#options.idleMs);
  }

  #ensureStarted(): Promise<WorkerClient> {
    if (this.#client !== null) return Promise.resolve(this.#client);
    this.#starting ??= this.#start().finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  async #start(): Promise<WorkerClient> {
    const { effects, threads, verbose, callTimeoutMs } = this.#options;
    await effects.activated();
    if (this.#closed) throw new SelvedgeError("closed", "The engine is closed.");
    const wasmUrl = this.#options.wasmUrl();
    const client = new WorkerClient(effects, this.#options.source());
    client.onLog = this.#options.onLog;
    client.onEnd = (error) => {
      this.#forget(client, error);
    };
    this.#client = client;
    this.#starts += 1;
    try {
      const options = { backend: this.backend, wasmUrl, threads, verbose };
      this.#facts = await client.start(options, callTimeoutMs ?? START_BOUND_MS);
      return client;
    } catch (error) {
      client.end(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  #forget(client: WorkerClient, error: Error): void {
    if (this.#client !== client) return;
    // A worker ends itself only by a fault; idling and closing leave nothing outstanding or a closed lane.
    if (this.#outstanding > 0 && !this.#closed) {
      this.#crashes += 1;
      this.#options.onCrash(error);
    }
    this.#client = null;
    this.#facts = null;
    this.#loaded = new Map();
  }

  #ensureLoaded(client: WorkerClient, message: LoadMessage): Loaded {
    const known = this.#loaded.get(message.modelId);
    if (known !== undefined) return known;
    const facts = client.load(message, this.#options.callTimeoutMs ?? FIRST_BOUND_MS);
    const loaded: Loaded = { facts, slowestMsPerElement: 0 };
    this.#loaded.set(message.modelId, loaded);
    facts.catch(() => this.#loaded.delete(message.modelId));
    return loaded;
  }

  #runBound(loaded: Loaded, elements: number): number {
    if (this.#options.callTimeoutMs !== null) return this.#options.callTimeoutMs;
    if (loaded.slowestMsPerElement === 0) return FIRST_BOUND_MS;
    return Math.max(RUN_BOUND_MIN_MS, RUN_BOUND_FACTOR * loaded.slowestMsPerElement * elements);
  }
}

function countElements(feeds: RunMessage["feeds"]): number {
  let total = 1;
  for (const name in feeds) {
    const value = feeds[name] as WireValue;
    total += value.kind === "tensor" ? value.tensor.data.length : value.image.width * value.image.height;
  }
  return total;
}
