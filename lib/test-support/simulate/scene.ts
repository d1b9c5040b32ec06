// A scene: the real engine on a simulated device whose faults a world switches on and off, with its models, its
// requests and their results. worlds/ describes the events; worlds.ts runs them.
import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import type { Backend, BackendName, ModelFacts } from "../../rpc/backend.ts";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import type { Model } from "../../engine/model.ts";
import type { EngineOptions, LoadOptions, RunOptions } from "../../engine/options.ts";
import type { RunInfo } from "../../engine/result.ts";
import type { Golden } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Random } from "../random.ts";
import { bundleJson } from "../../core/bundle-json.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import { COST_ENTRY, FACTOR_ENTRY, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { CHUNK_FILE, toyGolden } from "./toy-golden.ts";
import { World } from "./world.ts";
import type { SimulatedWorker } from "./world.ts";

const BASE = "https://app.test/";
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };
const START_MS = 300;
const LOAD_MS = 80;
/** Relative difference between two runs of the same batch. */
const NOISE = 0.05;
/** Limit on the time until all requests are settled. */
const SETTLE_MS = 3_600_000;
/** Limit on the waits for the real world. */
const REAL_TURNS = 10_000;
/** Turns without an event before time advances to the next one. */
const IDLE_TURNS = 50;
/** Time for the real world before the first advance, in ms; the second has half, the third a third. */
const BUSY_MS = 20;

/** Costs of a model on one backend. */
export interface RunCost {
  readonly fixedMs: number;
  readonly rowMs: number;
}

/** A model of a scene: y = factor · x. */
export interface Toy {
  readonly factor: number;
  readonly wasm: RunCost;
  readonly webgpu?: RunCost;
  /** Whether each backend has a variant of its own. Default: one variant for both. */
  readonly hasTwoVariants?: boolean;
  /** Whether its output is decoded to two classes. */
  readonly hasClasses?: boolean;
  /** Whether its variants have a golden. */
  readonly hasGolden?: boolean;
}

/** The device of a scene. */
export interface Device {
  readonly gpu?: boolean;
  readonly cores?: number;
  /** Resolution of its clocks, in ms. */
  readonly clockMs?: number;
}

/** Faults of the device. All may change at any time. */
export interface Faults {
  /** Returns the error of a worker's start; null if it can start. */
  start: (backend: BackendName, worker: SimulatedWorker) => Error | null;
  /** Returns the error of a model's load; null if it can be loaded. */
  load: (factor: number, backend: BackendName, worker: SimulatedWorker) => Error | null;
  /** Whether a run never ends. */
  hangs: (factor: number, backend: BackendName) => boolean;
  /** Number of rows that a run may have; larger runs are out of memory. */
  maxRows: (factor: number) => number;
  /** Whether the network answers. */
  isOnline: boolean;
}

/** One request and its result. */
export interface SceneRequest {
  readonly model: Model;
  readonly calledMs: number;
  /** Infinity without a deadline. */
  readonly dueMs: number;
  /** Whether a healthy lane could answer it in time, so that it must be answered. */
  readonly isPossible: boolean;
  /** Whether the first of two classes is far ahead in its answer; else both are equal. */
  readonly isSure: boolean;
  /** When it was settled; null while it is not. */
  settledMs: number | null;
  info: RunInfo | null;
  /** The code of its error; null if it was answered or is not settled. */
  code: string | null;
}

/** Options of a request. */
export interface SceneRequestOptions extends RunOptions {
  readonly rows?: number;
  /** Default: true where it has no deadline. */
  readonly isPossible?: boolean;
  /** Whether a model with classes is sure of its answer. Default: false. */
  readonly isSure?: boolean;
  /** Its input; requests with equal values are identical. Default: a different value for each. */
  readonly value?: number;
}

/** Plan of a world. */
export interface WorldPlan {
  readonly name: string;
  /** The findings that it covers, as `core-A1`. */
  readonly about: string;
  /** Draws the device. */
  readonly device: (random: Random) => Device;
  /** Plays the world, and records properties that do not hold. Faults are over when it returns. */
  readonly play: (scene: Scene) => Promise<void>;
}

