// Placement of models, in the simulated world: cached measurements, spoiled measurements, and recovery from a lost GPU.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Backend } from "../../rpc/backend.ts";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { ErrorCode } from "../../core/errors.ts";
import { AGAIN_MS } from "../../engine/measuring.ts";
import type { Model } from "../../engine/model.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";

const BASE = "https://app.test/";
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };
const DAY_MS = 86_400_000;
/** Key of the stored measurements. */
const MEASURED = "selvedge/measured/3";
/** A second chunk, "o": wasm's own weights. */
const OTHER = {
  path: "chunks/65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2",
  content: "o",
} as const;

/** Script of the workers' behaviour, and observations. */
interface Script {
  /** Throws or waits in a call to a worker; resolves when the toy is to go on. */
  act: (call: "load" | "run", backend: string, world: World, lose: () => void) => Promise<void> | void;
  /** Path of the file for which the server returns 404. */
  missing: string | null;
  /** Runs in all workers: their number, and the most at once. */
  readonly seen: { loads: string[]; runs: number; now: number; most: number };
}

/**
 * The GPU takes 20 ms per run, wasm 100; `two.json` has a variant for each, shapes of `bare` are only known after a
 * load.
 */
function stage(): { world: World; script: Script; keys: Map<string, string> } {
  const script: Script = { act: () => undefined, missing: null, seen: { loads: [], runs: 0, now: 0, most: 0 } };
  const createBackend = (inWorld: World, worker: Parameters<typeof createToyBackend>[1]): Backend => {
    const toy = createToyBackend(inWorld, worker);
    let name = "";
    const lose = (): void => backend.onLost?.("simulated");
    const backend: Backend = {
      ...toy,
      start: (options) => {
        name = options.backend;
        return toy.start(options);
      },
      load: async (...args) => {
        script.seen.loads.push(name);
        await script.act("load", name, inWorld, lose);
        return toy.load(...args);
      },
      run: async (...args) => {
        script.seen.runs += 1;
        script.seen.most = Math.max(script.seen.most, ++script.seen.now);
        try {
          await script.act("run", name, inWorld, lose);
          return await toy.run(...args);
        } finally {
          script.seen.now -= 1;
        }
      },
    };
    return backend;
  };
  const one = toyBundle("one", 2, "apart", "slow");
  const world = new World({
    random: new Random(1),
    gpu: GPU,
    cores: 2,
    files: new Map([
      ...[TOY_CHUNK, OTHER].map((x) => [BASE + x.path, x.content] as const),
      [`${BASE}one.json`, one],
      [`${BASE}two.json`, twoVariants(one)],
      [`${BASE}three.json`, toyBundle("three", 3, "apart", "slow")],
      [`${BASE}four.json`, toyBundle("four", 4, "apart", "slow")],
      [`${BASE}unusual.json`, one.replace('"typical":{"w":2}', '"typical":{}')],
    ]),
    createBackend,
    drawFault: () => null,
    log: null,
  });
  const keys = new Map<string, string>();
  const { fetch } = world.effects;
  Object.assign(world.effects, {
    fetch: (url: string, init: RequestInit) =>
      script.missing !== null && url.endsWith(script.missing)
        ? Promise.resolve(new Response("", { status: 404 }))
        : fetch(url, init),
    memo: {
      get: (key: string) => keys.get(key) ?? null,
      set: (key: string, value: string | null) => (value === null ? keys.delete(key) : keys.set(key, value)),
    },
  });
  return { world, script, keys };
}

function twoVariants(one: string): string {
  const bundle = JSON.parse(one) as { variants: object[] };
  const onWasm = JSON.stringify(bundle.variants[0]).replaceAll(TOY_CHUNK.path.slice(7), OTHER.path.slice(7));
  bundle.variants = [
    { ...bundle.variants[0], id: "gpu", needs: ["webgpu"] },
    { ...(JSON.parse(onWasm) as object), id: "cpu", needs: ["wasm"] },
  ];
  return JSON.stringify(bundle);
}

async function open(world: World, options: EngineOptions = {}): Promise<Engine> {
  return createEngine({ effects: world.effects, ...options });
}

