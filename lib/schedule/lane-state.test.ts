// The scheduler's model of lanes alone: what they run, what was learned of it, and where a step may run.
import { describe, expect, test } from "vitest";
import { lane, step } from "../test-support/schedule-fixtures.ts";
import { Estimate } from "./cost-estimate.ts";
import type { Route, ScheduledStep } from "./events.ts";
import type { Batch, LaneOption } from "./lane-option.ts";
import { LaneStates, remember } from "./lane-state.ts";
import type { SavedLanes } from "./lane-state.ts";

type Lane = ReturnType<typeof lane>;

const LOCAL: Route = { backend: "wasm", modelId: 1, key: "m1" };
const GPU: Route = { backend: "webgpu", modelId: 3, key: "m3" };
const SERVER: Route = { backend: "remote", modelId: 2, key: "m2", costMs: 5 };
const server = (id: string, endpoint: string | null = null): Lane => lane(id, [2], { backend: "remote", endpoint });

/** States of lanes whose runs of one row took so long, each measured three times; `saved` replaces parts of a snapshot. */
function scene(runs: Readonly<Record<string, number>> = {}, saved: Partial<SavedLanes> = {}) {
  const estimate = new Estimate();
  estimate.learn("else", 1, 0.001); // the clock is fine
  const learn = (key: string, ms: number, rows = 1, times = 3): void => {
    for (let i = 0; i < times; i += 1) estimate.learn(key, rows, ms);
  };
  for (const [key, ms] of Object.entries(runs)) learn(key, ms);
  const states = new LaneStates(estimate);
  states.restore({ ...states.save(), ...saved });
  return { estimate, states, learn };
}

/** Part of a snapshot: a lane of another kind has run a model at 0, before any of its steps was counted. */
const usedAtOnce = (key: string): Partial<SavedLanes> => ({ notedMs: new Map([[key, 0]]), used: new Map([[key, 0]]) });

/** A batch of one step that began at 0 and takes 100 ms. */
const batch = (id: number, change: Partial<Batch> = {}): Batch => ({
  ...{ id, route: LOCAL, key: "m1", rows: 1, ms: 100, startMs: 0, preempt: false },
  ...{ steps: new Map([[id, step(id)]]), ...change },
});

const idsOf = (batches: readonly Batch[]): number[] => batches.map((x) => x.id);

