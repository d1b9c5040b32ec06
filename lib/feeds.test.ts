import { expect, test } from "vitest";
import type { Dtype, Port, Tensor } from "./tensor.ts";
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

test("a detached buffer is a TypeError that says so", () => {
  const x = floats(2);
  structuredClone(x.data, { transfer: [(x.data as Float32Array<ArrayBuffer>).buffer] });
  expect(() => {
    checkFeeds([port("x", ["n"])], { x });
  }).toThrow(/"x": its buffer is empty or detached/);
});

test("any rank passes where the model leaves it open", () => {
  for (const x of [floats(), floats(3), floats(2, 2, 2)]) checkFeeds([port("x", [])], { x });
});

test("float16 comes as its bits or as a Float16Array", () => {
  const bits: Tensor = { dtype: "float16", dims: [1], data: new Uint16Array(1) };
  const native = { [Symbol.toStringTag]: "Float16Array", length: 1, buffer: new ArrayBuffer(2) };
  checkFeeds([port("x", ["n"], "float16")], { x: bits });
  checkFeeds([port("x", ["n"], "float16")], { x: { ...bits, data: native } });
  const wrong: Tensor = { ...bits, data: new Float32Array(1) };
  expect(() => {
    checkFeeds([port("x", ["n"], "float16")], { x: wrong });
  }).toThrow('input "x": float16 data must be a Uint16Array, got Float32Array');
});

test("the message names what came and what the model takes", () => {
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { z: floats(1) });
  }).toThrow('inputs: the model has no input "z", only "a", "b"');
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { a: floats(2, 3), b: floats(4) });
  }).toThrow('input "b": "n" is 4, but 2 in input "a"');
});
