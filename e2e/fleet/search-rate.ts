// The highest rate of requests at which a server keeps its 99th percentile: arrivals are random (Poisson) and do not
// wait for answers, so a request's time counts from when it was due, also where the sender was late.
import { quantile } from "../../lib/core/quantile.ts";
import type { Random } from "../../lib/test-support/random.ts";

/** Times of requests at a rate. */
export interface AtRate {
  readonly p99Ms: number;
  readonly medianMs: number;
}

/** A rate that holds the bound. */
export interface Held extends AtRate {
  readonly ratePerS: number;
}

/** Ratio at which the search ends. */
const CLOSE = 1.04;

/** Lowest rate that is tried. */
const LEAST_PER_S = 0.1;

/**
 * Doubles the rate until the bound is broken, or halves it until it holds, then halves the ratio of the bounds. A rate
 * that breaks it is tried twice: another program may have had the machine.
 * @throws Error where no rate holds it
 */
export async function searchRate(
  measure: (ratePerS: number) => AtRate | Promise<AtRate>,
  { p99Ms, startPerS }: { readonly p99Ms: number; readonly startPerS: number },
): Promise<Held> {
  const holds = async (ratePerS: number): Promise<Held | null> => {
    for (let tries = 0; tries < 2; tries += 1) {
      const at = await measure(ratePerS);
      if (at.p99Ms <= p99Ms) return { ...at, ratePerS };
    }
    return null;
  };
  let broken = startPerS;
  let best: Held | null = null;
  for (let next; (next = await holds(broken)) !== null; broken *= 2) best = next;
  for (let lower = broken / 2; best === null; lower /= 2) {
    if (lower < LEAST_PER_S) throw new Error(`at ${lower * 2} requests/s the 99th percentile is above ${p99Ms} ms`);
    best = await holds(lower);
    if (best === null) broken = lower;
  }
  while (broken / best.ratePerS > CLOSE) {
    const middle = Math.sqrt(best.ratePerS * broken);
    const held = await holds(middle);
    if (held === null) broken = middle;
    else best = held;
  }
  return best;
}

/** Draws the times of random arrivals within a time, in ms. */
export function arrivals(ratePerS: number, forMs: number, random: Random): number[] {
  const times: number[] = [];
  for (let ms = 0; (ms += (-Math.log(1 - random.next()) * 1_000) / ratePerS) < forMs;) times.push(ms);
  return times;
}

/** Sums up times; a request that failed has the time Infinity. */
export function summarize(ms: readonly number[]): AtRate {
  return { p99Ms: quantile(ms, 0.99) ?? 0, medianMs: quantile(ms, 0.5) ?? 0 };
}
