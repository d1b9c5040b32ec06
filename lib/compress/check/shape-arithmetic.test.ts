import { expect, test } from "vitest";
import { runInChildProcess } from "../run/child-process.ts";
import { Checker } from "./check.ts";
import { inMemory, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { formsFor } from "../forms/forms.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { nameShapeNodes } from "./shape-arithmetic.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** Adds the result of an integer comparison to floats: of positions, or of input numbers. */
const compared = (from: "places" | "numbers"): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { x: ["n", 8], numbers: ["n"] },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "first"], output: ["count"] },
      { opType: "Range", input: ["first", "count", "step"], output: ["places"] },
      { opType: "Mul", input: [from, "step"], output: ["scaled"] },
      { opType: "LessOrEqual", input: ["scaled", "limit"], output: ["is-small"] },
      { opType: "Unsqueeze", input: ["is-small", "last"], output: ["mask"] },
      { opType: "Where", input: ["mask", "x", "zero"], output: ["chosen"] },
      { opType: "Mul", input: ["chosen", "chosen"], output: ["y"] },
    ],
    initializers: [
      int64Tensor("first", [], [0]),
      int64Tensor("step", [], [1]),
      int64Tensor("limit", [], [2]),
      int64Tensor("last", [1], [-1]),
      floatTensor("zero", [], Float32Array.of(0)),
    ],
    types: { numbers: TensorProto_DataType.INT64 },
  });
const feed = {
  x: { dtype: "float32", dims: [5, 8], data: seededFloats(40) },
  numbers: { dtype: "int64", dims: [5], data: BigInt64Array.from([9, 1, 2, 7, 0], BigInt) },
} as const;

test("nodes that depend on lengths alone are shape arithmetic, whatever the operator", () => {
  const named = (model: OnnxModel): string[] => {
    const names = nameShapeNodes(model);
    return model.graph.nodes.filter((x) => names.has(x.name)).map((x) => x.opType);
  };
  expect(named(compared("places"))).toEqual(["Shape", "Gather", "Range", "Mul", "LessOrEqual", "Unsqueeze"]);
  expect(named(compared("numbers"))).toEqual(["Shape", "Gather", "Range"]);
});

test("every node gets a name of its own", () => {
  const model = compared("places");
  for (const node of model.graph.nodes) node.name = "same";
  nameShapeNodes(model);
  expect(new Set(model.graph.nodes.map((x) => x.name)).size).toBe(model.graph.nodes.length);
});

test.each([
  ["places", 0],
  ["numbers", 2],
] as const)("a mask of %s has %i operators on the CPU, which cost too little to refuse it", async (from, cpu) => {
  const written = inMemory(compared(from));
  const { outputs } = await runInChildProcess(written.source, "cpu", {}, [feed]);
  const checker = new Checker(written.source, [feed]);
  const [form] = formsFor(["webgpu"], ["f32"]);
  const [check] = await checker.check({ form: form!, ...written, expected: outputs }, ["webgpu"]);
  await checker.close();
  expect(check?.verdict, check?.why).toBe("passed");
  expect(check?.assignment?.cpu).toBe(cpu);
  expect(check?.assignment?.shape).toBeGreaterThan(0);
});
