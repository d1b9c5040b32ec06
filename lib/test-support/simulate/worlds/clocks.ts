// Worlds in which the page stands still for an hour while a worker runs, loads or starts.
import type { WorldPlan } from "../scene.ts";

const SLEEP_MS = 3_600_000;
/**
 * Limit on the time until a hang is noticed, after a minute of use: the minimum timeout of a run, 10 s, and a retry.
 */
const NOTICED_MS = 30_000;

/** The worlds. */
export const CLOCKS: readonly WorldPlan[] = (["a run", "a load", "a worker's start"] as const).map((during) => ({
  name: `sleep during ${during}`,
  about: "core-A7",
  device: () => ({ cores: 2 }),
  async play(scene) {
    const { random, world } = scene;
    const runMs = 50 + 200 * random.next();
    await scene.open({ workers: 2, idleMs: 5_000 });
    const toy = { factor: 2, wasm: { fixedMs: 0, rowMs: runMs } };
    const alone = { batching: { maxBatchSize: 1 } };
    const model = await scene.load(toy, alone);
    await scene.askEvery(model, 2 * runMs, 4);
    if (during === "a run") {
      scene.ask(model);
      await scene.pass(runMs / 2);
    } else {
      await scene.settle();
      await scene.pass(10_000);
      scene.expect(scene.workers().length === 0, "the worker does not idle out");
      // Both workers start again, and load the model: the second one's time alone would hide that of the first.
      for (let i = 0; i < 20; i += 1) scene.ask(model);
      await scene.pass(during === "a load" ? 340 : 150);
    }
    world.freeze(random.pick([60_000, SLEEP_MS]));
    await scene.settle();
    await scene.askEvery(model, 500, 120);
    await scene.settle();
    const crashes = (): number => scene.engine.stats().lanes.reduce((sum, lane) => sum + lane.crashes, 0);
    scene.expect(crashes() === 0, "a healthy worker was ended");
    // The queued requests are worth a second worker, however long its start seemed to take.
    const startsBefore = world.started;
    for (let i = 0; i < 60; i += 1) scene.ask(model);
    await scene.settle();
    scene.expect(scene.workers().length === 2 || world.started > startsBefore, "the second lane is not used any more");
    let hangs = 1;
    scene.faults.hangs = () => hangs-- > 0;
    const call = scene.ask(model);
    await scene.pass(NOTICED_MS);
    scene.expect(call.settledMs !== null, `a hang is not noticed within ${NOTICED_MS} ms`);
    scene.faults.hangs = () => false;
    if (call.settledMs === null) await scene.close();
  },
}));
