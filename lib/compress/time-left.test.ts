import { expect, test } from "vitest";
import { TimeLeft } from "./time-left.ts";

test("nothing is said before a form of the kind that is left was made; then its like counts", () => {
  const left = new TimeLeft(["f32", "int8", "int4", "f16", "int8-dynamic"]);
  expect(left.text()).toBe("");
  // Float32 is only measured: it says nothing about the forms whose weights are rounded.
  left.done("f32", 2);
  expect(left.text()).toBe("");
  left.done("int8", 40);
  expect(left.seconds()).toBe(40 + 2 + 40);
  left.done("int4", 60);
  expect(left.text()).toBe(", about 52 s left for the forms");
  left.done("f16", 4);
  left.done("int8-dynamic", 50);
  expect(left.text()).toBe("");
});

test("minutes are said as minutes", () => {
  const left = new TimeLeft(["int8", "int4"]);
  left.done("int8", 600);
  expect(left.text()).toBe(", about 10 min left for the forms");
});
