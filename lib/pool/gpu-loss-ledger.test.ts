import { expect, test } from "vitest";
import type { Effects } from "../effects/effects.ts";
import { CHECKS_KEY, GpuLedger, LOSS_WINDOW_MS, REFUSED_KEY } from "./gpu-loss-ledger.ts";

/** Effects with a clock that tests set, and a memo that outlives a page. */
function fakes(): { effects: Effects; clock: { now: number }; kept: Map<string, string> } {
  const clock = { now: 1_000_000 };
  const kept = new Map<string, string>();
  const effects: Partial<Effects> = {
    wallClock: () => clock.now,
    memo: {
      get: (key) => kept.get(key) ?? null,
      set: (key, value) => {
        if (value === null) kept.delete(key);
        else kept.set(key, value);
      },
    },
  };
  return { effects: effects as Effects, clock, kept };
}

test("two losses within two minutes end the use of the GPU until the first is that old", () => {
  const { effects, clock } = fakes();
  const ledger = new GpuLedger(effects);
  expect(ledger.allowed).toBe(true);
  ledger.note();
  expect(ledger.allowed).toBe(true);
  clock.now += 1_000;
  ledger.note();
  expect(ledger.allowed).toBe(false);
  clock.now += LOSS_WINDOW_MS - 1_001;
  expect(ledger.allowed).toBe(false);
  clock.now += 1;
  expect(ledger.allowed).toBe(true);
});

test("losses outlive the page, and a loss ends the checks that variants passed", () => {
  const { effects, clock, kept } = fakes();
  kept.set(CHECKS_KEY, "passed");
  new GpuLedger(effects).note();
  expect(kept.has(CHECKS_KEY)).toBe(false);
  clock.now += 1;
  new GpuLedger(effects).note();
  expect(new GpuLedger(effects).allowed).toBe(false);
  clock.now += LOSS_WINDOW_MS;
  new GpuLedger(effects).note(); // alone: older ones are not kept
  expect([...kept.values()]).toEqual([String(clock.now)]);
});

test("losses of a clock that was ahead, and values that are no numbers, do not count", () => {
  const { effects, clock, kept } = fakes();
  const ledger = new GpuLedger(effects);
  ledger.note();
  ledger.note();
  clock.now -= 1;
  expect(ledger.allowed).toBe(true);
  clock.now += 1;
  expect(ledger.allowed).toBe(false);
  const [key] = kept.keys();
  kept.set(key as string, "x y z");
  expect(new GpuLedger(effects).allowed).toBe(true);
});

test("values are found under the names that earlier visits wrote", () => {
  const { effects, kept } = fakes();
  new GpuLedger(effects).note();
  expect([...kept.keys(), CHECKS_KEY, REFUSED_KEY]).toEqual([
    "selvedge/gpu-losses/2",
    "selvedge/golden/1",
    "selvedge/refused/1",
  ]);
});
