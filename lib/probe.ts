// Measures one model on one lane: the warm-up that a first run needs anyway, then a few timed runs. Nothing is ended that
// takes long: a warm-up that compiles shaders may take minutes, and a worker that hangs has its watchdog. How long a
// caller waits is its own affair; `soFarMs` is what it knows before the end.
import type { Effects } from "./effects.ts";
import type { OnLane } from "./loader.ts";
import type { Phase } from "./pool/lane-options.ts";
import type { Feeds } from "./pool/protocol.ts";
import { ARRAY_TYPES, zeros } from "./tensor.ts";
import type { Port, Tensor } from "./tensor.ts";

/** How long a caller waits for a measurement before it goes on without it, in ms. */
export const PROBE_BUDGET_MS = 4_000;
const TIMED_RUNS = 3;
/** Bound on the bytes of typical inputs: a bundle that names more is measured with a first request. */
const TYPICAL_MAX_BYTES = 2 ** 28;

/**
 * Builds typical inputs: symbolic dims by `typical`, a batch of one. Null where a size is not known, where a model takes
 * strings, and where they would take more than 256 MiB.
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
  const feeds: Record<string, { kind: "tensor"; tensor: Tensor }> = {};
  for (const [i, { name, dtype }] of ports.entries()) {
    const dims = sizes[i] as number[];
    const count = dims.reduce((product, x) => product * x, 1);
    const data = zeros(dtype as Exclude<typeof dtype, "string">, count);
    feeds[name] = { kind: "tensor", tensor: { dtype, dims, data } };
  }
  return feeds;
}

/** A measurement under way. */
export interface Probe {
  /** Resolves to ms a run; rejects as the lane's runs do. */
  readonly ms: Promise<number>;
  /** Returns the fastest run so far; where none has ended, how long the first has taken until now. */
  readonly soFarMs: () => number;
}

/** Starts to measure ms a run. */
export function probe({ now }: Effects, { lane, message, assertWanted }: OnLane, feeds: Feeds): Probe {
  let begunMs: number | null = null;
  let fastest = Infinity;
  const onPhase = (phase: Phase): void => {
    if (phase === "running") begunMs ??= now();
  };
  const run = async (): Promise<number> => {
    assertWanted();
    return (await lane.run(message, [feeds], { isProbe: true, onPhase })).runMs;
  };
  const measure = async (): Promise<number> => {
    fastest = await run();
    const startMs = now();
    const timed: number[] = [];
    while (timed.length < TIMED_RUNS && now() - startMs < PROBE_BUDGET_MS / 2) {
      timed.push(await run());
      fastest = Math.min(...timed);
    }
    return fastest;
  };
  return { ms: measure(), soFarMs: () => Math.min(fastest, now() - (begunMs ?? now())) };
}