describe("batches of lanes", () => {
  test("are in the order in which they were added, until they end", () => {
    const { states } = scene();
    expect([states.areIdle, idsOf(states.on("a"))]).toEqual([true, []]);
    states.add("a", batch(1), 0);
    states.add("a", batch(2, { startMs: 100 }), 0);
    expect([states.areIdle, idsOf(states.on("a")), idsOf(states.on("b"))]).toEqual([false, [1, 2], []]);
    states.end({ type: "ended", lane: "a", batch: 1, ms: 70 }, 70, [lane("a")]);
    expect(states.on("a")).toMatchObject([{ id: 2, startMs: 70, isLoading: false }]);
    states.end({ type: "ended", lane: "a", batch: 2, ms: 70 }, 140, [lane("a")]);
    expect([states.areIdle, [...states.batches.keys()]]).toEqual([true, ["a"]]);
  });

  test("are full from two on, where a lane is open and takes queued work", () => {
    const { states } = scene();
    const [open, wide, closed] = [lane("a"), lane("b", [], { kind: "wide" }), lane("c", [], { isOpen: false })];
    states.add("a", batch(1), 0);
    expect(states.areFull([open, wide, closed])).toBe(false);
    states.add("a", batch(2), 0);
    expect(states.areFull([open, wide, closed])).toBe(true);
    expect(states.areFull([open, lane("d", [], { kind: "express" })])).toBe(false);
  });

  test("did not begin where they are staged, or their lane still loads the model, and have steps left", () => {
    const { states } = scene();
    const unbegun = (): (readonly [string, number, number])[] =>
      [...states.unbegun()].map((x) => [x.lane, x.first.id, x.batch.id]);
    states.add("a", batch(1), 0);
    states.add("a", batch(2), 0);
    states.add("a", batch(3, { steps: new Map() }), 0);
    states.add("b", batch(4, { isLoading: true }), 0);
    states.add("c", batch(5, { isLoading: true, steps: new Map() }), 0);
    expect(unbegun()).toEqual([
      ["a", 1, 2],
      ["b", 4, 4],
    ]);
    states.loaded(1, 90, "b");
    expect(unbegun()).toEqual([["a", 1, 2]]);
  });

  test("of a model that was loaded load no more, on the lane where it was, or on all where none is named", () => {
    const { states } = scene();
    const loading = (): number[] =>
      [...states.batches.values()].flat().flatMap((x) => (x.isLoading === true ? [x.id] : []));
    states.add("a", batch(1, { isLoading: true }), 0);
    states.add("b", batch(2, { isLoading: true }), 0);
    states.add("b", batch(3, { isLoading: true, route: GPU }), 0);
    expect(states.loadOf(LOCAL)).toBe(300);
    states.loaded(1, 90, "a");
    expect([states.loadOf(LOCAL), states.loadOf(GPU), loading()]).toEqual([90, 300, [2, 3]]);
    states.loaded(1, 80, undefined);
    expect(loading()).toEqual([3]);
  });

  test("that leave from behind another change nothing for it; a lane that lost the model loads it for the next", () => {
    const { states } = scene();
    for (const id of [1, 2, 3]) states.add("a", batch(id, { isLoading: id < 3 }), 0);
    states.end({ type: "ended", lane: "a", batch: 2, ms: null }, 50, [lane("b"), lane("a", [])]);
    expect(states.on("a")).toMatchObject([
      { id: 1, startMs: 0, isLoading: true },
      { id: 3, startMs: 0 },
    ]);
    states.end({ type: "ended", lane: "a", batch: 1, ms: null }, 60, [lane("b"), lane("a", [])]);
    expect(states.on("a")).toMatchObject([{ id: 3, startMs: 60, isLoading: true }]);
    states.end({ type: "ended", lane: "a", batch: 9, ms: 10 }, 70, []);
    expect(idsOf(states.on("a"))).toEqual([3]);
  });
});

describe("the end of a batch", () => {
  const end = (states: LaneStates, it: Batch, ms: number | null, now = 100): void => {
    states.add("a", it, 0);
    states.end({ type: "ended", lane: "a", batch: it.id, ms }, now, [lane("a")]);
  };

  test("teaches its duration, on a server also that of the model, unless it failed", () => {
    const { states, estimate } = scene();
    end(states, batch(1), null);
    end(states, batch(2), Infinity);
    expect(estimate.ms("m1", 1)).toBeUndefined();
    end(states, batch(3), 40);
    expect(estimate.ms("m1", 1)).toBe(40);
    end(states, batch(4, { key: "m1 express" }), 20);
    expect([estimate.ms("m1", 1), estimate.ms("m1 express", 1)]).toEqual([40, 20]);
    end(states, batch(5, { key: "m2 s", route: SERVER }), 30);
    expect([estimate.ms("m2 s", 1), estimate.ms("m2", 1)]).toEqual([30, 30]);
    end(states, batch(6, { key: "m2", route: SERVER }), 10);
    expect([estimate.isSure("m2", 1), estimate.ms("m2", 1)]).toEqual([true, 10]);
    const once = scene();
    end(once.states, batch(7, { key: "m2", route: SERVER }), 10);
    expect(once.estimate.isSure("m2", 1)).toBe(false);
  });

  test("that ran out of memory with several rows avoids so many of that shape for a while", () => {
    const { states, estimate, learn } = scene();
    for (const rows of [1, 2, 4]) learn("m1", 10, rows);
    end(states, batch(1, { rows: 4, shape: "a" }), Infinity);
    expect([
      estimate.rows("m1", 4, "a", 200),
      estimate.rows("m1", 4, "b", 200),
      estimate.rows("m1", 4, null, 200),
    ]).toEqual([2, 4, 4]);
    end(states, batch(2, { rows: 4 }), Infinity);
    expect(estimate.rows("m1", 4, null, 200)).toBe(2);
  });

  test("that failed on the wide lane keeps the model from it for a minute; one that succeeds ends all back-offs", () => {
    const { states } = scene();
    const isBarred = (now: number): boolean => states.backOffs.has("a", 1, now);
    end(states, batch(1), null);
    expect(isBarred(100)).toBe(false);
    for (const ms of [null, Infinity]) {
      end(states, batch(2, { key: "m1 wide" }), ms);
      expect([isBarred(60_099), isBarred(60_100)]).toEqual([true, false]);
      end(states, batch(3), null);
      expect(isBarred(60_099)).toBe(true);
      end(states, batch(4), 10);
      expect(isBarred(60_099)).toBe(false);
    }
  });

  test("is the last use of its model, as its start was", () => {
    const { states } = scene();
    expect(states.sinceMs("m1", 100)).toBe(Infinity);
    states.add("a", batch(1, { key: "m1 express" }), 10);
    expect([states.sinceMs("m1", 100), states.sinceMs("m1 express", 100)]).toEqual([90, 90]);
    states.end({ type: "ended", lane: "a", batch: 1, ms: null }, 60, []);
    expect([states.sinceMs("m1", 100), states.sinceMs("m1 express", 100)]).toEqual([40, 40]);
    states.note("else", 70);
    expect(states.sinceMs("else", 100)).toBe(30);
  });
});

