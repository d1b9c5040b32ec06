import { expect, test } from "vitest";
import { seededFloats, smallModel, twoLayers } from "../../test-support/compress/fixtures.ts";
import { quantizeDynamic } from "../quantize/quantize-dynamic.ts";
import { packConstants } from "../simplify/pack-constants.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { needsOf } from "./needs-of.ts";

const model = () => twoLayers({ opset: 13, inputs: 64, units: 96, outputs: 32 });

test("float32 arithmetic needs nothing, also over weights that are stored as float16", () => {
  expect(needsOf(model(), [])).toEqual([]);
  expect(needsOf(model().transform(packConstants({ minElements: 1, isExact: false })), [])).toEqual([]);
});

test("integer products need wasm", () => {
  expect(needsOf(model().transform(quantizeDynamic()), [])).toEqual(["wasm"]);
});

test("float16 arithmetic needs a GPU with shader-f16, unless the form is for wasm", () => {
  const half = smallModel({
    opset: 13,
    inputs: { x: [4] },
    outputs: ["y"],
    nodes: [
      { opType: "Cast", input: ["x"], output: ["h"], attributes: { to: 10 } },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Cast", input: ["r"], output: ["s"], attributes: { to: 1 } },
      { opType: "Mul", input: ["s", "w"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [4], seededFloats(4))],
  });
  expect(needsOf(half, [])).toEqual(["webgpu", "shader-f16"]);
  expect(needsOf(half, ["wasm"])).toEqual(["wasm"]);
});
