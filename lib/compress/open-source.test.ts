import { create } from "@bufbuild/protobuf";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  addBranch,
  decibels,
  runModel,
  seededFloats,
  smallModel,
  twoLayers,
} from "../test-support/compress/fixtures.ts";
import { float16Bits } from "./onnx/float16.ts";
import { TensorProto_DataType, TensorProtoSchema } from "./onnx/onnx.gen.js";
import { floatsOf, floatTensor, uint8Tensor } from "./onnx/tensor-proto.ts";
import { openSource } from "./open-source.ts";
import { quantizeBlocks } from "./quantize/quantize-blocks.ts";
import { quantizeDynamic } from "./quantize/quantize-dynamic.ts";
import { quantizeWeights } from "./quantize/quantize-weights.ts";
import type { Feed } from "./run/feeds.ts";
import { runAll } from "./run/session.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-open-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const SIZES = { opset: 13, inputs: 64, units: 96, outputs: 32 } as const;
const x = { dims: [4, 64], data: seededFloats(4 * 64) };

/** The two layers in another float type, with Casts around them, or with inputs and outputs of that type too. */
function layersIn(type: "float16" | "bfloat16" | "float64", hasCasts: boolean) {
  const whole = twoLayers(SIZES);
  const to = TensorProto_DataType[type === "float64" ? "DOUBLE" : type === "float16" ? "FLOAT16" : "BFLOAT16"];
  const initializers = whole.graph.proto.initializer.map((tensor) => {
    const values = floatsOf(tensor);
    const data =
      type === "float64"
        ? Float64Array.from(values)
        : type === "float16"
          ? Uint16Array.from(values, float16Bits)
          : Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16);
    const rawData = new Uint8Array(data.buffer);
    return create(TensorProtoSchema, { name: tensor.name, dataType: to, dims: tensor.dims, rawData });
  });
  const [inner, outer] = hasCasts ? ["x16", "y16"] : ["x", "y"];
  const cast = (input: string, output: string, type: number) => ({
    opType: "Cast",
    input: [input],
    output: [output],
    attributes: { to: type },
  });
  const casts = [cast("x", inner, to), cast(outer, "y", TensorProto_DataType.FLOAT)];
  return smallModel({
    opset: 13,
    inputs: { x: ["batch", SIZES.inputs] },
    outputs: ["y"],
    ...(hasCasts ? {} : { types: { x: to, y: to } }),
    nodes: [
      { opType: "MatMul", input: [inner, "a"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Gemm", input: ["r", "b", "c"], output: [outer] },
      // As the float16 converter of ONNX Runtime leaves it: the Casts come last.
      ...(hasCasts ? casts : []),
    ],
    initializers,
  });
}

test.each([
  ["float16", true],
  ["float16", false],
  ["bfloat16", true],
  ["float64", true],
  ["float64", false],
] as const)("a source in %s (with Casts: %s) is opened as float32", async (type, hasCasts) => {
  const path = join(folder, `${type}-${hasCasts}.onnx`);
  writeFileSync(path, layersIn(type, hasCasts).write());
  const opened = await openSource(path);
  expect(opened.notes.join()).toContain(`computes in ${type}`);
  const { proto } = opened.model.graph;
  expect(new Set(proto.initializer.map((tensor) => tensor.dataType))).toEqual(new Set([TensorProto_DataType.FLOAT]));
  expect(proto.node.map((node) => node.opType)).not.toContain("Cast");
  const [whole = []] = await runModel(twoLayers(SIZES).write(), { x });
  const [now = []] = await runModel(opened.model.write(), { x });
  expect(decibels(whole, now)).toBeGreaterThan({ float16: 60, bfloat16: 40, float64: 120 }[type]);
  await opened.scratch.close();
});

test("a float32 source is opened as it is", async () => {
  const path = join(folder, "plain.onnx");
  const bytes = twoLayers(SIZES).write();
  writeFileSync(path, bytes);
  const { model, runnable, notes } = await openSource(path);
  expect([runnable, notes, model.write()]).toEqual([path, [], bytes]);
});

test.each([
  ["int8 behind DequantizeLinear", quantizeWeights()],
  ["integer products", quantizeDynamic()],
  ["blocks of 4 bits", quantizeBlocks()],
] as const)("a source that is quantized already, as %s, is refused with the file to give", async (_, transform) => {
  const model = twoLayers(SIZES).transform(transform);
  const path = join(folder, "model_quantized.onnx");
  writeFileSync(path, model.write());
  await expect(openSource(path)).rejects.toThrow("is already quantized (2 ");
  writeFileSync(join(folder, "model.onnx"), twoLayers(SIZES).write());
  await expect(openSource(path)).rejects.toThrow(`give ${join(folder, "model.onnx")}`);
});

test("a source with weights in int16 behind DequantizeLinear is refused too", async () => {
  const model = smallModel({
    opset: 21,
    inputs: { x: ["batch", 16] },
    outputs: ["y"],
    nodes: [
      { opType: "DequantizeLinear", input: ["codes", "scale"], output: ["weight"] },
      { opType: "MatMul", input: ["x", "weight"], output: ["y"] },
    ],
    initializers: [
      create(TensorProtoSchema, {
        ...{ name: "codes", dataType: TensorProto_DataType.INT16, dims: [16n, 16n] },
        rawData: new Uint8Array(512),
      }),
      floatTensor("scale", [], Float32Array.of(0.01)),
    ],
  });
  const path = join(folder, "words.onnx");
  writeFileSync(path, model.write());
  await expect(openSource(path)).rejects.toThrow("is already quantized (1 DequantizeLinear)");
});

test("a float model that looks up bytes is no quantized one", async () => {
  const model = twoLayers(SIZES);
  model.graph.addInitializer(uint8Tensor("bytes", [100], new Uint8Array(100)));
  const path = join(folder, "bytes.onnx");
  writeFileSync(path, model.write());
  await expect(openSource(path)).resolves.toMatchObject({ notes: [] });
});

test("a float model with a mask in bytes is no quantized one", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["batch", 16] },
    outputs: ["y"],
    nodes: [
      { opType: "Cast", input: ["mask"], output: ["isKept"], attributes: { to: TensorProto_DataType.BOOL } },
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Where", input: ["isKept", "h", "x"], output: ["y"] },
    ],
    initializers: [
      uint8Tensor("mask", [64, 16], new Uint8Array(1024).fill(1)),
      floatTensor("w", [16, 16], seededFloats(256)),
    ],
  });
  const path = join(folder, "mask.onnx");
  writeFileSync(path, model.write());
  await expect(openSource(path)).resolves.toMatchObject({ notes: [] });
});

