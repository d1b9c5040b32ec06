import { expect, test } from "vitest";
import { makeScore, wilson } from "./score.ts";

test("a share has Wilson's interval, which stays within 0 to 1 and contains the share", () => {
  // R's binom::binom.wilson(81, 263) gives 0.2552, 0.3662.
  const { low, high } = wilson(81 / 263, 263);
  expect(low).toBeCloseTo(0.2552, 3);
  expect(high).toBeCloseTo(0.3662, 3);
  expect(wilson(1, 10)).toEqual({ low: expect.closeTo(0.7225, 3) as number, high: 1 });
  expect(wilson(0, 10).low).toBe(0);
});

test("a score has its interval and the reference's if it is a share, and only the values if not", () => {
  expect(makeScore("sqnr", 40, 200, 100, false)).toEqual({
    name: "sqnr",
    n: 100,
    value: 40,
    reference: { value: 200 },
  });
  const score = makeScore("top1", 0.9, 0.91, 1_000, true);
  expect(score.low).toBeLessThan(0.9);
  expect(score.reference.high).toBeGreaterThan(0.91);
});
