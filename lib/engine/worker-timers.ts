// Timers that must not be late. A hidden page's own are clamped to a second and, after some minutes, to a minute; those
// of a worker are not, but it may end, or be ended by the browser, at any time. So each is set in both, and the first
// that comes counts.
import type { Effects } from "../effects/effects.ts";

/** What is so far off may be as late as a page's clamp: nobody would notice, and nothing need be kept for it. */
const FAR_MS = 10_000;
/** A page whose timer comes so late is hidden, or was blocked. */
const LATE_MS = 500;

/**
 * Gives the effects with timers that also tick in a worker, where `wait` resolves after so many ms: all of them, or, where
 * each would cost a run two messages, only once the page's own was seen to be late.
 */
export function withTicker(
  effects: Effects,
  wait: (ms: number) => Promise<unknown>,
  when: "always" | "once late" = "always",
): Effects {
  let isNeeded = when === "always";
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
      const dueMs = effects.now() + ms;
      const cancel = effects.setTimer(() => {
        isNeeded = when === "always" || effects.now() - dueMs > LATE_MS;
        fire();
      }, ms);
      if (isNeeded && ms < FAR_MS) wait(ms).then(fire, () => undefined); // the page's own is left where the worker fails
      return () => {
        isOver = true;
        cancel();
      };
    },
  };
}
