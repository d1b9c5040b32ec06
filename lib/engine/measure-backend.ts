// Measures one model on one lane: the warm-up that a first run needs anyway, then a few timed runs. A slow run is not
// ended: a warm-up that compiles shaders may take minutes, and a hanging worker has its watchdog. The caller decides
// how long it waits; `soFarMs` is the result before the end. Only time in which the page ran counts: the number is
// stored for a month, and a laptop may sleep during a run.
import type { Effects } from "../effects/effects.ts";
import type { OnLane } from "./loader.ts";
import type { Phase } from "../pool/lane-options.ts";
import type { Feeds } from "../rpc/messages.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { Port, Tensor } from "../core/tensor.ts";
import { Watchdog } from "../rpc/watchdog.ts";

/** How long a caller waits for a measurement before it continues without it, in ms. */
export const PROBE_BUDGET_MS = 4_000;
const TIMED_RUNS = 3;
/** Bound on the bytes of typical inputs: a bundle that declares larger ones is measured with its first request. */
const TYPICAL_MAX_BYTES = 2 ** 28;

/**
 * Builds typical inputs: symbolic dims from `typical`, a batch of one. Null where a size is not known, where a model
 * takes strings, and where they would exceed 256 MiB.
 */
export function typicalFeeds(ports: readonly Port[], typical: Readonly<Record<string, number>>): Feeds | null {
  const sizes: number[][] = [];
  let bytes = 0;
  for (const { dtype, dims, batchAxis } of ports) {
    if (dtype === "string") return null;
    const size: number[] = [];
    for (const [axis, dim] of dims.entries())
      size.push(typeof dim === "number" ? dim : axis === batchAxis ? 1 : (typical[dim] ?? NaN));
    bytes += size.reduce((product, x) => product * x, ARRAY_TYPES[dtype].BYTES_PER_ELEMENT);
    if (!(bytes <= TYPICAL_MAX_BYTES)) return null; // NaN, where a size is not known
    sizes.push(size);
  }
  const tensors: Record<string, Tensor> = {};
  for (const [i, { name, dtype }] of ports.entries()) {
    const dims = sizes[i] as number[];
    const count = dims.reduce((product, x) => product * x, 1);
    const data = zeros(dtype as Exclude<typeof dtype, "string">, count);
    tensors[name] = { dtype, dims, data };
  }
  return { tensors, others: null };
}

/** A measurement in progress. */
export interface Probe {
  /** Resolves to ms per run; rejects as the lane's runs do. */
  readonly ms: Promise<number>;
  /** Returns the fastest run so far; before the first has ended, its elapsed time. */
  readonly soFarMs: () => number;
}

/** Starts to measure ms per run. */
export function probe(effects: Effects, { lane, message, assertWanted }: OnLane, feeds: Feeds): Probe {
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
    while (timed.length < TIMED_RUNS && clock.spentMs - startMs < PROBE_BUDGET_MS / 2) {
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
