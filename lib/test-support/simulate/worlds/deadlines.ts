// Worlds of deadlines: more requests than lanes can answer, so that admission control decides how many are on time.
import { isOnTime } from "../scene.ts";
import type { SceneRequest, Scene, WorldPlan } from "../scene.ts";

/** Requests per world. */
const COUNT = 90;
/** Minimum share of the lanes' capacity that is on time, and maximum share of runs that are late. */
const ON_TIME = 0.6;
const IN_VAIN = 0.25;
/** Offered load as a multiple of the lanes' capacity. */
const OVERLOAD = 3;

/** Overloads lanes of that cost, and expects as many answers as they can give. */
async function overload(
  scene: Scene,
  ask: (deadlineMs: number) => SceneRequest,
  runMs: number,
  lanes: number,
  slack: number,
): Promise<void> {
  const { world } = scene;
  const fromMs = world.now;
  const runsBefore = scene.runs.length;
  const calls: SceneRequest[] = [];
  for (let i = 0; i < COUNT; i += 1) {
    calls.push(ask(slack * runMs));
    await scene.pass(runMs / OVERLOAD / lanes);
  }
  const spentMs = world.now - fromMs;
  await scene.settle();
  const possible = Math.floor((lanes * spentMs) / runMs);
  const onTime = calls.filter(isOnTime).length;
  const runs = scene.runs.length - runsBefore;
  scene.possible += possible;
  scene.answered += Math.min(possible, onTime);
  scene.expect(onTime >= ON_TIME * possible, `${onTime} of ${possible} possible answers were on time`);
  scene.expect(runs - onTime <= IN_VAIN * runs, `${runs - onTime} of ${runs} runs were in vain`);
}

/** The worlds. */
export const DEADLINES: readonly WorldPlan[] = [
  {
    name: "runs of 0.1 to 30 s",
    about: "core-A1",
    device: (random) => ({ cores: 1 + random.below(2) }),
    async play(scene) {
      const { random } = scene;
      const lanes = 1 + random.below(2);
      const runMs = 100 * 300 ** random.next();
      await scene.open({ workers: lanes });
      const model = await scene.load(
        { factor: 2, wasm: { fixedMs: 0, rowMs: runMs } },
        { batching: { maxBatchSize: 1 } },
      );
      for (let i = 0; i < 2 * lanes; i += 1) scene.ask(model);
      await scene.settle();
      const slack = 1.5 + 1.5 * random.next();
      await overload(scene, (deadlineMs) => scene.ask(model, { deadlineMs, isPossible: false }), runMs, lanes, slack);
    },
  },
  {
    name: "a GPU with a slower wasm fallback",
    about: "core-A2",
    device: () => ({ gpu: true, cores: 2 }),
    async play(scene) {
      const { random } = scene;
      const gpuMs = 40 + 160 * random.next();
      const times = 4 + 16 * random.next();
      await scene.open();
      const toy = {
        factor: 2,
        webgpu: { fixedMs: 0, rowMs: gpuMs },
        wasm: { fixedMs: 0, rowMs: times * gpuMs },
        hasTwoVariants: random.chance(0.5),
      };
      const model = await scene.load(toy, { batching: { maxBatchSize: 1 } });
      scene.expect(model.backend === "webgpu", "the faster GPU is not taken");
      await scene.askEvery(model, gpuMs, 4);
      await scene.settle();
      await overload(
        scene,
        (deadlineMs) => scene.ask(model, { deadlineMs, isPossible: false }),
        gpuMs,
        1,
        1.6 + random.next(),
      );
    },
  },
  {
    name: "clocks of 1 and 100 ms",
    about: "core-A8",
    device: (random) => ({ clockMs: random.pick([1, 100]), cores: 1 }),
    async play(scene) {
      const { random } = scene;
      // Draws the same number as `device`.
      const clockMs = random.pick([1, 100]);
      const runMs = clockMs * (0.25 + 0.5 * random.next());
      await scene.open({ workers: 1 });
      const model = await scene.load(
        { factor: 2, wasm: { fixedMs: 0, rowMs: runMs } },
        { batching: { maxBatchSize: 1 } },
      );
      // At uneven times: if requests keep step with the clock, all runs read as 0 and their duration is unknowable.
      for (let i = 0; i < 100; i += 1) {
        scene.ask(model);
        await scene.pass((1.1 + 2 * random.next()) * runMs);
      }
      await scene.settle();
      // After 60 runs a request due in 25 can't be on time, and one due in 100 can.
      for (let i = 0; i < 60; i += 1) scene.ask(model, { priority: "interactive" });
      await scene.pass(runMs / 10);
      const late = scene.ask(model, { deadlineMs: 25 * runMs, isPossible: false });
      const onTime = scene.ask(model, { deadlineMs: 100 * runMs, isPossible: true });
      const { calledMs } = late;
      await scene.settle();
      scene.expect(
        late.info === null && (late.settledMs ?? Infinity) <= calledMs + 2 * clockMs,
        "it was not refused at once",
      );
      scene.expect(isOnTime(onTime), `one that could be on time was not: ${onTime.code ?? "late"}`);
    },
  },
  {
    name: "no deadlines beside unmeetable ones",
    about: "core-A6",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random } = scene;
      const cost = { fixedMs: 15 + 20 * random.next(), rowMs: 1 + random.next() };
      await scene.open({ workers: 2 });
      const model = await scene.load({ factor: 2, wasm: cost });
      const other = await scene.load({ factor: 3, wasm: { fixedMs: 0, rowMs: 40 } });
      scene.ask(other);
      const bulk = async (): Promise<number> => {
        const fromMs = scene.world.now;
        const calls = Array.from({ length: 400 }, () => scene.ask(model));
        await scene.world.run(() => calls.every(({ settledMs }) => settledMs !== null), fromMs + 600_000);
        return scene.world.now - fromMs;
      };
      // Batch sizes are explored meanwhile.
      for (let i = 0; i < 3; i += 1) await bulk();
      const aloneMs = await bulk();
      const options = random.pick([{}, { priority: "background" }, { onLate: "finish" }] as const);
      const cancel = { isOver: false };
      const disturb = (): void => {
        if (cancel.isOver) return;
        scene.ask(other, { deadlineMs: 1 + random.below(4), isPossible: false, ...options });
        scene.world.at(500, disturb);
      };
      disturb();
      const besideMs = await bulk();
      cancel.isOver = true;
      // Requests that finish late by option take time of their own.
      const times = "onLate" in options ? 0.75 : 0.9;
      scene.expect(aloneMs >= times * besideMs, `work without deadlines took ${besideMs / aloneMs} times as long`);
    },
  },
];
