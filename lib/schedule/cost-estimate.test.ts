import { describe, expect, test } from "vitest";
import { Random } from "../test-support/random.ts";
import { Estimate, parseEstimate } from "./cost-estimate.ts";

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

describe("of the last runs", () => {
  /** An estimate of one row, from runs at some times; the clock is fine. */
  function of(runs: readonly (readonly [ms: number, atMs: number])[]): Estimate {
    const estimate = new Estimate();
    estimate.learn("else", 1, 0.001);
    for (const [ms, atMs] of runs) estimate.learn(KEY, 1, ms, atMs);
    return estimate;
  }
  const all = (estimate: Estimate) => [estimate.leastMs(KEY, 1), estimate.ms(KEY, 1), estimate.highMs(KEY, 1)];
  const upTo = (count: number): [number, number][] => Array.from({ length: count }, (_, i) => [i + 1, 0]);

  test("sixteen count: the shortest, the median, and all but the longest", () => {
    expect(all(of(upTo(1)))).toEqual([1, 1, 1]);
    expect(all(of(upTo(2)))).toEqual([1, 1, 1]);
    expect(all(of(upTo(3)))).toEqual([1, 2, 2]);
    expect(all(of(upTo(16)))).toEqual([1, 8, 15]);
    expect(all(of(upTo(20)))).toEqual([5, 12, 19]);
  });

  test("the very first counts no more than the second", () => {
    const second = [10, 0] as const;
    expect(all(of([[900, 0], second]))).toEqual([10, 10, 10]);
    expect(all(of([[9, 0], second, second]))).toEqual([9, 10, 10]);
    expect(all(of([[900, 0], second, [30, 0], [40, 0]]))).toEqual([10, 10, 30]);
  });

  test("those of a minute ago count only where there are not three newer ones", () => {
    const before = [10, 11, 12, 13].map((ms) => [ms, 0] as const);
    expect(all(of([...before, [20, 59_999]]))).toEqual([10, 12, 13]);
    expect(all(of([...before, [20, 60_000]]))).toEqual([12, 13, 13]);
  });

  test("eight count where they take longer than a minute together (core-A1 few)", () => {
    const runs = Array.from({ length: 12 }, (_, i) => [25_000 + i, 25_100 * i] as const);
    expect(all(of(runs))).toEqual([25_004, 25_007, 25_010]);
  });

  test("only two count that are less than two thirds of all before, of which there are two at least", () => {
    const [long, short] = [[30, 0] as const, [19.9, 0] as const];
    expect(all(of([long, long, long, short]))).toEqual([19.9, 30, 30]);
    expect(all(of([long, long, long, short, short]))).toEqual([19.9, 19.9, 19.9]);
    expect(all(of([long, long, long, [20, 0], [20, 0]]))).toEqual([20, 30, 30]);
    expect(all(of([long, long, [21, 0], short, short]))).toEqual([19.9, 21, 30]);
    expect(all(of([long, long, short, short]))).toEqual([19.9, 19.9, 19.9]);
  });

  test("on a coarse clock the mean counts, of an outlier one step more than of the others", () => {
    const estimate = new Estimate();
    for (const ms of [10, 10, 10, 100]) estimate.learn(KEY, 1, ms);
    expect(all(estimate)).toEqual([12.5, 12.5, 10]);
    const zero = new Estimate();
    for (const ms of [0, 0, 0, 10]) zero.learn(KEY, 1, ms);
    expect(all(zero)).toEqual([2.5, 2.5, 0]);
    // As soon as a run shows that the clock is finer, all medians are.
    estimate.learn("else", 1, 10.001);
    expect(all(estimate)).toEqual([10, 10, 10]);
  });
});

