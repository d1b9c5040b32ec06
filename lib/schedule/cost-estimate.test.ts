import { expect, test } from "vitest";
import { Random } from "../test-support/random.ts";
import { Estimate } from "./cost-estimate.ts";

const KEY = "m wasm";

/** Trains an estimate by always running the batch size that it returns. No two runs take the same time, where the clock is fine. */
function run(estimate: Estimate, rounds: number, cost: (rows: number) => number, jitterMs = 0.01): number[] {
  return Array.from({ length: rounds }, (_, i) => {
    const rows = estimate.rows(KEY, 64);
    estimate.learn(KEY, rows, cost(rows) + jitterMs * (i % 7));
    return rows;
  });
}

test("nothing is known at first, and one row is tried", () => {
  const estimate = new Estimate();
  expect(estimate.ms(KEY, 1)).toBeUndefined();
  expect(estimate.rows(KEY, 64)).toBe(1);
});

test("converges to the cost of runs, despite a slow first run and outliers, and follows a change", () => {
  const estimate = new Estimate();
  for (let i = 0; i < 200; i += 1) estimate.learn(KEY, 1, i === 0 ? 900 : i % 50 === 0 ? 400 : 10 + (i % 3));
  expect(estimate.ms(KEY, 1)).toBeGreaterThan(9);
  expect(estimate.ms(KEY, 1)).toBeLessThan(14);
  for (let i = 0; i < 40; i += 1) estimate.learn(KEY, 1, 30);
  expect(estimate.ms(KEY, 1)).toBeCloseTo(30, 0);
});

test("interpolates between known sizes", () => {
  const estimate = new Estimate();
  for (const rows of [1, 2, 4, 8]) for (let i = 0; i < 3; i += 1) estimate.learn(KEY, rows, 8 + rows);
  for (const rows of [1, 3, 5, 6, 8]) expect(Math.abs((estimate.ms(KEY, rows) ?? 0) - (8 + rows))).toBeLessThan(1.5);
  expect(estimate.ms(KEY, 16)).toBe(32); // as if larger batches gained nothing
});

test.each([1, 2, 3, 5, 6, 7, 12, 13, 48, 64])(
  "requests of %d rows get the estimate that they taught, beside those of one row as well (sched-rows)",
  (rows) => {
    const estimate = new Estimate();
    for (let i = 0; i < 3; i += 1) estimate.learn(KEY, rows, 3_000);
    expect(estimate.ms(KEY, rows)).toBeCloseTo(3_000);
    expect(estimate.highMs(KEY, rows)).toBeCloseTo(3_000);
    for (let i = 0; i < 3 && rows > 4; i += 1) estimate.learn(KEY, 1, 3_000);
    expect(estimate.ms(KEY, rows)).toBeCloseTo(3_000);
  },
);

test("a size that never ran costs as much per row as the next known one (sched-rows)", () => {
  const estimate = new Estimate();
  for (const rows of [4, 32]) for (let i = 0; i < 3; i += 1) estimate.learn(KEY, rows, 8 + rows);
  expect(estimate.ms(KEY, 1)).toBe(3);
  expect(estimate.ms(KEY, 3)).toBe(9);
  expect(estimate.ms(KEY, 8)).toBe(24);
  expect(estimate.ms(KEY, 64)).toBe(80);
});

test("grows while a row gets cheaper, and stops where it no longer does", () => {
  const cached = (rows: number): number => (rows <= 16 ? 10 + rows : 2 * rows);
  expect(run(new Estimate(), 30, cached).at(-1)).toBe(16);
  expect(run(new Estimate(), 30, (rows) => 54 * rows).at(-1)).toBe(1);
});

test("a size that was measured at a bad moment does not block larger ones, and recovers", () => {
  const estimate = new Estimate();
  run(estimate, 40, (rows) => 10 + rows);
  for (let i = 0; i < 20; i += 1) estimate.learn(KEY, 8, 200);
  expect(estimate.rows(KEY, 64)).toBe(64);
  expect(estimate.rows(KEY, 12)).toBe(4);
});

test("retries a size that did not pay once in a while", () => {
  const estimate = new Estimate();
  run(estimate, 100, (rows) => 54 * rows);
  expect(run(estimate, 500, (rows) => 54 + rows).at(-1)).toBe(64);
});

test("never again runs a batch size that ran out of memory", () => {
  const estimate = new Estimate();
  const sizes = run(estimate, 2_000, (rows) => (rows > 8 ? Infinity : 10 + rows));
  expect(sizes.filter((rows) => rows > 8)).toEqual([16]);
  expect(sizes.at(-1)).toBe(8);
  expect(estimate.rows(KEY, 12)).toBe(8);
});

