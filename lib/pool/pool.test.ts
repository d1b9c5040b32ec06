// The pool over lanes in a simulated world: which lanes there are, which one is picked, and what leaves their workers.
import { expect, test } from "vitest";
import type { StartOptions } from "../rpc/backend.ts";
import type { LoadMessage } from "../rpc/messages.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene } from "../test-support/simulate/fixtures.ts";
import { COST_ENTRY, FACTOR_ENTRY } from "../test-support/simulate/toy-backend.ts";
import type { Build, LaneOptions } from "./lane-options.ts";
import type { Lane } from "./lane.ts";
import { Pool } from "./pool.ts";
import type { PoolSize } from "./pool.ts";

const NOTHING = (): void => undefined;
const DONE = new Error("done");
const NO_LANES: PoolSize = { webgpu: 0, wasm: 0, hasExpress: false, wideThreads: 1 };
const ITEM = {
  tensors: { x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } },
  others: null,
} as const;

/** A model of ten bytes. */
const modelOf = (modelId: number): LoadMessage => ({
  ...{ modelId, files: [{ path: "model.onnx", data: new Blob(["0123456789"]) }], images: {}, decodes: {}, assets: {} },
  session: { [FACTOR_ENTRY]: "2", [COST_ENTRY]: "slow" },
});

/** A pool, and the calls of its workers. */
interface PoolScene extends EngineScene {
  readonly pool: Pool;
  readonly builds: { readonly usual: Build; readonly large: Build };
  /** Options of the workers that started. */
  readonly starts: Pick<StartOptions, "backend" | "threads">[];
  /** Ids of the models and the states that workers freed. */
  readonly unloads: number[];
  readonly removed: number[];
  /** Returns a lane by its place in the pool. */
  lane(index: number): Lane;
  /** Loads a model on a lane and runs it there. */
  use(lane: number, modelId: number): Promise<void>;
  /** Starts the workers of some lanes. */
  begin(...lanes: number[]): Promise<void>;
}

function buildAt(name: string): Build {
  return {
    source: () => ({ href: `${name}.js`, script: `${name}.js` }),
    wasmUrls: () => ({ wasmUrl: `${name}.wasm`, restUrl: `${name}.wasm` }),
    compiled: { modules: null, rest: null },
  };
}

async function openPool(size: Partial<PoolSize>): Promise<PoolScene> {
  const [starts, unloads, removed]: [StartOptions[], number[], number[]] = [[], [], []];
  const scene = await openScene({
    change: (toy) => ({
      ...toy,
      start: (options) => {
        starts.push(options);
        return toy.start(options);
      },
      unload: (id) => {
        unloads.push(id);
        return toy.unload(id);
      },
      removeState: (id) => {
        removed.push(id);
        return toy.removeState(id);
      },
    }),
  });
  const { world } = scene;
  const builds = { usual: buildAt("usual"), large: buildAt("large") };
  const options: LaneOptions = {
    ...{
      effects: world.effects,
      builds,
      threads: 1,
      verbose: false,
      onLog: null,
      idleMs: 120_000,
      callTimeoutMs: null,
    },
    events: {
      ...{ trying: NOTHING, isUnloaded: () => false, loaded: NOTHING, grown: NOTHING, mayStart: () => true },
      ...{ crashed: NOTHING, freed: NOTHING, idled: NOTHING },
    },
  };
  const pool = new Pool({ ...NO_LANES, ...size }, options);
  const lane = (index: number): Lane => pool.lanes[index] as Lane;
  return {
    ...{ ...scene, pool, builds, starts, unloads, removed, lane },
    async use(index, modelId) {
      await world.finish(lane(index).run(modelOf(modelId), [ITEM]));
    },
    async begin(...indexes) {
      for (const index of indexes) lane(index).warm(0);
      await scene.pass(1_000);
    },
  };
}

/** The models that each lane holds. */
const heldOf = (pool: Pool): number[][] => pool.lanes.map((lane) => [...lane.held.keys()]);

const statesOf = (pool: Pool): string[] => pool.stats().map((x) => `${x.id} ${x.state}`);

