import { expect, test } from "vitest";
import type { Estimate } from "./cost-estimate.ts";
import type { Decision, ScheduledStep } from "./events.ts";
import type { LaneOption } from "./lane-option.ts";
import type { LaneStates } from "./lane-state.ts";
import { WarmUps } from "./warm-ups.ts";

/** Warm-ups of models that load in 100 ms; `estimates` are by key. */
function scene(estimates: Readonly<Record<string, number>> = {}) {
  const noted = new Map<string, number>();
  const barred = new Set<string>();
  const lanes = {
    sinceMs: (what: string, now: number) => now - (noted.get(what) ?? -Infinity),
    note: (what: string, now: number) => noted.set(what, now),
    loadOf: () => 100,
    backOffs: { has: (lane: string) => barred.has(lane) },
  };
  const warmUps = new WarmUps(
    { ms: (key: string) => estimates[key] } as unknown as Estimate,
    lanes as unknown as LaneStates,
  );
  return { warmUps, barred };
}

const STEP = { id: 7, routes: [{ backend: "webgpu" }] } as unknown as ScheduledStep;

/** An idle lane without the model, where the step takes 40 ms. */
const cold = (id: string, more: object = {}, route: object = {}, kind = "usual"): LaneOption =>
  ({
    ...{ lane: { id, kind }, route: { key: "k", modelId: 1, backend: "wasm", ...route } },
    ...{ isCold: true, batches: [], freeMs: 0, ms: 40, ...more },
  }) as unknown as LaneOption;

/** Lanes that are sent the model after a step on `backend` that ends at each of some times. */
function loads(
  { warmUps }: { readonly warmUps: WarmUps },
  options: readonly LaneOption[],
  ends: readonly number[],
  backend: "wasm" | "webgpu" | null = "wasm",
): string[] {
  const out: Decision[] = [];
  ends.forEach((endMs, i) => warmUps.startBetter({ step: STEP, options, backend, rows: 1, endMs }, i * 20_000, out));
  return out.map((x) => (x.type === "warm" ? x.lane : x.type));
}

test("a lane is sent a model at most every 10 s, others meanwhile, and none while it can't load it", () => {
  const { warmUps, barred } = scene();
  const out: Decision[] = [];
  const start = (id: string, now: number): void => warmUps.start(STEP, cold(id), now, out);
  start("l1", 1_000);
  expect(out).toEqual([{ type: "warm", lane: "l1", id: 7, route: cold("l1").route }]);
  start("l1", 10_999);
  expect(out).toHaveLength(1);
  start("l2", 10_999);
  start("l1", 11_000);
  expect(out.map((x) => x.type === "warm" && x.lane)).toEqual(["l1", "l2", "l1"]);
  barred.add("l3");
  start("l3", 11_000);
  expect(out).toHaveLength(3);
});

test("a lane loads a model once more time than the load takes was lost without it, and then counts anew", () => {
  expect(loads(scene(), [cold("l1")], [140])).toEqual([]);
  expect(loads(scene(), [cold("l1")], [140, 41])).toEqual(["l1"]);
  expect(loads(scene(), [cold("l1")], [141, 140])).toEqual(["l1"]);
});

test("the lost time goes on from a snapshot", () => {
  const [first, second] = [scene(), scene()];
  loads(first, [cold("l1")], [140]);
  second.warmUps.restore(first.warmUps.save());
  expect(loads(second, [cold("l1")], [41])).toEqual(["l1"]);
});

test("a lane where nothing would have been gained is passed over for the next", () => {
  expect(loads(scene(), [cold("l1", { freeMs: 101 }), cold("l2")], [141])).toEqual(["l2"]);
  expect(loads(scene(), [cold("l1", { freeMs: 500 }), cold("l2")], [141])).toEqual(["l2"]);
});

test("what a route costs beside its time is not gained", () => {
  expect(loads(scene(), [cold("l1", {}, { costMs: 50 })], [190])).toEqual([]);
  expect(loads(scene(), [cold("l1", {}, { costMs: 50 })], [191])).toEqual(["l1"]);
});

test("only idle usual lanes without the model load it", () => {
  for (const other of [cold("l1", { isCold: false }), cold("l1", { batches: [{}] }), cold("l1", {}, {}, "express")])
    expect(loads(scene(), [other, cold("l2")], [1_000])).toEqual(["l2"]);
});

test("a preferred backend that was never measured counts as instant where another was used", () => {
  const slow = { ms: 500 };
  const preferred = [cold("l1", slow, { backend: "webgpu" })];
  expect(loads(scene(), preferred, [101])).toEqual(["l1"]);
  expect(loads(scene(), preferred, [101], null)).toEqual(["l1"]);
  expect(loads(scene(), preferred, [101], "webgpu")).toEqual([]);
  expect(loads(scene(), [cold("l1", slow)], [101], "webgpu")).toEqual([]);
  expect(loads(scene({ k: 30 }), preferred, [130])).toEqual([]);
  expect(loads(scene({ k: 30 }), preferred, [131])).toEqual(["l1"]);
});
