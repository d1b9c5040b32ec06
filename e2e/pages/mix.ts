// A mix of classes and the arrivals of its requests: the same in the page and in Node, where the bound is computed.
import { Random } from "../../lib/test-support/random.ts";
import type { Measured } from "./peers.ts";

/** A share of a mix: so many of ten requests, each with its deadline. */
export interface Class {
  readonly model: Measured;
  readonly deadlineMs: number;
  readonly share: number;
}

/** Returns the arrival times of a Poisson process of so many arrivals per second, in ms. */
export function arrivalTimes(seed: string, rate: number, ms: number): number[] {
  const random = new Random(seed);
  const times: number[] = [];
  for (let atMs = 0; atMs < ms; atMs += (-1_000 * Math.log(1 - random.next())) / rate) times.push(atMs);
  return times;
}

/** Returns the class of the i-th request: the classes are spread instead of sent one after the other. */
export function classOf(classes: readonly Class[], i: number): Class {
  let at = (i * 7) % 10;
  for (const own of classes) {
    if (at < own.share) return own;
    at -= own.share;
  }
  return classes[0] as Class;
}