describe("a trial", () => {
  const run = (change: Partial<Batch>, ms: number | null, now: number, saved: Partial<SavedLanes> = {}): SavedLanes => {
    const { states } = scene({}, saved);
    states.add("a", batch(1, { isTrial: true, ...change }), 0);
    states.end({ type: "ended", lane: "a", batch: 1, ms }, now, []);
    return states.save();
  };
  const dueAt = (...dues: number[]): Partial<Batch> => ({
    steps: new Map(dues.map((dueMs, id) => [id, step(id, { dueMs })] as const)),
  });

  test("counts as late until its end, then with its time if it was", () => {
    const { states } = scene({}, { owedMs: 50 });
    states.add("a", batch(1), 1_000);
    expect(states.save().owedMs).toBe(50);
    states.add("a", batch(2, { isTrial: true }), 1_000);
    expect(states.save().owedMs).toBe(2_000);
    states.add("a", batch(3, { isTrial: true }), 1_000);
    expect(states.save().owedMs).toBe(3_000);
    expect(run(dueAt(80), 80, 80).owedMs).toBe(0);
    expect(run(dueAt(79), 80, 80).owedMs).toBe(800);
    expect(run({ ...dueAt(79), startMs: 30 }, 50, 80).owedMs).toBe(500);
    expect(run({ ...dueAt(79), startMs: 90 }, 50, 80).owedMs).toBe(0); // it did not begin
    expect(run({ ...dueAt(79), isTrial: false }, 50, 80).owedMs).toBe(0);
  });

  test("is in vain where one of its answers was late, or later than a server's, and ends the others where none was", () => {
    const vain = new Map([["m1", 2]]);
    const after = (change: Partial<Batch>, ms: number | null = 80): number =>
      run(change, ms, 80, { vain }).vain?.get("m1") ?? 0;
    expect([after(dueAt(80)), after(dueAt(79)), after(dueAt(99, 79)), after(dueAt(99, 99))]).toEqual([0, 3, 3, 0]);
    expect([after({ serverMs: 80 }), after({ serverMs: 79 }), after({ ...dueAt(99), serverMs: 79 })]).toEqual([
      0, 3, 3,
    ]);
    expect(run(dueAt(79), 80, 80).vain?.get("m1")).toBe(1);
    // One that failed, or was wanted by nobody, shows nothing.
    expect([after(dueAt(79), null), after(dueAt())]).toEqual([2, 2]);
    expect([run(dueAt(99), null, 80).owedMs, run(dueAt(), 80, 80).owedMs]).toEqual([800, 800]);
  });
});

