// The scheduler under the clocks of browsers: coarse ones whose steps are no binary fractions, hours of uptime, clocks
// that stand still, jump by a week of sleep, or step back by a rounding. Each event is handled in bounded work, each
// wake-up lies ahead, and nothing that is saved is NaN.
import fc from "fast-check";
import { expect, test } from "vitest";
import { lane, step } from "../test-support/schedule-fixtures.ts";
import type { StageLane } from "../test-support/schedule-fixtures.ts";
import { Estimate } from "./cost-estimate.ts";
import type { Decision, SchedulerEvent } from "./events.ts";
import { Scheduler } from "./scheduler.ts";

/** Costs and deadlines below are multiples of these. Resolutions in ms: Chromium's two, Firefox's two, Safari's, 60 Hz, and one that no binary fraction is near. */
const CLOCKS = [0.005, 0.1, 0.02, 1, 16.67, 100, 5 / 3];
/** Powers of two, after which sums are rounded more coarsely: stories begin shortly before one. */
const UPTIMES = [0, 16, 2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40];
const WEEK_MS = 7 * 86_400_000;
/** Reads of lanes per event, as a multiple of the queued steps and one. */
const READS = 400;

/** Counts how often the scheduler reads the lanes. */
function counted(lanes: readonly StageLane[], note: () => void): StageLane[] {
  for (const each of lanes) {
    const { backend } = each;
    Object.defineProperty(each, "backend", {
      get: () => {
        note();
        return backend;
      },
    });
  }
  return [...lanes];
}

/** Names each value of a snapshot that is NaN. */
function nans(value: unknown, path: string): string[] {
  if (typeof value === "number") return Number.isNaN(value) ? [path] : [];
  if (typeof value === "string") return /NaN|null/.test(value) && path.endsWith(".estimate") ? nansOf(value, path) : [];
  if (value instanceof Map) return [...value].flatMap(([key, each]) => nans(each, `${path}[${String(key)}]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => nans(each, `${path}.${key}`));
}

/** JSON writes NaN as null: a sample must have none. */
function nansOf(estimate: string, path: string): string[] {
  const { models } = JSON.parse(estimate) as { models: [string, (number | null)[][][]][] };
  return models.some(([, cells]) => cells.some((cell) => (cell ?? []).flat().includes(null))) ? [path] : [];
}

const act = fc.oneof(
  {
    weight: 24,
    arbitrary: fc.record({
      type: fc.constant("ask" as const),
      model: fc.nat(2),
      count: fc.integer({ min: 1, max: 6 }),
      dueTicks: fc.oneof(fc.nat(60), fc.constantFrom(1e-9, 1e300, Infinity)),
      what: fc.nat(8),
    }),
  },
  { weight: 24, arbitrary: fc.record({ type: fc.constant("pass" as const), ticks: fc.nat(20) }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant("cancel" as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.constant({ type: "sleep" as const }) },
  { weight: 6, arbitrary: fc.constant({ type: "shut" as const }) },
  { weight: 1, arbitrary: fc.constant({ type: "back" as const }) },
);
const story = fc.record({
  clockMs: fc.constantFrom(...CLOCKS),
  uptimeMs: fc.constantFrom(...UPTIMES),
  before: fc.nat(400),
  cores: fc.integer({ min: 1, max: 3 }),
  costs: fc.array(fc.constantFrom(0, 1, 2, 7, 15, 400), { minLength: 3, maxLength: 3 }),
  agingMs: fc.constantFrom(1, 200, 2_000),
  acts: fc.array(act, { maxLength: 60, size: "max" }),
});

test("every clock of a browser: bounded work per event, wake-ups that lie ahead, no NaN in a snapshot", () => {
  fc.assert(
    fc.property(story, ({ clockMs, uptimeMs, before, cores, costs, agingMs, acts }) => {
      let ticks = Math.max(0, Math.floor(uptimeMs / clockMs) - before);
      let jitter = 0;
      let left = 0;
      /** The clock: a multiple of its resolution, rounded in one of two ways. */
      const now = (): number => (jitter === 0 ? ticks * clockMs : ticks / (1 / clockMs));
      const usual = Array.from({ length: cores }, (_, i) => lane(`wasm-${i}`, [0, 1]));
      const more = [lane("wasm-express", [], { kind: "express" }), lane("wasm-wide", [], { kind: "wide" })];
      const lanes = counted([...usual, ...more], () => {
        if ((left -= 1) < 0) throw new Error("The scheduler reads the lanes again and again.");
      });
      const scheduler = new Scheduler({ agingMs, maxSize: 30 }, new Estimate());
      const running = new Map<string, { batch: number; runTicks: number; endTicks: number }[]>();
      const tell = (event: SchedulerEvent): void => {
        left = READS * (scheduler.queued + 1) * lanes.length;
        for (const decision of scheduler.handle(event, now(), lanes)) perform(decision);
      };
      const perform = (decision: Decision): void => {
        if (decision.type === "warm") {
          const own = lanes.find(({ id }) => id === decision.lane);
          own?.held.set(decision.route.modelId, { states: new Map() });
          tell({ type: "loaded", modelId: decision.route.modelId, ms: 3 * clockMs, lane: decision.lane });
        }
        if (decision.type !== "start") return;
        const { batch, lane: id, ids, route } = decision;
        const own = running.get(id) ?? [];
        running.set(id, own);
        // Runs take longer than the last ones did, so that steps become late while they are queued.
        const runTicks = (costs[route.modelId] ?? 0) * ([1, 1, 1, 6][batch % 4] as number) * ids.length;
        own.push({ batch, runTicks, endTicks: Math.max(ticks, own.at(-1)?.endTicks ?? 0) + runTicks });
      };
      const tick = (): void => {
        tell({ type: "tick" });
        const { wakeMs } = scheduler;
        expect(wakeMs, "a wake-up in the past repeats for ever").toBeGreaterThan(now());
      };
      /** Ends the batches that are over. */
      const end = (): void => {
        for (const [id, own] of running)
          for (let [first] = own; first !== undefined && first.endTicks <= ticks; [first] = own) {
            own.shift();
            tell({ type: "ended", lane: id, batch: first.batch, ms: first.runTicks * clockMs });
            tick();
          }
      };
      let id = 0;
      for (const each of acts) {
        if (each.type === "ask") {
          const { what, model, dueTicks, count } = each;
          const arrivedMs = now();
          const dueMs = arrivedMs + dueTicks * clockMs;
          const shape = what < 5 ? null : `s${what % 2}`;
          const batching = { maxBatchSize: 8, maxQueueDelayMs: what === 3 ? 0.3 : 0, preferredBatchSizes: [] };
          const change = { model, dueMs, arrivedMs, batching, shape, isRefusable: what !== 1, priority: what % 3 };
          for (let i = 0; i < count; i += 1) tell({ type: "arrived", step: step(++id, change), isAgain: what > 3 });
          tick();
        } else if (each.type === "cancel") tell({ type: "cancelled", id: id - each.which });
        else if (each.type === "sleep") ticks += Math.floor(WEEK_MS / clockMs);
        // Lanes that measure, say, are not open: steps wait for them until they are late.
        else if (each.type === "shut") for (const own of usual) own.isOpen = !own.isOpen;
        else if (each.type === "back") jitter = 1 - jitter;
        else
          for (let i = 0; i < each.ticks; i += 1) {
            ticks += 1;
            end();
            tick();
          }
        end();
        tick();
        tick();
        const saved = scheduler.save();
        expect(nans(saved, "saved")).toEqual([]);
      }
    }),
    { numRuns: 100 },
  );
});