test("a pool has the lanes of its size, and an express lane and a wide one where they are wanted", async () => {
  const { pool } = await openPool({ webgpu: 1, wasm: 2, hasExpress: true, wideThreads: 2 });
  expect(pool.lanes.map((x) => `${x.id}: ${x.backend}, ${x.kind}`)).toEqual([
    "webgpu-0: webgpu, usual",
    "wasm-0: wasm, usual",
    "wasm-1: wasm, usual",
    "wasm-express: wasm, express",
    "wasm-wide: wasm, wide",
  ]);
  const { pool: small } = await openPool({ wasm: 1, wideThreads: 1 });
  expect(small.lanes.map(({ id }) => id)).toEqual(["wasm-0"]);
});

test("the wide lane's worker starts with its own number of threads, the others with the usual one", async () => {
  const { begin, starts } = await openPool({ wasm: 1, wideThreads: 3 });
  await begin(0, 1);
  expect(starts.map(({ threads }) => threads).sort()).toEqual([1, 3]);
});

test("lanes to servers are those that `remote` makes, behind all others", async () => {
  const { pool: other } = await openPool({ wasm: 1 });
  const { pool } = await openPool({ wasm: 1, remote: () => [...other.lanes] });
  expect(pool.lanes[1]).toBe(other.lanes[0]);
  expect(pool.lanes).toHaveLength(2);
});

test("the lane that holds a model is picked, else the first that is free, else the first", async () => {
  const { pool, use, lane, world } = await openPool({ webgpu: 1, wasm: 3, hasExpress: true });
  await use(3, 7);
  expect(pool.pick("wasm", 7)?.id).toBe("wasm-2");
  expect(pool.pick("wasm", 8)?.id).toBe("wasm-0");
  const runs = [lane(1).run(modelOf(8), [ITEM])];
  expect(pool.pick("wasm", 9)?.id).toBe("wasm-1");
  runs.push(...[2, 3].map((i) => lane(i).run(modelOf(9), [ITEM])));
  expect(pool.pick("wasm", 10)?.id).toBe("wasm-0");
  expect(pool.pick("wasm", 7)?.id).toBe("wasm-2");
  await world.finish(Promise.all(runs));
  expect(pool.pick("webgpu", 7)?.id).toBe("webgpu-0");
});

test("neither an express lane nor a wide one is picked, and nothing is picked on a backend without lanes", async () => {
  const { pool, use, world } = await openPool({ wasm: 1, hasExpress: true, wideThreads: 2 });
  await use(1, 7);
  await use(2, 7);
  expect(pool.pick("wasm", 7)?.id).toBe("wasm-0");
  expect(pool.usual("wasm").map(({ id }) => id)).toEqual(["wasm-0"]);
  expect(pool.pick("webgpu", 7)).toBeUndefined();
  pool.warm("webgpu", 10);
  expect(world.alive.size).toBe(2);
});

test("while a model is fetched, the worker of the first free lane starts", async () => {
  const { pool, lane, world, pass } = await openPool({ wasm: 2 });
  const run = lane(0).run(modelOf(1), [ITEM]);
  pool.warm("wasm", 10);
  await pass(1);
  expect(statesOf(pool)).toEqual(["wasm-0 starting", "wasm-1 starting"]);
  await world.finish(run);
});

test("a model is freed on every lane", async () => {
  const { pool, use, unloads, world } = await openPool({ wasm: 3 });
  for (const lane of [0, 1]) await use(lane, 1);
  await use(1, 2);
  await world.finish(pool.unload(1));
  expect(heldOf(pool)).toEqual([[], [2], []]);
  expect(unloads).toEqual([1, 1]);
});

test("models leave workers, the least recently used first, until the rest fits", async () => {
  const { pool, use, unloads, pass } = await openPool({ wasm: 2 });
  await use(0, 1);
  await use(1, 2);
  await use(0, 3);
  await use(1, 4);
  await use(0, 1); // again
  pool.trim(40, () => false);
  pool.trim(20, () => false);
  await pass(100);
  expect(heldOf(pool)).toEqual([[1], [4]]);
  expect(unloads.sort()).toEqual([2, 3]);
  pool.trim(19, () => false);
  await pass(100);
  expect(heldOf(pool)).toEqual([[1], []]);
});

