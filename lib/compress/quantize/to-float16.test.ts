import { expect, test } from "vitest";
import { decibels, REAL_MODELS, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { toHalf } from "./to-float16.ts";
import { inferValues } from "../run/infer-values.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { simplify } from "../simplify/simplify.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

async function halved(model: OnnxModel, peaks?: ReadonlyMap<string, number>): Promise<OnnxModel> {
  const values = await inferValues(model);
  return model.transform(toHalf({ values, ...(peaks && { peaks }) }));
}

const layers = (shift = 1) =>
  smallModel({
    opset: 13,
    inputs: { x: [4, 64] },
    outputs: ["y", "z"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Add", input: ["h", "c"], output: ["z"] },
      { opType: "Relu", input: ["z"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [64, 64], seededFloats(4096, 5)), floatTensor("c", [1], Float32Array.of(shift))],
  });
const feeds = { x: { dims: [4, 64], data: seededFloats(256) } };

test("a model in float16 keeps the types of its inputs and outputs, and has half the weights", async () => {
  const [y = [], z = []] = await runModel(layers().write(), feeds);
  const model = await halved(layers());
  for (const { dims, dataType } of model.graph.proto.initializer)
    if (dims.length > 1) expect(dataType).not.toBe(TensorProto_DataType.FLOAT);
  for (const provider of ["cpu", "webgpu"]) {
    const [y16 = [], z16 = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
    expect(decibels(y, y16)).toBeGreaterThan(55);
    expect(decibels(z, z16)).toBeGreaterThan(55);
  }
});

test.each([70_000, 1e-9])("a node with the constant %d, which float16 cannot hold, stays float32", async (shift) => {
  const model = await halved(layers(shift));
  const [, z = []] = await runModel(layers(shift).write(), feeds);
  const [, z16 = []] = await runModel(model.write(), feeds);
  expect(decibels(z, z16)).toBeGreaterThan(55);
  expect(model.graph.constant("c")?.dataType).toBe(TensorProto_DataType.FLOAT);
});

test("a node whose values overflowed float16 on the samples stays float32, its weights do not", async () => {
  const large = { x: { dims: [4, 64], data: seededFloats(256).map((x) => x * 60_000) } };
  const [, z = []] = await runModel(layers().write(), large);
  const model = await halved(
    layers(),
    new Map([
      ["h", 300_000],
      ["x", 60_000],
      ["z", 300_000],
    ]),
  );
  const [, z16 = []] = await runModel(model.write(), large);
  expect(decibels(z, z16)).toBeGreaterThan(55);
  // In 16 bits: a high and a low byte.
  const matrices = model.graph.proto.initializer.filter((x) => x.dims.length === 2);
  expect(matrices.map((x) => x.dataType)).toEqual([TensorProto_DataType.INT8, TensorProto_DataType.INT8]);
});

test("the weights of ONNX Runtime's own operators are stored in float16, whose bytes compress better than pairs", async () => {
  const fused = { opType: "FusedMatMul", domain: "com.microsoft", input: ["x", "w"], output: ["y"] };
  const initializers = [floatTensor("w", [64, 32], seededFloats(64 * 32, 3))];
  const whole = smallModel({ opset: 13, inputs: { x: ["n", 64] }, outputs: ["y"], nodes: [fused], initializers });
  const [before = []] = await runModel(whole.write(), feeds);
  const half = await halved(whole);
  expect(half.graph.proto.initializer.map((x) => x.dataType)).toEqual([TensorProto_DataType.FLOAT16]);
  const [after = []] = await runModel(half.write(), feeds);
  expect(decibels(before, after)).toBeGreaterThan(60);
});

test("the residual stream and the last product are summed in float32; values inside a layer are not", async () => {
  const vector = (name: string, value: number) => floatTensor(name, [64], new Float32Array(64).fill(value));
  const make = () =>
    smallModel({
      opset: 17,
      inputs: { x: [4, 64] },
      outputs: ["y"],
      nodes: [
        { opType: "MatMul", input: ["x", "a"], output: ["h"] },
        { opType: "Add", input: ["x", "h"], output: ["s"] },
        { opType: "LayerNormalization", input: ["s", "one", "zero"], output: ["n"] },
        { opType: "MatMul", input: ["n", "b"], output: ["y"] },
      ],
      initializers: [
        floatTensor("a", [64, 64], seededFloats(4096, 5)),
        floatTensor("b", [64, 64], seededFloats(4096, 6)),
        vector("one", 1),
        vector("zero", 0),
      ],
    });
  const [y = []] = await runModel(make().write(), feeds);
  const model = await halved(make());
  const [y16 = []] = await runModel(model.write(), feeds);
  // Weights in float16 alone, without any arithmetic in it, are 70 to 73.
  expect(decibels(y, y16)).toBeGreaterThan(72);
  expect(model.write().length).toBeLessThan(make().write().length * 0.56);
  const types = await inferValues(model);
  expect(["h", "s", "n"].map((x) => types.get(x)?.type)).toEqual(["float16", "float32", "float32"]);
});

test("the scales of a Resize stay float32, and a Cast goes to float16", async () => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [1, 1, 4, 4] },
      outputs: ["y"],
      nodes: [
        { opType: "Shape", input: ["x"], output: ["s"] },
        { opType: "Cast", input: ["s"], output: ["f"], attributes: { to: 1 } },
        { opType: "ReduceMax", input: ["f"], output: ["m"], attributes: { keepdims: 0 } },
        { opType: "Resize", input: ["x", "", "k"], output: ["r"], attributes: { mode: "nearest" } },
        { opType: "Mul", input: ["r", "m"], output: ["y"] },
      ],
      initializers: [floatTensor("k", [4], Float32Array.of(1, 1, 2, 2))],
    });
  const small = { x: { dims: [1, 1, 4, 4], data: seededFloats(16) } };
  const [y = []] = await runModel(make().write(), small);
  const [now = []] = await runModel((await halved(make())).write(), small);
  expect(decibels(y, now)).toBeGreaterThan(55);
});

test.each(REAL_MODELS)("$name comes to half its bytes", async ({ read, dims }) => {
  const model = await halved(readModel(read()).transform(simplify()));
  const bytes = model.write();
  expect(bytes.length).toBeLessThan(read().length * 0.56);
  const data = seededFloats(dims.reduce((a, b) => a * b, 1));
  const [before = []] = await runModel(read(), { x: { dims, data } });
  const [now = []] = await runModel(bytes, { x: { dims, data } });
  // The detector's output for noise is almost zero, so its relative error is large.
  expect(decibels(before, now)).toBeGreaterThan(25);
});
