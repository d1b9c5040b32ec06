// A simulated world for the engine: a clock that jumps from event to event, workers that are objects, a network that is
// a map, and faults drawn from a seed. The engine in it is the real one, including Comlink; only its effects are
// simulated. One seed is one story: the same events in the same order, thousands of times faster than real time, as
// SQLite, FoundationDB and TigerBeetle are tested.
//
// Determinism rests on two rules. Between two events all microtasks run to their end (`run`). And while faults happen
// nothing waits for the real world: models are loaded before, since hashing and blobs are real I/O.
import type { Backend } from "../../rpc/backend.ts";
import type { AdapterFacts } from "../../core/device.ts";
import type { PageLocks } from "../../effects/web-locks.ts";
import type { Effects, LifeChange, WorkerHandle } from "../../effects/effects.ts";
import { serveCache } from "../../cache/serve.ts";
import type { CacheEffects } from "../../cache/serve.ts";
import type { Store } from "../../cache/stores/store.ts";
import { isCallNotice } from "../../rpc/messages.ts";
import type { CallNotice, WireRun } from "../../rpc/messages.ts";
import { createRemoteBackend } from "../../worker/backend/remote-backend.ts";
import { serve } from "../../worker/serve.ts";
import type { Random } from "../random.ts";
import { isWorkingOutside } from "./real-work.ts";

/** Fault that a message triggers in a worker. */
export type WorkerFault =
  "crash" | "hang" | "lost" | "out-of-memory" | "error" | "slow" | "never-starts" | "messageerror";

/** Options of a world. */
export interface WorldOptions {
  readonly random: Random;
  readonly gpu: AdapterFacts | null;
  readonly cores: number;
  /** Whether wasm threads may be used. Default false. */
  readonly isolated?: boolean;
  /** Files by URL. */
  readonly files: ReadonlyMap<string, string | Uint8Array<ArrayBuffer>>;
  /** Store of the worker that fetches models. Default: none. */
  readonly store?: Store;
  /** Creates the backend inside a worker. */
  readonly createBackend: (world: World, worker: SimulatedWorker) => Backend;
  /** Draws a fault for a message to a worker, or null; called only after `faults` was switched on. */
  readonly drawFault: (world: World) => WorkerFault | null;
  /** Slowness of each new worker as a factor, and the factor by which its reported times are wrong. */
  readonly drawPace?: (world: World) => [slowness: number, lie: number];
  /** Clock resolution of page and workers, in ms. Default: exact. */
  readonly clockMs?: number;
  /** Reading of the clocks as the world begins, in ms. Default: 0. */
  readonly uptimeMs?: number;
  readonly log: ((line: string) => void) | null;
}

interface TimedEvent {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
  /** Whether it stands still while the page is frozen: true for work in a worker, false for a wall-clock timer. */
  readonly frozen: boolean;
}

/** Start of the faults: long after the last model was loaded. */
export const BEGIN_MS = 60_000;

/** Maximum delivery time of a message. */
const DELIVERY_MS = 0.2;

/** Number of events that are queued at a time. */
const TOGETHER = 64;

/** Number of events at one reading of the clock after which a world counts as hung. */
const HUNG_EVENTS = 20_000;

