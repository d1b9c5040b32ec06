import { expect, test } from "vitest";
import type { Progress } from "./messages.ts";
import { LoadProgress, PacedProgress } from "./progress.ts";

/** Progress reports by time, and a clock. */
function scene(): {
  paced: PacedProgress;
  told: [ms: number, bytes: number][];
  pass: (ms: number) => void;
  timers: () => number;
} {
  let nowMs = 0;
  let timers: { atMs: number; callback: () => void }[] = [];
  const told: [number, number][] = [];
  const setTimer = (callback: () => void, ms: number): (() => void) => {
    const timer = { atMs: nowMs + ms, callback };
    timers.push(timer);
    return () => {
      timers = timers.filter((x) => x !== timer);
    };
  };
  const pass = (ms: number): void => {
    for (const end = nowMs + ms; nowMs < end; nowMs += 1) {
      const due = timers.filter((x) => x.atMs === nowMs);
      timers = timers.filter((x) => !due.includes(x));
      for (const { callback } of due) callback();
    }
  };
  const paced = new PacedProgress(setTimer, ({ loadedBytes }) => told.push([nowMs, loadedBytes]));
  return { paced, told, pass, timers: () => timers.length };
}

function at(loadedBytes: number, totalBytes: number | null = 100): Progress {
  return { loadedBytes, totalBytes, cachedBytes: 0, bytesPerSecond: null, secondsLeft: null, files: [] };
}

test("the first report is passed on at once, those after it at most every 50 ms, and the newest of them", () => {
  const { paced, told, pass } = scene();
  for (let bytes = 1; bytes <= 30; bytes += 1) {
    paced.report(at(bytes));
    pass(5);
  }
  pass(500);
  expect(told).toEqual([
    [0, 1],
    [50, 11],
    [100, 21],
    [150, 30],
  ]);
});

test("a download that stalls right after a report shows all that has arrived", () => {
  const { paced, told, pass, timers } = scene();
  paced.report(at(1));
  pass(2);
  paced.report(at(60));
  pass(20_000);
  expect(told).toEqual([
    [0, 1],
    [50, 60],
  ]);
  expect(timers()).toBe(0);
});

test("the last report is passed on at once, and so is what an end finds untold", () => {
  const { paced, told, pass, timers } = scene();
  paced.report(at(1));
  paced.report(at(100));
  expect(told).toEqual([
    [0, 1],
    [0, 100],
  ]);
  paced.report(at(3, null));
  paced.end();
  expect(told.at(-1)).toEqual([0, 3]);
  pass(500);
  expect(told).toHaveLength(3);
  expect(timers()).toBe(0);
});

/** Progress of a load of files of these sizes, on a clock that the test sets. */
function load(...sizes: readonly (number | null)[]) {
  const clock = { ms: 0 };
  const told: Progress[] = [];
  const files = sizes.map((bytes, i) => ({ path: `file-${i}`, bytes }));
  const progress = new LoadProgress(
    files,
    () => clock.ms,
    (x) => told.push(x),
  );
  const add = (ms: number, bytes: number, from: "store" | "network" = "network", file = 0): void => {
    clock.ms = ms;
    progress.add(file, bytes, from);
  };
  const rate = (ms: number): number | null => {
    clock.ms = ms;
    return progress.bytesPerSecond;
  };
  return { progress, add, rate, last: () => told.at(-1) as Progress, told };
}

test("bytes count by file and in total, those of the store apart; the total is known once all sizes are", () => {
  const { progress, add, last, told } = load(1_000, null);
  add(0, 400, "store");
  expect(last()).toEqual({
    ...{ loadedBytes: 400, totalBytes: null, cachedBytes: 400, bytesPerSecond: null, secondsLeft: null },
    files: [
      { path: "file-0", loadedBytes: 400, totalBytes: 1_000 },
      { path: "file-1", loadedBytes: 0, totalBytes: null },
    ],
  });
  progress.expect(1, 600);
  progress.expect(2, 600);
  add(0, 50, "network", 2);
  expect(told, "there is no third file").toHaveLength(1);
  add(1_000, 200, "network", 1);
  expect(last()).toMatchObject({
    loadedBytes: 600,
    totalBytes: 1_600,
    cachedBytes: 400,
    bytesPerSecond: 200,
    secondsLeft: 5,
  });
  add(1_000, -400, "store");
  expect(last()).toMatchObject({ loadedBytes: 200, cachedBytes: 0, secondsLeft: 7 });
  expect(told[0]?.loadedBytes, "a report stays as it was").toBe(400);
});

test("no time is left once all is there, whatever the rate", () => {
  const { add, last } = load(100);
  add(0, 100, "store");
  expect(last()).toMatchObject({ bytesPerSecond: null, secondsLeft: 0 });
});

test("the rate is that of the network from a quarter of a second on, and of none where nothing came of it", () => {
  const { add, rate } = load(1_000);
  add(10, 100);
  expect([rate(249), rate(250)]).toEqual([null, 400]);
  add(250, -100);
  expect(rate(500)).toBeNull();
});

test("the rate is that of the last four seconds, from the arrival before them on", () => {
  const stalled = load(10_000);
  stalled.add(1_000, 900);
  expect(stalled.rate(9_000), "nothing else came").toBe(100);
  const { add, rate } = load(10_000);
  add(1_000, 500);
  add(3_000, 300);
  expect(rate(5_000)).toBe(160);
  expect(rate(5_001)).toBeCloseTo(300 / 4.001);
});

test("what arrives within 50 ms counts as one arrival", () => {
  const { add, rate } = load(10_000);
  add(1_000, 100);
  add(1_049, 100);
  add(1_050, 100);
  expect(rate(5_001)).toBeCloseTo(100 / 4.001);
});

test("a chunk counts up to its bytes on the wire, and wholly once it is there", () => {
  const { progress, last, told } = load(1_000);
  const { add, fill } = progress.counter(0, 100);
  add(60);
  add(60);
  expect(last().loadedBytes).toBe(100);
  add(60);
  fill();
  expect([last().loadedBytes, told.length]).toEqual([100, 2]);
  const other = progress.counter(0, 100);
  other.add(30);
  other.fill();
  expect(last().loadedBytes).toBe(200);
  progress.counter(0, 100).add(-5);
  expect(last().loadedBytes).toBe(195);
});
