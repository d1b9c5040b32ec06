import { describe, expect, test } from "vitest";
import { checkRow, goalText, meets, statistic } from "./row.ts";

const ROW = {
  scenario: "overhead",
  case: "one line",
  subject: "selvedge",
  unit: "ms",
  samples: [1, 2, 3, 4],
  value: 2.5,
  statistic: "median",
  n: 4,
  command: "npm run bench -- overhead",
  commit: "0123abc",
  date: "2026-11-24T12:00:00.000Z",
  machine: "2 cores",
  browser: "chromium 156",
  adapter: "swiftshader",
  backend: "wasm",
  model: "ocr-rec",
  variant: "f32",
  versions: { selvedge: "0.1.0" },
};

describe("statistic", () => {
  test("percentiles are samples, and the median lies between two, whatever their order", () => {
    expect(statistic([4, 1, 3, 2], "median")).toBe(2.5);
    expect(statistic([3, 1, 2], "median")).toBe(2);
    expect(statistic([10, 0], "p90")).toBe(10);
    expect(statistic([5, 1, 9], "min")).toBe(1);
    expect(statistic([5, 1, 9], "max")).toBe(9);
    expect(statistic([1, 2], "p99")).toBe(2);
    const hundred = Array.from({ length: 101 }, (_, at) => 100 - at);
    expect(statistic(hundred, "p95")).toBe(95);
    expect(statistic(hundred, "p99")).toBe(99);
  });

  test("numbers are ordered as numbers", () => {
    expect(statistic([10, 9, 100], "median")).toBe(10);
  });

  test("one sample is every statistic of itself", () => {
    for (const name of ["mean", "median", "min", "max", "p90", "p95", "p99"] as const) {
      expect(statistic([7], name)).toBe(7);
    }
  });

  test("no samples have no statistic", () => {
    expect(() => statistic([], "mean")).toThrow(RangeError);
  });
});

describe("checkRow", () => {
  test("accepts a full row", () => {
    expect(checkRow(ROW)).toEqual(ROW);
    expect(checkRow({ ...ROW, ratio: 1.1, of: "raw", goal: "ratio <= 1.2", pass: true })).toMatchObject({ ratio: 1.1 });
  });

  test.each([
    ["without its backend", { ...ROW, backend: undefined }, /backend/],
    ["with an empty backend", { ...ROW, backend: "" }, /backend/],
    ["without samples", { ...ROW, samples: [], n: 0 }, /samples|n:/],
    ["with a sample that is not a number", { ...ROW, samples: [1, Number.NaN, 3, 4] }, /samples/],
    ["whose n is not the number of samples", { ...ROW, n: 3 }, /number of samples/],
    ["whose value is another statistic", { ...ROW, value: 4 }, /not that statistic/],
    ["with a ratio over nothing", { ...ROW, ratio: 1 }, /together/],
    ["with an interval of nothing", { ...ROW, interval: [1, 2] }, /ratio's/],
    ["with a goal and no verdict", { ...ROW, goal: "ratio <= 1" }, /together/],
    ["with an unknown field", { ...ROW, note: "x" }, /note/],
    ["without a commit", { ...ROW, commit: "" }, /commit/],
  ])("rejects a row %s", (_, row, message) => {
    expect(() => checkRow(row)).toThrow(message);
  });
});

describe("goals", () => {
  test("bounds are met on the bound", () => {
    expect(meets({ on: "ratio", atMost: 1.03 }, { value: 9, ratio: 1.03 })).toBe(true);
    expect(meets({ on: "ratio", atMost: 1.03 }, { value: 9, ratio: 1.031 })).toBe(false);
    expect(meets({ on: "value", atLeast: 2, atMost: 3 }, { value: 1.9 })).toBe(false);
  });

  test("a bound on a ratio that was not measured is missed", () => {
    expect(meets({ on: "ratio", atMost: 2 }, { value: 1 })).toBe(false);
  });

  test("read as they are checked", () => {
    expect(goalText({ on: "value", atLeast: 1, atMost: 2 })).toBe("value >= 1, value <= 2");
    expect(() => goalText({ on: "value" })).toThrow(TypeError);
  });
});
