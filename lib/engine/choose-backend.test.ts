// How long a load waits for the choice of its backend, and the effect of a measurement that takes longer.
import { expect, test } from "vitest";
import type { BackendName } from "../rpc/backend.ts";
import { SelvedgeError } from "../core/errors.ts";
import { AGAIN_MS } from "./measuring.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene } from "../test-support/simulate/fixtures.ts";
import { toyBundle } from "../test-support/simulate/toy-backend.ts";

/** Called before each call to a worker proceeds; a first run compiles shaders. */
type Act = (call: "load" | "first run" | "run", backend: BackendName) => Promise<void> | void;

const NAMES = ["a", "b", "c", "d", "e"] as const;
/** How long a load may go on after its model is on wasm. */
const WAIT_MS = 10_000;

interface Opened extends EngineScene {
  /**
   * Script of the workers' calls, and the time of wasm's last load of a model: before that, a load waits for the real
   * world.
   */
  readonly script: { act: Act; onWasmMs: number };
  readonly later: (ms: number) => Promise<void>;
}

/**
 * Opens a scene with a GPU that takes 20 ms per run where wasm takes 100, five such models, and one with the reverse.
 */
async function open(): Promise<Opened> {
  const script: Opened["script"] = { act: () => undefined, onWasmMs: 0 };
  const bundles = Object.fromEntries(NAMES.map((name, i) => [name, toyBundle(name, i + 2, "apart", "slow")]));
  const scene = await openScene({
    ...{ gpu: true, cores: 4, bundles: { ...bundles, w: toyBundle("w", 9, "slow", "apart") } },
    change: (toy, _, world) => {
      let name: BackendName = "wasm";
      const warm = new Set<number>();
      return {
        ...toy,
        start: (options) => toy.start({ ...options, backend: (name = options.backend) }),
        load: async (...args) => {
          if (name === "wasm") script.onWasmMs = world.now;
          await script.act("load", name);
          return toy.load(...args);
        },
        run: async (modelId, ...args) => {
          const isFirst = !warm.has(modelId);
          warm.add(modelId);
          await script.act(isFirst ? "first run" : "run", name);
          return toy.run(modelId, ...args);
        },
      };
    },
  });
  const later = (ms: number): Promise<void> => new Promise((resolve) => scene.world.at(ms, resolve));
  return { ...scene, script, later };
}

test.each([1_000, 61_000, 140_000])(
  "a load does not wait for another model's run on the GPU, which ends %d ms later, and is measured then (core-A3)",
  async (ms) => {
    const { world, script, later, load, run, pass } = await open();
    const first = await load("m", { backend: "webgpu" });
    let compiled = (): void => undefined;
    const compiling = new Promise<void>((resolve) => (compiled = resolve));
    script.act = (call, backend) => (call !== "load" && backend === "webgpu" ? compiling : undefined);
    const running = run(first, 1);
    await pass(10);
    script.act = () => undefined;
    const model = await load("a");
    expect(world.now - script.onWasmMs).toBeLessThan(WAIT_MS);
    expect([model.backend, model.why.code]).toEqual(["wasm", "not-measured"]);
    expect((await world.finish(run(model, 3))).info.backend).toBe("wasm");
    expect(world.now - script.onWasmMs).toBeLessThan(WAIT_MS + 1_000);
    expect(world.effects.memo.get("selvedge/measured/3")).toBeNull();
    void later(ms).then(compiled);
    await world.finish(running);
    await pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
  },
);

test("a load whose model takes a minute to load on the GPU continues, and the model moves there later (core-A3)", async () => {
  const { world, script, later, load, pass } = await open();
  script.act = (call, backend) => (call === "load" && backend === "webgpu" ? later(60_000) : undefined);
  const model = await load("a");
  expect(world.now - script.onWasmMs).toBeLessThan(WAIT_MS);
  expect([model.backend, model.why.code]).toEqual(["wasm", "not-measured"]);
  await pass(60_000);
  expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
});