async function load(world: World, name = "one"): Promise<{ engine: Engine; model: Model }> {
  const engine = await open(world);
  return { engine, model: await world.finish(engine.load(`${BASE}${name}.json`)) };
}

/** Returns where a later page places a model, and why. */
async function nextPage(world: World, name = "one"): Promise<string> {
  const { engine, model } = await load(world, name);
  await engine.close();
  return `${model.backend} ${model.why.code}`;
}

async function pass(world: World, ms: number): Promise<void> {
  let isOver = false;
  world.at(ms, () => {
    isOver = true;
  });
  await world.run(() => isOver, Infinity);
}

/** Runs the world until a condition holds; a load waits for the real world now and then. */
async function until(world: World, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    await world.run(isSo, world.now + 1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }) as const;
const BEST = "webgpu measured";

describe("a cached measurement", () => {
  test("nothing, where the engine is closed at any time of it (core-A3)", async () => {
    const whole = stage();
    await load(whole.world);
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0, max: whole.world.now, noNaN: true }), async (ms) => {
        const { world } = stage();
        const engine = await open(world);
        const loading = engine.load(`${BASE}one.json`).catch(() => null);
        world.at(ms, () => void engine.close());
        await world.finish(loading);
        await engine.close();
        expect(await nextPage(world)).toBe(BEST);
      }),
      { numRuns: 30 },
    );
  });

  test("nothing of a GPU that is left alone for two minutes; the model goes there afterwards (core-A3)", async () => {
    const { world, keys } = stage();
    const now = world.effects.wallClock();
    keys.set("selvedge/gpu-losses/2", `${now} ${now}`);
    const { model } = await load(world);
    expect(model.backend).toBe("wasm");
    expect(model.why.text).toContain("device-lost");
    await pass(world, AGAIN_MS);
    await world.finish(model.run(x(1)));
    await pass(world, 5_000);
    expect(model.backend).toBe("webgpu");
    expect(await nextPage(world)).toBe(BEST);
  });

  test.each<[string, ErrorCode, "load" | "run"]>([
    ["a device that is lost as it is measured", "device-lost", "run"],
    ["a worker that crashes", "worker-crashed", "run"],
    ["memory that runs out", "out-of-memory", "load"],
    ["bytes that can't be read", "download-failed", "load"],
  ])("nothing of %s (core-A3)", async (_, code, call) => {
    const { world, script } = stage();
    script.act = (now, backend, _world, lose) => {
      if (now !== call || backend !== "webgpu") return;
      if (code === "device-lost") lose();
      throw new SelvedgeError(code, "simulated");
    };
    const { engine, model } = await load(world);
    expect(model.backend).toBe("wasm");
    await engine.close();
    script.act = () => undefined;
    expect(await nextPage(world)).toBe(BEST);
  });

  test("nothing of a download that fails (core-A3)", async () => {
    const { world, script } = stage();
    script.missing = TOY_CHUNK.path;
    const { engine, model } = await load(world, "two");
    expect(model.backend).toBe("wasm");
    await engine.close();
    script.missing = null;
    expect(await nextPage(world, "two")).toBe(BEST);
  });

  test("an error that blames the model, with its code, for a day, for this release and this model alone (core-A3)", async () => {
    const { world, script, keys } = stage();
    script.act = (call, backend) => {
      if (call === "load" && backend === "webgpu") throw new SelvedgeError("model-invalid", "simulated");
    };
    const { engine, model } = await load(world);
    expect([model.backend, model.why.code]).toEqual(["wasm", "measurement-failed"]);
    expect(model.why.text).toContain("model-invalid");
    await engine.close();
    script.act = () => undefined;
    script.seen.loads.length = 0;
    expect(await nextPage(world)).toBe("wasm measurement-failed");
    expect(script.seen.loads).toEqual(["wasm"]);
    expect(await nextPage(world, "three")).toBe(BEST);
    const key = "selvedge/measured/3";
    const written = keys.get(key) as string;
    keys.set(key, written.replace(/"release":"/, '"release":"0.0.'));
    expect(await nextPage(world)).toBe(BEST);
    keys.set(key, written);
    world.now += DAY_MS;
    expect(await nextPage(world)).toBe(BEST);
  });

  test("numbers, for a month; a foreign memo is ignored (core-A3)", async () => {
    const { world, script, keys } = stage();
    expect(await nextPage(world)).toBe(BEST);
    const runs = script.seen.runs;
    expect(await nextPage(world)).toBe(BEST);
    expect(script.seen.runs).toBe(runs);
    world.now += 30 * DAY_MS;
    expect(await nextPage(world)).toBe(BEST);
    expect(script.seen.runs).toBe(2 * runs);
    for (const wrong of ["", "69.08 failed", "{}", "null", '{"release":1}', "[]"]) {
      keys.set("selvedge/measured/3", wrong);
      expect(await nextPage(world)).toBe(BEST);
    }
  });

  test("two engines keep each other's numbers, and all of them take one bounded entry (core-C7)", async () => {
    const { world, script, keys } = stage();
    const engines = [await open(world), await open(world)];
    await world.finish(Promise.all(engines.map((engine, i) => engine.load(`${BASE}${["one", "three"][i]}.json`))));
    for (const engine of engines) await engine.close();
    const { runs } = script.seen;
    for (const name of ["one", "three"]) expect(await nextPage(world, name)).toBe(BEST);
    expect(script.seen.runs).toBe(runs);
    expect([...keys.keys()].filter((key) => key.startsWith("selvedge/measured"))).toEqual(["selvedge/measured/3"]);
    const { effects } = world;
    const files = Array.from({ length: 70 }, (_, i) => toyBundle(`m${i}`, i, "apart", "slow"));
    const { fetch } = effects;
    effects.fetch = (url, init) => {
      const at = /many-(\d+)/.exec(url)?.[1];
      return at === undefined ? fetch(url, init) : Promise.resolve(new Response(files[Number(at)]));
    };
    const engine = await open(world);
    for (const i of files.keys()) (await world.finish(engine.load(`${BASE}many-${i}.json`))).unload();
    const { models } = JSON.parse(keys.get("selvedge/measured/3") as string) as { models: object };
    expect(Object.keys(models)).toHaveLength(64);
  });
});

