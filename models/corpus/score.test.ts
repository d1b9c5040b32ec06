import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { characterErrorRate, editDistance, exactRate, isExact, pairedDifference } from "./score.ts";

describe("editDistance", () => {
  test("counts inserted, deleted and replaced characters", () => {
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance("", "abc")).toBe(3);
    expect(editDistance("abc", "")).toBe(3);
    expect(editDistance("abc", "abc")).toBe(0);
  });

  test("is symmetric, and bounded by the longer text", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max([...a].length, [...b].length));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});

describe("rates", () => {
  test("spaces and line ends do not count as characters", () => {
    expect(characterErrorRate([{ truth: ["ab cd", "ef"], read: ["abc d e", "f"] }])).toBe(0);
  });

  test("a wrong order costs characters", () => {
    expect(characterErrorRate([{ truth: ["ab", "cd"], read: ["cd", "ab"] }])).toBe(1);
  });

  test("pages weigh by their characters", () => {
    const readings = [
      { truth: ["abcdefgh"], read: ["abcdefgh"] },
      { truth: ["ij"], read: [] },
    ];
    expect(characterErrorRate(readings)).toBe(0.2);
  });

  test("a line is exact or not", () => {
    expect(isExact("Total: 5", "Total:5")).toBe(true);
    expect(isExact("Total: 5", "Total：5")).toBe(false);
    expect(
      exactRate([
        { truth: "a", read: "a" },
        { truth: "b", read: "c" },
      ]),
    ).toBe(0.5);
  });
});

describe("pairedDifference", () => {
  test("has no width where every pair differs alike", () => {
    expect(pairedDifference([3, 4, 5], [1, 2, 3])).toEqual({ mean: 2, low: 2, high: 2, n: 3 });
  });

  test("covers the true difference where pairs scatter", () => {
    const { mean, low, high } = pairedDifference([1, 0, 1, 1, 0, 1, 1, 1], [1, 1, 1, 0, 0, 1, 1, 1]);
    expect(mean).toBe(0);
    expect(low).toBeLessThan(0);
    expect(high).toBeGreaterThan(0);
  });

  test("refuses lists that are no pairs", () => {
    expect(() => pairedDifference([1, 2], [1])).toThrow(RangeError);
  });
});