describe("a batch size", () => {
  /** An estimate of sizes that took so long, each measured twice. */
  function of(runs: Readonly<Record<number, number>>): Estimate {
    const estimate = new Estimate();
    estimate.learn("else", 1, 0.001);
    for (const [rows, ms] of Object.entries(runs)) for (let i = 0; i < 2; i += 1) estimate.learn(KEY, Number(rows), ms);
    return estimate;
  }

  test("pays where a row, with its share of the handover, takes 5 % less, or 2 % in a batch of less than 33 ms", () => {
    const isPaid = (one: number, two: number): boolean => of({ 1: one, 2: two }).rows(KEY, 2) === 2;
    expect([isPaid(10, 19.98), isPaid(10, 19.99)]).toEqual([true, false]);
    expect([isPaid(100, 190.3), isPaid(100, 190.4)]).toEqual([true, false]);
    expect([isPaid(17, 32.98), isPaid(17, 33)]).toEqual([true, false]);
  });

  test("that was not run twice is tried, and none beyond what is there", () => {
    expect(of({ 1: 10, 2: 11 }).rows(KEY, 64)).toBe(4);
    expect([1, 2, 3].map((available) => of({ 1: 10, 2: 11 }).rows(KEY, available))).toEqual([1, 2, 3]);
    const once = of({ 1: 10 });
    once.learn(KEY, 2, 90);
    expect(once.rows(KEY, 64)).toBe(2);
    expect([once.isSure(KEY, 1), once.isSure(KEY, 2), once.isSure("none", 1)]).toEqual([true, false, false]);
    once.delete(KEY);
    expect([once.ms(KEY, 1), once.rows(KEY, 64)]).toEqual([undefined, 1]);
  });

  test("that did not pay is skipped for a larger one that does, where there is enough", () => {
    const estimate = of({ 1: 10, 2: 30, 4: 20, 8: 90 });
    expect([64, 4, 3].map((available) => estimate.rows(KEY, available))).toEqual([4, 4, 1]);
  });

  test.each([
    [10, 30, 200],
    [10, 24.9, 25],
    [10, 25, 200],
    [16, 32.9, 25],
    [16, 33, 200],
  ])("that did not pay, of %d ms and %d for two, is tried again after %d runs", (one, two, runs) => {
    const estimate = of({ 1: one, 2: two });
    const first = estimate.runs;
    for (let i = first + 1; i < runs; i += 1) estimate.learn(KEY, 1, one);
    expect([estimate.isSure(KEY, 2), estimate.runs]).toEqual([true, runs - 1]);
    estimate.learn(KEY, 1, one);
    expect([estimate.isSure(KEY, 2), estimate.ms(KEY, 2)]).toEqual([false, two]);
    estimate.learn("else", 1, 5);
    expect(estimate.runs).toBe(runs);
  });
});

describe("too little memory for a batch", () => {
  function failed(rows: number, now = 0): Estimate {
    const estimate = new Estimate();
    for (const size of [1, 2, 4, 8, 16, 32]) for (let i = 0; i < 2; i += 1) estimate.learn(KEY, size, 10);
    estimate.learn(KEY, rows, Infinity, now, "a");
    return estimate;
  }
  const rows = (estimate: Estimate, now: number, available = 32): number => estimate.rows(KEY, available, "a", now);

  test.each([
    [16, 8],
    [5, 4],
    [2, 1],
    [1, 1],
  ])("of %d rows allows %d, for 45 s", (size, allowed) => {
    const estimate = failed(size);
    expect([rows(estimate, 44_999), rows(estimate, 45_000)]).toEqual([allowed, 32]);
    expect(rows(estimate, 0, 1)).toBe(1);
  });

  test("is over once as many rows have run", () => {
    for (const [size, allowed] of [
      [8, 8],
      [16, 32],
      [32, 32],
    ] as const) {
      const estimate = failed(16);
      estimate.learn(KEY, size, 10, 1, "b");
      expect(rows(estimate, 1)).toBe(8);
      estimate.learn(KEY, size, 10, 1, "a");
      expect(rows(estimate, 1)).toBe(allowed);
    }
  });

  test("is the same one while it lasts, of the least size; the next lasts twice as long, unless it is long ago", () => {
    const estimate = failed(16);
    for (const size of [8, 32]) estimate.learn(KEY, size, Infinity, 44_000, "a");
    expect([rows(estimate, 88_999), rows(estimate, 89_000)]).toEqual([4, 32]);
    estimate.learn(KEY, 16, Infinity, 89_000, "a");
    expect([rows(estimate, 178_999), rows(estimate, 179_000)]).toEqual([8, 32]);
    for (const [now, ms] of [
      [345_000, 90_000],
      [345_001, 45_000],
    ] as const) {
      const again = failed(16);
      again.learn(KEY, 16, Infinity, now, "a");
      expect([rows(again, now + ms - 1), rows(again, now + ms)]).toEqual([8, 32]);
    }
  });
});

