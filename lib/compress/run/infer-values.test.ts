import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import {
  addBranch,
  largestDifference,
  runModel,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import { OnnxModel } from "../onnx/model.ts";
import { OperatorSetIdProtoSchema, TensorProto_DataType } from "../onnx/onnx.gen.js";
import { foldConstants, inferValues } from "./infer-values.ts";
import { removeUnused } from "../simplify/remove-unused.ts";
import { floatTensor, floatsOf, int64Tensor } from "../onnx/tensor-proto.ts";

test("types and dims are those that ONNX Runtime infers", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 3] },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["s"] },
      { opType: "Relu", input: ["x"], output: ["r"] },
      { opType: "Cast", input: ["s"], output: ["y"], attributes: { to: 1 } },
    ],
  });
  const values = await inferValues(model);
  expect(values.get("s")).toEqual({ type: "int64", dims: [2] });
  expect(values.get("r")).toEqual({ type: "float32", dims: ["n", 3] });
  expect(model.graph.proto.output).toHaveLength(1);
});

test("dims of a value of unknown rank are undefined, those of a scalar are empty", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 3], dims: ["k"] },
    outputs: ["y", "sum"],
    nodes: [
      { opType: "Cast", input: ["dims"], output: ["target"], attributes: { to: 7 } },
      { opType: "Reshape", input: ["x", "target"], output: ["r"] },
      { opType: "Relu", input: ["r"], output: ["y"] },
      { opType: "Mul", input: ["one", "one"], output: ["scalar"] },
      { opType: "ReduceSum", input: ["x"], output: ["total"], attributes: { keepdims: 0 } },
      { opType: "Add", input: ["total", "scalar"], output: ["sum"] },
    ],
    initializers: [floatTensor("one", [], Float32Array.of(1))],
  });
  const values = await inferValues(model);
  expect(values.get("r")).toEqual({ type: "float32", dims: undefined });
  expect(values.get("scalar")).toEqual({ type: "float32", dims: [] });
});

test("nodes that depend on constants alone are folded, unless that would grow the file", async () => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [4] },
      outputs: ["y"],
      nodes: [
        { opType: "Add", input: ["a", "b"], output: ["c"] },
        { opType: "Mul", input: ["c", "b"], output: ["d"] },
        { opType: "Expand", input: ["d", "shape"], output: ["e"] },
        { opType: "ReduceMax", input: ["e"], output: ["m"], attributes: { keepdims: 0 } },
        { opType: "Mul", input: ["x", "m"], output: ["y"] },
      ],
      initializers: [
        floatTensor("a", [4], Float32Array.of(1, 2, 3, 4)),
        floatTensor("b", [4], Float32Array.of(2, 2, 2, 2)),
        { ...floatTensor("shape", [2], new Float32Array(2)), dataType: 7, dims: [2n], rawData: shape(1000, 4) },
      ],
    });
  const feeds = { x: { dims: [4], data: seededFloats(4) } };
  const before = await runModel(make().write(), feeds);
  const model = make();
  await foldConstants(model);
  expect(model.graph.nodes.map((x) => x.opType)).toContain("Expand");
  expect(floatsOf(model.graph.constant("d")!)).toEqual(Float32Array.of(6, 8, 10, 12));
  expect(await runModel(model.write(), feeds)).toEqual(before);
});

/**
 * Positions up to a computed number, as exporters write masks: each node's size follows from the previous node's value.
 */
const counted = (count: number, weights: number) =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 1] },
    outputs: ["y"],
    nodes: [
      { opType: "Add", input: ["half", "half"], output: ["count"] },
      { opType: "ConstantOfShape", input: ["count"], output: ["zeros"] },
      { opType: "Shape", input: ["zeros"], output: ["length"] },
      { opType: "Squeeze", input: ["length"], output: ["end"] },
      { opType: "Range", input: ["from", "end", "step"], output: ["places"] },
      { opType: "Cast", input: ["places"], output: ["float"], attributes: { to: 1 } },
      { opType: "Tile", input: ["float", "twice"], output: ["tiled"] },
      { opType: "ReduceSum", input: ["w"], output: ["sum"], attributes: { keepdims: 0 } },
      { opType: "Mul", input: ["x", "sum"], output: ["scaled"] },
      { opType: "Add", input: ["scaled", "tiled"], output: ["y"] },
    ],
    initializers: [
      int64Tensor("half", [1], [count / 2]),
      int64Tensor("from", [], [0]),
      int64Tensor("step", [], [1]),
      int64Tensor("twice", [1], [2]),
      floatTensor("w", [weights], seededFloats(weights)),
    ],
  });

