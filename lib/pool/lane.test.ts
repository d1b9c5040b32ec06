// Lanes in a simulated world: the fate of workers, models, states and cancelled items, and the timeouts of a lane.
import { expect, test } from "vitest";
import { SelvedgeError } from "../core/errors.ts";
import { COST_ENTRY, FACTOR_ENTRY } from "../test-support/simulate/toy-backend.ts";
import { doubled, endOf, openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene } from "../test-support/simulate/fixtures.ts";
import type { WorkerFault } from "../test-support/simulate/world.ts";
import { Lane, LARGE_BYTES } from "./lane.ts";
import type { Build, LaneEvents, LaneOptions } from "./lane-options.ts";
import type { LoadMessage } from "../rpc/messages.ts";

const HOUR_MS = 3_600_000;
const NOTHING = (): void => undefined;
const EVENTS: LaneEvents = {
  trying: NOTHING,
  isUnloaded: () => false,
  loaded: NOTHING,
  grown: NOTHING,
  mayStart: () => true,
  crashed: NOTHING,
  freed: NOTHING,
  idled: NOTHING,
};
const MESSAGE: LoadMessage = {
  ...{ modelId: 1, files: [], session: { [FACTOR_ENTRY]: "2", [COST_ENTRY]: "slow" } },
  ...{ images: {}, decodes: {}, assets: {} },
};
const ITEM = {
  tensors: { x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } },
  others: null,
} as const;

const SMALL = buildAt("small");

/** Returns a build whose files have the given name. */
function buildAt(name: string): Build {
  return {
    source: () => ({ href: `${name}.js`, script: `${name}.js` }),
    wasmUrls: () => ({ wasmUrl: `${name}.wasm`, restUrl: `${name}-rest.wasm` }),
    compiled: { modules: null, rest: null },
  };
}

/** Makes a lane in the world of a scene. */
function laneIn({ world }: EngineScene, options: Partial<LaneOptions> = {}): Lane {
  const usual: LaneOptions = {
    effects: world.effects,
    builds: { usual: SMALL, large: SMALL },
    threads: 1,
    verbose: false,
    onLog: null,
    idleMs: 120_000,
    callTimeoutMs: null,
    events: EVENTS,
  };
  return new Lane("wasm-0", "wasm", { ...usual, ...options }, "usual");
}

test.each([50, 1_200, 4_500])(
  "a hang after an hour's sleep %i ms into a run is noticed within a minute (core-A7)",
  async (intoMs) => {
    let fault: WorkerFault | null = null;
    const draw = (): WorkerFault | null => {
      const drawn = fault;
      fault = null;
      return drawn;
    };
    const { world, engine, load, run, ask } = await openScene({ workers: 1, drawFault: draw });
    const model = await load("slow");
    await ask(model, 3);
    world.faults = true;
    fault = "slow"; // 5 s
    const sleeping = run(model, 7);
    world.at(intoMs, world.freeze.bind(world, HOUR_MS), false);
    expect(await world.finish(endOf(sleeping))).toBe(14);
    fault = "hang";
    const beganMs = world.now;
    expect((await world.finish(run(model, 1))).info.attempts).toBe(2);
    // A run of five seconds, of three rows at most, is the bound for the next.
    expect(world.now - beganMs).toBeLessThan(20 * 8_000 + 20_000);
    expect(engine.stats().lanes[0]?.crashes).toBe(1);
  },
);

test("neither a start nor a load in which the page slept counts the sleep (core-A7)", async () => {
  for (const sleptIn of ["starting", "loading"]) {
    const scene = await openScene();
    const { world } = scene;
    let toldMs = 0;
    const lane = laneIn(scene, { events: { ...EVENTS, loaded: (_, ms) => (toldMs = ms) } });
    const sleep = (phase: string): void => {
      if (phase === sleptIn) world.at(10, world.freeze.bind(world, HOUR_MS), false);
    };
    await world.finish(lane.load(MESSAGE, sleep));
    expect(world.now).toBeGreaterThan(HOUR_MS);
    expect(toldMs).toBeGreaterThan(100);
    expect(toldMs).toBeLessThan(5_000);
    lane.close(new Error("done"));
  }
});

test("a script that stalls is named with a short callTimeoutMs too", async () => {
  const scene = await openScene();
  const { effects } = scene.world;
  const stalled = new SelvedgeError("worker-crashed", "no data for 20 s", { reason: "worker-stalled" });
  const silent: LaneOptions["effects"] = {
    ...effects,
    createWorker: () => ({
      postMessage: NOTHING,
      addEventListener: NOTHING,
      removeEventListener: NOTHING,
      terminate: NOTHING,
    }),
    diagnose: () =>
      new Promise((resolve) => {
        effects.setTimer(() => {
          resolve(stalled);
        }, 20_000);
      }),
  };
  const lane = laneIn(scene, { effects: silent, callTimeoutMs: 8_000 });
  await expect(scene.world.finish(lane.load(MESSAGE))).rejects.toBe(stalled);
  lane.close(new Error("done"));
});

