// The engine as callers see it, in the simulated world: rejections, order, back-pressure, cancels, shutdown.
import { expect, test } from "vitest";
import type { Availability } from "../../engine/availability.ts";
import type { Backend } from "../../rpc/backend.ts";
import { failureOf } from "../../worker/backend/classify-error.ts";
import type { Effects } from "../../effects/effects.ts";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import { HIDDEN_MS } from "../../engine/page-lifecycle.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Model } from "../../engine/model.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { SILENT_BOUND_MS, START_BOUND_MS } from "../../pool/call-timeouts.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";
import type { WorldOptions } from "./world.ts";

const BASE = "https://app.test/";
const URL_OF_DOUBLE = `${BASE}double.json`;
/** A second chunk, "o". */
const OTHER = {
  path: "chunks/65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2",
  content: "o",
} as const;
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };

function makeWorld(gpu: typeof GPU | null = null, createBackend = createToyBackend): World {
  return new World({ ...worldOf(gpu), createBackend });
}

function worldOf(gpu: typeof GPU | null): WorldOptions {
  const files = new Map([
    [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
    [URL_OF_DOUBLE, toyBundle("double", 2)],
    [`${BASE}slow.json`, toyBundle("slow", 2, "apart", "slow")],
    [`${BASE}together.json`, toyBundle("together", 2, "together")],
    [`${BASE}altered.json`, toyBundle("altered", 2).replaceAll("62c66a", "000000")],
    [`${BASE}page.json`, "<!doctype html><title>not here</title>"],
  ]);
  return {
    random: new Random(1),
    gpu,
    cores: 2,
    files,
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  };
}

async function start(options: EngineOptions = {}, gpu: typeof GPU | null = null) {
  const world = makeWorld(gpu);
  const engine = await createEngine({ effects: world.effects, ...options });
  return { world, engine };
}

async function startDouble(): Promise<{ world: World; engine: Engine; model: Model }> {
  const { world, engine } = await start();
  return { world, engine, model: await world.finish(engine.load(URL_OF_DOUBLE)) };
}

const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }) as const;
const first = (outputs: Readonly<Record<string, { data: ArrayLike<unknown> }>>): unknown => outputs["y"]?.data[0];

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? error.code : String(error);
}

test.each<[string, unknown, RegExp]>([
  ["an unknown option", { worker: 2 }, /no option "worker", only backends, workers/],
  ["no backends", { backends: [] }, /backends: expected a list.*got an empty list/],
  ["a number as an address", { assetsBase: 4 }, /assetsBase: expected a URL, got 4/],
  ["an unknown backend", { backends: ["cuda"] }, /backends: expected "webgpu" or "wasm", got "cuda"/],
  ["no worker", { workers: 0 }, /workers: expected a whole number from 1 to 64, got 0/],
  ["half a thread", { threads: 1.5 }, /threads: expected a whole number/],
  ["a NaN timeout", { callTimeoutMs: Number.NaN }, /callTimeoutMs: expected a whole number/],
])("createEngine refuses %s and says what came", async (_, options, message) => {
  await expect(createEngine(options as EngineOptions)).rejects.toThrow(message);
});

test.each<[string, string, string]>([
  ["a bundle that is not there", `${BASE}none.json`, "download-failed"],
  ["a web page for a bundle", `${BASE}page.json`, "bundle-invalid"],
  ["a chunk that is not there", `${BASE}altered.json`, "download-failed"],
  ["a model that is not there", `${BASE}none.onnx`, "download-failed"],
])("load ends with a code for %s", async (_, url, code) => {
  const { world, engine } = await start();
  expect(await codeOf(world.finish(engine.load(url)))).toBe(code);
});