test.each([
  [400, 4, false],
  [600, 4, true],
  [600, 200_000, false],
])("%d places beside %d weights: left to the run is %s", async (count, weights, isLeft) => {
  const feeds = { x: { dims: [1, 1], data: Float32Array.of(0.5) } };
  const before = await runModel(counted(count, weights).write(), feeds);
  const model = counted(count, weights);
  await foldConstants(model);
  model.transform(removeUnused());
  const operators = model.graph.nodes.map((x) => x.opType);
  expect(operators.includes("Tile")).toBe(isLeft);
  expect(operators).not.toContain("Range");
  expect(operators).not.toContain("ConstantOfShape");
  expect(await runModel(model.write(), feeds)).toEqual(before);
});

test("an unbounded table is not folded", async () => {
  const model = counted(2 ** 40, 4);
  await foldConstants(model);
  expect(model.graph.nodes.map((x) => x.opType)).toContain("ConstantOfShape");
});

test("a model that ONNX Runtime refuses is refused with its reason", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: [1] },
    outputs: ["y"],
    nodes: [{ opType: "NoSuchThing", input: ["x"], output: ["y"] }],
  });
  await expect(inferValues(model)).rejects.toThrow(/NoSuchThing/);
});

function shape(...dims: number[]): Uint8Array {
  return new Uint8Array(BigInt64Array.from(dims, BigInt).buffer);
}

test("a large model is inferred without its weights", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 2048] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [2048, 2100], new Float32Array(2048 * 2100))],
  });
  const written: number[] = [];
  const write = vi.spyOn(OnnxModel.prototype, "write").mockImplementation(function (this: OnnxModel) {
    written.push(this.byteLength);
    write.mockRestore();
    return this.write();
  });
  expect((await inferValues(model)).get("h")).toEqual({ type: "float32", dims: ["n", 2100] });
  expect(Math.max(...written)).toBeLessThan(10_000);
});

test("an operator of a library of its own is named, with the way out", async () => {
  const nodes = [{ opType: "Spin", input: ["x"], output: ["y"], domain: "acme.ops" }];
  const model = smallModel({ opset: 13, inputs: { x: [1] }, outputs: ["y"], nodes });
  model.proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: "acme.ops", version: 1n }));
  await expect(inferValues(model)).rejects.toThrow(
    "it has no operator acme.ops:Spin: export the model with operators of ONNX in place of it, or as a local function",
  );
});

test("an operator without a kernel on the CPU is named, with the way out", async () => {
  const nodes = [{ opType: "RelativePositionBias", input: ["x", "n", "n"], output: ["y"], domain: "com.microsoft" }];
  const model = smallModel({
    opset: 13,
    inputs: { x: [32, 4], n: [1] },
    types: { n: TensorProto_DataType.INT64 },
    outputs: ["y"],
    nodes: nodes.map((x) => ({ ...x, attributes: { max_distance: 128 } })),
  });
  model.useContribOperators();
  await expect(inferValues(model)).rejects.toThrow(
    "ONNX Runtime's CPU has no kernel for RelativePositionBias: give the model as it was exported",
  );
});

