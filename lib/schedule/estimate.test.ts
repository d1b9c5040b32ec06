import { expect, test } from "vitest";
import { Estimate } from "./estimate.ts";

const KEY = "m wasm";

/** Teaches an estimate by always running what it asks for. */
function run(estimate: Estimate, rounds: number, cost: (rows: number) => number, available = 64): number[] {
  return Array.from({ length: rounds }, () => {
    const rows = estimate.rows(KEY, available);
    estimate.learn(KEY, rows, cost(rows));
    return rows;
  });
}

test("nothing is known at first, and one row is tried", () => {
  const estimate = new Estimate();
  expect(estimate.ms(KEY, 1)).toBeUndefined();
  expect(estimate.rows(KEY, 64)).toBe(1);
});

test("comes to what runs take, in spite of a slow first run and of hiccups, and follows a change", () => {
  const estimate = new Estimate();
  for (let i = 0; i < 200; i += 1) estimate.learn(KEY, 1, i === 0 ? 900 : i % 50 === 0 ? 400 : 10 + (i % 3));
  expect(estimate.ms(KEY, 1)).toBeGreaterThan(9);
  expect(estimate.ms(KEY, 1)).toBeLessThan(14);
  for (let i = 0; i < 40; i += 1) estimate.learn(KEY, 1, 30);
  expect(estimate.ms(KEY, 1)).toBeCloseTo(30, 0);
});

test("lies between the sizes that it knows", () => {
  const estimate = new Estimate();
  for (const rows of [1, 2, 4, 8]) for (let i = 0; i < 3; i += 1) estimate.learn(KEY, rows, 8 + rows);
  for (const rows of [1, 3, 5, 6, 8]) expect(Math.abs((estimate.ms(KEY, rows) ?? 0) - (8 + rows))).toBeLessThan(1.5);
  expect(estimate.ms(KEY, 16)).toBe(32); // as if more gained nothing
});

test("grows while a row gets cheaper, and stops where it no longer does", () => {
  const cached = (rows: number): number => (rows <= 16 ? 10 + rows : 2 * rows);
  expect(run(new Estimate(), 30, cached).at(-1)).toBe(16);
  expect(run(new Estimate(), 30, (rows) => 54 * rows).at(-1)).toBe(1);
});

test("a size that was measured at a bad moment keeps no larger one from being used, and is as good as they again", () => {
  const estimate = new Estimate();
  run(estimate, 40, (rows) => 10 + rows);
  for (let i = 0; i < 20; i += 1) estimate.learn(KEY, 8, 200);
  expect(estimate.rows(KEY, 64)).toBe(64);
  expect(estimate.rows(KEY, 12)).toBe(4);
});

test("tries again once in a while what did not pay", () => {
  const estimate = new Estimate();
  run(estimate, 100, (rows) => 54 * rows);
  expect(run(estimate, 500, (rows) => 54 + rows).at(-1)).toBe(64);
});

test("never again runs as many rows together as ran out of memory", () => {
  const estimate = new Estimate();
  const sizes = run(estimate, 2_000, (rows) => (rows > 8 ? Infinity : 10 + rows));
  expect(sizes.filter((rows) => rows > 8)).toEqual([16]);
  expect(sizes.at(-1)).toBe(8);
  expect(estimate.rows(KEY, 12)).toBe(8);
});

test("is there again on the next page, and what somebody else wrote is not taken for it", () => {
  const before = new Estimate();
  run(before, 40, (rows) => 10 + rows / 10);
  const after = new Estimate(before.save());
  expect(after.rows(KEY, 64)).toBe(64);
  expect(after.ms(KEY, 8)).toBeCloseTo(before.ms(KEY, 8) ?? 0);
  for (const text of [null, "", "{", "7", "[1]"]) expect(new Estimate(text).ms(KEY, 1)).toBeUndefined();
});
