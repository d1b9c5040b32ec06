import { expect, test } from "vitest";
import type { Dtype, Port, Tensor } from "../tensor.ts";
import { checkFeeds } from "./feeds.ts";

const port = (name: string, dims: Port["dims"], dtype: Dtype = "float32"): Port => ({
  name,
  dtype,
  dims,
  batchAxis: 0,
});
const floats = (...dims: number[]): Tensor => {
  return { dtype: "float32", dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) };
};

test("a detached buffer is a RangeError that says so", () => {
  const x = floats(2);
  structuredClone(x.data, { transfer: [(x.data as Float32Array<ArrayBuffer>).buffer] });
  expect(() => {
    checkFeeds([port("x", ["n"])], { x });
  }).toThrow(/"x" has 0 values \(a detached buffer is empty\) for dims \[2\], not 2/);
});

test("any rank passes where the model leaves it open", () => {
  for (const x of [floats(), floats(3), floats(2, 2, 2)]) checkFeeds([port("x", [])], { x });
});

test("float16 comes as its bits or as a Float16Array", () => {
  const bits: Tensor = { dtype: "float16", dims: [1], data: new Uint16Array(1) };
  const native = { [Symbol.toStringTag]: "Float16Array", length: 1 };
  checkFeeds([port("x", ["n"], "float16")], { x: bits });
  checkFeeds([port("x", ["n"], "float16")], { x: { ...bits, data: native as unknown as Uint16Array } });
  const wrong: Tensor = { ...bits, data: new Float32Array(1) };
  expect(() => {
    checkFeeds([port("x", ["n"], "float16")], { x: wrong });
  }).toThrow('Input "x" of dtype float16 must hold its data in Uint16Array, not Float32Array.');
});

test("the message names what came and what the model takes", () => {
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { z: floats(1) });
  }).toThrow('The model has no input "z"; it takes "a", "b".');
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { a: floats(2, 3), b: floats(4) });
  }).toThrow('Input "b" has 4 for the dim "n", of which "a" has 2.');
});