test.each([
  ["an LSTM's weight whose gates are put in another order is stored so", 20, ["MatMul"]],
  ["a weight of which slices overlap stays as it is: the file would grow", 30, ["Slice", "Slice", "Concat", "MatMul"]],
] as const)("%s", async (_, end, operators) => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 100] },
    outputs: ["y"],
    nodes: [
      { opType: "Slice", input: ["w", "from", "to", "axis"], output: ["a"] },
      { opType: "Slice", input: ["w", "zero", "end", "axis"], output: ["b"] },
      { opType: "Concat", input: ["a", "b"], output: ["v"], attributes: { axis: 1 } },
      { opType: "MatMul", input: ["x", "v"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [100, 60], seededFloats(6_000)),
      ...[int64Tensor("from", [1], [20]), int64Tensor("to", [1], [2 ** 31 - 1]), int64Tensor("axis", [1], [1])],
      ...[int64Tensor("zero", [1], [0]), int64Tensor("end", [1], [end])],
    ],
  });
  await foldConstants(model);
  model.transform(removeUnused());
  expect(model.graph.nodes.map((x) => x.opType)).toEqual(operators);
});

test("constants in branches are folded; a large one around them, which each branch would copy, is not", async () => {
  const large = floatTensor("large", [64, 32], seededFloats(2048));
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 64] },
    outputs: ["y"],
    nodes: [
      { opType: "ReduceMax", input: ["x"], output: ["most"], attributes: { keepdims: 0 } },
      { opType: "Cast", input: ["most"], output: ["isOn"], attributes: { to: 9 } },
      { opType: "If", input: ["isOn"], output: ["y"] },
    ],
    initializers: [large, floatTensor("small", [32], seededFloats(32, 2)), floatTensor("one", [], Float32Array.of(1))],
  });
  for (const [i, name] of (["then_branch", "else_branch"] as const).entries())
    addBranch(
      model.graph.nodes[2],
      name,
      [
        { opType: "Neg", input: ["large"], output: [`w${i}`] },
        { opType: "Add", input: ["small", "one"], output: [`b${i}`] },
        { opType: "Gemm", input: ["x", `w${i}`, `b${i}`], output: [`o${i}`] },
      ],
      `o${i}`,
    );
  model.graph.changed();
  const feed = { x: { dims: [2, 64], data: seededFloats(128) } };
  const before = await runModel(model.write(), feed);
  await foldConstants(model);
  const branches = [...model.graph.all()].slice(1);
  expect(branches.map((x) => x.nodes.map((y) => y.opType))).toEqual([
    ["Neg", "Gemm"],
    ["Neg", "Gemm"],
  ]);
  expect(await runModel(model.write(), feed)).toEqual(before);
});

test("a weight whose gates each branch puts in another order is stored so once, around them", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 100] },
    outputs: ["y"],
    nodes: [
      { opType: "ReduceMax", input: ["x"], output: ["most"], attributes: { keepdims: 0 } },
      { opType: "Cast", input: ["most"], output: ["isOn"], attributes: { to: 9 } },
      { opType: "If", input: ["isOn"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [100, 60], seededFloats(6_000)),
      ...[int64Tensor("from", [1], [20]), int64Tensor("to", [1], [60]), int64Tensor("axis", [1], [1])],
      int64Tensor("zero", [1], [0]),
    ],
  });
  for (const name of ["then_branch", "else_branch"] as const)
    addBranch(
      model.graph.nodes[2],
      name,
      [
        { opType: "Slice", input: ["w", "from", "to", "axis"], output: [`${name}/a`] },
        { opType: "Slice", input: ["w", "zero", "from", "axis"], output: [`${name}/b`] },
        { opType: "Concat", input: [`${name}/a`, `${name}/b`], output: [`${name}/v`], attributes: { axis: 1 } },
        { opType: "MatMul", input: ["x", `${name}/v`], output: [`${name}/y`] },
      ],
      `${name}/y`,
    );
  model.graph.changed();
  const x = { x: { dims: [2, 100], data: seededFloats(200, 3) } };
  const [before = []] = await runModel(model.write(), x);
  await foldConstants(model);
  model.transform(removeUnused());
  const [after = []] = await runModel(model.write(), x);
  expect(largestDifference(before, after)).toBe(0);
  const [main, ...branches] = [...model.graph.all()];
  expect(branches.map((x) => x.nodes.map((node) => node.opType))).toEqual([["MatMul"], ["MatMul"]]);
  // The weight as it was is gone: only branches read it, from nodes that are gone too.
  expect(main?.proto.initializer.map((x) => x.dims.map(Number)).filter((x) => x.length === 2)).toEqual([[100, 60]]);
});