describe("a measurement", () => {
  test("is made of one model at a time, however many are loaded at once (core-A3)", async () => {
    const { world, script } = stage();
    const engine = await open(world);
    const names = ["one", "two", "three", "four"];
    const all = () => world.finish(Promise.all(names.map((name) => engine.load(`${BASE}${name}.json`))));
    for (const model of await all()) model.unload(); // checked on the GPU from now on
    world.effects.memo.set(MEASURED, null);
    script.seen.most = 0;
    expect((await all()).map((model) => model.backend)).toEqual(names.map(() => "webgpu"));
    expect(script.seen.most).toBe(1);
  });

  test("that takes long does not hold up the load, nor fail: the model goes to the GPU when that is warm (core-A3)", async () => {
    const { world, script } = stage();
    let isWarm = false;
    script.act = async (call, backend) => {
      if (call !== "run" || backend !== "webgpu" || isWarm) return;
      isWarm = true;
      await new Promise<void>((resolve) => world.at(60_000, resolve));
    };
    const { engine, model } = await load(world);
    expect([model.backend, model.why.code]).toEqual(["wasm", "not-measured"]);
    expect(world.now).toBeLessThan(15_000);
    const { info } = await world.finish(model.run(x(1)));
    expect(info.backend).toBe("wasm");
    await pass(world, 70_000);
    expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
    expect(engine.stats().lanes.reduce((sum, { crashes }) => sum + crashes, 0)).toBe(0);
    await engine.close();
    expect(await nextPage(world)).toBe(BEST);
  });

  test("does not wait for a wasm run of half a minute where the GPU is done before (core-A3)", async () => {
    const { world, script } = stage();
    await nextPage(world); // checked on the GPU from now on
    world.effects.memo.set(MEASURED, null);
    script.act = async (call, backend) => {
      if (call === "run" && backend === "wasm") await new Promise<void>((resolve) => world.at(30_000, resolve));
    };
    const startMs = world.now;
    const { model } = await load(world);
    expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
    expect(world.now - startMs).toBeLessThan(10_000);
  });

  test("keeps its lane to itself: others are on time on another one, and no worker is ended (core-B3)", async () => {
    const { world, script } = stage();
    const engine = await open(world, { workers: 2, idleMs: 3_600_000 });
    const urgent = await world.finish(engine.load(`${BASE}three.json`, { backend: "wasm" }));
    await world.finish(Promise.all(Array.from({ length: 40 }, (_, i) => urgent.run(x(i)))));
    script.act = async (call, backend) => {
      // The measurement is slow on wasm: its own runs come while nothing else runs.
      if (call === "run" && backend === "wasm" && script.seen.now === 1 && isMeasuring)
        await new Promise<void>((resolve) => world.at(1_500, resolve));
    };
    let isMeasuring = true;
    const loading = engine.load(`${BASE}one.json`);
    await until(world, () => script.seen.now > 0);
    isMeasuring = false;
    const answers: Promise<number>[] = [];
    for (let i = 0; i < 5; i += 1) {
      const startMs = world.now;
      answers.push(urgent.run(x(i), { deadlineMs: 400 }).then(() => world.now - startMs));
      await pass(world, 200);
    }
    for (const ms of await world.finish(Promise.all(answers))) expect(ms).toBeLessThan(400);
    await world.finish(loading);
    expect(engine.stats().lanes.map(({ crashes, starts }) => [crashes, starts <= 1])).toEqual(
      engine.stats().lanes.map(() => [0, true]),
    );
  });

  test("an error of a run ends no worker that others use (core-B3)", async () => {
    const { world, script } = stage();
    const engine = await open(world, { workers: 1, idleMs: 3_600_000 });
    const other = await world.finish(engine.load(`${BASE}three.json`, { backend: "wasm" }));
    script.act = (call, backend) => {
      if (call === "run" && backend === "wasm") throw new SelvedgeError("internal", "simulated");
    };
    const model = await world.finish(engine.load(`${BASE}one.json`));
    expect([model.backend, model.why.code]).toEqual(["webgpu", "measurement-failed"]);
    script.act = () => undefined;
    await world.finish(other.run(x(1)));
    expect(engine.stats().lanes.find(({ id }) => id === "wasm-0")).toMatchObject({ starts: 1, crashes: 0 });
  });

  test.each<[string, (stop: AbortController) => void]>([
    ["cancelled", (stop) => stop.abort(new Error("typing ahead"))],
    ["failed", () => undefined],
  ])("with a first request is made with the next one where that is %s (core-B9)", async (how, end) => {
    const { world, script } = stage();
    const { model } = await load(world, "unusual");
    expect(model.why.code).toBe("not-measured");
    const stop = new AbortController();
    if (how === "failed")
      script.act = () => {
        throw new SelvedgeError("model-invalid", "simulated");
      };
    const first = model.run(x(1), { signal: stop.signal }).catch(() => null);
    end(stop);
    expect(await world.finish(first)).toBeNull();
    script.act = () => undefined;
    await pass(world, 1_000);
    expect(model.why.code).toBe("not-measured");
    await world.finish(model.run(x(2)));
    await pass(world, 5_000);
    expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
  });

  test("of a model that is unloaded meanwhile loads nothing any more (core-B9)", async () => {
    for (const isChecked of [false, true]) {
      const { world, script, keys } = stage();
      if (isChecked) {
        // The GPU passed on an earlier page: no check needs wasm before it, where an unloaded model fails.
        const earlier = await load(world, "unusual");
        for (const value of [1, 2]) {
          await world.finish(earlier.model.run(x(value)));
          await pass(world, 5_000);
        }
        expect(earlier.model.backend).toBe("webgpu");
        await earlier.engine.close();
        keys.delete(MEASURED);
      }
      script.seen.loads = [];
      const { engine, model } = await load(world, "unusual");
      await world.finish(model.run(x(1)));
      model.unload();
      await pass(world, 5_000);
      expect(script.seen.loads).toEqual(["wasm"]);
      expect([...world.alive].flatMap(({ models }) => [...models])).toEqual([]);
      await engine.close();
    }
  });
});

