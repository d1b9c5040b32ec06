import { expect, test } from "vitest";
import { TensorSummaries } from "./tensor-summary.ts";
import { seededFloats } from "../../test-support/compress/fixtures.ts";

test("a summary has minimum, maximum, mean, standard deviation and quantiles of the values", () => {
  const summaries = new TensorSummaries();
  for (let seed = 1; seed <= 20; seed++) {
    const data = seededFloats(5_000, seed);
    summaries.add({ x: { dtype: "float32", dims: [5_000], data } }, { y: { dims: [2], data: [3, Number.NaN] } });
  }
  const { x, y } = summaries.value();
  expect(x).toMatchObject({ samples: 20 });
  const { min, max, mean, std, quantiles } = x as Record<string, number> & { quantiles: number[] };
  expect(min).toBeCloseTo(-1, 2);
  expect(max).toBeCloseTo(1, 2);
  expect(mean).toBeCloseTo(0, 1);
  expect(std).toBeCloseTo(1 / Math.sqrt(3), 2);
  for (const [i, share] of [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99].entries())
    expect(Math.abs((quantiles[i] ?? 9) - (share * 2 - 1))).toBeLessThan(0.05);
  expect(y).toMatchObject({ samples: 20, min: 3, max: 3, mean: 3, std: 0 });
});
