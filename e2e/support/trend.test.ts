import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { addToTrend, readTrend, slowSuites } from "./trend.ts";
import type { TrendRow } from "./trend.ts";

let runs = 0;
const row = (unit: number, machine = "a"): TrendRow => ({
  at: new Date(Date.UTC(2026, 0, 1) + runs++ * 1_000).toISOString(),
  commit: "a",
  machine,
  seconds: { unit },
  bytes: {},
});

test("a suite that took twice the median in two runs in a row is named, one slow run is not", () => {
  const usual = [60, 58, 62, 61].map((unit) => row(unit));
  expect(slowSuites([...usual, row(150)])).toEqual([]);
  expect(slowSuites([...usual, row(150), row(60)])).toEqual([]);
  expect(slowSuites([...usual, row(150), row(130)])).toEqual([
    "unit: 150 and 130 s in the last two runs, 60 s is the median of 4 before",
  ]);
});

test("few runs, short suites and new suites say nothing", () => {
  expect(slowSuites([row(60), row(61), row(300), row(300)])).toEqual([]);
  expect(slowSuites([1, 1, 1, 1, 9, 9].map((unit) => row(unit)))).toEqual([]);
  expect(slowSuites([])).toEqual([]);
});

test("runs on another machine are not compared", () => {
  const usual = [60, 58, 62, 61].map((unit) => row(unit));
  expect(slowSuites([...usual, row(150, "b"), row(150, "b")])).toEqual([]);
  expect(slowSuites([...usual, row(150), row(20, "b"), row(130)])).toHaveLength(1);
});

test("committed runs and this checkout's are one list, and a torn line costs no other", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-trend-"));
  const [committed, local] = [join(folder, "deep", "suites.jsonl"), join(folder, "trend.jsonl")];
  const [first, second, third] = [row(1), row(2), row(3)];
  addToTrend(committed, first);
  appendFileSync(committed, '{"at": "20');
  appendFileSync(committed, "\n");
  addToTrend(committed, third);
  addToTrend(local, second);
  addToTrend(local, third);
  expect(readTrend(committed, local).map((x) => x.seconds["unit"])).toEqual([1, 2, 3]);
  expect(readTrend(join(folder, "none.jsonl"))).toEqual([]);
  rmSync(folder, { recursive: true });
});