describe("a load", () => {
  test.each<[string, () => Promise<Blob | string>]>([
    ["a bundle", () => Promise.resolve(`${BASE}one.json`)],
    ["a bundle of two variants", () => Promise.resolve(`${BASE}two.json`)],
    ["a bundle that names no usual size", () => Promise.resolve(`${BASE}unusual.json`)],
    ["a bare model, which is allowed to be unverified,", () => Promise.resolve(new Blob(["\b"]))],
  ])("of %s that wasm can't load goes to the GPU (core-B8)", async (_, sourceOf) => {
    for (const code of ["model-invalid", "out-of-memory", "download-failed"] as const) {
      const { world, script } = stage();
      script.act = (call, backend) => {
        if (call === "load" && backend === "wasm") throw new SelvedgeError(code, "simulated");
      };
      const engine = await open(world);
      const model = await world.finish(engine.load(await sourceOf(), { allowUnverified: true }));
      expect([model.backend, model.why.code]).toEqual(["webgpu", "measurement-failed"]);
      expect(model.why.text).toContain(code);
      await engine.close();
    }
  });

  test("that fails on both backends rejects with the error of the one that was tried first (core-B8)", async () => {
    const { world, script } = stage();
    script.act = (call, backend) => {
      if (call === "load") throw new SelvedgeError(backend === "wasm" ? "model-invalid" : "internal", backend);
    };
    const engine = await open(world);
    const options = { allowUnverified: true };
    await expect(world.finish(engine.load(`${BASE}one.json`, options))).rejects.toMatchObject({
      code: "model-invalid",
    });
  });

  test("a second one while the first is tried, or after an unload, is no crash (core-B1)", async () => {
    const { world, script } = stage();
    await load(world);
    const engine = await open(world);
    const slow = async (call: string): Promise<void> => {
      if (call === "load") await new Promise<void>((resolve) => world.at(5_000, resolve));
    };
    script.act = slow;
    const first = engine.load(`${BASE}one.json`);
    await pass(world, 2_000);
    const [one, two] = await world.finish(Promise.all([first, engine.load(`${BASE}one.json`)]));
    expect([one.why.code, two.why.code]).toEqual(["measured", "measured"]);
    script.act = (call) => slow(call === "run" ? "load" : "run"); // a first run counts as a try too
    one.run(x(1)).catch(() => undefined);
    await pass(world, 1_000);
    one.unload();
    expect(await nextPage(world)).toBe(BEST);
    two.unload();
    await pass(world, 20_000);
    expect(await nextPage(world)).toBe(BEST);
  });
});

