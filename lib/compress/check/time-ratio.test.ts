import { expect, test } from "vitest";
import { Random } from "../../test-support/random.ts";
import { measureRatio } from "./time-ratio.ts";
import type { Clocks } from "./time-ratio.ts";

/** A machine on which runs take the given times, of which this process holds the processor for a share. */
function machine(heldShare: () => number = () => 1): { clocks: Clocks; run(ms: () => number): () => Promise<void> } {
  let [now, busy] = [0, 0];
  return {
    clocks: { now: () => now, busy: () => busy },
    run: (ms) => () => {
      const took = ms();
      now += took;
      busy += took * heldShare();
      return Promise.resolve();
    },
  };
}

test("the ratio of two steady times is returned once its interval is narrow", async () => {
  const { clocks, run } = machine();
  expect(
    await measureRatio(
      run(() => 6),
      run(() => 10),
      clocks,
    ),
  ).toEqual({ ratio: 0.6 });
  expect(clocks.now()).toBeLessThan(2_000);
});

test("noise that hits both alike leaves the ratio as it is", async () => {
  const { clocks, run } = machine();
  let [round, factor] = [0, 1];
  // The whole machine slows down and recovers, every few runs.
  const slow = (): number => (factor = round++ % 40 < 20 ? 1 : 3);
  const measured = await measureRatio(
    run(() => 8 * slow()),
    run(() => 10 * factor),
    clocks,
  );
  expect(measured).toEqual({ ratio: expect.closeTo(0.8, 1) as number });
});

test("a ratio that does not settle is no figure", async () => {
  const { clocks, run } = machine();
  const random = new Random(1);
  const wild = (): number => random.below(97);
  const measured = await measureRatio(
    run(() => 30 + wild() * 10),
    run(() => 30 + wild() * 10),
    clocks,
  );
  expect(measured).toEqual({ why: expect.stringMatching(/not stable here: \d+ rounds/) as string });
});

test.each([
  [0.19, 0.1, true],
  [0.1, 0.19, true],
  [0.42, 0.21, false],
  [0.1, 0.21, false],
  // However short the runs of float32, a form that is far slower is reported.
  [20, 0.1, false],
])(
  "a form of %f ms and float32 of %f, and more in the first runs, are too short to compare: %j",
  async (form, ms, isShort) => {
    const { clocks, run } = machine();
    let i = 0;
    const measured = await measureRatio(
      run(() => form),
      run(() => (i++ < 4 ? 3 : ms)),
      clocks,
    );
    const why = "under 0.2 ms here, and so is float32's: the call itself takes most of both";
    expect(measured).toEqual(isShort ? { why } : { ratio: expect.closeTo(form / ms, 5) as number });
    if (isShort) expect(clocks.now()).toBeLessThan(20);
  },
);

test("rounds in which other work holds the processor do not count, however alike they are", async () => {
  const { clocks, run } = machine(() => 0.5);
  expect(
    await measureRatio(
      run(() => 4.3),
      run(() => 1),
      clocks,
    ),
  ).toEqual({
    why: expect.stringMatching(/other work ran in (\d+) of \1 rounds/) as string,
  });
});
