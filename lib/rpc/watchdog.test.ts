import { expect, test } from "vitest";
import { Watchdog } from "./watchdog.ts";

/** A clock that runs timers when it is moved. */
class Clock {
  nowMs = 0;
  #timers: { atMs: number; call: () => void }[] = [];
  now = (): number => this.nowMs;
  setTimer = (call: () => void, ms: number): (() => void) => {
    const timer = { atMs: this.nowMs + ms, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((x) => x !== timer);
    };
  };
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.nowMs = next.atMs;
      this.#timers = this.#timers.filter((x) => x !== next);
      next.call();
    }
    this.nowMs = endMs;
  }
}

function watchdogOf(boundMs: number): { clock: Clock; watchdog: Watchdog; expired: number[] } {
  const clock = new Clock();
  const watchdog = new Watchdog(clock, boundMs);
  const expired: number[] = [];
  watchdog.onExpire = () => expired.push(clock.nowMs);
  return { clock, watchdog, expired };
}

test("time in which a watchdog is paused counts neither against the bound nor as spent", () => {
  const { clock, watchdog, expired } = watchdogOf(5_000);
  watchdog.begin();
  clock.pass(2_300);
  expect(watchdog.pause()).toBe(true);
  expect(watchdog.pause()).toBe(false);
  clock.pass(60_000);
  expect(watchdog.spentMs).toBe(2_300);
  watchdog.begin();
  clock.pass(2_699);
  expect(expired).toEqual([]);
  clock.pass(1);
  expect(expired).toEqual([65_000]);
  expect(watchdog.spentMs).toBe(5_000);
});

test("a watchdog that has not begun, or is over, is not paused, and does not go on", () => {
  const { clock, watchdog, expired } = watchdogOf(1_000);
  expect(watchdog.pause()).toBe(false);
  watchdog.begin();
  clock.pass(400);
  watchdog.stop();
  expect(watchdog.pause()).toBe(false);
  watchdog.begin();
  clock.pass(10_000);
  expect([watchdog.spentMs, expired]).toEqual([400, []]);
});