describe("whether a step is tried", () => {
  const both = [lane("a"), lane("b", [3], { backend: "webgpu" })];
  const tried = (
    { states }: ReturnType<typeof scene>,
    now: number,
    change: Parameters<typeof step>[1] = {},
    lanes: readonly Lane[] = both,
  ): string | undefined => states.trial(step(9, change), now, lanes)?.key;
  const notedMs = new Map([["m1", 0]]);

  test("of which nothing is known it is, on its first route that works", () => {
    const routes = [GPU, LOCAL] as const;
    expect(tried(scene({ m1: 10 }), 0, { routes })).toBe("m3");
    const barred = scene({}, { notedMs });
    barred.states.backOffs.add("b", 3, 1_000, 0);
    expect(tried(barred, 0, { routes })).toBe("m1");
    expect(tried(barred, 1_000, { routes })).toBe("m3");
    for (const change of [{ isOpen: false }, { kind: "wide" }, { kind: "express" }] as const)
      expect(tried(scene(), 0, { routes }, [lane("a"), lane("b", [3], { backend: "webgpu", ...change })])).toBe("m1");
    expect(tried(scene(), 0, { routes }, [])).toBe("m3");
  });

  test("of which nothing recent is known it is: after a second on an idle lane, and after a run that takes longer", () => {
    const at = (ms: number, now: number, saved: Partial<SavedLanes> = {}): boolean =>
      tried(scene({ m1: ms }, { notedMs, ...saved }), now) === "m1";
    expect([at(10, 1_000), at(10, 1_001)]).toEqual([false, true]);
    expect([at(3_000, 3_000), at(3_000, 3_001)]).toEqual([false, true]);
    expect([at(90_000, 60_000), at(90_000, 60_001)]).toEqual([false, true]);
    // Each trial in vain doubles it, up to ten times.
    const vain = (count: number): Partial<SavedLanes> => ({ vain: new Map([["m1", count]]) });
    expect([at(2_000, 8_000, vain(2)), at(2_000, 8_001, vain(2))]).toEqual([false, true]);
    expect([at(2_000, 20_000, vain(5)), at(2_000, 20_001, vain(5))]).toEqual([false, true]);
  });

  test("it is later where no lane for it is idle, and not while it runs", () => {
    const at = (now: number, lanes: readonly Lane[], on: string, change: Partial<Batch> = {}): boolean => {
      const all = scene({ m1: 200 }, { notedMs: new Map() });
      all.states.add(on, batch(1, { route: GPU, key: "m3", ms: 1e6, ...change }), 0);
      all.states.note("m1", 0);
      return tried(all, now, {}, lanes) === "m1";
    };
    expect([at(1_001, [lane("a"), lane("b")], "b"), at(1_001, [lane("a")], "a")]).toEqual([true, false]);
    expect([at(2_000, [lane("a")], "a"), at(2_001, [lane("a")], "a")]).toEqual([false, true]);
    for (const change of [{ backend: "webgpu" }, { kind: "wide" }, { isOpen: false }] as const)
      expect(at(1_001, [lane("a"), lane("b", [1], change)], "a")).toBe(false);
    const same = { route: LOCAL, key: "m1", ms: 900 };
    expect([at(3_599, [lane("a"), lane("b")], "a", same), at(3_600, [lane("a"), lane("b")], "a", same)]).toEqual([
      false,
      true,
    ]);
  });

  test("that ran once it is at once on an idle lane, until that was in vain", () => {
    const all = (saved: Partial<SavedLanes> = {}): ReturnType<typeof scene> => {
      const each = scene({}, { notedMs, ...saved });
      each.learn("m1", 10, 1, 1);
      return each;
    };
    expect(tried(all(), 1)).toBe("m1");
    expect(tried(all({ vain: new Map([["m1", 1]]) }), 1)).toBeUndefined();
    const busy = all();
    busy.states.add("a", batch(1, { route: GPU, key: "m3" }), 0);
    expect(tried(busy, 1)).toBeUndefined();
  });

  test("beside a server it is less often: after more of its runs, and twenty of its steps", () => {
    const routes = [LOCAL, SERVER] as const;
    const at = (now: number, steps: number, count: number): boolean => {
      const saved = {
        notedMs,
        vain: new Map([["m1", count]]),
        arrived: new Map([["m1", steps]]),
        used: new Map([["m1", 0]]),
      };
      const lanes = [lane("a"), server("s")];
      return (
        tried(
          scene({ m1: 1_000, m2: 1 }, { ...saved, notedMs: new Map([...notedMs, ["m2", now]]) }),
          now,
          { routes },
          lanes,
        ) === "m1"
      );
    };
    expect([at(1_001, 0, 0), at(2_001, 19, 1), at(2_001, 20, 1), at(2_000, 20, 1)]).toEqual([true, false, true, false]);
    expect([at(32_000, 20, 5), at(32_001, 20, 5)]).toEqual([false, true]);
  });

  test("it is only within the budget of trials, first of the model that ran least recently", () => {
    const at = (owedMs: number, now: number): boolean => tried(scene({ m1: 10 }, { notedMs, owedMs }), now) === "m1";
    // 60 s less a share that falls with the time since the last run.
    expect([at(2_000 + 30_000, 2_000), at(2_000 + 30_001, 2_000)]).toEqual([true, false]);
    expect([at(60_000 + 59_000, 60_000), at(60_000 + 59_001, 60_000)]).toEqual([true, false]);
  });

  test("a server that would be late is, where nothing recent is known of it", () => {
    const routes = [LOCAL, SERVER] as const;
    const at = (now: number, dueMs: number, lanes: readonly Lane[] = [lane("a"), server("s")]): string | undefined =>
      tried(
        scene(
          { m1: 10, m2: 80 },
          {
            notedMs: new Map([
              ["m1", now],
              ["m2", 0],
            ]),
          },
        ),
        now,
        { routes, dueMs },
        lanes,
      );
    expect([at(1_001, 1_080), at(1_001, 1_081), at(1_000, 1_079)]).toEqual(["m2", undefined, undefined]);
    const gpu = [LOCAL, { ...GPU, key: "m2" }] as const;
    expect(
      tried(scene({ m1: 10, m2: 80 }, { notedMs: new Map([["m1", 5_000]]) }), 5_000, { routes: gpu, dueMs: 5_001 }),
    ).toBeUndefined();
  });
});