describe("what is stored", () => {
  test("for later pages is what each size takes, to four digits, without times, limits and clock", () => {
    const estimate = new Estimate();
    for (const ms of [10.12345, 10.12345, 20, 20.55555]) estimate.learn(KEY, 4, ms, 1_000);
    estimate.learn(KEY, 4, Infinity, 2_000, "a");
    estimate.learn("once", 1, 7.77777, 3_000);
    expect(JSON.parse(estimate.save())).toEqual({
      version: 2,
      models: [
        [
          KEY,
          [
            null,
            null,
            [
              [2.531, 0],
              [2.531, 0],
              [5, 0],
            ],
          ],
        ],
        ["once", [[[7.778, 0]]]],
      ],
      limits: [],
    });
    const next = new Estimate(estimate.save());
    expect([next.isSure(KEY, 4), next.isSure("once", 1)]).toEqual([true, false]);
  });

  test("for a trace is all of it", () => {
    const estimate = new Estimate();
    for (let i = 0; i < 70; i += 1) estimate.learn(`model ${i}`, 2, 10 * (i + 1), 1_000 + i);
    for (const ms of [30, 10, 20, 30]) estimate.learn(KEY, 1, ms, 2_000);
    estimate.learn(KEY, 2, Infinity, 2_000, "a");
    const copy = new Estimate(estimate.saveWhole(), 7);
    expect(copy.saveWhole()).toBe(estimate.saveWhole());
    expect([copy.runs, copy.ms("model 0", 2), copy.rows(KEY, 4, "a", 3_000)]).toEqual([7, 10, 1]);
    for (const each of [copy, estimate]) for (let i = 0; i < 3; i += 1) each.learn(KEY, 1, 40, 3_000);
    expect([copy.ms(KEY, 1), copy.highMs(KEY, 1)]).toEqual([estimate.ms(KEY, 1), estimate.highMs(KEY, 1)]);
  });

  test("is that of at most 64 models; 1,024 are kept, those that ran last", () => {
    const estimate = new Estimate();
    for (let i = 0; i < 1_025; i += 1) estimate.learn(`model ${i}`, 1, 5);
    expect([estimate.ms("model 0", 1), estimate.ms("model 1", 1)]).toEqual([undefined, 5]);
    const { models } = parseEstimate(estimate.save()) ?? { models: [] };
    expect([models.length, models[0]?.[0]]).toEqual([64, "model 961"]);
  });

  test("is read only where all of it is right", () => {
    const text = (change: object): string =>
      JSON.stringify({
        version: 2,
        models: [["m", [[[5, 0]]]]],
        limits: [["m", { rows: 1, untilMs: 2, ms: 3 }]],
        ...change,
      });
    const cells = (...list: unknown[]): object => ({ models: [["m", list]] });
    const many = (count: number): unknown[] => Array.from({ length: count }, () => [5, 0]);
    for (const right of [
      {},
      { clockTicks: 7 },
      { limits: undefined },
      { models: undefined },
      cells(null),
      cells(many(128)),
    ])
      expect(parseEstimate(text(right)), JSON.stringify(right)).not.toBeNull();
    expect(parseEstimate(text({ limits: undefined }))).toEqual({
      version: 2,
      models: [["m", [[[5, 0]]]]],
      limits: [],
      clockTicks: 0,
    });
    expect(parseEstimate(text(cells(...Array.from({ length: 32 }, () => null))))).not.toBeNull();
    for (const wrong of [
      ...[{ version: 1 }, { clockTicks: -1 }, { clockTicks: "7" }, { models: [[7, []]] }, { models: 7 }],
      ...[cells([]), cells(many(129)), cells([[-1, 0]]), cells([["5", 0]]), cells([[5, null]]), cells([[null, 0]])],
      ...[
        cells([
          [5, 0],
          [-1, 0],
        ]),
        cells(null, []),
        cells(...Array.from({ length: 33 }, () => null)),
      ],
      ...[{ rows: -1 }, { rows: "1" }, { untilMs: -1 }, { untilMs: null }, { ms: -1 }, { ms: undefined }].map((x) => ({
        limits: [["m", { rows: 1, untilMs: 2, ms: 3, ...x }]],
      })),
      { limits: [[7, { rows: 1, untilMs: 2, ms: 3 }]] },
    ])
      expect(parseEstimate(text(wrong)), JSON.stringify(wrong)).toBeNull();
    for (const other of [null, "", "{", "7", "null", "[1]"]) expect(parseEstimate(other)).toBeNull();
  });
});
