import { expect, test } from "vitest";
import { TimeLeft } from "./time-left.ts";

/** Returns an estimate, and a function that makes a form: the time of its first making, and of all that follows. */
function clockFor(ids: readonly string[]): {
  left: TimeLeft;
  make: (id: string, first: number, again?: number) => void;
} {
  let ms = 1_000;
  const left = new TimeLeft(ids, () => ms);
  const make = (id: string, first: number, again = 0): void => {
    left.started();
    ms += first * 1_000;
    left.evaluated();
    ms += again * 1_000;
    left.done(id);
  };
  return { left, make };
}

test("nothing is said before a form of the kind that is left was made; then its like counts", () => {
  const { left, make } = clockFor(["f32", "int8", "int4", "f16", "int8-dynamic"]);
  expect(left.text()).toBe("");
  // Float32 is only measured: it says nothing about the forms whose weights are rounded.
  make("f32", 2);
  expect(left.text()).toBe("");
  make("int8", 40);
  expect(left.seconds()).toBe(40 + 2 + 40);
  make("int4", 60);
  expect(left.text()).toBe(", about 52 s left for the forms, more where one misses its budget");
  make("f16", 4);
  make("int8-dynamic", 50);
  expect(left.text()).toBe("");
});

test("minutes are said as minutes", () => {
  const { left, make } = clockFor(["int8", "int4"]);
  make("int8", 600);
  expect(left.text()).toBe(", about 10 min left for the forms, more where one misses its budget");
});

test("a form that was made again counts the first time alone; one that failed counts whole", () => {
  const { left, make } = clockFor(["int8", "int4", "int8-dynamic"]);
  make("int8", 20, 400);
  expect(left.seconds()).toBe(20 + 20);
  make("int4", 30, 300);
  expect(left.seconds()).toBe(25);
  let ms = 0;
  const failed = new TimeLeft(["int8", "int4"], () => ms);
  failed.started();
  ms = 7_000;
  failed.done("int8");
  expect(failed.seconds()).toBe(7);
});