test("load rejects an invalid source, an invalid address, and an empty file", async () => {
  const { world, engine } = await start();
  const load = (source: unknown) => world.finish(engine.load(source as string));
  await expect(load(42)).rejects.toThrow(/source: expected a URL, bytes, a Blob or a File, got 42/);
  await expect(load("http://")).rejects.toThrow(/"http:\/\/" is not a URL/);
  await expect(load("")).rejects.toThrow(/the URL is empty.*variable/);
  await expect(load("ftp://app.test/m.onnx")).rejects.toThrow(/can't load from ftp:/);
  expect(await codeOf(load(new Uint8Array()))).toBe("model-invalid");
});

test("no WebGPU and no wasm is no-backend, and says why neither is there", async () => {
  const world = makeWorld();
  const effects = { ...world.effects, facts: { ...world.effects.facts, wasm: false } };
  const engine = await createEngine({ effects });
  expect(await codeOf(world.finish(engine.load(URL_OF_DOUBLE)))).toBe("no-backend");
  await expect(world.finish(engine.load(URL_OF_DOUBLE))).rejects.toThrow(
    /double can't run here.*webgpu: this browser gives no GPU adapter; wasm: this browser has no WebAssembly\./,
  );
  const alone = createEngine({ effects, backends: ["wasm"] }).then((x) => x.load(URL_OF_DOUBLE, { backend: "webgpu" }));
  await expect(world.finish(alone)).rejects.toThrow("`backend` asks for: the engine's `backends` leave it out.");
});

test("a pinned backend that is not here is no-backend, an unknown variant the caller's mistake", async () => {
  const { world, engine } = await start();
  expect(await codeOf(world.finish(engine.load(URL_OF_DOUBLE, { backend: "webgpu" })))).toBe("no-backend");
  await expect(world.finish(engine.load(URL_OF_DOUBLE, { variant: "int2" }))).rejects.toThrow(RangeError);
});

test("a real GPU is measured once, and the next engine remembers", async () => {
  const { world, engine } = await start({}, GPU);
  const model = await world.finish(engine.load(URL_OF_DOUBLE));
  expect(model.why.code).toBe("measured");
  expect(engine.stats().lanes.every((lane) => lane.backend === "wasm" || lane.starts === 1)).toBe(true);
  await engine.close();
  const startedBefore = world.started;
  const next = await createEngine({ effects: world.effects });
  const again = await world.finish(next.load(URL_OF_DOUBLE));
  expect(again.backend).toBe(model.backend);
  expect(world.started - startedBefore).toBe(2); // one that fetches, one that computes
});

test("where there is no choice the worker starts while the bundle comes, and the model goes to it", async () => {
  const { world, engine } = await start();
  const { fetch } = world.effects;
  let arrive = (): void => undefined;
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  world.effects.fetch = async (url, init) => {
    await arrived;
    return fetch(url, init);
  };
  const loading = engine.load(URL_OF_DOUBLE);
  const starts = (): number[] => engine.stats().lanes.map((lane) => lane.starts);
  await world.run(() => engine.stats().lanes[0]?.state === "idle", 1_000);
  expect(engine.stats().lanes[0]?.state).toBe("idle");
  arrive();
  const model = await world.finish(loading);
  expect(first((await world.finish(model.run(x(3)))).outputs)).toBe(6);
  expect(starts()).toEqual([1, 0, 0]);
  await engine.close();
});

/** A world whose workers lose the first `losses` blobs; counts fetches. */
function makeLossyWorld(losses: number): { world: World; fetched: string[] } {
  const fetched: string[] = [];
  const world = makeWorld(null, (inWorld, worker) => {
    const toy = createToyBackend(inWorld, worker);
    const lost = new DOMException("The requested file could not be read.", "NotReadableError");
    const load: Backend["load"] = (modelId, model) =>
      losses-- > 0 ? Promise.reject(failureOf(lost, "load")) : toy.load(modelId, model);
    return { ...toy, load };
  });
  const { fetch } = world.effects;
  world.effects.fetch = (url, init) => {
    fetched.push(url);
    return fetch(url, init);
  };
  return { world, fetched };
}

test("a model whose bytes the browser has lost is fetched once more, at its load and long after", async () => {
  const { world, fetched } = makeLossyWorld(1);
  const engine = await createEngine({ effects: world.effects, workers: 1, idleMs: 1_000 });
  const stop = new AbortController();
  const model = await world.finish(engine.load(URL_OF_DOUBLE, { signal: stop.signal }));
  const chunk = `${BASE}${TOY_CHUNK.path}`;
  expect(fetched.filter((url) => url === chunk)).toHaveLength(2);
  expect(first((await world.finish(model.run(x(3)))).outputs)).toBe(6);
  stop.abort(); // the signal of the load, which is over
  await world.run(() => engine.stats().lanes.every(({ state }) => state === "off"), world.now + 2_000);
  expect(first((await world.finish(model.run(x(4)))).outputs)).toBe(8);
  expect(fetched.filter((url) => url === chunk)).toHaveLength(2); // chunks that arrived then are kept
  await engine.close();
});

test("where they are lost again the load's error says how to recover, and bytes of the app can't be fetched", async () => {
  const { world, fetched } = makeLossyWorld(3);
  const engine = await createEngine({ effects: world.effects, workers: 1 });
  await expect(world.finish(engine.load(URL_OF_DOUBLE))).rejects.toMatchObject({
    code: "download-failed",
    retryable: true,
    details: { reason: "unreadable" },
  });
  const before = fetched.length;
  await expect(world.finish(engine.load(new Uint8Array([1])))).rejects.toThrow(/must be picked again/);
  expect(fetched).toHaveLength(before);
  await engine.close();
});

test("where the user saves data a load asks before it fetches weights, and only then", async () => {
  const { world, fetched } = makeLossyWorld(0);
  let savesData = true;
  const effects = { ...world.effects, savesData: () => savesData };
  const engine = await createEngine({ effects, workers: 1 });
  const asked: unknown[] = [];
  const answering = (answer: boolean) => ({
    onSaveData: (cost: Availability) => {
      asked.push(cost.bytesToFetch);
      return Promise.resolve(answer);
    },
  });
  const bytes = TOY_CHUNK.content.length;
  for (const start of ["load", "update"] as const) {
    await expect(world.finish<unknown>(engine[start](URL_OF_DOUBLE, answering(false)))).rejects.toThrow(
      expect.objectContaining({ name: "AbortError" }) as Error,
    );
    expect(engine.stats().lanes.map(({ starts }) => starts)).toEqual([0]);
  }
  expect(new Set(fetched)).toEqual(new Set([URL_OF_DOUBLE]));
  await world.finish(engine.load(URL_OF_DOUBLE, answering(true)));
  expect(asked).toEqual([bytes, bytes, bytes]);
  await world.finish(engine.load(URL_OF_DOUBLE)); // no need to ask: the app wants it
  await expect(world.finish(engine.load(`${BASE}none.json`, answering(false)))).rejects.toThrow(/none.json/);
  savesData = false;
  await world.finish(engine.load(URL_OF_DOUBLE, answering(false)));
  expect(asked).toHaveLength(3);
  await engine.close();
});

test("the browser is asked once to keep what is stored, after a first load, and not where nothing is", async () => {
  const { world, engine } = await start();
  expect(await codeOf(world.finish(engine.load(`${BASE}gone.json`)))).toBe("download-failed");
  expect(world.keepsAsked).toBe(0);
  await world.finish(engine.load(URL_OF_DOUBLE));
  await world.finish(engine.load(URL_OF_DOUBLE));
  expect(world.keepsAsked).toBe(1);
  await engine.close();
  for (const store of ["memory", false] as const) {
    const other = await start({ store });
    await other.world.finish(other.engine.load(URL_OF_DOUBLE));
    expect(other.world.keepsAsked).toBe(0);
    await other.engine.close();
  }
});

test("a worker that was started for a model that never came idles out", async () => {
  const { world, engine } = await start({ idleMs: 1_000 });
  expect(await codeOf(world.finish(engine.load(`${BASE}gone.json`)))).toBe("download-failed");
  await world.run(() => engine.stats().lanes.every(({ state }) => state === "off"), world.now + 2_000);
  expect(engine.stats().lanes.map(({ state, crashes }) => [state, crashes])).toEqual(Array(3).fill(["off", 0]));
  await engine.close();
});

test("map keeps the order and reads no further ahead than its concurrency", async () => {
  const { world, model } = await startDouble();
  let read = 0;
  let taken = 0;
  let furthest = 0;
  const source = function* (): Generator<ReturnType<typeof x>> {
    for (let i = 0; i < 200; i += 1) {
      read += 1;
      furthest = Math.max(furthest, read - taken);
      yield x(i);
    }
  };
  const answers: unknown[] = [];
  await world.finish(
    (async () => {
      for await (const { outputs } of model.map(source(), { concurrency: 3 })) {
        answers.push(first(outputs));
        taken += 1;
      }
    })(),
  );
  expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => 2 * i));
  expect(furthest).toBeLessThanOrEqual(3);
});

