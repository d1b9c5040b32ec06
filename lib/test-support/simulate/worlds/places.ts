// Worlds in which a GPU is lost, barred or slow to measure: afterwards models are back on it.
import { isOnTime } from "../scene.ts";
import type { Scene, Toy, WorldPlan } from "../scene.ts";

const BACK_MS = 300_000;
const BARRED_MS = 120_000;

/** Draws a model that is much faster on the GPU. */
function fastOnGpu({ random }: Scene, factor = 2): Toy {
  const webgpu = { fixedMs: 0, rowMs: 10 + 20 * random.next() };
  const wasm = { fixedMs: 0, rowMs: webgpu.rowMs * (3 + 3 * random.next()) };
  return { factor, webgpu, wasm, hasTwoVariants: random.chance(0.5) };
}

/** Faults that spoil the first measurement, though the model is fine. */
const SPOILED: Readonly<Record<string, (scene: Scene, toy: Toy) => Promise<void>>> = {
  async "the engine is closed"(scene, toy) {
    const { world, random } = scene;
    const loading = scene.engine.load(scene.publish(toy)).catch(() => undefined);
    const runs = 1 + random.below(7);
    await scene.until(() => scene.runs.length >= runs, 60_000);
    await scene.close();
    await world.finish(loading);
  },
  async "the GPU is lost"(scene, toy) {
    const { world } = scene;
    const loading = scene.engine.load(scene.publish(toy)).catch(() => undefined);
    await scene.until(() => scene.runs.some(({ backend }) => backend === "webgpu"), 60_000);
    scene.loseGpu();
    await world.finish(loading);
    await scene.close();
  },
  async "the GPU is barred after two losses"(scene, toy) {
    const other = await scene.load({ ...fastOnGpu(scene, 5), hasTwoVariants: false }, { backend: "webgpu" });
    for (let i = 0; i < 2; i += 1) {
      scene.ask(other, { isPossible: false });
      await scene.settle();
      scene.loseGpu();
      await scene.pass(1_000);
    }
    await scene.load(toy);
    await scene.close();
  },
};

/** The worlds. */
export const PLACES: readonly WorldPlan[] = [
  {
    name: "the GPU is lost during steady use",
    about: "core-B5",
    device: () => ({ gpu: true, cores: 2 }),
    async play(scene) {
      const { random, world } = scene;
      await scene.open();
      const model = await scene.load(fastOnGpu(scene));
      scene.expect(model.backend === "webgpu", "the faster GPU is not taken");
      await scene.askEvery(model, 200, 5);
      const losses = 1 + random.below(2);
      for (let i = 0; i < losses; i += 1) {
        scene.loseGpu();
        await scene.askEvery(model, 500, 10);
      }
      const endedMs = world.now + BARRED_MS;
      let isBack = false;
      while (!isBack && world.now < endedMs + BACK_MS) {
        const [call] = await scene.askEvery(model, 500, 1);
        isBack = call?.info?.backend === "webgpu";
      }
      scene.expect(isBack, "the model is not back on the GPU within 5 minutes");
    },
  },
  ...Object.entries(SPOILED).map(([what, spoil]): WorldPlan => ({
    name: `${what} during the first measurement`,
    about: "core-A3",
    device: () => ({ gpu: true, cores: 2 }),
    async play(scene) {
      const toy = fastOnGpu(scene);
      await scene.open();
      await spoil(scene, toy);
      await scene.pass(600_000);
      await scene.open();
      const model = await scene.load(toy);
      scene.ask(model);
      await scene.settle();
      scene.expect(model.backend === "webgpu", `ten minutes later the model is on wasm: ${model.why.text}`);
    },
  })),
  {
    name: "a load's signal aborts long after it",
    about: "core-A4",
    device: () => ({ gpu: true, cores: 2 }),
    async play(scene) {
      const { random } = scene;
      const toy = { ...fastOnGpu(scene), hasTwoVariants: true };
      await scene.open();
      await scene.load(toy);
      await scene.close();
      // On the next page the measurements are cached, and only the GPU's variant is fetched.
      await scene.open();
      const stop = new AbortController();
      const model = await scene.load(toy, { signal: stop.signal });
      scene.ask(model);
      await scene.settle();
      stop.abort(new DOMException("timed out", "TimeoutError"));
      const isOffline = random.chance(0.5);
      scene.faults.isOnline = !isOffline;
      for (let i = 0; i < 3; i += 1) {
        scene.loseGpu();
        // Without a network nothing may be able to answer it.
        const call = scene.ask(model, { isPossible: !isOffline });
        await scene.settle();
        await scene.pass(100);
        if (!isOffline) scene.expect(call.info !== null, `a request was rejected for the load's signal: ${call.code}`);
      }
      scene.faults.isOnline = true;
      await scene.pass(10_000);
      const call = scene.ask(model);
      await scene.settle();
      scene.expect(call.info !== null, `the fallback does not come back with the network: ${call.code}`);
    },
  },
  {
    name: "several models are measured at once",
    about: "core-B3",
    device: () => ({ gpu: true, cores: 2 }),
    async play(scene) {
      const { random, world } = scene;
      await scene.open();
      const alone = { backend: "wasm", batching: { maxBatchSize: 1 } } as const;
      const usual = await scene.load({ factor: 2, wasm: { fixedMs: 0, rowMs: 20 } }, alone);
      for (let i = 0; i < 40; i += 1) scene.ask(usual);
      await scene.settle();
      const toys = [3, 5, 7].slice(0, 1 + random.below(3)).map((factor): Toy => {
        const gpuMs = 200 + 200 * random.next();
        return { factor, webgpu: { fixedMs: 0, rowMs: gpuMs }, wasm: { fixedMs: 0, rowMs: 3 * gpuMs } };
      });
      const loading = Promise.all(toys.map((toy) => scene.engine.load(scene.publish(toy))));
      for (const { factor } of toys) scene.held.add(factor);
      let isLoaded = false;
      void loading.then(() => {
        isLoaded = true;
      });
      const calls = [];
      while (!isLoaded && calls.length < 400) {
        // Two at once: the second one must not wait behind a measurement.
        for (let i = 0; i < 2; i += 1)
          calls.push(scene.ask(usual, { deadlineMs: 150, priority: "interactive", isPossible: true }));
        await scene.pass(60);
      }
      const models = await world.finish(loading);
      await scene.settle();
      // A minute of use: each model ends up where it is faster.
      for (const model of models) await scene.askEvery(model, 3_000, 20 / models.length);
      await scene.settle();
      for (const { backend, name, why } of models) scene.expect(backend === "webgpu", `${name} is on ${why.text}`);
      const late = calls.filter((call) => !isOnTime(call)).length;
      scene.expect(late <= 1, `${late} of ${calls.length} were late beside a free lane`);
    },
  },
];