/** A device, an engine on it, and the requests. */
export class Scene {
  readonly world: World;
  /** The world's own random numbers: the same sequence whatever else happens. */
  readonly random: Random;
  readonly faults: Faults = {
    start: () => null,
    load: () => null,
    hangs: () => false,
    maxRows: () => Infinity,
    isOnline: true,
  };
  readonly calls: SceneRequest[] = [];
  /** Properties that did not hold. */
  readonly broken: string[] = [];
  /** Runs started on each backend with their durations in ms. */
  readonly runs: {
    readonly backend: BackendName;
    readonly rows: number;
    readonly factor: number;
    readonly atMs: number;
  }[] = [];
  /** Factors of models that the page holds. */
  readonly held: Set<number> = new Set();
  /** Requests besides `calls` that a healthy lane could answer in time, and how many were. */
  possible = 0;
  answered = 0;
  readonly #files: Map<string, string | Uint8Array<ArrayBuffer>> = new Map<string, string | Uint8Array<ArrayBuffer>>([
    [BASE + TOY_CHUNK.path, TOY_CHUNK.content],
  ]);
  readonly #factors: Map<SimulatedWorker, Map<number, number>> = new Map();
  readonly #lose: Map<SimulatedWorker, () => void> = new Map();
  readonly #backends: Map<SimulatedWorker, BackendName> = new Map();
  #engine: Engine | null = null;
  #value = 0;
  /** Advances of time after a wait for the real world. */
  #jumps = 0;

  constructor(seed: number, { gpu = false, cores = 2, clockMs = 0 }: Device, log: ((line: string) => void) | null) {
    this.random = new Random(seed ^ 0x2f6e2b1);
    this.world = new World({
      random: new Random(seed),
      gpu: gpu ? GPU : null,
      cores,
      files: this.#files,
      clockMs,
      createBackend: (world, worker) => this.#createBackend(world, worker),
      drawFault: () => null,
      log,
    });
    const { fetch } = this.world.effects;
    this.world.effects.fetch = (url, init) =>
      this.faults.isOnline ? fetch(url, init) : Promise.reject(new TypeError("Failed to fetch"));
  }

  /** Returns the engine. */
  get engine(): Engine {
    if (this.#engine === null) throw new Error("open first");
    return this.#engine;
  }

  /** Creates an engine that replaces the previous one. */
  async open(options: EngineOptions = {}): Promise<Engine> {
    this.#engine = await createEngine({ effects: this.world.effects, ...options });
    return this.#engine;
  }

  /** Closes the engine: the page then holds no models. */
  async close(): Promise<void> {
    this.held.clear();
    await this.engine.close();
  }

  /** Publishes a model; returns its URL. */
  publish(toy: Toy): string {
    const url = `${BASE}m${toy.factor}.json`;
    this.#files.set(url, bundleOf(toy));
    if (toy.hasGolden !== true) return url;
    const { golden, files } = toyGolden(toy.factor);
    this.#files.set(url, withGolden(bundleOf(toy), golden));
    for (const [path, bytes] of Object.entries({ ...CHUNK_FILE, ...files })) this.#files.set(BASE + path, bytes);
    return url;
  }

  /** Loads a model and waits for it. */
  async load(toy: Toy, options: LoadOptions = {}): Promise<Model> {
    const model = await this.world.finish(this.engine.load(this.publish(toy), options));
    this.held.add(toy.factor);
    return model;
  }

  /** Unloads a model. */
  unload(toy: Toy, model: Model): void {
    this.held.delete(toy.factor);
    model.unload();
  }

  /** Makes a request now. */
  ask(
    model: Model,
    { rows = 1, isPossible, isSure = false, value = this.#value++, ...options }: SceneRequestOptions = {},
  ): SceneRequest {
    const { deadlineMs = Infinity } = options;
    const calledMs = this.world.now;
    const call: SceneRequest = {
      ...{ model, calledMs, dueMs: calledMs + deadlineMs, isPossible: isPossible ?? deadlineMs === Infinity },
      ...{ isSure, settledMs: null, info: null, code: null },
    };
    this.calls.push(call);
    const first = isSure ? 10 + (value % 65_536) : value % 65_536;
    const data = Float32Array.from({ length: 2 * rows }, (_, i) => (isSure && i % 2 === 1 ? 0 : first));
    const x = { dtype: "float32", dims: [rows, 2], data } as const;
    model.run({ x }, options).then(
      ({ outputs, info }) => {
        call.settledMs = this.world.now;
        call.info = info;
        // A larger model's answer has its name.
        const answering = info.variant.includes("/") ? info.variant : model.name;
        const factor = Number(/\d+/.exec(answering)?.[0]);
        const own = outputs["y"];
        const isRight =
          String(own?.dims) === String(x.dims) &&
          own?.data.length === data.length &&
          data.every((each, i) => own.data[i] === factor * each);
        if (!isRight) this.broken.push(`${answering} answered wrongly`);
      },
      (error: unknown) => {
        call.settledMs = this.world.now;
        call.code = isSelvedgeError(error) ? error.code : String(error);
      },
    );
    return call;
  }

  /** Makes a request every `everyMs`; resolves after the last one is made. */
  async askEvery(
    model: Model,
    everyMs: number,
    count: number,
    ask: SceneRequestOptions | ((i: number) => SceneRequestOptions) = {},
  ): Promise<SceneRequest[]> {
    const calls: SceneRequest[] = [];
    for (let i = 0; i < count; i += 1) {
      calls.push(this.ask(model, typeof ask === "function" ? ask(i) : ask));
      await this.pass(everyMs);
    }
    return calls;
  }

  /** Advances time by `ms`. */
  async pass(ms: number): Promise<void> {
    let isOver = false;
    this.world.at(
      ms,
      () => {
        isOver = true;
      },
      false,
    );
    await this.world.run(() => isOver, Infinity);
  }

  /** Advances time until a condition holds; also waits for the real world, where files are read. */
  async until(holds: () => boolean, withinMs: number): Promise<void> {
    const { world } = this;
    const endMs = world.now + withinMs;
    let idle = 0;
    for (let turns = 0; !holds() && world.now < endMs && turns < REAL_TURNS; turns += 1) {
      const { now } = world;
      // After a while without events from the real world the next event is due, however far away it is.
      const untilMs = idle < IDLE_TURNS ? now + 1_000 : Infinity;
      // A module that is imported comes from another thread, which a busy machine may hold up; later ever fewer do.
      if (idle === IDLE_TURNS) await wait(BUSY_MS / (this.#jumps += 1));
      await world.run(() => holds() || (untilMs === Infinity && world.now > now), Math.min(endMs, untilMs));
      idle = world.now > now ? 0 : idle + 1;
      await nextTurn();
    }
  }

  /** Advances time until all requests are settled; one that is not after an hour is lost. */
  async settle(): Promise<void> {
    await this.until(() => this.calls.every(({ settledMs }) => settledMs !== null), SETTLE_MS);
    const lost = this.calls.filter(({ settledMs }) => settledMs === null).length;
    if (lost > 0) this.broken.push(`${lost} requests were lost`);
  }

  /** Records a violation unless the property holds. */
  expect(holds: boolean, text: string): void {
    if (!holds) this.broken.push(text);
  }

  /** Returns the workers that compute on a backend. */
  workers(backend?: BackendName): SimulatedWorker[] {
    return [...this.world.alive].filter(
      (worker) => worker.computes && (backend === undefined || this.#backends.get(worker) === backend),
    );
  }

  /** Takes the GPU away from the page, once. */
  loseGpu(): void {
    for (const worker of this.workers("webgpu")) this.#lose.get(worker)?.();
  }

  /** Returns the models that workers hold though the page does not. */
  leaked(): string[] {
    return this.workers().flatMap((worker) => {
      const factors = [...worker.models].map((id) => this.#factors.get(worker)?.get(id) ?? 0);
      return factors
        .filter((factor) => !this.held.has(factor))
        .map((factor) => `m${factor} leaked in worker ${worker.id}`);
    });
  }

  #createBackend(world: World, worker: SimulatedWorker): Backend {
    const factors = new Map<number, { readonly factor: number; readonly cost: RunCost }>();
    this.#factors.set(worker, new Map());
    let name: BackendName = "wasm";
    let isLost = false;
    const take = (ms: number): Promise<void> =>
      new Promise((resolve) => {
        world.at(ms * (1 + NOISE * (2 * world.random.next() - 1)), resolve);
      });
    const throwLost = (): void => {
      if (isLost) throw new SelvedgeError("device-lost", "The GPU device was lost: simulated");
    };
    const backend: Backend = {
      onLost: null,
      onLog: null,
      start: async (options) => {
        name = options.backend;
        this.#backends.set(worker, name);
        this.#lose.set(worker, () => {
          if (isLost) return;
          isLost = true;
          backend.onLost?.("simulated");
        });
        await take(START_MS);
        const error = this.faults.start(name, worker);
        if (error !== null) throw error;
        return { backend: name, gpu: null, version: "toy", startMs: 0 };
      },
      load: async (modelId, { session }): Promise<ModelFacts> => {
        await take(LOAD_MS);
        throwLost();
        const factor = Number(session[FACTOR_ENTRY]);
        const error = this.faults.load(factor, name, worker);
        if (error !== null) throw error;
        const [fixedMs, rowMs] = (session[COST_ENTRY] ?? "").split("+").map(Number) as [number, number];
        factors.set(modelId, { factor, cost: { fixedMs, rowMs } });
        this.#factors.get(worker)?.set(modelId, factor);
        worker.models.add(modelId);
        const port = { dtype: "float32", dims: ["n", "w"], batchAxis: 0 } as const;
        return { inputs: [{ ...port, name: "x" }], outputs: [{ ...port, name: "y" }], loadMs: 0, assignment: null };
      },
      run: async (modelId, feeds: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> => {
        const model = factors.get(modelId);
        const x = feeds["x"];
        if (model === undefined || x === undefined) throw new SelvedgeError("internal", "not loaded");
        const { factor, cost } = model;
        const rows = x.dims[0] ?? 1;
        this.runs.push({ backend: name, rows, factor, atMs: world.now });
        worker.isBusy = true;
        if (this.faults.hangs(factor, name)) await new Promise(() => undefined);
        const isTooLarge = rows > this.faults.maxRows(factor);
        await take(isTooLarge ? cost.fixedMs : cost.fixedMs + cost.rowMs * rows);
        worker.isBusy = false;
        throwLost();
        if (isTooLarge) throw new SelvedgeError("out-of-memory", "simulated");
        const data = Float32Array.from(x.data as Float32Array, (value) => value * factor);
        return { y: { dtype: "float32", dims: x.dims, data } };
      },
      unload: (modelId) => {
        factors.delete(modelId);
        worker.models.delete(modelId);
        return Promise.resolve();
      },
      removeState: () => Promise.resolve(),
    };
    return backend;
  }
}

/** Builds a bundle with a toy's costs in its sessions. */
function bundleOf({ factor, wasm, webgpu = wasm, hasTwoVariants = false, hasClasses = false }: Toy): string {
  const bundle = JSON.parse(toyBundle(`m${factor}`, factor)) as {
    model: { outputs: Record<string, unknown>[] };
    variants: Record<string, unknown>[];
  };
  if (hasClasses) for (const output of bundle.model.outputs) output["decode"] = { op: "softmax" };
  const session = ({ fixedMs, rowMs }: RunCost) => ({
    [FACTOR_ENTRY]: `${factor}`,
    [COST_ENTRY]: `${fixedMs}+${rowMs}`,
  });
  const [variant] = bundle.variants;
  const all = { wasm: session(wasm), webgpu: session(webgpu) };
  // The one for the GPU is compared with wasm.
  bundle.variants = hasTwoVariants
    ? ["webgpu", "wasm"].map((backend) => ({ ...variant, id: `for-${backend}`, needs: [backend], session: all }))
    : [{ ...variant, session: all }];
  return JSON.stringify(bundle);
}

/** Adds a golden to each variant of a bundle, which takes schema 2. */
function withGolden(json: string, golden: Golden): string {
  const bundle = parseBundle(JSON.parse(json));
  const variants = bundle.variants.map((variant) => ({ ...variant, golden }));
  return JSON.stringify(bundleJson({ ...bundle, variants }));
}

/** Whether a request was answered by its deadline. */
export function isOnTime({ info, settledMs, dueMs }: SceneRequest): boolean {
  return info !== null && settledMs !== null && settledMs <= dueMs;
}
