import { expect, test } from "vitest";
import type { Effects } from "../effects/effects.ts";
import { WakeTimer } from "./wake-timer.ts";

test.each([
  { clockMs: 0.02, uptimeMs: 2 ** 21 },
  { clockMs: 1, uptimeMs: 1e9 },
  { clockMs: 1_000 / 60, uptimeMs: 5_000 },
  { clockMs: 100, uptimeMs: 0 },
])("with a clock of $clockMs ms a timer of a fraction fires a few times, not all the time", ({ clockMs, uptimeMs }) => {
  let nowMs = uptimeMs;
  let due: { callback: () => void; atMs: number } | null = null;
  const now = (): number => Math.floor(nowMs / clockMs) * clockMs;
  // A browser cuts the fraction of a timer off, and needs a little for each.
  const setTimer = (callback: () => void, ms: number): (() => void) => {
    due = { callback, atMs: nowMs + Math.max(0.05, Math.floor(ms)) };
    return () => (due = null);
  };
  const untilMs = now() + 1e-7 + 2 * clockMs;
  let wakes = 0;
  const timer = new WakeTimer({ now, setTimer } as unknown as Effects, () => {
    wakes += 1;
    if (now() < untilMs) timer.set(untilMs);
  });
  timer.set(untilMs);
  for (let i = 0; i < 100_000 && due !== null; i += 1) {
    const { callback, atMs } = due as { callback: () => void; atMs: number };
    due = null;
    nowMs = Math.max(nowMs, atMs);
    callback();
  }
  expect(now()).toBeGreaterThanOrEqual(untilMs);
  expect(wakes).toBeLessThanOrEqual(2 + clockMs);
});
