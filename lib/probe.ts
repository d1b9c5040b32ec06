// A bounded measurement of one model on one lane: the warm-up that a first run needs anyway, then a few timed runs.
// A lane that takes longer than the budget is ended: it can't be interrupted, and it has lost.
import type { Effects } from "./effects.ts";
import { SelvedgeError } from "./errors.ts";
import type { Lane } from "./pool/lane.ts";
import type { Feeds, LoadMessage } from "./pool/protocol.ts";
import { zeros } from "./tensor.ts";
import type { Port, Tensor } from "./tensor.ts";

/** Bounds a probe's warm-up, and the timed runs together, in ms. */
export const PROBE_BUDGET_MS = 4_000;
const TIMED_RUNS = 3;

/**
 * Builds typical inputs: symbolic dims by `typical`, a batch of one. Null where a size is not known, or where a model
 * takes strings.
 */
export function typicalFeeds(ports: readonly Port[], typical: Readonly<Record<string, number>>): Feeds | null {
  const feeds: Record<string, { kind: "tensor"; tensor: Tensor }> = {};
  for (const port of ports) {
    if (port.dtype === "string") return null;
    const dims: number[] = [];
    for (const [axis, dim] of port.dims.entries()) {
      const size = typeof dim === "number" ? dim : axis === port.batchAxis ? 1 : typical[dim];
      if (size === undefined) return null;
      dims.push(size);
    }
    const count = dims.reduce((product, x) => product * x, 1);
    const data = zeros(port.dtype, count);
    feeds[port.name] = { kind: "tensor", tensor: { dtype: port.dtype, dims, data } };
  }
  return feeds;
}

/** Measures ms a run; null where the lane failed or took longer than the budget. */
export async function probe(effects: Effects, lane: Lane, model: LoadMessage, feeds: Feeds): Promise<number | null> {
  const run = async (): Promise<number> => {
    const { runMs } = await lane.run(model, [feeds], { boundMs: PROBE_BUDGET_MS });
    return runMs;
  };
  try {
    await run();
    const startMs = effects.now();
    let fastest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < TIMED_RUNS && effects.now() - startMs < PROBE_BUDGET_MS / 2; i += 1)
      fastest = Math.min(fastest, await run());
    return fastest;
  } catch {
    // Whatever it was, this lane is not the faster one; the worker starts afresh if it is ever needed.
    lane.end(new SelvedgeError("worker-crashed", "A probe failed."));
    return null;
  }
}
