// Measures one model on one lane: the warm-up that a first run needs anyway, then a few timed runs. A slow run is not
// ended: a warm-up that compiles shaders may take minutes, and a hanging worker has its watchdog. The caller decides
// how long it waits; `soFarMs` is the result before the end. Only time in which the page ran counts: the number is
// stored for a month, and a laptop may sleep during a run.
import type { Effects } from "../effects/effects.ts";
import type { OnLane } from "./loader.ts";
import type { Phase } from "../pool/lane-options.ts";
import type { Feeds } from "../rpc/messages.ts";
import { Watchdog } from "../rpc/watchdog.ts";

/** How long a caller waits for a measurement before it continues without it, in ms. */
export const MEASURE_BUDGET_MS = 4_000;
const TIMED_RUNS = 3;

/** A measurement in progress. */
export interface Measurement {
  /** Resolves to ms per run; rejects as the lane's runs do. */
  readonly ms: Promise<number>;
  /** Returns the fastest run so far; before the first has ended, its elapsed time. */
  readonly soFarMs: () => number;
}

/** Starts to measure ms per run. */
export function measureBackend(effects: Effects, { lane, message, assertWanted }: OnLane, feeds: Feeds): Measurement {
  const clock = new Watchdog(effects, Infinity);
  let fastest = Infinity;
  const onPhase = (phase: Phase): void => {
    if (phase === "running") clock.begin();
  };
  const run = async (): Promise<number> => {
    assertWanted();
    const startMs = clock.spentMs;
    const { runMs } = await lane.run(message, [feeds], { isProbe: true, onPhase });
    return Math.min(runMs, clock.spentMs - startMs);
  };
  const measure = async (): Promise<number> => {
    fastest = await run();
    const startMs = clock.spentMs;
    const timed: number[] = [];
    while (timed.length < TIMED_RUNS && clock.spentMs - startMs < MEASURE_BUDGET_MS / 2) {
      timed.push(await run());
      fastest = Math.min(...timed);
    }
    return fastest;
  };
  const ms = measure().finally(() => {
    clock.stop();
  });
  return { ms, soFarMs: () => Math.min(fastest, clock.spentMs) };
}
