import { expect, test } from "vitest";
import { BackOffs } from "./back-offs.ts";

/** Returns the time until which lane wasm-0 gets no work of model 1, to the millisecond; null where it gets it. */
function untilOf(backOffs: BackOffs, now: number): number | null {
  for (let until = now; until < now + 100_000; until += 1)
    if (!backOffs.has("wasm-0", 1, until)) return until === now ? null : until;
  return Infinity;
}

test("a back-off doubles with each failure from one second to a minute, and ends on time", () => {
  const backOffs = new BackOffs();
  expect(backOffs.has("wasm-0", 1, 0)).toBe(false);
  let now = 5;
  for (const ms of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    backOffs.add("wasm-0", null, null, now);
    expect(untilOf(backOffs, now)).toBe(now + ms);
    now += ms;
  }
});

test("of several failures at once only the first counts, and a time that is named always does", () => {
  const backOffs = new BackOffs();
  backOffs.add("wasm-0", null, null, 0);
  backOffs.add("wasm-0", null, null, 999);
  expect(untilOf(backOffs, 999)).toBe(1_000);
  backOffs.add("wasm-0", null, 3_000, 999);
  expect(untilOf(backOffs, 999)).toBe(3_000);
  backOffs.add("wasm-0", null, null, 3_000); // the length has doubled twice
  expect(untilOf(backOffs, 3_000)).toBe(7_000);
});

test("a model's back-off is that of one lane and one model, a lane's that of all its models", () => {
  const backOffs = new BackOffs();
  backOffs.add("wasm-0", 1, null, 0);
  expect(backOffs.has("wasm-0", 1, 0)).toBe(true);
  expect(backOffs.has("wasm-0", 2, 0)).toBe(false);
  expect(backOffs.has("wasm-1", 1, 0)).toBe(false);
  backOffs.add("wasm-1", null, null, 0);
  expect(backOffs.has("wasm-1", 1, 0)).toBe(true);
  expect(backOffs.has("wasm-1", 2, 0)).toBe(true);
});

test("a run ends the back-offs of its model and of its lane, and no other", () => {
  const backOffs = new BackOffs();
  for (const model of [null, 1, 2]) backOffs.add("wasm-0", model, null, 0);
  backOffs.add("wasm-1", 1, null, 0);
  backOffs.clear("wasm-0", 1);
  expect(backOffs.has("wasm-0", 1, 0)).toBe(false);
  expect(backOffs.has("wasm-0", 2, 0)).toBe(true);
  expect(backOffs.has("wasm-1", 1, 0)).toBe(true);
});

test("a failure a minute after the end of the last begins anew, and what is that old is not kept", () => {
  const backOffs = new BackOffs();
  backOffs.add("wasm-0", null, null, 0);
  backOffs.add("wasm-1", null, null, 0);
  backOffs.add("wasm-0", null, null, 61_000);
  expect(untilOf(backOffs, 61_000)).toBe(63_000);
  backOffs.add("wasm-0", null, null, 123_001);
  expect(untilOf(backOffs, 123_001)).toBe(124_001);
  expect([...backOffs.save().keys()]).toEqual(["wasm-0"]);
});

test("a snapshot does not change with what follows, and is restored; traces of older releases have none", () => {
  const backOffs = new BackOffs();
  backOffs.add("wasm-0", 1, null, 0);
  const saved = backOffs.save();
  backOffs.clear("wasm-0", 1);
  expect(backOffs.has("wasm-0", 1, 0)).toBe(false);
  backOffs.restore(saved);
  expect(backOffs.has("wasm-0", 1, 0)).toBe(true);
  backOffs.clear("wasm-0", 1);
  expect(saved.size).toBe(1);
  backOffs.restore(undefined);
  expect(backOffs.save().size).toBe(0);
});