test("is restored on the next page, and data of other code is ignored", () => {
  const before = new Estimate();
  run(before, 40, (rows) => 10 + rows / 10);
  const after = new Estimate(before.save());
  expect(after.rows(KEY, 64)).toBe(64);
  expect(after.ms(KEY, 8)).toBeCloseTo(before.ms(KEY, 8) ?? 0);
  for (const text of [null, "", "{", "7", "[1]"]) expect(new Estimate(text).ms(KEY, 1)).toBeUndefined();
});

test("data stored by another version, or by other code, is ignored", () => {
  const old = '[["m wasm",[[0,true],[1000000000,true]]]]';
  const models = (cells: string): string => `{"version":2,"models":[["m wasm",${cells}]],"limits":[]}`;
  for (const text of [
    old,
    models("[[[-1,0]]]"),
    models('[[["a",0]]]'),
    models("[[]]"),
    models("7"),
    models("[[null]]"),
  ])
    expect(new Estimate(text).ms(KEY, 1)).toBeUndefined();
  expect(new Estimate(models("[[[5,0]]]")).ms(KEY, 1)).toBe(5);
  expect(new Estimate(models("[[[5,0]]]").replace('"version":2', '"version":3')).ms(KEY, 1)).toBeUndefined();
});

test.each([1, 2, 100])("a clock of %d ms hides the cost of short runs for a moment only (core-A8)", (grainMs) => {
  for (const factor of [0.2, 0.4, 1.3]) {
    const ms = factor * grainMs;
    const [random, estimate] = [new Random(5), new Estimate()];
    estimate.learn(KEY, 1, 0);
    const seen: number[] = [];
    for (let i = 0, now = 0; i < 400; i += 1, now += ms + random.next() * grainMs) {
      estimate.learn(KEY, 1, grainMs * (Math.floor((now + ms) / grainMs) - Math.floor(now / grainMs)), now);
      if (i > 20) seen.push(estimate.ms(KEY, 1) ?? 0);
    }
    const mean = seen.reduce((a, b) => a + b, 0) / seen.length;
    expect(mean).toBeGreaterThan(ms / 2);
    expect(mean).toBeLessThan(ms * 1.6);
    expect(seen.filter((x) => x === 0).length).toBeLessThan(seen.length / 6);
  }
  const slow = new Estimate();
  for (let i = 0; i < 40; i += 1) slow.learn(KEY, 1, i === 0 ? 0 : (50 + (i % 2)) * grainMs);
  expect(slow.ms(KEY, 1)).toBe(50 * grainMs);
});

test.each([1, 100])(
  "the end of a disturbance is detected on a clock of %d ms as on a fine one (sched-coarse)",
  (grainMs) => {
    for (const last of [
      [0, 0],
      [0, grainMs],
      [grainMs, 0],
    ]) {
      const estimate = new Estimate();
      for (let i = 0; i < 16; i += 1) estimate.learn(KEY, 1, 5_000, i);
      for (const ms of last) estimate.learn(KEY, 1, ms, 20);
      expect(estimate.ms(KEY, 1)).toBeLessThanOrEqual(grainMs);
    }
  },
);

test.each([1, 2])("batches grow on a clock of %d ms as on a fine one (core-A8)", (grainMs) => {
  const estimate = new Estimate();
  let now = 0;
  const rows = run(
    estimate,
    300,
    (n) => {
      const ms = grainMs * (0.35 + 0.05 * n);
      const before = now;
      now += ms + 0.137;
      return grainMs * (Math.floor((before + ms) / grainMs) - Math.floor(before / grainMs));
    },
    0,
  );
  expect(rows.slice(100).filter((n) => n >= 16).length).toBeGreaterThan(150);
});

test("on a coarse clock two readings do not rule out a batch size (core-A8 size)", () => {
  const estimate = new Estimate();
  // Runs of 53 ms, of 48 for two rows, on a clock of 100 ms; four rows are read as 100 twice.
  const readings: readonly (readonly [number, number])[] = [
    [1, 53],
    [2, 48],
  ];
  for (const [rows, percent] of readings)
    for (let i = 0; i < 100; i += 1) estimate.learn(KEY, rows, (i * percent) % 100 < percent ? 100 : 0, i);
  for (let i = 0; i < 2; i += 1) estimate.learn(KEY, 4, 100, 100 + i);
  expect(estimate.rows(KEY, 4)).toBe(4);
  for (let i = 0; i < 60; i += 1) estimate.learn(KEY, 4, 200, 102 + i);
  expect(estimate.rows(KEY, 4)).toBe(2);
});

