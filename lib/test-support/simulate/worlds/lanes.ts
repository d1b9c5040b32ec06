// Worlds in which a lane fails, hangs or runs out of memory while another one is healthy.
import { SelvedgeError } from "../../../core/errors.ts";
import type { Model } from "../../../engine/model.ts";
import { isOnTime } from "../scene.ts";
import type { WorldPlan } from "../scene.ts";

/** Limit on the time until lanes are used again after a fault ends. */
const BACK_MS = 300_000;

/** Reason why an additional lane fails; the first worker has the model. */
const FAILURES = {
  "can't start": () => new SelvedgeError("no-backend", "simulated: the worker's files are gone"),
  "can't load": () => new SelvedgeError("model-invalid", "simulated"),
  "lost its bytes": () => new SelvedgeError("download-failed", "simulated", { reason: "unreadable" }),
  "has no memory for a second copy": () => new SelvedgeError("out-of-memory", "simulated"),
} as const;

/** The worlds. */
export const LANES: readonly WorldPlan[] = [
  ...Object.entries(FAILURES).map(([what, fail]): WorldPlan => ({
    name: `a lane ${what}`,
    about: "core-A5",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random, world } = scene;
      const runMs = 20 + 60 * random.next();
      await scene.open({ workers: 2 });
      const model = await scene.load(
        { factor: 2, wasm: { fixedMs: 0, rowMs: runMs } },
        { batching: { maxBatchSize: 1 } },
      );
      await scene.askEvery(model, 2 * runMs, 3);
      await scene.settle();
      const [first] = scene.workers();
      if (what === "can't start") scene.faults.start = fail;
      else scene.faults.load = (_, __, worker) => (worker === first ? null : fail());
      // One and a half times the lane's capacity, so that the other one is needed.
      await scene.askEvery(model, runMs / 1.5, 200);
      await scene.settle();
      const failed = scene.calls.filter(({ code }) => code !== null);
      scene.expect(failed.length === 0, `${failed.length} requests were rejected: ${failed[0]?.code}`);
      scene.expect(first !== undefined && world.alive.has(first), "the good worker was ended");
      scene.faults.start = () => null;
      scene.faults.load = () => null;
      const endedMs = world.now;
      const runsOf = (): number => scene.engine.stats().lanes[1]?.runs ?? 0;
      const before = runsOf();
      while (runsOf() === before && world.now < endedMs + BACK_MS) await scene.askEvery(model, runMs / 1.5, 60);
      scene.expect(runsOf() > before, "the lane is not used again within 5 minutes");
    },
  })),
  {
    name: "a first run hangs with others staged behind it",
    about: "core-B10",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random } = scene;
      const runMs = 10 + 30 * random.next();
      await scene.open({ workers: 2 });
      const alone = { batching: { maxBatchSize: 1 } };
      const model = await scene.load({ factor: 2, wasm: { fixedMs: 0, rowMs: runMs } }, alone);
      const bad = await scene.load({ factor: 3, wasm: { fixedMs: 0, rowMs: runMs } }, alone);
      for (let i = 0; i < 60; i += 1) scene.ask(model);
      await scene.settle();
      scene.faults.hangs = (factor) => factor === 3;
      scene.ask(bad, { isPossible: false });
      await scene.pass(random.upTo(10));
      // Half of the capacity of one lane until then.
      const deadlineMs = 120 * runMs;
      const calls = Array.from({ length: 60 }, () => scene.ask(model, { deadlineMs, isPossible: true }));
      await scene.pass(deadlineMs + 50);
      const late = calls.filter((call) => !isOnTime(call));
      scene.expect(late.length === 0, `${late.length} of ${calls.length} were not answered in time`);
    },
  },
  ...[false, true].map((isLong): WorldPlan => ({
    name: isLong ? "memory is short for a while" : "out of memory with innocents staged",
    about: isLong ? "core-B4 long" : "core-B4",
    device: () => ({ cores: 1 }),
    async play(scene) {
      const { random } = scene;
      await scene.open({ workers: 1 });
      const cost = { fixedMs: 20 + 20 * random.next(), rowMs: 2 };
      const greedy = await scene.load({ factor: 2, wasm: cost });
      const model = await scene.load({ factor: 3, wasm: cost });
      // The scheduler learns that batches pay for both models.
      for (let i = 0; i < 4; i += 1) {
        for (let j = 0; j < 64; j += 1) for (const each of [greedy, model]) scene.ask(each);
        await scene.settle();
      }
      const batchOf = async (of: Model): Promise<number> => {
        const calls = Array.from({ length: 64 }, () => scene.ask(of));
        await scene.settle();
        return Math.max(...calls.map(({ info }) => info?.batchSize ?? 0));
      };
      const before = await batchOf(model);
      scene.faults.maxRows = (factor) => (factor === 2 ? 2 : Infinity);
      const bad = Array.from({ length: 64 }, () => scene.ask(greedy, { isPossible: false }));
      await scene.pass(1);
      const innocent = Array.from({ length: 64 }, () => scene.ask(model));
      await scene.settle();
      // Then smaller batches are tried, and are out of memory too.
      for (let i = 0; isLong && i < 3; i += 1) {
        for (let j = 0; j < 64; j += 1) scene.ask(greedy, { isPossible: false });
        await scene.settle();
      }
      scene.faults.maxRows = () => Infinity;
      scene.expect(
        bad.some(({ info }) => info !== null),
        "no request was answered in smaller batches",
      );
      const failed = innocent.filter(({ info }) => info?.attempts !== 1).length;
      scene.expect(failed === 0, `${failed} innocent requests were rejected or spent a try`);
      scene.expect((await batchOf(model)) >= before, "the innocent model has smaller batches");
      const large = scene.ask(model, { rows: Math.min(16, before), deadlineMs: 60_000, isPossible: true });
      await scene.settle();
      scene.expect(large.info !== null, `a larger request was refused: ${large.code}`);
      // A minute of use.
      for (let i = 0; i < 30; i += 1) {
        for (let j = 0; j < 32; j += 1) scene.ask(greedy);
        await scene.pass(2_000);
      }
      const after = await batchOf(greedy);
      scene.expect(after >= before, `batches of ${before} became batches of ${after}`);
    },
  })),
];
