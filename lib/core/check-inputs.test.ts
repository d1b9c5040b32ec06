import { expect, test } from "vitest";
import type { Dtype, Port, Tensor } from "./tensor.ts";
import { checkFeeds, checkNames } from "./check-inputs.ts";

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
  }).toThrow(/"x": its buffer is detached or resized/);
});

test("a missing input beside one that takes no texts here says why it takes none", () => {
  const ids = { ...port("input_ids", [1, 8]), unsupported: "texts need an open batch" };
  expect(() => {
    checkNames([ids, port("attention_mask", [1, 8])], { input_ids: "a text" });
  }).toThrow('"attention_mask" is missing; the model takes "input_ids" (texts need an open batch), "attention_mask"');
});

test("a detached buffer is named as such also where no element is needed; an empty array is none", () => {
  const x = floats(3);
  structuredClone(x.data, { transfer: [(x.data as Float32Array<ArrayBuffer>).buffer] });
  for (const port_ of [port("x", ["n", 3]), port("x", [])])
    expect(() => {
      checkFeeds([port_], { x: { ...x, dims: [0, 3] } });
    }).toThrow(/"x": its buffer is detached or resized/);
  checkFeeds([port("x", ["n", 3])], { x: floats(0, 3) });
});

test("any rank passes where the model leaves it open", () => {
  for (const x of [floats(), floats(3), floats(2, 2, 2)]) checkFeeds([port("x", [])], { x });
});

test("float16 is accepted as its bits or as a Float16Array", () => {
  const bits: Tensor = { dtype: "float16", dims: [1], data: new Uint16Array(1) };
  const native = { [Symbol.toStringTag]: "Float16Array", length: 1, buffer: new ArrayBuffer(2) };
  checkFeeds([port("x", ["n"], "float16")], { x: bits });
  checkFeeds([port("x", ["n"], "float16")], { x: { ...bits, data: native } });
  const wrong = { ...bits, data: new Float32Array(1) };
  expect(() => {
    checkFeeds([port("x", ["n"], "float16")], { x: wrong });
  }).toThrow('input "x": float16 data must be a Uint16Array, got Float32Array');
});

test("the message names the given value and the expected one", () => {
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { z: floats(1) });
  }).toThrow('inputs: the model has no input "z", only "a", "b"');
  expect(() => {
    checkFeeds([port("a", ["n", 3]), port("b", ["n"])], { a: floats(2, 3), b: floats(4) });
  }).toThrow('input "b": "n" is 4, but 2 in input "a"');
});

const strings = (...data: unknown[]) => ({ x: { dtype: "string", dims: [data.length], data } });

test.each([["a\0b"], ["\0"], ["ends\0"]])(
  "a string with NUL is refused, since ONNX Runtime would cut it: %j (processing-M7)",
  (text) => {
    const check = (): void => {
      checkFeeds([port("x", ["n"], "string")], strings("fine", text));
    };
    expect(check).toThrow(TypeError);
    expect(check).toThrow('input "x": element 1 must be a string without NUL, got ');
    checkFeeds([port("x", ["n"], "string")], strings("fine", "a\\0b", ""));
  },
);

test("messages show dims as they were given (processing-L9)", () => {
  const check = (dims: unknown[]) => () => {
    checkFeeds([port("x", ["n", "m"])], { x: { ...floats(1, 4), dims } });
  };
  expect(check([1n, 4n])).toThrow("got [1n, 4n]");
  expect(check(["1", 4])).toThrow('got ["1", 4]');
  expect(check([1])).toThrow("expected dims [n, m], got [1]");
});

test("a dim that ONNX Runtime can't hold is refused, though nothing is in the tensor (processing-L9)", () => {
  const x = { ...floats(0), dims: [2 ** 31, 0] };
  expect(() => {
    checkFeeds([port("x", ["n", "m"])], { x });
  }).toThrow(/dims must be whole numbers from 0 to 2147483647, got \[2147483648, 0\]/);
  checkFeeds([port("x", ["n", "m"])], { x: { ...x, dims: [2 ** 31 - 1, 0] } });
});