test("a branch whose nodes are not sorted is opened as a file that ONNX Runtime loads", async () => {
  const path = join(folder, "unsorted.onnx");
  const model = smallModel({
    opset: 17,
    inputs: { x: [4], first: [] },
    types: { first: TensorProto_DataType.BOOL },
    outputs: ["y"],
    nodes: [{ opType: "If", input: ["first"], output: ["y"] }],
  });
  const late = [
    { opType: "Add", input: ["t", "t"], output: ["a"] },
    { opType: "Neg", input: ["x"], output: ["t"] },
  ];
  addBranch(model.graph.nodes[0], "then_branch", late, "a");
  addBranch(model.graph.nodes[0], "else_branch", [{ opType: "Abs", input: ["x"], output: ["b"] }], "b");
  writeFileSync(path, model.write());
  const feed: Feed = {
    x: { dtype: "float32", dims: [4], data: Float32Array.of(1, 2, 3, 4) },
    first: { dtype: "bool", dims: [], data: Uint8Array.of(1) },
  };
  await expect(runAll(path, [feed])).rejects.toThrow("topologically sorted");
  const { runnable, scratch } = await openSource(path);
  const [answer] = await runAll(runnable, [feed]);
  expect([...(answer?.["y"]?.data as Float32Array)]).toEqual([-2, -4, -6, -8]);
  await scratch.close();
});

test("a LayerNormalization whose bias has an empty name does not end the process", async () => {
  const path = join(folder, "empty-bias.onnx");
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 4] },
    outputs: ["y"],
    nodes: [{ opType: "LayerNormalization", input: ["x", "scale", ""], output: ["y"] }],
    initializers: [floatTensor("scale", [4], Float32Array.of(1, 2, 3, 4))],
  });
  writeFileSync(path, model.write());
  const opened = await openSource(path);
  expect(opened.notes.join()).toContain("by an empty text");
  const feed: Feed = { x: { dtype: "float32", dims: [1, 4], data: Float32Array.of(-1, 1, -1, 1) } };
  const [answer] = await runAll(opened.runnable, [feed]);
  expect([...(answer?.["y"]?.data as Float32Array)].map((value) => Math.round(value * 100) / 100)).toEqual([
    -1, 2, -3, 4,
  ]);
  await opened.scratch.close();
});