describe("the least time of a step", () => {
  const NOW = 500;
  const notedMs = new Map([
    ["m1", NOW],
    ["m3", NOW],
    ["m2", NOW],
    ["m2 s", NOW],
  ]);
  const least = (all: ReturnType<typeof scene>, routes: ScheduledStep["routes"], lanes: readonly Lane[]): number =>
    all.states.soonestMs(step(9, { routes }), NOW, lanes);

  test("is that of the shortest run on a usual lane, whatever it runs, and 0 where it is tried", () => {
    const lanes = [lane("a"), lane("b", [3], { backend: "webgpu" }), lane("x", [], { kind: "express" })];
    const all = scene({ m1: 30, m3: 20, "m1 express": 1 }, { notedMs });
    all.estimate.learn("m1", 1, 25);
    expect(least(all, [LOCAL], lanes)).toBe(25);
    expect(least(all, [LOCAL, GPU], lanes)).toBe(20);
    expect(least(all, [GPU, LOCAL], lanes.slice(0, 1))).toBe(25);
    expect(least(scene({ m1: 30 }, { notedMs }), [LOCAL, GPU], lanes)).toBe(30);
    expect(least(scene({ m1: 30 }), [LOCAL], lanes)).toBe(0);
    expect(least(all, [LOCAL], [])).toBe(Infinity);
  });

  test("of a server is its own where it has one, and 0 where nothing is known", () => {
    const used = new Map([["m2 s", 0]]);
    const all = scene({ m1: 30, m2: 70, "m2 s": 9 }, { notedMs, used });
    expect(least(all, [LOCAL, SERVER], [lane("a"), server("s", "s")])).toBe(9);
    expect(least(all, [LOCAL, SERVER], [lane("a"), server("t", "t")])).toBe(0);
  });
});

