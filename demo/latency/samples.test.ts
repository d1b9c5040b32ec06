import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { histogram } from "./samples.ts";

const times = fc.array(fc.double({ min: 0.01, max: 5000, noNaN: true }), { minLength: 1, maxLength: 80 });

describe("histogram", () => {
  it("counts every sample once, those outside in the outer bins", () => {
    fc.assert(
      fc.property(times, (samples) => {
        const counts = histogram(samples, 1, 100, 12);
        expect(counts).toHaveLength(12);
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(samples.length);
      }),
    );
  });

  it("has bins of equal ratio", () => {
    expect(histogram([1.5, 15, 150], 1, 1000, 3)).toEqual([1, 1, 1]);
  });

  it("takes a span of nothing", () => {
    expect(histogram([4, 4], 4, 4, 3)).toEqual([2, 0, 0]);
  });
});
