// Timers that must not be late. A hidden page's own are clamped to a second and more; those of a worker are not, but it
// may end, or be ended by the browser, at any time. So each is set in both, and the first that comes counts.
import type { Effects } from "./effects.ts";

/** What is so far off may be as late as a page's clamp: nobody would notice, and nothing need be kept for it. */
const FAR_MS = 10_000;

/** Gives the effects with timers that also tick in a worker, where `wait` resolves after so many ms. */
export function withTicker(effects: Effects, wait: (ms: number) => Promise<unknown>): Effects {
  return {
    ...effects,
    setTimer(callback, ms) {
      let isOver = false;
      const fire = (): void => {
        if (isOver) return;
        isOver = true;
        cancel();
        callback();
      };
      const cancel = effects.setTimer(fire, ms);
      if (ms < FAR_MS) wait(ms).then(fire, () => undefined); // the page's own is left where the worker fails
      return () => {
        isOver = true;
        cancel();
      };
    },
  };
}
