// Worlds in which loads are cancelled, time out after they succeeded, and models are unloaded at any time: afterwards
// no worker holds a model that the page does not.
import type { Model } from "../../../engine/model.ts";
import type { Toy, WorldPlan } from "../scene.ts";

/** Maximum time before a load is cancelled; without a GPU a load takes a third of it. */
const LOAD_MS = 250;

/** The worlds. */
export const LOADS: readonly WorldPlan[] = [
  {
    name: "loads are cancelled",
    about: "core-B6",
    device: (random) => ({ gpu: random.chance(0.5), cores: 2 }),
    async play(scene) {
      const { random, world } = scene;
      await scene.open();
      // One model keeps the workers alive.
      const kept = await scene.load({ factor: 2, wasm: { fixedMs: 0, rowMs: 30 } }, { backend: "wasm" });
      for (const factor of [3, 5, 7, 11]) {
        const stop = new AbortController();
        const toy: Toy = { factor, wasm: { fixedMs: 0, rowMs: 40 }, webgpu: { fixedMs: 0, rowMs: 10 } };
        const loading = scene.engine.load(scene.publish(toy), { signal: stop.signal }).then(
          () => {
            // A timeout after the load has no effect.
            scene.held.add(factor);
          },
          () => undefined,
        );
        const untilMs = random.upTo(LOAD_MS);
        const fromMs = world.now;
        while (world.now < fromMs + untilMs) {
          await scene.pass(50);
          scene.ask(kept);
        }
        stop.abort(new DOMException("timed out", "TimeoutError"));
        await world.finish(loading);
      }
      await scene.settle();
      await scene.pass(10_000);
      const { models } = scene.engine.stats();
      scene.expect(models === scene.held.size, `${models} models are counted, ${scene.held.size} are held`);
    },
  },
  {
    name: "unloads anywhere",
    about: "core-B6",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random } = scene;
      await scene.open({ workers: 2 });
      const kept = await scene.load({ factor: 2, wasm: { fixedMs: 0, rowMs: 30 } });
      for (const factor of [3, 5, 7]) {
        const toy: Toy = { factor, wasm: { fixedMs: 0, rowMs: 30 } };
        const model: Model = await scene.load(toy);
        for (let i = 0; i < 12; i += 1) {
          scene.ask(model, { isPossible: false });
          scene.ask(kept);
          if (random.chance(0.3)) await scene.pass(random.upTo(60));
        }
        // A worker may end meanwhile, so that its batch is retried or the model is loaded again.
        if (random.chance(0.5)) random.pick(scene.workers()).crash();
        await scene.pass(random.upTo(300));
        scene.unload(toy, model);
        for (let i = 0; i < 4; i += 1) scene.ask(kept);
      }
      await scene.settle();
      await scene.pass(10_000);
      const { models } = scene.engine.stats();
      scene.expect(models === scene.held.size, `${models} models are counted, ${scene.held.size} are held`);
    },
  },
];
