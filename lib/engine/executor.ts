// The lanes of one engine, the dispatcher of their work, and the ids under which they know models. Handles the events
// of lanes.
import type { BackendName } from "../rpc/backend.ts";
import type { CacheClient } from "./cache-client.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { CrashMarkers } from "./crash-markers.ts";
import { isSmall } from "../core/device.ts";
import type { DeviceFacts } from "../core/device.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { Effects } from "../effects/effects.ts";
import { codeOf } from "../core/errors.ts";
import { followLife } from "./page-lifecycle.ts";
import type { Counters } from "../observe/counters.ts";
import type { EngineOptions } from "./options.ts";
import { GpuLedger } from "../pool/gpu-loss-ledger.ts";
import type { Builds, LaneEvents } from "../pool/lane-options.ts";
import { Pool } from "../pool/pool.ts";
import type { PoolSize } from "../pool/pool.ts";
import { withTicker } from "./worker-timers.ts";

/** Idle time of a worker on a small device: WebAssembly memory shrinks only with its worker. */
const SMALL_IDLE_MS = 5_000;

/** A model as lanes hold it. */
export interface Registered {
  readonly name: string;
  readonly variant: string;
  readonly isKeptInMemory: boolean;
}

/** Collaborators of an executor, and facts about its device. */
export interface ExecutorParts {
  readonly effects: Effects;
  readonly cache: CacheClient;
  readonly counters: Counters;
  readonly device: DeviceFacts;
  readonly backends: readonly BackendName[];
  readonly threads: number;
  readonly builds: Builds;
  /** Makes the lanes to servers; absent without any. */
  readonly lanesOf?: PoolSize["remote"];
}

/** Runs the work of one engine on its lanes. */
export class Executor implements LaneEvents {
  readonly pool: Pool;
  readonly dispatcher: Dispatcher;
  readonly markers: CrashMarkers;
  /** The models, by the ids that lanes know them by. */
  readonly models: Map<number, Registered> = new Map();
  readonly #ledger: GpuLedger;
  readonly #budgetBytes: number;
  readonly #stopLife: () => void;
  #nextModelId = 1;
  #lastMark = 0;

  constructor(parts: ExecutorParts, options: EngineOptions) {
    const { effects, cache, counters, threads, builds } = parts;
    const wait = (ms: number): Promise<unknown> => cache.wait(ms);
    this.markers = new CrashMarkers(effects);
    this.#ledger = new GpuLedger(effects);
    this.#budgetBytes = options.memoryBudgetBytes ?? Infinity;
    this.pool = new Pool(sizeOf(parts, options), {
      effects: withTicker(effects, wait, "once late"),
      events: this,
      ...{ builds, threads },
      verbose: options.verbose ?? false,
      onLog: options.onLog ?? null,
      idleMs: options.idleMs ?? (isSmall(parts.device) ? SMALL_IDLE_MS : 120_000),
      callTimeoutMs: options.callTimeoutMs ?? null,
    });
    const settings = { agingMs: options.agingMs ?? 2_000, maxSize: options.queue?.maxSize ?? 100_000 };
    this.dispatcher = new Dispatcher(withTicker(effects, wait), this.pool.lanes, this.#ledger, counters, settings);
    this.#stopLife = followLife(effects, this.pool, this.markers);
  }

  /** Returns the id under which lanes know a candidate of a model from now on. */
  register(identity: string, candidate: Candidate, model: Omit<Registered, "variant">): number {
    const modelId = this.#nextModelId++;
    this.markers.name(modelId, identity, candidate);
    this.models.set(modelId, { ...model, variant: candidate.variant.id });
    return modelId;
  }

  /** Frees a model on every lane; rejects its queued steps with the error. */
  unload(modelId: number, error: Error): void {
    this.models.delete(modelId);
    this.markers.delete(modelId);
    this.dispatcher.drop(modelId, error);
    this.pool.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
  }

  /** Returns a number that no state and no step of one has had. */
  newMark(): number {
    return ++this.#lastMark;
  }

  /** Frees a state on every lane. */
  removeState(stateId: number): void {
    this.pool.removeState(stateId).catch(() => undefined); // a worker that ended has freed it already
  }

  /** Ends all workers, and rejects everything that is queued or running. */
  close(error: Error): void {
    this.#stopLife();
    this.markers.clear();
    this.dispatcher.close();
    this.pool.close(error);
  }

  trying(modelId: number, isTrying: boolean): void {
    this.markers.set(modelId, isTrying);
  }

  isUnloaded(modelId: number): boolean {
    return !this.models.has(modelId);
  }

  loaded(modelId: number, ms: number, lane: string): void {
    this.dispatcher.loaded(modelId, ms, lane);
  }

  grown(): void {
    this.pool.trim(this.#budgetBytes, (modelId) => this.models.get(modelId)?.isKeptInMemory === true);
  }

  mayStart(backend: BackendName): boolean {
    return backend !== "webgpu" || this.#ledger.allowed;
  }

  crashed(error: Error): void {
    if (codeOf(error) === "device-lost") this.#ledger.note();
  }

  freed(): void {
    this.dispatcher.pump();
  }

  idled(): void {
    this.pool.releaseCompiled();
  }
}

function sizeOf({ effects, device, backends, lanesOf }: ExecutorParts, options: EngineOptions): PoolSize {
  const { cores } = effects.facts;
  const hasWasm = backends.includes("wasm");
  /** Whether the engine chooses the workers that share the cores, and may take many. */
  const isOurs = hasWasm && options.workers === undefined && !isSmall(device);
  return {
    remote: lanesOf,
    webgpu: backends.includes("webgpu") ? 1 : 0,
    wasm: hasWasm ? (options.workers ?? (isSmall(device) ? 1 : wasmLanes(cores))) : 0,
    hasExpress: isOurs,
    // One thread per core, eight at most.
    wideThreads: isOurs && options.threads === undefined && device.isolated ? Math.min(8, cores) : 0,
  };
}

/** One lane per core, four at most: more only cost memory, since each holds its own copy of the weights. */
function wasmLanes(cores: number): number {
  return Math.min(4, Math.max(1, cores));
}
