// Timers that fire on time on a hidden page. Its own timers are clamped to a second and, after some minutes, to a
// minute; those of a worker are not, but it may end, or be ended by the browser, at any time. So each timer is set in
// both, and the first to fire counts.
import type { Effects } from "../effects/effects.ts";

/** Timers this far off may be as late as the page's clamp: the delay does not matter, and no worker is kept for it. */
const FAR_MS = 10_000;
/** A page whose timer is this late is hidden, or was blocked. */
const LATE_MS = 500;

/**
 * Returns the effects with timers that also run in a worker, where `wait` resolves after so many ms: all timers, or,
 * where each would cost a run two messages, only once the page's own was late.
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
      if (isNeeded && ms < FAR_MS) wait(ms).then(fire, () => undefined); // if the worker fails, the page's own remains
      return () => {
        isOver = true;
        cancel();
      };
    },
  };
}