describe("what is known of a server", () => {
  const on = ({ states }: ReturnType<typeof scene>, now: number, endpoint = "s"): number =>
    states.options(step(9, { routes: [SERVER] }), now, [server("r", endpoint)])[0]?.ms ?? NaN;

  test("is halved for each minute without use, at most once for ten steps", () => {
    for (const [now, steps, ms] of [
      [0, 10, 80],
      [60_000, 10, 40],
      [120_000, 10, 40],
      [60_000, 20, 40],
      [120_000, 20, 20],
      [60_000, 0, 80],
    ] as const) {
      const all = scene();
      all.states.measured({ type: "measured", key: "m2", ms: 80, endpoint: "s" }, 0);
      for (let i = 0; i < steps; i += 1) all.states.arrived(step(i, { routes: [LOCAL, SERVER] }));
      expect(on(all, now)).toBe(ms);
    }
    // A count that was evicted begins again.
    expect(on(scene({ "m2 s": 80 }, { notedMs: new Map([["m2 s", 0]]), used: new Map([["m2 s", 50]]) }), 60_000)).toBe(
      80,
    );
  });

  test("is what was measured first on this page, in place of an earlier page's; of others it is only the first", () => {
    const all = scene({ "m2 s": 7 });
    const measured = (ms: number, endpoint?: string | null): void => {
      all.states.measured({ type: "measured", key: "m2", ms, ...(endpoint === undefined ? {} : { endpoint }) }, 10);
    };
    measured(80, "s");
    expect([all.estimate.ms("m2", 1), all.estimate.ms("m2 s", 1), on(all, 10)]).toEqual([80, 80, 80]);
    measured(20, "s");
    expect([all.estimate.ms("m2", 1), all.estimate.ms("m2 s", 1)]).toEqual([80, 80]);
    measured(20);
    measured(20, null);
    expect([all.estimate.ms("m2", 1), all.estimate.isSure("m2", 1)]).toEqual([80, false]);
    measured(30, "t");
    expect([on(all, 10, "t"), on(all, 10, "u")]).toEqual([30, 0]);
  });
});

describe("options", () => {
  const option = (all: ReturnType<typeof scene>, it: ScheduledStep, lanes: readonly Lane[], now = 0): LaneOption[] =>
    all.states.options(it, now, lanes);
  const names = (...args: Parameters<typeof option>): string[] => option(...args).map((x) => x.lane.id);

  test("are the open lanes of its routes, each with the finish there", () => {
    const all = scene({ m1: 30, "m1 wide": 20 }, usedAtOnce("m1 wide"));
    all.estimate.learn("m1", 1, 25);
    all.states.loaded(1, 200, "a");
    all.states.add("c", batch(1, { route: GPU, key: "m3", ms: 50 }), 0);
    all.states.add("d", batch(2, { ms: 70 }), 0);
    const lanes = [lane("a"), lane("b", []), lane("c"), lane("d", []), lane("w", [1], { kind: "wide" })];
    const found = option(all, step(9), [...lanes, server("r"), lane("e", [1], { isOpen: false })], 10);
    const rows = found.map((x) => [x.lane.id, x.key, x.freeMs, x.ms, x.leastMs, x.endMs, x.isCold, x.loadMs]);
    expect(rows).toEqual([
      ["a", "m1", 10, 30, 25, 40, false, 0],
      ["b", "m1", 10, 30, 25, 240, true, 200],
      ["c", "m1", 50, 30, 25, 80, false, 0],
      ["d", "m1", 70, 30, 25, 100, false, 0],
      ["w", "m1 wide", 10, 20, 20, 30, false, 0],
    ]);
    expect(option(scene(), step(9), [lane("a")])).toMatchObject([{ ms: 250, leastMs: 250, route: LOCAL }]);
  });

  test("have no lane that fails where another works", () => {
    const all = scene();
    all.states.backOffs.add("a", 1, 1_000, 0);
    expect(names(all, step(9), [lane("a"), lane("b")])).toEqual(["b"]);
    expect(names(all, step(9), [lane("a"), lane("b")], 1_000)).toEqual(["a", "b"]);
    expect(names(all, step(9), [lane("a"), lane("x", [1], { kind: "express" })])).toEqual(["a", "x"]);
    expect(names(all, step(9, { model: 2 }), [lane("a"), lane("b")])).toEqual(["a", "b"]);
  });

  test("of a state are the lane that has its last step, else idle ones with the fewest states", () => {
    const all = scene();
    const lanes = [lane("a"), lane("b"), lane("c"), lane("d", [1], { kind: "express" })];
    const its = (id: number, after: number): ScheduledStep => step(9, { state: { id, after } });
    lanes[0]?.held.get(1)?.states.set(3, 7).set(4, 2);
    lanes[1]?.held.get(1)?.states.set(5, 1);
    expect([names(all, its(3, 7), lanes), names(all, its(5, 1), lanes)]).toEqual([["a"], ["b"]]);
    expect([names(all, its(3, 6), lanes), names(all, its(8, 0), lanes.slice(0, 2))]).toEqual([["c"], ["b"]]);
    expect(names(all, step(9), lanes)).toHaveLength(4);
    all.states.add("c", batch(1), 0);
    expect(names(all, its(3, 6), lanes)).toEqual(["b"]);
    (lanes[1] as Lane).isOpen = false;
    expect(names(all, its(3, 6), lanes)).toEqual(["a"]);
    expect(names(all, its(5, 1), lanes)).toEqual([]);
  });

  test("are those that run the model once it runs on as many as it may", () => {
    const all = scene();
    const lanes = [lane("a"), lane("b"), lane("c")];
    const few = (concurrency: number): string[] => names(all, step(9, { concurrency }), lanes);
    expect(few(1)).toEqual(["a", "b", "c"]);
    all.states.add("b", batch(1), 0);
    all.states.add("c", batch(2, { route: GPU, key: "m3" }), 0);
    expect([few(1), few(2), few(3)]).toEqual([["b"], ["a", "b", "c"], ["a", "b", "c"]]);
    all.states.add("c", batch(3), 0);
    expect([few(2), few(3)]).toEqual([
      ["b", "c"],
      ["a", "b", "c"],
    ]);
  });
});

