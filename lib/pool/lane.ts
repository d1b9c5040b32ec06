// A lane runs one batch at a time. It outlives its worker: the worker starts with the first work, ends when it idles,
// crashes or loses its device, and the next work starts another, which loads its models again from their blobs. A lane
// executes its calls in order; lib/schedule decides what runs where and when.
import type { BackendFacts, BackendName, ModelFacts } from "../rpc/backend.ts";
import type { LaneKind } from "../core/device.ts";
import { codeOf, SelvedgeError } from "../core/errors.ts";
import {
  CHECK_BOUND_MS,
  countElements,
  FIRST_BOUND_MS,
  RUN_BOUND_MIN_MS,
  runBound,
  START_BOUND_MIN_MS,
  START_BOUND_MS,
} from "./call-timeouts.ts";
import type { Build, LaneOptions, LaneRunOptions } from "./lane-options.ts";
import type { LaneStats, Loaded, Sent } from "./lane-state.ts";
import type { Feeds, LoadMessage, Ran, RunItems, RunMessage } from "../rpc/messages.ts";
import { startWorker } from "./start-worker.ts";
import { WorkerClient } from "./worker-client.ts";
import { startClock, Watchdog } from "../rpc/watchdog.ts";

/**
 * Memory above which a worker is replaced, where a new one would hold clearly less: WebAssembly memory never shrinks.
 */
const MEMORY_LIMIT_BYTES = 2 * 2 ** 30;
const MEMORY_WASTE = 1.25;
/** Models from this size on take the build that reads their weights without a copy (`Builds.large`). */
export const LARGE_BYTES = 30e6;
/** A worker that fills up again within so many runs needs the memory: its bound is doubled. */
const RUNS_MIN = 16;

/** Result of a batch whose items were all cancelled. */
const NOTHING_RAN: Ran = { items: [], runs: 0, preprocessMs: 0, runMs: 0, decodeMs: 0 };

/** Runs one batch at a time in its worker. */
export class Lane {
  readonly id: string;
  readonly backend: BackendName;
  readonly kind: LaneKind;
  /** Base address of its server; null on this device. */
  readonly endpoint: string | null;
  /** Errors that ended its workers. */
  readonly ended: WeakSet<object> = new WeakSet();
  readonly #options: LaneOptions;
  #client: WorkerClient | null = null;
  #starting: Promise<WorkerClient> | null = null;
  /** Build of the worker, and of the next ones. */
  #build: Build;
  #facts: BackendFacts | null = null;
  #loaded: Map<number, Loaded> = new Map();
  #tail: Promise<unknown> = Promise.resolve();
  #outstanding = 0;
  /** Pending batches, and the runs that were sent: the first is running, the others are staged behind it. */
  #batches = 0;
  readonly #sent: Sent[] = [];
  #cancelIdle: (() => void) | null = null;
  /** Time to start the worker. */
  #startMs = 0;
  /** Memory of the worker before its first model, and the number of runs at that time. */
  #startBytes = 0;
  #startRuns = 0;
  #limitBytes = MEMORY_LIMIT_BYTES;
  /** Growth of the worker by each model: a model that is loaded again may fit where another was. */
  readonly #grown: WeakMap<LoadMessage, number> = new WeakMap();
  #closed = false;
  #starts = 0;
  #crashes = 0;
  #runs = 0;
  #busyMs = 0;

  constructor(id: string, backend: BackendName, options: LaneOptions, kind: LaneKind) {
    this.id = id;
    this.backend = backend;
    this.kind = kind;
    this.#options = options;
    this.#build = options.builds.usual;
    this.endpoint = this.#build.endpoint ?? null;
  }

  /** Whether nothing runs or waits here. */
  get free(): boolean {
    return this.#outstanding === 0 && !this.#closed;
  }

  /** Facts reported by the running worker; null while there is none. */
  get facts(): BackendFacts | null {
    return this.#facts;
  }

  /** Whether all pending calls are runs, so that one more can be staged. */
  get isOpen(): boolean {
    return this.#outstanding === this.#batches && !this.#closed && !this.#isFull;
  }

