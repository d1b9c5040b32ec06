import { expect, test } from "vitest";
import { Random } from "../../test-support/random.ts";
import { slice } from "../../test-support/slice.ts";
import { scoreHeldOut } from "./interval.ts";
import type { Metric, Tally } from "./metric.ts";
import { sumTally } from "./tally.ts";

const random = new Random("interval");
const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
const metric = { name: "sqnr" } as Metric;

/** Signal-to-noise ratio of `n` samples whose amplitudes, and so the energies, vary by e to the `spread`. */
function samples(n: number, spread: number): Tally {
  const tally = sumTally<readonly number[]>(
    (row) => row,
    ([signal = 0, noise = 0]) => 10 * Math.log10(signal / noise),
  );
  for (let i = 0; i < n; i++) {
    const [signal, noise] = [Math.exp(spread * normal()), 1e-3 * Math.exp(2 * spread * normal()) * normal() ** 2];
    tally.add([signal, noise]);
  }
  return tally as unknown as Tally;
}

/** Share of the scores on new samples that lie within the interval of 24 others. */
async function coverage(spread: number): Promise<number> {
  const [n, trials] = [24, slice(300, 1_000)];
  const positions = Array.from({ length: n }, (_, i) => i);
  let inside = 0;
  for (let trial = 0; trial < trials; trial++) {
    const own = samples(n, spread);
    const { interval } = await scoreHeldOut(metric, own, own, positions);
    const unseen = await samples(n, spread).value();
    if (interval !== null && unseen >= interval.low && unseen <= interval.high) inside++;
  }
  return inside / trials;
}

test.each([[0], [0.3], [0.6]])(
  "of scores on new samples, some 95 in 100 lie within the interval (spread $0)",
  async (spread) => {
    const share = await coverage(spread);
    expect(share).toBeGreaterThanOrEqual(0.93);
  },
);

test("the loss of a form that is as good as float32 on every sample is certain", async () => {
  const own = samples(24, 1);
  const { lossError, interval, score } = await scoreHeldOut(metric, own, own, [...Array(24).keys()]);
  expect(lossError).toBe(0);
  expect(interval?.high).toBeGreaterThan(score);
});
