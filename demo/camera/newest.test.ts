import { expect, test } from "vitest";
import { Newest, ratePerSecond } from "./newest.ts";

/** Work that ends when the test says so. */
function hold(): { seen: number[]; work: (frame: number) => Promise<void>; end: () => Promise<void> } {
  const seen: number[] = [];
  let finish: () => void = () => undefined;
  return {
    seen,
    work: (frame) =>
      new Promise((resolve) => {
        seen.push(frame);
        finish = resolve;
      }),
    end: async () => {
      finish();
      await new Promise(setImmediate);
    },
  };
}

test("a waiting frame is replaced by a newer one, and counted as dropped", async () => {
  const { seen, work, end } = hold();
  const newest = new Newest(work);
  const done = newest.offer(1);
  for (const frame of [2, 3, 4]) void newest.offer(frame);
  expect(seen).toEqual([1]);
  await end();
  expect(seen).toEqual([1, 4]);
  await end();
  await done;
  expect(newest.counts).toEqual({ frames: 2, dropped: 2 });
});

test("with time for each, no frame is dropped", async () => {
  const newest = new Newest(() => Promise.resolve());
  for (let frame = 0; frame < 5; frame++) await newest.offer(frame);
  expect(newest.counts).toEqual({ frames: 5, dropped: 0 });
});

test("after an error the next frame is processed", async () => {
  let isBroken = true;
  const newest = new Newest(() => (isBroken ? Promise.reject(new Error("broken")) : Promise.resolve()));
  await expect(newest.offer(1)).rejects.toThrow("broken");
  isBroken = false;
  await newest.offer(2);
  expect(newest.counts.frames).toBe(1);
});

test("a rate counts the last second only", () => {
  const ends = [0, 500, 1400, 1500, 2000];
  expect(ratePerSecond(ends, 2000)).toBe(3);
  expect(ends).toEqual([1400, 1500, 2000]);
});