test("the idle timer of a worker that has ended ends no other (core-B2)", async () => {
  for (const isIdleAgain of [true, false]) {
    const scene = await openScene();
    const { world, pass } = scene;
    const lane = laneIn(scene, { idleMs: 120_000 });
    await world.finish(lane.load(MESSAGE));
    const idleAtMs = world.now + 120_000;
    await pass(10_000);
    lane.end(new SelvedgeError("device-lost", "simulated"));
    await pass(10);
    if (isIdleAgain) lane.warm(0);
    await pass(idleAtMs - 40 - world.now);
    if (!isIdleAgain) await world.finish(lane.load(MESSAGE));
    const ran = await world.finish(lane.run(MESSAGE, [ITEM, ITEM]));
    expect(ran.items).toHaveLength(2);
    expect(world.now).toBeGreaterThan(idleAtMs);
    expect(lane.stats().starts).toBe(2);
    lane.close(new Error("done"));
  }
});

test("cancelled loads leave nothing in workers (core-B6)", async () => {
  let onLoad = NOTHING;
  const { world, engine, load, up, pass } = await openScene({
    change: (toy) => ({
      ...toy,
      load: (id, files) => {
        onLoad();
        return toy.load(id, files);
      },
    }),
  });
  const model = await load("m");
  for (const afterMs of [0, 5, 20, 39]) {
    const stop = new AbortController();
    onLoad = () => {
      world.at(afterMs, stop.abort.bind(stop, new Error("left")));
    };
    await expect(load("slow", { signal: stop.signal, keepInMemory: true })).rejects.toThrow("left");
    await pass(2_000);
    expect(engine.stats().models).toBe(1);
    expect(up().map(({ models }) => models.size)).toEqual([1]);
  }
  model.unload();
  await pass(2_000);
  expect(up().map(({ models }) => models.size)).toEqual([0]);
});

test.each([1, 20, 150, 320, 370, 390])(
  "an unload %i ms after many requests leaves the model nowhere (core-B6)",
  async (afterMs) => {
    const { world, load, run, up, pass } = await openScene({ cores: 3 });
    const model = await load("m", { batching: false });
    await world.finish(run(model, 1));
    const ends = Array.from({ length: 60 }, (_, i) => endOf(run(model, i)));
    world.at(afterMs, () => {
      model.unload();
    });
    const ended = await world.finish(Promise.all(ends));
    expect(ended.every((end, i) => end === 2 * i || end === "closed")).toBe(true);
    await pass(5_000);
    expect(up().map(({ models }) => models.size)).toEqual(up().map(() => 0));
  },
);

test("a run whose worker dies after the unload is not retried (core-B6)", async () => {
  let fault: WorkerFault | null = "crash";
  const draw = (): WorkerFault | null => {
    const drawn = fault;
    fault = null;
    return drawn;
  };
  const { world, load, run, up, pass } = await openScene({ workers: 1, drawFault: draw });
  const model = await load("slow");
  world.faults = true;
  const { started } = world;
  const end = endOf(run(model, 1));
  await pass(0.1);
  model.unload();
  expect(await world.finish(end)).toBe("closed");
  await pass(2_000);
  expect([world.started - started, up().length]).toEqual([0, 0]);
});

test("an unload while the first request's model is measured leaves it on no backend (core-B6)", async () => {
  const bundle = JSON.parse((await bundleOf("m")) as string) as { model: { typical?: unknown } };
  delete bundle.model.typical;
  const { world, load, run, up, pass } = await openScene({ gpu: true, bundles: { untold: JSON.stringify(bundle) } });
  const model = await load("untold");
  await world.finish(run(model, 1));
  await pass(100); // the GPU's worker starts
  model.unload();
  await pass(10_000);
  expect(up().map(({ models }) => models.size)).toEqual(up().map(() => 0));
});

/** Reads a bundle of the scenes. */
async function bundleOf(name: string): Promise<string | undefined> {
  const { world } = await openScene();
  return (await world.effects.fetch(`https://app.test/${name}.json`, {})).text();
}

test("of a batch that waits for its worker, only the items not cancelled run (core-B11)", async () => {
  const rows: number[] = [];
  const { world, load, run, ask, pass } = await openScene({
    workers: 1,
    idleMs: 1_000,
    change: (toy) => ({
      ...toy,
      run: (id, feeds, state) => {
        rows.push(Object.values(feeds)[0]?.dims[0] ?? 0);
        return toy.run(id, feeds, state);
      },
    }),
  });
  const model = await load("together");
  for (let i = 0; i < 6; i += 1) await ask(model, 4); // learns that a batch of four pays
  for (const cancelled of [[1], [0, 2, 3], [0, 1, 2, 3]]) {
    await pass(5_000); // the worker idles out
    rows.length = 0;
    const stops = Array.from({ length: 4 }, () => new AbortController());
    const ends = stops.map(({ signal }, i) => endOf(run(model, i, { signal })));
    world.at(50, () => {
      for (const i of cancelled) stops[i]?.abort(new Error("gone"));
    });
    const ended = await world.finish(Promise.all(ends));
    expect(ended).toEqual(doubled(4).map((y, i) => (cancelled.includes(i) ? "Error: gone" : y)));
    await pass(500);
    expect(rows).toEqual(cancelled.length === 4 ? [] : [4 - cancelled.length]);
  }
});