  /** Whether the worker holds much memory that a new one would not. */
  get #isFull(): boolean {
    const { memoryBytes = 0 } = this.#client ?? {};
    if (memoryBytes <= this.#limitBytes) return false;
    let needed = this.#startBytes;
    for (const { bytes } of this.#loaded.values()) needed += bytes;
    return memoryBytes > needed * MEMORY_WASTE;
  }

  /** The models that are loaded, or being loaded, in the current worker. */
  get held(): ReadonlyMap<number, Loaded> {
    return this.#loaded;
  }

  /** Starts the worker ahead of a model of so many bytes, 0 where not known; the load reports an error of the start. */
  warm(bytes: number): void {
    if (this.#closed || this.#outstanding > 0) return;
    if ((this.#client ?? this.#starting) !== null && (this.#loaded.size > 0 || !this.#isTooSmall(bytes))) return;
    this.#ensureStarted(bytes).then(
      () => {
        if (this.#outstanding === 0) this.#startIdling();
      },
      () => undefined,
    );
  }

  /** Loads a model; starts the worker where there is none. */
  load(message: LoadMessage, onPhase?: LaneRunOptions["onPhase"]): Promise<ModelFacts> {
    return this.#serial(async () => {
      onPhase?.("starting");
      const client = await this.#ensureStarted(sizeOf(message), message.files[0]?.data);
      onPhase?.("loading");
      return this.#ensureLoaded(client, message).facts;
    });
  }

  /**
   * Runs a batch; first loads its model and rebuilds its state where the worker does not hold them. A batch whose model
   * is loaded is sent to the worker at once, behind the running one: it begins when that ends, however busy the page is
   * then. Items passed as a function are taken when the batch is sent; where none is left, nothing runs.
   */
  run(
    model: LoadMessage,
    items: readonly Feeds[] | (() => readonly Feeds[]),
    options: LaneRunOptions = {},
  ): Promise<Ran> {
    const { modelId } = model;
    const { state, boundMs, onPhase, isProbe = false } = options;
    const isStaged =
      !isProbe &&
      this.#sent.length > 0 &&
      this.#sent.length === this.#outstanding &&
      state === undefined &&
      this.#loaded.get(modelId)?.isReady === true;
    const work = async (): Promise<Ran> => {
      if (!isStaged) onPhase?.("starting");
      const up = this.#starting === null ? this.#client : null;
      const client = up !== null && this.#loaded.has(modelId) ? up : await this.#ensureStarted(sizeOf(model));
      if (!isStaged) onPhase?.("loading");
      const loaded = this.#ensureLoaded(client, model);
      if (!loaded.isReady) await loaded.facts;
      const taken = typeof items === "function" ? items() : items;
      if (taken.length === 0) return NOTHING_RAN;
      if (!isStaged) onPhase?.("running");
      const send: RunItems = (sent) => this.#call(client, loaded, { modelId, items: sent }, options);
      const checked = async (ran: Ran): Promise<Ran> => {
        const checking = isProbe ? null : (model.check?.answered(taken, ran, send) ?? null);
        if (checking !== null) await checking;
        return ran;
      };
      if (state === undefined) return checked(await send(taken));
      let restore = loaded.states.get(state.id) === state.after ? null : state.checkpoint;
      loaded.states.delete(state.id); // until it has finished: a failed step leaves no state to continue from
      const { id: stateId, isCheckpoint } = state;
      const step = async (feeds: readonly Feeds[], checkpoint: boolean): Promise<Ran> => {
        const message = { modelId, items: feeds, state: { stateId, restore, checkpoint } };
        restore = null;
        return this.#call(client, loaded, message, { boundMs });
      };
      for (const past of restore === null ? [] : state.since) await step([past], false);
      const ran = await checked(await step(taken, isCheckpoint));
      loaded.states.set(stateId, state.mark);
      return ran;
    };
    return this.#serial(work, isStaged ? "staged" : isProbe ? "other" : "run");
  }

  /** Frees a state. */
  async removeState(stateId: number): Promise<void> {
    const client = this.#client;
    if (client === null) return;
    await this.#serial(async () => {
      if (this.#client !== client) return;
      for (const { states } of this.#loaded.values()) states.delete(stateId);
      await client.removeState(stateId, this.#options.callTimeoutMs ?? RUN_BOUND_MIN_MS);
    });
  }

  /** Frees a model where it is loaded. */
  async unload(modelId: number): Promise<void> {
    const client = this.#client;
    const leaving = this.#loaded.get(modelId);
    if (client === null || leaving === undefined) return;
    leaving.isLeaving = true;
    await this.#serial(async () => {
      if (this.#client !== client) return;
      this.#loaded.delete(modelId);
      await client.unload(modelId, this.#options.callTimeoutMs ?? RUN_BOUND_MIN_MS);
    });
  }

  /** Checks that an idle worker still answers, and ends it where it does not. A busy one has its watchdog. */
  check(): void {
    const client = this.#client;
    if (client === null || this.#starting !== null || this.#outstanding > 0) return;
    const bound = this.#options.callTimeoutMs ?? CHECK_BOUND_MS;
    // No model has this id: unloading it does nothing but answer.
    this.#serial(() => client.unload(0, bound)).catch(() => undefined);
  }

  /** Ends the worker now; pending calls reject with the error. The next work starts another. */
  end(error: Error = new SelvedgeError("closed", "The worker was recycled.")): void {
    this.#client?.end(error);
  }

  /** Ends the worker for good. */
  close(error: Error): void {
    this.#closed = true;
    this.#stopIdling();
    this.end(error);
  }

  /** Returns the lane's counters. */
  stats(): LaneStats {
    const on = this.#client !== null;
    const state = this.#starting !== null ? "starting" : this.#outstanding > 0 ? "busy" : on ? "idle" : "off";
    const { id, backend } = this;
    const { memoryBytes = 0 } = this.#client ?? {};
    const [starts, crashes, runs, busyMs] = [this.#starts, this.#crashes, this.#runs, this.#busyMs];
    return { id, backend, state, starts, crashes, runs, busyMs, memoryBytes };
  }

  async #call(client: WorkerClient, loaded: Loaded, message: RunMessage, options: LaneRunOptions): Promise<Ran> {
    const { effects, callTimeoutMs } = this.#options;
    const elements = countElements(message.items);
    const boundMs =
      options.boundMs ?? callTimeoutMs ?? runBound(loaded.slowestMs, loaded.slowestMsPerElement, elements);
    const isFirst = loaded.slowestMs === 0;
    const watchdog = new Watchdog(effects, boundMs);
    const begin = (): void => {
      options.onPhase?.("running");
      watchdog.begin();
    };
    // The run before it in the worker has its own time.
    if (this.#sent.length === 0) watchdog.begin();
    this.#sent.push({ begin });
    const send = (): Promise<Ran> =>
      client.run(message, watchdog).finally(() => {
        this.#sent.shift();
        if (this.#client === client) this.#sent[0]?.begin();
      });
    const beforeBytes = client.memoryBytes;
    const ran = await (isFirst ? this.#try(message.modelId, send) : send());
    loaded.usedMs = effects.now();
    if (isFirst) {
      loaded.bytes += client.memoryBytes - beforeBytes;
      this.#options.events.grown();
    }
    const ms = watchdog.spentMs;
    loaded.slowestMs = Math.max(loaded.slowestMs, ms);
    loaded.slowestMsPerElement = Math.max(loaded.slowestMsPerElement, ms / elements);
    this.#runs += 1;
    this.#busyMs += ms;
    return ran;
  }

  /**
   * Runs calls one after another, except staged runs, which wait in the worker. A watchdog must not count the time in
   * which its call waited for another.
   */
  #serial<T>(work: () => Promise<T>, kind: "run" | "staged" | "other" = "other"): Promise<T> {
    if (this.#closed) return Promise.reject(new SelvedgeError("closed", "The engine is closed."));
    this.#stopIdling();
    const result = this.#outstanding === 0 || kind === "staged" ? work() : this.#tail.then(work);
    const batches = kind === "other" ? 0 : 1;
    this.#outstanding += 1;
    this.#batches += batches;
    const settled = (): void => {
      this.#outstanding -= 1;
      this.#batches -= batches;
      if (this.#outstanding > 0 || this.#closed) return;
      if (this.#isFull) this.#recycle();
      this.#startIdling();
      this.#options.events.freed();
    };
    this.#tail = result.then(settled, settled);
    return result;
  }

  #recycle(): void {
    if (this.#runs - this.#startRuns < RUNS_MIN) this.#limitBytes *= 2;
    this.end();
  }

  #startIdling(): void {
    if (this.#client === null) return;
    this.#cancelIdle = this.#options.effects.setTimer(() => {
      this.end();
      this.#options.events.idled();
    }, this.#options.idleMs);
  }

  #stopIdling(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = null;
  }

  /** Whether a model of so many bytes needs another build than the worker's. */
  #isTooSmall(bytes: number): boolean {
    return bytes >= LARGE_BYTES && this.#build !== this.#options.builds.large;
  }

  /** Starts the worker where none is running, or none of the build for a model; meanwhile it inspects the model. */
  #ensureStarted(bytes: number, model?: Blob): Promise<WorkerClient> {
    if (this.#isTooSmall(bytes)) {
      this.#build = this.#options.builds.large;
      if (this.#client !== null) {
        this.#starting = null;
        this.end();
      }
    }
    if (this.#client !== null && this.#starting === null) return Promise.resolve(this.#client);
    if (this.#starting === null) {
      const starting = this.#startEither().finally(() => {
        if (this.#starting === starting) this.#starting = null;
      });
      this.#starting = starting;
    }
    if (model !== undefined) void this.#options.effects.activated().then(() => this.#client?.foresee(model));
    return this.#starting;
  }

  /** Starts a worker; one of the usual build where the files of the other are missing. */
  #startEither(): Promise<WorkerClient> {
    return this.#start().catch((error: unknown) => {
      const { builds } = this.#options;
      if (this.#build === builds.usual || codeOf(error) === "closed") throw error;
      this.#build = builds.large = builds.usual;
      return this.#start();
    });
  }

  async #start(): Promise<WorkerClient> {
    const { effects, threads, verbose, callTimeoutMs } = this.#options;
    await effects.activated();
    const { source, wasmUrls, compiled, remote } = this.#build;
    if (this.#closed) throw new SelvedgeError("closed", "The engine is closed.");
    if (!this.#options.events.mayStart(this.backend))
      throw new SelvedgeError("device-lost", "The GPU was lost repeatedly and is not used for two minutes.");
    const urls = wasmUrls();
    const client = new WorkerClient(effects, source());
    client.onLog = this.#options.onLog;
    client.onEnd = (error) => {
      this.#dropClient(client, error);
    };
    this.#client = client;
    this.#starts += 1;
    const clock = startClock(effects);
    try {
      const options = { backend: this.backend, threads, verbose, remote: remote?.() };
      const boundMs = callTimeoutMs === null ? START_BOUND_MS : Math.max(callTimeoutMs, START_BOUND_MIN_MS);
      this.#facts = await startWorker(client, { effects, compiled, urls, options, boundMs });
      this.#startMs = clock.spentMs;
      this.#startBytes = client.memoryBytes;
      this.#startRuns = this.#runs;
      return client;
    } catch (error) {
      client.end(error instanceof Error ? error : new Error(String(error)));
      throw error;
    } finally {
      clock.stop();
    }
  }

  #dropClient(client: WorkerClient, error: Error): void {
    if (this.#client !== client) return;
    // An idle worker, or one whose work was cancelled, is ended on purpose; the loss of a device always counts.
    const code = codeOf(error);
    if ((code === "device-lost" || (this.#outstanding > 0 && code !== "closed")) && !this.#closed) {
      this.#crashes += 1;
      this.#options.events.crashed(error);
      // A failure of the wide lane's threads must not be repeated, and the other lanes work without it.
      if (this.kind === "wide") this.close(error);
    }
    this.#stopIdling(); // the timer is for this worker, not for the next
    this.ended.add(error);
    this.#client = null;
    this.#facts = null;
    this.#loaded = new Map();
  }

  #ensureLoaded(client: WorkerClient, message: LoadMessage): Loaded {
    const refused = message.check?.refused ?? null;
    if (refused !== null) throw refused;
    const known = this.#loaded.get(message.modelId);
    if (known !== undefined) return known;
    const { effects, events, callTimeoutMs } = this.#options;
    if (events.isUnloaded(message.modelId)) throw new SelvedgeError("closed", "The model is unloaded.");
    const beforeBytes = client.memoryBytes;
    const knownBytes = this.#grown.get(message) ?? sizeOf(message);
    const { modelId } = message;
    const bound = callTimeoutMs ?? FIRST_BOUND_MS;
    const clock = startClock(effects);
    const facts = this.#try(modelId, async () => {
      const loaded = await client.load(message, bound).finally(() => {
        clock.stop();
      });
      await message.check?.loaded((items) => client.run({ modelId, items }, bound), this.endpoint, loaded);
      return loaded;
    });
    const loaded: Loaded = {
      facts,
      isReady: false,
      isLeaving: false,
      bytes: knownBytes,
      usedMs: effects.now(),
      slowestMs: 0,
      slowestMsPerElement: 0,
      states: new Map(),
    };
    this.#loaded.set(message.modelId, loaded);
    facts.then(
      () => {
        loaded.isReady = true;
        loaded.bytes = Math.max(knownBytes, client.memoryBytes - beforeBytes);
        this.#grown.set(message, loaded.bytes);
        events.grown();
        // The wide lane's time includes its threads, so it does not apply to other lanes.
        if (this.kind !== "wide") events.loaded(message.modelId, clock.spentMs + this.#startMs, this.id);
      },
      () => this.#loaded.delete(message.modelId),
    );
    return loaded;
  }

  #try<T>(modelId: number, work: () => Promise<T>): Promise<T> {
    const { events } = this.#options;
    events.trying(modelId, true);
    return work().finally(() => {
      events.trying(modelId, false);
    });
  }
}

/** Returns the bytes of a model's files. */
function sizeOf({ files }: LoadMessage): number {
  return files.reduce((sum, { data }) => sum + data.size, 0);
}
