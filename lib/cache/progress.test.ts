import { expect, test } from "vitest";
import type { Progress } from "./messages.ts";
import { PacedProgress } from "./progress.ts";

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