test("five loads at once each wait no longer than one, and each model goes to the GPU in the end (core-A3)", async () => {
  const { world, script, later, load, pass } = await open();
  script.act = (call, backend) => (call === "first run" && backend === "webgpu" ? later(30_000) : undefined);
  const models = await Promise.all(NAMES.map((name) => load(name)));
  expect(world.now - script.onWasmMs).toBeLessThan(WAIT_MS);
  expect(models.map(({ why }) => why.code)).toEqual(NAMES.map(() => "not-measured"));
  await pass(NAMES.length * 31_000);
  expect(models.map(({ why }) => why.code)).toEqual(NAMES.map(() => "measured"));
});

test("a GPU that fails after the load stopped waiting is retried, unless the model is to blame (core-A3)", async () => {
  for (const code of ["device-lost", "worker-crashed", "download-failed", "model-invalid"] as const) {
    const { world, script, later, load, run, pass } = await open();
    script.act = async (call, backend) => {
      if (call !== "load" || backend !== "webgpu") return;
      await later(30_000);
      throw new SelvedgeError(code, "simulated");
    };
    const model = await load("a");
    expect(model.why.code).toBe("not-measured");
    await pass(100_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "measurement-failed"]);
    script.act = () => undefined;
    await pass(AGAIN_MS);
    await world.finish(run(model, 1));
    await pass(5_000);
    expect(model.why.code).toBe(code === "model-invalid" ? "measurement-failed" : "measured");
  }
});

test("a measurement that fails on both backends after the load is made again later (core-A3)", async () => {
  const { world, script, later, load, run, pass, up } = await open();
  script.act = async (call, backend) => {
    if (call !== "load" || backend !== "webgpu") return;
    await later(30_000);
    throw new SelvedgeError("device-lost", "simulated");
  };
  const model = await load("a");
  script.act = (call) => {
    if (call === "load") throw new SelvedgeError("out-of-memory", "simulated");
  };
  for (const worker of up()) worker.kill();
  await pass(100_000);
  expect([model.backend, model.why.code]).toEqual(["wasm", "not-measured"]);
  script.act = () => undefined;
  await pass(AGAIN_MS);
  await world.finish(run(model, 1));
  await pass(5_000);
  expect([model.backend, model.why.code]).toEqual(["webgpu", "measured"]);
});

test("a page that is frozen in any run of a measurement learns nothing wrong about its backends (core-A3)", async () => {
  for (const [name, code] of [
    ["a", "measured"],
    ["w", "measured"],
  ] as const)
    for (const backend of ["wasm", "webgpu"] as const)
      for (let at = 1; at <= 5; at += 1) {
        const { world, script, load, pass } = await open();
        let runs = 0;
        script.act = (call, where) => {
          if (call === "load" || where !== backend || ++runs !== at) return;
          world.at(1, () => {
            world.freeze(2_000_000 * at);
          });
        };
        const { why } = await load(name);
        await pass(20_000);
        const { why: next } = await load(name); // placed by the stored measurement
        expect([name, backend, at, next.code]).toEqual([name, backend, at, code]);
        expect(Math.max(...(next.text.match(/[\d.]+(?= ms)/g) ?? []).map(Number))).toBeLessThan(160);
        expect(["not-measured", code]).toContain(why.code);
      }
});

test("a sleep in the only timed run of a slow model does not count as its time (core-A3)", async () => {
  // Runs on wasm: one for the golden check, the warm-up, the timed one.
  for (let at = 1; at <= 3; at += 1) {
    const { world, script, later, load, pass } = await open();
    let runs = 0;
    script.act = (call, backend) => {
      if (call === "load") return;
      if (backend === "wasm" && ++runs === at) world.at(1_500, world.freeze.bind(world, 7_000_000));
      return later(backend === "wasm" ? 3_000 : 5_000);
    };
    await load("a");
    await pass(60_000); // ends at the sleep, which the clock counts
    await pass(60_000);
    expect(runs).toBe(3);
    const { why } = await load("a");
    expect([at, why.code]).toEqual([at, "measured"]);
    expect(Number(/wasm ([\d.]+) ms/.exec(why.text)?.[1])).toBeLessThan(4_500);
  }
});
