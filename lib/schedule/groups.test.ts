// Many groups of steps that can't run together: distinct sizes of inputs, or recurrent states. Costs are counted, not timed.
import { expect, test } from "vitest";
import { Estimate } from "./estimate.ts";
import { lane, step } from "./fixtures.ts";
import type { Event, Step } from "./protocol.ts";
import { Scheduler } from "./scheduler.ts";

const DECISIONS = 400;

/** Makes a step that counts how often its deadline is read: once or twice a comparison. */
function counted(it: Step, count: () => void): Step {
  const { dueMs } = it;
  return Object.defineProperty({ ...it }, "dueMs", {
    enumerable: true,
    get: () => {
      count();
      return dueMs;
    },
  });
}

/** Reads a decision, of arrivals, ends and ticks, where so many groups wait. */
function readsOf(groups: number, change: (id: number) => Partial<Step>): number {
  const scheduler = new Scheduler({ ageingMs: 2_000, maxSize: 1e6 }, new Estimate());
  const lanes = [lane("wasm-0"), lane("wasm-1")];
  const running: { readonly lane: string; readonly batch: number }[] = [];
  let [reads, now, id] = [0, 0, 0];
  const tell = (event: Event): void => {
    for (const x of scheduler.handle(event, now, lanes)) if (x.type === "start") running.push(x);
  };
  const arrive = (): void => {
    id += 1;
    const it = step(id, { shape: `${id}`, arrivedMs: now, ...change(id) });
    tell({ type: "arrived", isAgain: false, step: counted(it, () => (reads += 1)) });
  };
  for (let i = 0; i < groups; i += 1) arrive();
  tell({ type: "tick" });
  reads = 0;
  for (let i = 0; i < DECISIONS; i += 1, now += 5) {
    const first = running.shift();
    if (first === undefined) throw new Error("nothing runs");
    tell({ type: "ended", lane: first.lane, batch: first.batch, ms: 5 });
    arrive();
    tell({ type: "tick" });
  }
  return reads / DECISIONS;
}

test.each<[string, (id: number) => Partial<Step>]>([
  ["without deadlines", () => ({})],
  ["with deadlines", (id) => ({ dueMs: 1e7 + ((id * 7_919) % 1e6) })],
  ["of recurrent states", (id) => ({ shape: null, caller: id, state: { id, after: 0 } })],
  ["of all priorities", (id) => ({ priority: id % 3, dueMs: id % 2 === 0 ? Infinity : 1e7 + id })],
])("a decision costs little more where 10,000 groups wait %s than where 10 do (core-B12)", (_, change) => {
  const [few, many] = [readsOf(10, change), readsOf(10_000, change)];
  expect(many).toBeLessThanOrEqual(4 * few);
});