test("leaving a map cancels pending requests, and nothing of it stays queued", async () => {
  const { world, engine, model } = await startDouble();
  const some = (async () => {
    for await (const { outputs } of model.map(Array.from({ length: 50 }, (_, i) => x(i)))) return first(outputs);
    return null;
  })();
  expect(await world.finish(some)).toBe(0);
  expect(engine.stats().requests).toMatchObject({ queued: 0, running: 0 });
});

test("a cancel rejects with the signal's own reason, queued or running, and the lane goes on", async () => {
  const { world, engine, model } = await startDouble();
  const stop = new AbortController();
  const reason = new Error("the user left");
  const all = Array.from({ length: 6 }, (_, i) => model.run(x(i), { signal: stop.signal }));
  const settled = Promise.allSettled(all);
  world.at(5, () => {
    stop.abort(reason);
  });
  const results = await world.finish(settled);
  expect(results.every((result) => result.status === "rejected" && result.reason === reason)).toBe(true);
  expect(engine.stats().requests).toMatchObject({ cancelled: 6, failed: 0, queued: 0 });
  expect(first((await world.finish(model.run(x(4)))).outputs)).toBe(8);
});

test("an unloaded model and a closed engine reject everything with closed, and leave no worker", async () => {
  const { world, engine, model } = await startDouble();
  const waiting = Array.from({ length: 5 }, (_, i) => codeOf(model.run(x(i))));
  model.unload();
  model.unload();
  expect(await codeOf(model.run(x(1)))).toBe("closed");
  expect(new Set(await world.finish(Promise.all(waiting)))).toEqual(new Set(["closed"]));
  const other = await world.finish(engine.load(URL_OF_DOUBLE));
  const pending = codeOf(other.run(x(1)));
  await engine.close();
  await engine.close();
  expect(await pending).toBe("closed");
  expect(await codeOf(engine.load(URL_OF_DOUBLE))).toBe("closed");
  expect(world.alive.size).toBe(0);
});