/** A simulated world. */
export class World {
  readonly random: Random;
  readonly effects: Effects;
  readonly store: Store | null;
  readonly log: (line: string) => void;
  /** Workers that have not ended. */
  readonly alive: Set<SimulatedWorker> = new Set();
  /** Workers started, and workers ended by a fault. */
  started = 0;
  killed = 0;
  /** Number of requests for persistent storage. */
  keepsAsked = 0;
  faults = false;
  /** Answers requests to inference servers; there are none by default. */
  fetchRemote: (url: string, init: RequestInit) => Promise<Response> = () =>
    Promise.reject(new TypeError("Failed to fetch"));
  now = 0;
  /** Minimum delay of the page's timers, as in a hidden tab; a worker's timers are exact. */
  clampMs = 0;
  /** Wall-clock times of GPU device losses. */
  readonly gpuLosses: number[] = [];
  /** Messages that workers must never receive, and work without end. */
  readonly wrong: string[] = [];
  /** Whether it had work without end: then it can't be run on. */
  isHung = false;
  /** Runs so far, and their rows. */
  runs = 0;
  rows = 0;
  /** Number of worlds so far: each is a page of its own. */
  static #pages = 0;
  readonly #options: WorldOptions;
  /** Web Locks: names held by workers, and the callbacks for when one is released. */
  readonly held: Map<string, SimulatedWorker> = new Map();
  readonly #waits: Map<string, () => void> = new Map();
  readonly #lives: Set<(change: LifeChange) => void> = new Set();
  #events: TimedEvent[] = [];
  #order = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = options.random;
    this.store = options.store ?? null;
    const { log } = options;
    this.log = (line) => log?.(`${this.now.toFixed(1).padStart(10)} ms  ${line}`);
    this.effects = this.#makeEffects();
  }

  /** Calls back after `ms`; the returned function cancels. */
  at(ms: number, act: () => void, frozen = true): () => void {
    const event = { at: this.now + Math.max(0, ms), order: this.#order++, act, frozen };
    // Kept sorted: the queue is short, and a binary search is simpler than a heap.
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#events[middle] as TimedEvent;
      if (other.at < event.at || (other.at === event.at && other.order < event.order)) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
    return () => {
      const index = this.#events.indexOf(event);
      if (index >= 0) this.#events.splice(index, 1);
    };
  }

  /** Fires a life-cycle event of the page. */
  live(change: LifeChange): void {
    for (const listener of this.#lives) listener(change);
  }

  /** Reads the clock of a page or a worker. */
  read(): number {
    const { clockMs = 0, uptimeMs = 0 } = this.#options;
    const ms = this.now + uptimeMs;
    return clockMs === 0 ? ms : Math.floor(ms / clockMs) * clockMs;
  }

  /** Advances the wall clock while page and workers stand still: a frozen tab, a sleeping laptop. */
  freeze(ms: number): void {
    this.log(`frozen for ${ms} ms`);
    this.live("left");
    this.now += ms;
    this.#events = this.#events.map((event) => (event.frozen ? { ...event, at: event.at + ms } : event));
    this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
    this.live("back");
  }

  /**
   * Runs events until `done` returns true, no event is left, or the time is up. Each event is an immediate of its own,
   * before which all microtasks have run. Many are queued at a time, since Node polls the operating system between two
   * queues of them, which took a fifth of a story. Work that goes on and on at one reading of the clock is `wrong`.
   */
  async run(done: () => boolean, untilMs: number): Promise<void> {
    let queued: NodeJS.Immediate[] = [];
    let atOnce = 0;
    await new Promise<void>((resolve, reject) => {
      const next = (): void => {
        try {
          const event = this.#events[0];
          if (this.isHung || done() || event === undefined || event.at > untilMs) {
            resolve();
            return;
          }
          this.#events.shift();
          const before = this.read();
          this.now = Math.max(this.now, event.at);
          atOnce = this.read() > before ? 0 : atOnce + 1;
          if (atOnce > HUNG_EVENTS) {
            this.isHung = true;
            this.wrong.push(`hung: more than ${HUNG_EVENTS} events at one reading of the clock`);
            resolve();
            return;
          }
          event.act();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const queue = (): void => {
        queued = Array.from({ length: TOGETHER }, () => setImmediate(next));
        queued.push(setImmediate(queue));
      };
      queue();
    }).finally(() => {
      for (const immediate of queued) clearImmediate(immediate);
    });
  }

  /**
   * Runs events until a promise is settled, waiting for the real world if necessary: only while faults are off.
   * @throws Error where the world hangs
   */
  async finish<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const watched = promise.finally(() => {
      settled = true;
    });
    watched.catch(() => undefined);
    while (!settled) {
      if (this.isHung) throw new Error(this.wrong.at(-1));
      await this.run(() => settled || isWorkingOutside(), this.now + 1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return watched;
  }

  /**
   * Ends the quiet phase, in which loads waited for the real world in nondeterministic order: lets all of it settle,
   * then sets clock and random numbers to this seed's fixed state. From here on there are faults.
   */
  async begin(seed: number): Promise<void> {
    await this.run(() => false, BEGIN_MS);
    this.now = BEGIN_MS;
    this.random.reset(seed ^ 0x5e1fed9e);
    this.faults = true;
    this.log("faults begin");
  }

  /** Grants the locks of a worker that has ended or released them. */
  release(worker: SimulatedWorker): void {
    for (const [name, holder] of this.held) {
      if (holder !== worker) continue;
      this.held.delete(name);
      this.at(1, () => this.#waits.get(name)?.());
    }
  }

  #makeLocks(): PageLocks {
    return {
      wait: (name, granted) => {
        this.#waits.set(name, granted);
        if (!this.held.has(name)) this.at(1, () => this.#waits.get(name)?.());
        return () => this.#waits.delete(name);
      },
      steal: (name) => {
        this.held.delete(name);
      },
    };
  }

  /** Draws the slowness of a new worker and the error of its times. */
  drawPace(): [slowness: number, lie: number] {
    return this.faults ? (this.#options.drawPace?.(this) ?? [1, 1]) : [1, 1];
  }

  /** Checks a message to a worker: a batch must have one shape. */
  checkRun(message: unknown): void {
    const { path, argumentList } = message as { path?: string[]; argumentList?: { value: unknown }[] };
    if (path?.[0] !== "run") return;
    const { runs } = (argumentList?.[0]?.value as WireRun).tensors;
    const shapes = runs.map(({ like }) => like["x"]?.dims.slice(1).join());
    if (new Set(shapes).size > 1) this.wrong.push(`a batch mixes shapes: ${shapes.join(" and ")}`);
  }

  /** Counts a run. */
  noteBatch(rows: number): void {
    this.runs += 1;
    this.rows += rows;
  }

  /** Creates the backend of a remote lane: the real one, whose requests go to `fetchRemote`. */
  createRemote(): Backend {
    return createRemoteBackend({
      fetch: (url, init) => this.fetchRemote(url, init),
      now: () => this.read(),
      setTimer: (callback, ms) => (ms === Infinity ? () => undefined : this.at(ms, callback)),
      random: () => this.random.next(),
      baseUrl: "https://app.test/",
    });
  }

  /** Draws a fault for a message to a worker. */
  drawFault(): WorkerFault | null {
    return this.faults ? this.#options.drawFault(this) : null;
  }

  #makeEffects(): Effects {
    const { gpu, cores, isolated = false, files, random } = this.#options;
    const memo = new Map<string, string>();
    return {
      now: () => this.read(),
      wallClock: () => 1_700_000_000_000 + this.now,
      setTimer: (callback, ms) => this.at(Math.max(ms, this.clampMs), callback, false),
      random: () => random.next(),
      fetch: (url) => {
        const body = files.get(url);
        return Promise.resolve(body === undefined ? new Response("", { status: 404 }) : new Response(body));
      },
      createWorker: (url): WorkerHandle => new SimulatedWorker(this, String(url), this.#options.createBackend),
      compileWasm: () => Promise.reject(new Error("There is no WebAssembly here.")),
      probeGpu: () => Promise.resolve(gpu),
      activated: () => Promise.resolve(),
      keepStorage: () => {
        this.keepsAsked += 1;
        return Promise.resolve();
      },
      locks: this.#makeLocks(),
      onLife: (listener) => {
        this.#lives.add(listener);
        return () => this.#lives.delete(listener);
      },
      memo: {
        get: (key) => memo.get(key) ?? null,
        set: (key, value) => {
          if (value === null) memo.delete(key);
          else memo.set(key, value);
        },
      },
      savesData: () => false,
      createImageBitmap: () => Promise.reject(new Error("There are no images here.")),
      facts: {
        cores,
        isolated,
        secure: true,
        jspi: true,
        memoryBytes: null,
        wasm: true,
        workers: true,
        baseUrl: "https://app.test/",
        page: `page ${++World.#pages}`,
      },
    };
  }
}

/** The effects of the worker that fetches models; no other tab is there. */
function cacheEffects(world: World): CacheEffects {
  return {
    ...world.effects,
    wallClock: () => Math.floor(world.effects.wallClock()), // entry names end with it
    setTimer: (callback, ms) => world.at(ms, callback),
    isOwn: () => true,
    locks: null,
    heldLocks: () => Promise.resolve([]),
    connection: () => ({ saveData: false, bytesPerSecond: null }),
    estimate: () => Promise.resolve(null),
    openStore: () => Promise.resolve(world.store),
    setBrotliUrl: () => undefined,
    loadBrotli: () => Promise.reject(new Error("no bundle of this world is compressed")),
  };
}

type Listener = (event: globalThis.Event) => void;

/** A worker: the real worker side (worker/serve.ts) on a simulated backend; its messages are events of the world. */
export class SimulatedWorker implements WorkerHandle {
  readonly id: number;
  /** Whether it belongs to a lane, rather than being the one that fetches models. */
  readonly computes: boolean;
  /** A fault that the backend acts out in its current call. */
  fault: WorkerFault | null = null;
  /** Slowness as a factor, and the error factor of its reported times. */
  readonly slowness: number;
  readonly lie: number;
  isBusy = false;
  /** Whether a fault is about to end it. */
  isDying = false;
  /** Wall-clock time at which it lost its GPU; null before. */
  lostMs: number | null = null;
  /** Models loaded in it. */
  readonly models: Set<number> = new Set();
  readonly #world: World;
  readonly #listeners: Map<string, Set<Listener>> = new Map();
  readonly #inside: Set<Listener> = new Set();
  #announced: CallNotice | null = null;

  constructor(world: World, url: string, createBackend: WorldOptions["createBackend"]) {
    this.#world = world;
    this.id = ++world.started;
    world.alive.add(this);
    world.log(`worker ${this.id} started from ${url}`);
    const endpoint = {
      postMessage: (message: unknown) => {
        this.#deliver(this.#listeners.get("message"), message);
      },
      addEventListener: (_type: string, listener: Listener) => this.#inside.add(listener),
      removeEventListener: (_type: string, listener: Listener) => this.#inside.delete(listener),
    };
    this.computes = !url.endsWith("/worker-cache.js");
    [this.slowness, this.lie] = world.drawPace();
    const nextTask = (): Promise<void> =>
      new Promise((resolve) => {
        world.at(0, resolve);
      });
    if (this.computes) {
      const now = (): number => world.read() * this.lie;
      serve(createBackend(world, this), endpoint, now, nextTask, () => world.createRemote());
    } else serveCache(endpoint, cacheEffects(world));
  }

  postMessage(message: unknown): void {
    // Comlink sends a release message when a proxy is garbage-collected: its time is random and must not affect the
    // story.
    if (!this.#world.alive.has(this)) return;
    if (this.#takeLock(message)) return;
    // Backends here need nothing ahead of a load; a hint that has no effect must not change which faults are drawn.
    if ((message as { readonly path?: readonly string[] }).path?.[0] === "foresee") return;
    // No work of the worker, so no place for a fault either. A call arrives right before its run, as on a real port.
    if (isCallNotice(message)) {
      if (message.selvedge === "call") this.#announced = message;
      else this.#deliver(this.#inside, message);
      return;
    }
    const announced = this.#announced;
    this.#announced = null;
    if (this.computes) this.#world.checkRun(message);
    const fault = this.computes ? this.#world.drawFault() : null;
    if (fault !== null) this.#world.log(`worker ${this.id}: ${fault}`);
    this.fault = fault;
    if (fault === "crash" || fault === "messageerror" || fault === "never-starts") {
      const type = fault === "messageerror" ? "messageerror" : "error";
      this.isDying = true;
      const event = fault === "crash" ? { type, message: "it crashed" } : { type, message: "" };
      this.#world.at(this.#world.random.upTo(20), () => {
        this.#forgetLoss();
        this.#emit(this.#listeners.get(type), event);
      });
      if (fault !== "messageerror") return; // the message is lost with it
    }
    this.#deliver(this.#inside, message, announced);
  }

  addEventListener(type: string, listener: Listener): void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
  }

  removeEventListener(type: string, listener: Listener): void {
    this.#listeners.get(type)?.delete(listener);
  }

  /** Ends like a worker that crashed. */
  crash(): void {
    this.#emit(this.#listeners.get("error"), { type: "error", message: "it crashed" });
  }

  /** Ends like a worker that something outside the page ended: no event is fired. */
  kill(): void {
    this.#forgetLoss();
    if (!this.#world.alive.delete(this)) return;
    this.#world.log(`worker ${this.id} was ended from outside`);
    this.#world.release(this);
  }

  /** Stops answering, without having ended as far as its page can tell. */
  silence(): void {
    this.#inside.clear();
  }

  terminate(): void {
    if (this.#world.alive.delete(this)) this.#world.log(`worker ${this.id} ended`);
    this.#world.release(this);
  }

  /** Takes a lock on request; this never fails. */
  #takeLock(message: unknown): boolean {
    const { id, path, argumentList } = message as {
      id: string;
      path?: string[];
      argumentList?: { value: string | null }[];
    };
    if (path?.[0] !== "hold") return false;
    const name = argumentList?.[0]?.value ?? null;
    this.#world.at(0, () => {
      if (!this.#world.alive.has(this)) return;
      this.#world.release(this);
      if (name !== null) this.#world.held.set(name, this);
      this.#emit(this.#listeners.get("message"), {
        type: "message",
        data: { id, type: "RAW", value: { ok: true, value: name !== null } },
      });
    });
    return true;
  }

  /** The report of a loss that is in flight dies with the worker: nobody can count that loss. */
  #forgetLoss(): void {
    const world = this.#world;
    const isToldBy = (this.lostMs ?? -Infinity) + DELIVERY_MS;
    if (!world.alive.has(this) || isToldBy < world.effects.wallClock()) return;
    world.gpuLosses.splice(world.gpuLosses.indexOf(this.lostMs as number), 1);
  }

  #deliver(listeners: Set<Listener> | undefined, message: unknown, before: unknown = null): void {
    const data = copy(message);
    this.#world.at(this.#world.random.upTo(DELIVERY_MS), () => {
      if (before !== null) this.#emit(listeners, { type: "message", data: before, origin: "" });
      this.#emit(listeners, { type: "message", data, origin: "" });
    });
  }

  #emit(listeners: Set<Listener> | undefined, event: object): void {
    if (!this.#world.alive.has(this)) return; // a worker that has ended neither sends nor receives
    const full = { preventDefault: () => undefined, ...event } as unknown as globalThis.Event;
    for (const listener of listeners ?? []) listener(full);
  }
}

/** Structured clone. Plain data is copied by hand: cloning took a tenth of a story's time. */
function copy(value: unknown): unknown {
  if (typeof value !== "object" || value === null) {
    if (typeof value === "function" || typeof value === "symbol") structuredClone(value); // throws
    return value;
  }
  if (Array.isArray(value)) return value.map(copy);
  if (value instanceof Float32Array) return value.slice();
  if (Object.getPrototypeOf(value) !== Object.prototype) return structuredClone(value);
  const result: Record<string, unknown> = {};
  for (const key in value) result[key] = copy((value as Record<string, unknown>)[key]);
  return result;
}
