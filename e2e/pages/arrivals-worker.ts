// Signals arrivals of requests to the page by messages, as a camera or a network would. A page's own timers may be some
// ms late even when idle, since browsers coalesce timers to save power; a wait on shared memory is not. At most one
// message is in flight, and none for arrivals that the page has already seen: it costs the page little.
import { SEEN, SENT, STOP } from "./arrivals.ts";
import type { Arrivals } from "./arrivals.ts";

self.onmessage = ({ data: { timesMs, shared } }: MessageEvent<Arrivals>) => {
  for (const [index, atMs] of timesMs.entries()) {
    if (Atomics.load(shared, SEEN) > index) continue;
    const waitMs = atMs - performance.timeOrigin - performance.now();
    if (waitMs > 0) Atomics.wait(shared, STOP, 0, waitMs);
    if (Atomics.load(shared, STOP) !== 0) return;
    if (Atomics.load(shared, SEEN) <= index && Atomics.exchange(shared, SENT, 1) === 0) self.postMessage(null);
  }
};
self.postMessage(null); // ready
