import { expect, test } from "vitest";
import { CLASSES, isOnTime } from "./classes.ts";
import type { Class } from "./classes.ts";
import { Fifo } from "./fifo.ts";

const [camera, , , index] = CLASSES as [Class, Class, Class, Class];

function make(lanes: number): Fifo {
  const fifo = new Fifo(lanes, 1_000);
  fifo.learn("fashion-cnn", 2);
  fifo.learn("ocr-rec", 50);
  return fifo;
}

test("runs requests in order of arrival, whatever their priority", () => {
  const fifo = make(1);
  expect(fifo.arrive(index, 0)).toMatchObject({ endMs: 50, outcome: "answered" });
  const late = fifo.arrive(camera, 1);
  expect(late).toMatchObject({ endMs: 52, ran: { startMs: 50 } });
  expect(isOnTime(late)).toBe(false);
  expect(isOnTime(fifo.arrive(camera, 60))).toBe(true);
});

test("takes the lane that is free first", () => {
  const fifo = make(2);
  fifo.arrive(index, 0);
  expect(fifo.arrive(camera, 1).ran).toMatchObject({ lane: "lane 1", startMs: 1 });
});

test("drops requests that have waited too long, and is not delayed by them", () => {
  const fifo = make(1);
  const all = Array.from({ length: 100 }, () => fifo.arrive(index, 0));
  const given = all.filter(({ outcome }) => outcome === "failed");
  expect(given.length).toBe(100 - 21); // those that start at 0, 50, … 1,000 ms
  expect(given[0]).toMatchObject({ endMs: 1_000, ran: null });
  fifo.clear(10);
  expect(fifo.arrive(camera, 10).ran?.startMs).toBe(10);
});