test("two engines on a page do not meet", async () => {
  const world = makeWorld();
  const one = await createEngine({ effects: world.effects });
  const two = await createEngine({ effects: world.effects });
  const [a, b] = await world.finish(Promise.all([one.load(URL_OF_DOUBLE), two.load(URL_OF_DOUBLE)]));
  await one.close();
  expect(await codeOf(a.run(x(1)))).toBe("closed");
  expect(first((await world.finish(b.run(x(3)))).outputs)).toBe(6);
});

test("in a hidden page, whose timers are clamped, what waits for others waits no longer; nor for ever once no worker keeps time", async () => {
  const { world, engine } = await start();
  const batching = { maxQueueDelayMs: 30 };
  const model = await world.finish(engine.load(`${BASE}together.json`, { batching }));
  await world.finish(Promise.all(Array.from({ length: 200 }, (_, i) => model.run(x(i))))); // learns that batches pay
  world.clampMs = 1_000;
  const { info } = await world.finish(model.run(x(1)));
  expect(info.queuedMs).toBeGreaterThan(25);
  expect(info.queuedMs).toBeLessThan(40);
  const keeper = [...world.alive].find(({ computes }) => !computes);
  keeper?.silence();
  const late = await world.finish(model.run(x(2)));
  expect(late.info.queuedMs).toBeGreaterThan(900);
  expect(late.info.queuedMs).toBeLessThan(1_100);
});

test("in a page that is hidden for long, whose timers come once a minute, a call that hangs is found all the same", async () => {
  let isHung = false;
  const drawFault = (): "hang" | null => {
    if (isHung) return null;
    isHung = true;
    return "hang";
  };
  const world = new World({ ...worldOf(null), drawFault });
  const engine = await createEngine({ effects: world.effects, callTimeoutMs: 20_000 });
  const model = await world.finish(engine.load(URL_OF_DOUBLE));
  world.clampMs = 60_000;
  world.faults = true;
  const startMs = world.now;
  let attempts = 0;
  model.run(x(1)).then(
    ({ info }) => (attempts = info.attempts),
    () => undefined,
  );
  // The page's own timer is awaited once, which shows that it is late; from then on the worker's timer is used.
  await world.run(() => attempts > 0, startMs + 60_000 + 21_000);
  expect(attempts).toBe(2);
});