test("batch sizes that fail in one shortage of memory wait as long as the first, the next shortage twice as long (core-B4 long)", () => {
  const estimate = new Estimate();
  for (let now = 0; now < 40; now += 1) estimate.learn("k", 2 ** (now % 6), 10, now, "a");
  for (const rows of [32, 16, 8]) estimate.learn("k", rows, Infinity, 100, "a");
  expect(estimate.rows("k", 32, "a", 40_000)).toBeLessThan(8);
  expect(estimate.rows("k", 32, "a", 50_000)).toBeGreaterThanOrEqual(8);
  estimate.learn("k", 32, Infinity, 60_000, "a");
  expect(estimate.rows("k", 32, "a", 120_000)).toBeLessThan(32);
  expect(estimate.rows("k", 32, "a", 160_000)).toBe(32);
});

test("too many rows of one shape are tried again after a while, and other shapes are not affected (core-B4)", () => {
  const estimate = new Estimate();
  run(estimate, 20, (rows) => 10 + rows);
  estimate.learn(KEY, 16, Infinity, 1_000, "large");
  expect(estimate.rows(KEY, 64, "large", 2_000)).toBe(8);
  expect(estimate.rows(KEY, 64, "small", 2_000)).toBe(64);
  expect(estimate.ms(KEY, 16)).toBeLessThan(30); // rejects no deadline
  expect(estimate.rows(KEY, 64, "large", 61_000)).toBe(64);
  // Each time it runs out again it is avoided for longer, but never longer than five minutes.
  let gapMs = 0;
  for (let now = 61_000, i = 0; i < 8; i += 1) {
    estimate.learn(KEY, 16, Infinity, now, "large");
    const fromMs = now;
    while (estimate.rows(KEY, 64, "large", now) < 16) now += 1_000;
    expect(now - fromMs).toBeGreaterThanOrEqual(gapMs);
    expect(now - fromMs).toBeLessThanOrEqual(300_000);
    gapMs = now - fromMs;
  }
  expect(gapMs).toBe(300_000);
  expect(new Estimate(estimate.save()).rows(KEY, 64, "large", 0)).toBe(64);
});

test("the models that ran most recently are stored, not those that were seen last (core-C5)", () => {
  const estimate = new Estimate();
  for (let i = 0; i < 200; i += 1) {
    estimate.learn("used at every step", 1, 7);
    estimate.learn(`model ${i}`, 1, i);
  }
  const next = new Estimate(estimate.save());
  expect(next.ms("used at every step", 1)).toBe(7);
  expect(next.ms("model 199", 1)).toBe(199);
  expect(next.ms("model 9", 1)).toBeUndefined();
});

test("on a clock of 100 ms the cost of runs of 130 ms is their mean, so that batches of them grow (core-A8)", () => {
  const estimate = new Estimate();
  const msOf = (rows: number): number => 110 + 20 * rows;
  let clockMs = 0;
  const run = (rows: number): void => {
    const fromMs = clockMs;
    clockMs += msOf(rows) + 7;
    const read = (ms: number): number => Math.floor(ms / 100) * 100;
    estimate.learn(KEY, rows, read(clockMs - 7) - read(fromMs), clockMs);
  };
  for (let i = 0; i < 40; i += 1) run(1);
  expect(estimate.ms(KEY, 1)).toBeGreaterThan(110);
  expect(estimate.ms(KEY, 1)).toBeLessThan(150);
  for (let i = 0; i < 40; i += 1) run(estimate.rows(KEY, 16));
  expect(estimate.rows(KEY, 16)).toBe(16);
});

test("the quantile is that of the last runs, and old ones no longer count once there are new ones", () => {
  const estimate = new Estimate();
  for (let i = 0; i < 16; i += 1) estimate.learn(KEY, 1, i % 5 === 0 ? 90 : 30 + (i === 1 ? 0.01 : 0), i);
  expect(estimate.ms(KEY, 1)).toBe(30);
  expect(estimate.highMs(KEY, 1)).toBe(90);
  for (let i = 0; i < 3; i += 1) estimate.learn(KEY, 1, 25, 61_000 + i);
  expect(estimate.highMs(KEY, 1)).toBe(25);
  // And the end of a disturbance is detected at once.
  for (let i = 0; i < 16; i += 1) estimate.learn(KEY, 1, 500, 70_000 + i);
  estimate.learn(KEY, 1, 5, 71_000);
  expect(estimate.ms(KEY, 1)).toBe(500);
  estimate.learn(KEY, 1, 5, 71_001);
  expect(estimate.ms(KEY, 1)).toBe(5);
});
