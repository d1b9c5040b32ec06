// Requests at random times, for pages that send them.
import { SEEN, SENT, STOP } from "./arrivals.ts";
import type { Arrivals } from "./arrivals.ts";
import { arrivalTimes } from "./mix.ts";

/** Delivery time of the arrival times. */
const HEAD_START_MS = 20;
/** Tolerance between the clocks of two threads, as browsers round them. */
const CLOCK_MS = 0.1;
const arrivals = new Worker(new URL("./arrivals-worker.ts", import.meta.url), { type: "module" });
const areUp = new Promise((resolve) => {
  arrivals.addEventListener("message", resolve, { once: true });
});

/**
 * Calls at the times of a Poisson process for `ms`, and waits for all. Latency counts from the due time, so a busy
 * page's own delay is included.
 */
export async function poisson(
  seed: string,
  rate: number,
  ms: number,
  call: (dueMs: number) => Promise<void>,
  isSettled: () => boolean = () => false,
): Promise<void> {
  await areUp;
  const startMs = performance.now() + HEAD_START_MS;
  const dueMs: number[] = [];
  for (const atMs of arrivalTimes(seed, rate, ms)) dueMs.push(startMs + atMs);
  const calls: Promise<void>[] = [];
  const shared = new Int32Array(new SharedArrayBuffer(12));
  await new Promise<void>((resolve) => {
    arrivals.onmessage = () => {
      Atomics.store(shared, SENT, 0);
      const nowMs = performance.now() + CLOCK_MS;
      for (let due; !isSettled() && (due = dueMs[calls.length]) !== undefined && due <= nowMs;) calls.push(call(due));
      Atomics.store(shared, SEEN, calls.length);
      // Measurements beside it take as long if few requests arrive.
      if (!isSettled() && nowMs < startMs + ms) return;
      Atomics.store(shared, STOP, 1);
      Atomics.notify(shared, STOP);
      resolve();
    };
    const timesMs = [...dueMs, startMs + ms].map((x) => performance.timeOrigin + x);
    arrivals.postMessage({ timesMs, shared } satisfies Arrivals);
  });
  await Promise.all(calls);
}
