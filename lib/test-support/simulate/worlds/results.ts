// A world in which answers are cached, and identical requests have different priorities and deadlines.
import { isOnTime } from "../scene.ts";
import type { WorldPlan } from "../scene.ts";

/** The worlds. */
export const RESULTS: readonly WorldPlan[] = [
  {
    name: "kept answers with mixed priorities and deadlines",
    about: "core-B7",
    device: () => ({ cores: 1 }),
    async play(scene) {
      const { random } = scene;
      const runMs = 20 + 60 * random.next();
      await scene.open({ workers: 1 });
      const options = { cache: true, batching: { maxBatchSize: 1 } };
      const model = await scene.load({ factor: 2, wasm: { fixedMs: 0, rowMs: runMs } }, options);
      for (let i = 0; i < 4; i += 1) scene.ask(model);
      await scene.settle();
      const base = 1_000;
      for (let i = 0; i < 60; i += 1) scene.ask(model, { value: base + i, priority: "background" });
      await scene.pass(1);
      // The same as one at the end of the queue, but urgent.
      const deadlineMs = 6 * runMs;
      const value = base + 40 + random.below(20);
      const urgent = scene.ask(model, { value, priority: "interactive", deadlineMs, isPossible: true });
      await scene.settle();
      scene.expect(isOnTime(urgent), `the urgent one was not on time: ${urgent.code ?? "late"}`);
      // The first of many identical requests is cancelled: the others share one run.
      const runsBefore = scene.runs.length;
      const stop = new AbortController();
      scene.ask(model, { value: 5_000, signal: stop.signal, isPossible: false });
      for (let i = 0; i < 20; i += 1) scene.ask(model, { value: 5_000 });
      await scene.pass(runMs / 4);
      stop.abort(new Error("cancelled"));
      await scene.settle();
      const runs = scene.runs.length - runsBefore;
      scene.expect(runs <= 3, `20 requests that asked the same took ${runs} runs`);
    },
  },
];
