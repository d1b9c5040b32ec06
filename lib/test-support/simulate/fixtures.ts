// A scene for tests of one behaviour: the real engine in a simulated world, with toy models in memory and a backend
// that the test may change. Nothing fails unless the test makes it fail.
import type { Backend } from "../../rpc/backend.ts";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { LoadOptions, RunOptions } from "../../engine/options.ts";
import type { EngineOptions } from "../../engine/options.ts";
import type { Model } from "../../engine/model.ts";
import type { RunResult } from "../../engine/result.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";
import type { WorkerFault, SimulatedWorker } from "./world.ts";

/** GPU facts that no browser has. */
export const TOY_GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };

/** Options of a scene. */
export interface SceneOptions extends EngineOptions {
  readonly cores?: number;
  readonly gpu?: boolean;
  /** Whether the page has Web Locks. Default true. */
  readonly hasLocks?: boolean;
  /** Changes the backend of a worker that computes. */
  readonly change?: (toy: Backend, worker: SimulatedWorker, world: World) => Backend;
  /** Draws a fault for a message to a worker, once `world.faults` is set. */
  readonly drawFault?: () => WorkerFault | null;
  /**
   * Bundles besides the default ones: `m` (20 ms), `together`, `slow` (100 ms on wasm) and `sum`, which has a state.
   */
  readonly bundles?: Readonly<Record<string, string>>;
  /** Files besides the chunk of the toy bundles, by their paths. */
  readonly files?: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
}

/** Result of a request: the number in its answer, or its error's code or text. */
export type Ended = number | string;

/** An engine in a simulated world. */
export interface EngineScene {
  readonly world: World;
  readonly engine: Engine;
  /** Loads one of the bundles. */
  load(name: string, options?: LoadOptions): Promise<Model>;
  /** Runs the model on a number. */
  run(model: Model, value: number, options?: RunOptions): Promise<RunResult>;
  /** Makes `count` requests at once; resolves to their results. */
  ask(model: Model, count: number, options?: RunOptions): Promise<Ended[]>;
  /** Advances time by `ms`. */
  pass(ms: number): Promise<void>;
  /** Workers that compute and have not ended. */
  up(): SimulatedWorker[];
}

/** Creates a scene. */
export async function openScene(options: SceneOptions = {}): Promise<EngineScene> {
  const {
    cores = 2,
    gpu = false,
    hasLocks = true,
    change,
    drawFault,
    bundles = {},
    files: more = {},
    ...engineOptions
  } = options;
  const named = {
    m: toyBundle("m", 2),
    together: toyBundle("together", 2, "together"),
    slow: toyBundle("slow", 2, "apart", "slow"),
    sum: toyBundle("sum", null),
    ...bundles,
  };
  const files = new Map<string, string | Uint8Array<ArrayBuffer>>();
  for (const [path, content] of Object.entries(more)) files.set(`https://app.test/${path}`, content);
  for (const [name, json] of Object.entries(named)) files.set(`https://app.test/${name}.json`, json);
  files.set(`https://app.test/${TOY_CHUNK.path}`, TOY_CHUNK.content);
  const world = new World({
    random: new Random(3),
    gpu: gpu ? TOY_GPU : null,
    cores,
    files,
    createBackend: (inWorld, worker) => {
      const toy = createToyBackend(inWorld, worker);
      return change?.(toy, worker, inWorld) ?? toy;
    },
    drawFault: drawFault ?? (() => null),
    log: null,
  });
  const engine = await createEngine({
    effects: hasLocks ? world.effects : { ...world.effects, locks: null },
    ...engineOptions,
  });
  const run = (model: Model, value: number, runOptions: RunOptions = {}): Promise<RunResult> =>
    model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }, runOptions);
  return {
    world,
    engine,
    run,
    load: (name, loadOptions) => world.finish(engine.load(`https://app.test/${name}.json`, loadOptions)),
    ask(model, count, runOptions) {
      const all = Array.from({ length: count }, (_, i) => endOf(run(model, i, runOptions)));
      return world.finish(Promise.all(all));
    },
    async pass(ms) {
      let isOver = false;
      world.at(ms, () => (isOver = true), false);
      await world.run(() => isOver, Infinity);
    },
    up: () => [...world.alive].filter(({ computes }) => computes),
  };
}

/** Resolves to a request's result. */
export function endOf(request: Promise<RunResult>): Promise<Ended> {
  return request.then(
    ({ outputs }) => Number(outputs["y"]?.data[0]),
    (error: unknown) => (isSelvedgeError(error) ? error.code : String(error)),
  );
}

/** Results of `ask` without faults. */
export function doubled(count: number): number[] {
  return Array.from({ length: count }, (_, i) => 2 * i);
}