describe("after the GPU is lost", () => {
  /** A model on the GPU whose weights for wasm are still to be fetched; from now on each run there loses the GPU. */
  async function lossy(signal?: AbortSignal) {
    const { world, script } = stage();
    expect(await nextPage(world, "two")).toBe(BEST);
    const engine = await open(world);
    const model = await world.finish(engine.load(`${BASE}two.json`, { signal }));
    script.act = (call, backend, _, lose) => {
      if (call !== "run" || backend !== "webgpu") return;
      lose();
      throw new SelvedgeError("device-lost", "simulated");
    };
    return { world, script, model };
  }

  test("a load's signal that is aborted later stops no fallback (core-A4)", async () => {
    const stop = new AbortController();
    const { world, model } = await lossy(stop.signal);
    stop.abort(new DOMException("", "TimeoutError"));
    const { info } = await world.finish(model.run(x(1)));
    expect([info.backend, info.variant]).toEqual(["wasm", "cpu"]);
  });

  test("weights that could not be fetched are fetched by the next request (core-A4)", async () => {
    const { world, script, model } = await lossy();
    script.missing = OTHER.path;
    await expect(world.finish(model.run(x(1)))).rejects.toMatchObject({ code: "download-failed" });
    script.missing = null;
    const { info } = await world.finish(model.run(x(2)));
    expect([info.backend, info.variant]).toEqual(["wasm", "cpu"]);
  });
});
