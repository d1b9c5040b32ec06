// Says when requests arrive, to the page, as a camera or a network would: by a message. A page's own timers may be some ms
// late though nothing else runs, since browsers let several fire at once to save power; a wait on shared memory is not.
// No more than one message is on its way, and none for what the page has seen by itself: it costs the page little.
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
self.postMessage(null); // it is up