describe("the wide lane", () => {
  const at = (key: string, ms: number): LaneOption => ({ ...({} as LaneOption), route: LOCAL, key, ms });

  test("is for steps that are long and known, where threads pay or are not known", () => {
    const all = scene({ m1: 20, "m1 wide": 10 }, usedAtOnce("m1 wide"));
    const is = (usualMs: number, wideMs: number, key = "m1 wide", own = "m1", dueMs = Infinity): boolean =>
      all.states.isForWide(step(9, { dueMs }), at(own, usualMs), at(key, wideMs), 100);
    expect([is(20, 17.9), is(20, 18), is(8, 7), is(7.9, 1)]).toEqual([true, false, true, false]);
    expect([is(20, 10, "m1 wide", "m9"), is(20, 99, "m9 wide")]).toEqual([false, true]);
    expect([is(20, 99, "m9 wide", "m1", 160), is(20, 99, "m9 wide", "m1", 159)]).toEqual([true, false]);
  });

  test("that was slower is looked at where the deadline allows a slow run", () => {
    const all = scene({ m1: 20, "m1 wide": 30 }, usedAtOnce("m1 wide"));
    const is = (wideMs: number, dueMs: number): boolean =>
      all.states.isForWide(step(9, { dueMs }), at("m1", 20), at("m1 wide", wideMs), 100);
    expect([is(10, 160), is(10, 159), is(18, Infinity)]).toEqual([true, false, false]);
  });
});

test("a usual lane is measured again after 300 steps on the wide one (sched-usual)", () => {
  const all = scene({ m1: 20, "m1 wide": 10 }, usedAtOnce("m1 wide"));
  const at = (key: string, ms: number): LaneOption => ({ ...({} as LaneOption), route: LOCAL, key, ms });
  const isWide = (): boolean => all.states.isForWide(step(9), at("m1", 20), at("m1 wide", 10), 100);
  for (let i = 0; i < 299; i += 1) all.states.arrived(step(i));
  expect(isWide()).toBe(true);
  all.states.arrived(step(299));
  expect(isWide()).toBe(false);
  all.states.add("a", batch(1), 100);
  expect(isWide()).toBe(true);
});

describe("a lane of another kind whose run failed", () => {
  const failed = (key: string, change: Partial<Batch> = {}, ms: number | null = null) => {
    const all = scene();
    all.states.add("x", batch(1, { key, ...change }), 0);
    all.states.end({ type: "ended", lane: "x", batch: 1, ms }, 0, []);
    return (now: number): boolean => all.states.backOffs.has("x", LOCAL.modelId, now);
  };

  test("is not used for a minute, for want of memory too (sched-failed)", () => {
    for (const key of ["m1 express", "m1 wide"])
      for (const ms of [null, Infinity]) expect([59_999, 60_000].map(failed(key, {}, ms))).toEqual([true, false]);
  });

  test("is used again where the run was cancelled; and so are a usual lane and a server (sched-failed)", () => {
    expect(failed("m1 express", { steps: new Map() })(1)).toBe(false);
    expect(failed("m1 wide", { steps: new Map() })(1)).toBe(false);
    expect(failed("m1")(1)).toBe(false);
    expect(failed("m2 https://a", { route: SERVER })(1)).toBe(false);
  });

  test("has no room for urgent steps meanwhile", () => {
    const all = scene({ m1: 20 });
    all.states.backOffs.add("x", LOCAL.modelId, 500, 0);
    const on = (now: number): number => all.states.expressMs("x", LOCAL, now);
    expect([on(499), on(500)]).toEqual([Infinity, 20]);
  });
});