test("a model that is on the GPU runs on wasm too, where that is sooner, and says so; a pinned one does not", async () => {
  const { world, engine } = await start({}, GPU);
  const url = `${BASE}slow.json`;
  const model = await world.finish(engine.load(url));
  expect(model.backend).toBe("webgpu");
  const few = await world.finish(Promise.all([1, 2, 3].map((i) => model.run(x(i)))));
  expect(few.map(({ info }) => info.backend)).toEqual(["webgpu", "webgpu", "webgpu"]);
  const many = await world.finish(Promise.all(Array.from({ length: 40 }, (_, i) => model.run(x(i)))));
  expect(many.map(({ outputs }) => first(outputs))).toEqual(Array.from({ length: 40 }, (_, i) => 2 * i));
  const slow = many.filter(({ info }) => info.backend === "wasm");
  expect(slow.length).toBeGreaterThan(3);
  expect(slow.length).toBeLessThan(20);
  expect(slow.every(({ info }) => info.lane.startsWith("wasm") && info.variant === "f32")).toBe(true);
  const pinned = await world.finish(engine.load(url, { backend: "webgpu" }));
  const own = await world.finish(Promise.all(Array.from({ length: 40 }, (_, i) => pinned.run(x(i)))));
  expect(new Set(own.map(({ info }) => info.backend))).toEqual(new Set(["webgpu"]));
});

test("a request that waits for the weights of its fallback is rejected as its model is unloaded", async () => {
  // The GPU's variant differs from that of wasm, which is fetched only when it is needed.
  const bundle = JSON.parse(toyBundle("m", 2, "apart", "slow")) as { variants: { id: string; needs: string[] }[] };
  const onWasm = JSON.stringify(bundle.variants[0]).replaceAll(TOY_CHUNK.path.slice(7), OTHER.path.slice(7));
  bundle.variants = [
    { ...bundle.variants[0], id: "gpu", needs: ["webgpu"] },
    { ...(JSON.parse(onWasm) as { id: string }), needs: ["wasm"] },
  ];
  const url = `${BASE}m.json`;
  const world = new World({
    ...worldOf(GPU),
    files: new Map([
      ...[TOY_CHUNK, OTHER].map((x) => [BASE + x.path, x.content] as const),
      [url, JSON.stringify(bundle)],
    ]),
    drawFault: () => "error",
  });
  const before = await createEngine({ effects: world.effects });
  await world.finish(before.load(url)); // measures; the next page remembers the result
  await before.close();
  const { fetch } = world.effects;
  let isAsked = false;
  Object.assign(world.effects, {
    fetch: (...of: Parameters<typeof fetch>) => {
      if (!of[0].endsWith(OTHER.path)) return fetch(...of);
      isAsked = true;
      return new Promise(() => undefined); // never comes
    },
  });
  const engine = await createEngine({ effects: world.effects });
  const model = await world.finish(engine.load(url));
  expect(model.variant).toBe("gpu");
  world.faults = true;
  const code = codeOf(model.run(x(1)));
  for (let i = 0; i < 1_000 && !isAsked; i += 1) await world.finish(new Promise<void>((done) => world.at(10, done)));
  expect(isAsked).toBe(true);
  model.unload();
  expect(await world.finish(code)).toBe("closed");
});

test("ONNX Runtime is compiled once for all workers of an engine, and let go once all have idled out", async () => {
  const { given, createBackend } = compiling();
  let isCrashed = true;
  const drawFault = (): "crash" | null => {
    if (isCrashed) return null;
    isCrashed = true;
    return "crash";
  };
  const world = new World({ ...worldOf(null), createBackend, drawFault });
  const engine = await createEngine({ effects: world.effects, workers: 1, idleMs: 10_000 });
  const model = await world.finish(engine.load(URL_OF_DOUBLE));
  world.faults = true;
  isCrashed = false;
  expect((await world.finish(model.run(x(1)))).info.attempts).toBe(2);
  expect(given).toEqual([false, true]);
  await world.run(() => false, world.now + 15_000);
  expect(engine.stats().lanes[0]?.state).toBe("off");
  await world.finish(model.run(x(1)));
  expect(given).toEqual([false, true, false]);
});

