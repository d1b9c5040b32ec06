import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { addToTrend, slowSuites } from "./trend.ts";
import type { TrendRow } from "./trend.ts";

const row = (unit: number): TrendRow => ({ at: "2026-01-01T00:00:00Z", commit: "a", seconds: { unit }, bytes: {} });

test("a suite that took twice the median in two runs in a row is named, one slow run is not", () => {
  const usual = [60, 58, 62, 61].map(row);
  expect(slowSuites([...usual, row(150)])).toEqual([]);
  expect(slowSuites([...usual, row(150), row(60)])).toEqual([]);
  expect(slowSuites([...usual, row(150), row(130)])).toEqual([
    "unit: 150 and 130 s in the last two runs, 60 s is the median of 4 before",
  ]);
});

test("few runs, short suites and new suites say nothing", () => {
  expect(slowSuites([row(60), row(61), row(300), row(300)])).toEqual([]);
  expect(slowSuites([1, 1, 1, 1, 9, 9].map(row))).toEqual([]);
  expect(slowSuites([])).toEqual([]);
});

test("runs are kept, and a torn line costs no other", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-trend-"));
  const path = join(folder, "deep", "trend.jsonl");
  addToTrend(path, row(1));
  appendFileSync(path, '{"at": "20');
  appendFileSync(path, "\n");
  expect(addToTrend(path, row(2)).map((x) => x.seconds["unit"])).toEqual([1, 2]);
  rmSync(folder, { recursive: true });
});