describe("the estimate of a lane of another kind", () => {
  test.each([
    ["express", 10_000, 10],
    ["wide", 60_000, 100],
  ] as const)("is halved on the %s lane each %d ms without use, at most once for %d steps", (kind, oldMs, oldSteps) => {
    const key = `m1 ${kind}`;
    const all = scene({ m1: 100, [key]: 80 }, usedAtOnce(key));
    const on = (now: number): number => all.states.options(step(9), now, [lane("x", [1], { kind })])[0]?.ms ?? NaN;
    expect(on(oldMs)).toBe(80);
    for (let i = 0; i < oldSteps; i += 1) all.states.arrived(step(i));
    expect([on(0), on(oldMs), on(9 * oldMs)]).toEqual([80, 40, 40]);
    for (let i = 0; i < oldSteps; i += 1) all.states.arrived(step(i));
    expect([on(oldMs), on(9 * oldMs)]).toEqual([40, 20]);
    all.states.add("x", batch(1, { key }), 9 * oldMs);
    expect(on(9 * oldMs)).toBe(80);
    if (kind === "express") expect(all.states.expressMs("x", LOCAL, 9 * oldMs)).toBe(80);
  });

  test.each(["express", "wide"] as const)("counts at most as the usual one once it is old, on the %s lane", (kind) => {
    const all = scene({ m1: 20, [`m1 ${kind}`]: 900 });
    const on = (now: number): number => all.states.options(step(9), now, [lane("x", [1], { kind })])[0]?.ms ?? NaN;
    for (let i = 0; i < 200; i += 1) all.states.arrived(step(i));
    // Of an earlier page: its age begins with this one.
    expect([on(9_999), on(kind === "wide" ? 60_000 : 10_000)]).toEqual([900, 10]);
  });

  test("is that of the usual lanes before the first run, which is never old", () => {
    const all = scene({ m1: 20 });
    for (let i = 0; i < 1_000; i += 1) all.states.arrived(step(i));
    const lanes = [lane("a"), lane("x", [1], { kind: "express" })];
    expect(all.states.options(step(9), 1e6, lanes).map(({ ms }) => ms)).toEqual([20, 20]);
    const on = (route: Route): number => all.states.expressMs("x", route, 1e6);
    expect([on(LOCAL), on({ ...LOCAL, key: "m9" })]).toEqual([20, 0]);
  });
});

test("a snapshot has all of it", () => {
  const all = scene({ m1: 20 });
  all.states.arrived(step(1));
  all.states.loaded(1, 70, "a");
  all.states.add("a", batch(1, { isTrial: true, steps: new Map([[1, step(1, { dueMs: 9 })]]) }), 10);
  all.states.end({ type: "ended", lane: "a", batch: 1, ms: 20 }, 30, []);
  all.states.add("a", batch(2, { startMs: 30 }), 30);
  all.states.backOffs.add("b", null, 500, 0);
  const saved = all.states.save();
  const other = new LaneStates(all.estimate);
  other.restore(structuredClone(saved));
  expect(other.save()).toEqual(saved);
  expect(saved).toMatchObject({
    vain: new Map([["m1", 1]]),
    arrived: new Map([["m1", 1]]),
    used: new Map([["m1", 1]]),
  });
  expect(saved.batches.get("a")).toMatchObject([{ id: 2, steps: [{ id: 2 }] }]);
  expect(other.on("a")).toEqual([batch(2, { startMs: 30 })]);
});

test("of more than 1,024 entries the one set longest ago is forgotten", () => {
  const map = new Map<number, number>();
  for (let i = 0; i < 1_024; i += 1) remember(map, i, i);
  remember(map, 0, -1);
  expect([map.size, map.get(0), map.get(1)]).toEqual([1_024, -1, 1]);
  remember(map, 1_024, 0);
  expect([map.size, map.get(0), map.has(1), map.has(2)]).toEqual([1_024, -1, false, true]);
});