test("an engine of GPU lanes alone releases compiled modules where its page is hidden for long", async () => {
  const { given, createBackend } = compiling();
  const world = makeWorld(GPU, createBackend);
  const engine = await createEngine({ effects: world.effects, backends: ["webgpu"], idleMs: 10 * HIDDEN_MS });
  const model = await world.finish(engine.load(URL_OF_DOUBLE));
  world.live("hidden");
  await world.run(() => false, world.now + HIDDEN_MS);
  expect(engine.stats().lanes.map(({ state }) => state)).toEqual(["off"]);
  world.live("visible");
  await world.finish(model.run(x(1)));
  expect(given).toEqual([false, false]);
});

test("the page compiles ONNX Runtime while its first worker starts; one that can't leaves it to the worker (core-C6)", async () => {
  const module = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const compiles: ((world: World) => Effects["compileWasm"])[] = [
    () => () => Promise.resolve(module),
    () => () => Promise.reject(new Error("no network")),
    // Never answers.
    () =>
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            reject(new Error("given up"));
          });
        }),
    // A slow line: bytes arrive for two minutes, and the code is compiled long after the last one.
    (world) =>
      async (_, { signal, renew, stop }) => {
        for (let i = 0; i < 24; i += 1) {
          await later(world, SILENT_BOUND_MS / 2);
          renew();
        }
        stop();
        await later(world, 2 * SILENT_BOUND_MS);
        signal.throwIfAborted();
        return module;
      },
  ];
  for (const [i, makeCompile] of compiles.entries()) {
    const { given, createBackend } = compiling();
    const world = new World({ ...worldOf(null), createBackend });
    const asked: string[] = [];
    const effects: Effects = {
      ...world.effects,
      compileWasm: (url, watch) => {
        asked.push(url);
        return makeCompile(world)(url, watch);
      },
    };
    const engine = await createEngine({ effects, workers: 2 });
    const startMs = world.now;
    const model = await world.finish(engine.load(URL_OF_DOUBLE));
    const waitedMs = world.now - startMs;
    await world.finish(Promise.all(Array.from({ length: 8 }, async () => model.run(x(1)))));
    expect(given[0]).toBe(i === 0 || i === 3);
    expect(given.slice(1).every((each) => each)).toBe(true);
    expect(asked.map((url) => url.slice(url.lastIndexOf("/")))).toEqual(["/ort-wasm.wasm"]);
    expect([waitedMs >= SILENT_BOUND_MS, waitedMs >= 2 * START_BOUND_MS]).toEqual([i >= 2, i === 3]);
    await engine.close();
  }
});

test("a page whose policy forbids WebAssembly is sent no module", async () => {
  const { given, kept, createBackend } = compiling();
  const world = new World({ ...worldOf(null), createBackend });
  const effects: Effects = {
    ...world.effects,
    compileWasm: () => Promise.reject(new WebAssembly.CompileError("blocked by CSP")),
  };
  const engine = await createEngine({ effects, workers: 2 });
  const model = await world.finish(engine.load(URL_OF_DOUBLE));
  await world.finish(Promise.all(Array.from({ length: 8 }, async () => model.run(x(1)))));
  expect([...new Set(given), ...new Set(kept)]).toEqual([false, true]);
  await engine.close();
});

function later(world: World, ms: number): Promise<void> {
  return new Promise((resolve) => {
    world.effects.setTimer(resolve, ms);
  });
}

/** Creates backends that compile a module, and notes for each whether it received one. */
function compiling(): { given: boolean[]; kept: unknown[]; createBackend: typeof createToyBackend } {
  const module = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const given: boolean[] = [];
  const kept: unknown[] = [];
  const createBackend = (...args: Parameters<typeof createToyBackend>): Backend => {
    const toy = createToyBackend(...args);
    return {
      ...toy,
      start: async (options) => {
        given.push(options.modules?.first instanceof WebAssembly.Module);
        kept.push(options.isKept);
        return {
          ...(await toy.start(options)),
          modules: options.isKept === true ? null : { first: module, rest: null },
        };
      },
    };
  };
  return { given, kept, createBackend };
}