test("the model that was used last stays, whatever its size", async () => {
  const { pool, use, pass } = await openPool({ wasm: 1 });
  await use(0, 1);
  await use(0, 2);
  pool.trim(0, () => false);
  await pass(100);
  expect(heldOf(pool)).toEqual([[2]]);
});

test("pinned models, models that hold a state and models that are being loaded stay", async () => {
  const { pool, use, lane, begin, world, pass } = await openPool({ wasm: 3 });
  await begin(2);
  await use(0, 1);
  await use(0, 2);
  await use(1, 3);
  await use(0, 5);
  lane(1).held.get(3)?.states.set(1, 1);
  const loading = lane(2).load(modelOf(4));
  await pass(1);
  for (const [modelId, loaded] of lane(2).held) loaded.usedMs -= modelId; // 5 was used later
  pool.trim(0, (modelId) => modelId === 1);
  await world.finish(loading);
  await pass(100);
  expect(heldOf(pool)).toEqual([[1, 5], [3], [4]]);
});

test("a model that is leaving takes no room from the others", async () => {
  const { pool, use, lane, world, pass } = await openPool({ wasm: 2 });
  for (const [on, modelId] of [
    [1, 3],
    [0, 2],
    [0, 1],
    [1, 4],
  ] as const)
    await use(on, modelId);
  const run = lane(0).run(modelOf(1), [ITEM]);
  const leaves = lane(0).unload(2);
  expect(heldOf(pool)).toEqual([
    [2, 1],
    [3, 4],
  ]);
  pool.trim(30, () => false);
  await world.finish(Promise.all([run, leaves]));
  await pass(100);
  expect(heldOf(pool)).toEqual([[1], [3, 4]]);
});

test("a state is freed in every worker", async () => {
  const { pool, begin, removed, world } = await openPool({ wasm: 3 });
  await begin(0, 2);
  await world.finish(pool.removeState(5));
  expect(removed).toEqual([5, 5]);
});

test("a check ends an idle worker that no longer answers, and no other", async () => {
  const { pool, begin, up, pass } = await openPool({ wasm: 2 });
  await begin(0, 1);
  up()[1]?.silence();
  pool.check();
  await pass(10_000);
  expect(statesOf(pool)).toEqual(["wasm-0 idle", "wasm-1 off"]);
});

test("a pool that shrinks ends its idle workers, all but the first on wasm that runs", async () => {
  const { pool, begin, lane, world } = await openPool({ webgpu: 1, wasm: 4 });
  await begin(0, 2, 3, 4);
  const run = lane(4).run(modelOf(1), [ITEM]);
  pool.shrink(DONE);
  expect(statesOf(pool)).toEqual(["webgpu-0 off", "wasm-0 off", "wasm-1 idle", "wasm-2 off", "wasm-3 busy"]);
  expect((await world.finish(run)).items).toHaveLength(1);
});

test("the compiled modules are released once no worker is running", async () => {
  const { pool, begin, builds } = await openPool({ wasm: 2 });
  const compile = (): void => {
    for (const { compiled } of Object.values(builds)) {
      compiled.modules = Promise.resolve(null);
      compiled.rest = Promise.resolve(null);
    }
  };
  const isKept = (): boolean[] =>
    Object.values(builds).flatMap(({ compiled }) => [compiled.modules !== null, compiled.rest !== null]);
  await begin(1);
  compile();
  pool.shrink(DONE); // keeps the worker
  expect(isKept()).toEqual([true, true, true, true]);
  pool.releaseCompiled();
  expect(isKept()).toEqual([true, true, true, true]);
  pool.close(DONE);
  pool.releaseCompiled();
  expect(isKept()).toEqual([false, false, false, false]);
  compile();
  pool.shrink(DONE);
  expect(isKept()).toEqual([false, false, false, false]);
});

test("a closed pool has no worker, and takes no work", async () => {
  const { pool, begin, lane, up } = await openPool({ wasm: 2 });
  await begin(0, 1);
  pool.close(DONE);
  expect(up()).toEqual([]);
  await expect(lane(0).load(modelOf(1))).rejects.toMatchObject({ code: "closed" });
});
