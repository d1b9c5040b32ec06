// A watchdog that counts only time in which the page ran. A frozen page, a page in the back/forward cache and a
// laptop asleep let the clock run on without the worker: one wall-clock timer would end a healthy worker on resume.
// So the bound is spent in ticks, and a tick counts for no more than it was set for, however late it comes.
import type { Effects } from "./effects.ts";

const TICK_MS = 1_000;

/**
 * Calls `expire` once after `boundMs` of running time, never where that is Infinity, unless the returned function is
 * called before.
 */
export function watch(effects: Effects, boundMs: number, expire: () => void): () => void {
  if (boundMs === Number.POSITIVE_INFINITY) return () => undefined;
  let left = boundMs;
  let cancel: () => void;
  const arm = (): void => {
    const ms = Math.min(left, TICK_MS);
    cancel = effects.setTimer(() => {
      left -= ms;
      if (left > 0) arm();
      else expire();
    }, ms);
  };
  arm();
  return () => {
    cancel();
  };
}
