import fc from "fast-check";
import { expect, test } from "vitest";
import { quantile } from "./quantile.ts";

test("the quantile is the smallest value with at least that share at or below it", () => {
  const values = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 200 });
  const shares = fc.oneof(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: 0, max: 100 }).map((x) => x / 100),
  );
  fc.assert(
    fc.property(values, shares, (list, q) => {
      const shareUpTo = (limit: number): number => list.filter((x) => x <= limit).length / list.length;
      const enough = list.filter((x) => shareUpTo(x) >= q);
      expect(quantile(list, q)).toBe(Math.min(...enough));
    }),
    { numRuns: 500 },
  );
});

test.each([
  [0.5, 2],
  [0.51, 3],
  [0.99, 4],
  [0, 1],
  [1, 4],
])("the quantile %d of four values is %d, in any order", (q, expected) => {
  const values = [4, 1, 3, 2];
  expect(quantile(values, q)).toBe(expected);
  expect(values).toEqual([4, 1, 3, 2]);
});

test("a product that rounding lifts above a whole number keeps its rank", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(0.07 * 100).toBeGreaterThan(7);
  expect(quantile(hundred, 0.07)).toBe(7);
});

test("no values have no quantile", () => {
  expect(quantile([], 0.5)).toBeUndefined();
});