test("a step staged behind a hung first run is answered elsewhere or rejected in time, not in minutes (core-B10)", async () => {
  let isHung = false;
  const { world, load, run } = await openScene({
    cores: 2,
    change: (toy) => ({
      ...toy,
      run: (id, feeds, state) => {
        const { data } = feeds["x"] as { data: Float32Array };
        if (data[0] !== 666) return toy.run(id, feeds, state);
        isHung = true;
        return new Promise(() => undefined);
      },
    }),
  });
  const model = await load("m", { batching: false });
  const hanging = await load("slow", { batching: false });
  await world.finish(run(model, 1));
  const stop = new AbortController();
  const hung = endOf(run(hanging, 666, { signal: stop.signal }));
  const beganMs = world.now;
  const ends = Array.from({ length: 60 }, (_, i) => endOf(run(model, i, { deadlineMs: 2_000 })));
  await world.finish(Promise.all(ends));
  expect(isHung).toBe(true);
  expect(world.now - beganMs).toBeLessThan(2_100);
  stop.abort(new Error("enough"));
  await world.finish(hung);
});

test("a state that moved to another lane leaves no copy on the first (core-C7)", async () => {
  const removed: number[] = [];
  const { world, load, pass, up } = await openScene({
    cores: 2,
    change: (toy, worker) => ({
      ...toy,
      removeState: (id) => {
        removed.push(worker.id);
        return toy.removeState(id);
      },
    }),
  });
  const model = await load("sum");
  const state = model.stateful({ initial: { sum: { dtype: "float32", dims: [1, 2], data: new Float32Array(2) } } });
  const step = (signal?: AbortSignal): Promise<{ lane: string }> =>
    state
      .run(
        { x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } },
        signal === undefined ? {} : { signal },
      )
      .then(({ info }) => info);
  const { lane: first } = await world.finish(step());
  const [home] = up();
  const stop = new AbortController();
  world.at(5, () => {
    stop.abort(new Error("not this one"));
  });
  await world.finish(step(stop.signal).catch(() => undefined));
  await pass(500);
  const { lane: second } = await world.finish(step());
  expect(second).not.toBe(first);
  await pass(500);
  expect(removed).toEqual([home?.id]);
});

/** A lane with two builds, the scripts of the workers that it started, and a large model. */
function withTwoBuilds(scene: EngineScene, fails?: string): { lane: Lane; scripts: string[]; large: LoadMessage } {
  const scripts: string[] = [];
  const { effects } = scene.world;
  const createWorker: typeof effects.createWorker = (url, name) => {
    scripts.push(String(url));
    if (String(url) === fails) throw new Error("404");
    return effects.createWorker(url, name);
  };
  const builds = { usual: SMALL, large: buildAt("large") };
  const lane = laneIn(scene, { builds, effects: { ...effects, createWorker } });
  const files = [{ path: "model.onnx", data: new Blob([new Uint8Array(LARGE_BYTES)]) }];
  return { lane, scripts, large: { ...MESSAGE, modelId: 2, files } };
}

test("a large model replaces the lane's worker by one of the other build, which serves the small models too", async () => {
  const scene = await openScene();
  const { world } = scene;
  const { lane, scripts, large } = withTwoBuilds(scene);
  lane.warm(0);
  await world.finish(lane.run(MESSAGE, [ITEM]));
  expect(scripts).toEqual(["small.js"]);
  expect((await world.finish(lane.run(large, [ITEM]))).items[0]).toMatchObject({ ok: true });
  await world.finish(lane.run(MESSAGE, [ITEM]));
  expect(scripts).toEqual(["small.js", "large.js"]);
  expect(lane.stats().crashes).toBe(0);
});

test("a worker that is starting is replaced as well", async () => {
  const scene = await openScene();
  const { lane, scripts, large } = withTwoBuilds(scene);
  lane.warm(0);
  const loading = lane.load(large);
  await scene.world.finish(loading);
  expect(scripts.at(-1)).toBe("large.js");
  expect(lane.stats()).toMatchObject({ state: "idle", crashes: 0 });
});

test("a large model takes the usual build where the other one does not start", async () => {
  const scene = await openScene();
  const { lane, scripts, large } = withTwoBuilds(scene, "large.js");
  await scene.world.finish(lane.load(large));
  lane.end(new Error("test"));
  await scene.world.finish(lane.run(large, [ITEM]));
  expect(scripts).toEqual(["large.js", "small.js", "small.js"]);
});
