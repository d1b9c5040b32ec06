import { expect, test } from "vitest";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { SmallModel } from "../../test-support/compress/fixtures.ts";
import { quantizeDynamic } from "./quantize-dynamic.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const floats = (name: string, dims: number[], seed = 5) =>
  floatTensor(
    name,
    dims,
    seededFloats(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );

const LAYERS: readonly [string, Omit<SmallModel, "opset" | "outputs">][] = [
  ["MatMul", layer("MatMul", [3, 5, 48], [48, 32])],
  ["Gemm with a transposed weight", layer("Gemm", [5, 48], [32, 48], { transB: 1 }, [32])],
  ["a 1×1 Conv", layer("Conv", [2, 32, 6, 6], [48, 32, 1, 1], {}, [48])],
  ["a padded 1×3 Conv", layer("Conv", [2, 32, 6, 6], [48, 32, 1, 3], { pads: [0, 1, 0, 1] }, [48])],
];

function layer(opType: string, input: number[], weight: number[], attributes = {}, bias?: number[]) {
  return {
    inputs: { x: input },
    nodes: [{ opType, input: ["x", "w", ...(bias ? ["b"] : [])], output: ["y"], attributes }],
    initializers: [floats("w", weight), ...(bias ? [floats("b", bias, 6)] : [])],
  };
}

test.each(LAYERS)("%s computes with integers, to 8 bits", async (_, parts) => {
  const make = () => smallModel({ opset: 13, outputs: ["y"], ...parts });
  const dims = parts.inputs["x"] as number[];
  // All of one sign, so that a wrong zero point or padding shows.
  const feeds = { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)).map((x) => x + 0.5) } };
  const [before = []] = await runModel(make().write(), feeds);
  const model = make().transform(quantizeDynamic());
  const operators = model.graph.nodes.map((x) => x.opType);
  expect(operators).toContain("QuantizeLinear");
  expect(operators.some((x) => x === "MatMulInteger" || x === "ConvInteger")).toBe(true);
  for (const graphOptimizationLevel of ["disabled", "all"] as const) {
    const [now = []] = await runModel(model.write(), feeds, { graphOptimizationLevel });
    expect(decibels(before, now)).toBeGreaterThan(35);
  }
});

test.each(LAYERS)("%s gives each sample what it gives it alone, whatever is beside it", async (_, parts) => {
  const [, ...rest] = parts.inputs["x"] as number[];
  const size = rest.reduce((a, b) => a * b, 1);
  const samples = [0.01, 1, 30].map((factor, i) => seededFloats(size, i + 3).map((x) => x * factor));
  samples.push(new Float32Array(size));
  const make = (count: number) => {
    const of = { opset: 18, outputs: ["y"], ...parts, inputs: { x: [count, ...rest] } };
    return smallModel(of).transform(quantizeDynamic()).write();
  };
  const data = new Float32Array(samples.flatMap((x) => [...x]));
  const [together = []] = await runModel(make(4), { x: { dims: [4, ...rest], data } });
  const alone: number[] = [];
  for (const sample of samples) {
    const [y = []] = await runModel(make(1), { x: { dims: [1, ...rest], data: sample } });
    alone.push(...y);
  }
  expect([...together]).toEqual(alone);
});

test.each([
  ["what a Relu made, from 0 on", "Relu", 0, 41],
  ["what a HardSwish made, mostly above 0", "HardSwish", 32, 38],
  ["what is on both sides of 0", "Neg", 128, 35],
])("%s is quantized over all levels", async (_, opType, zeroPoint, leastDb) => {
  const make = () =>
    smallModel({
      opset: 18,
      inputs: { x: [2, 32, 6, 6] },
      outputs: ["y"],
      nodes: [
        { opType, input: ["x"], output: ["a"] },
        { opType: "Conv", input: ["a", "w"], output: ["y"] },
      ],
      initializers: [floats("w", [48, 32, 1, 1])],
    });
  const feeds = { x: { dims: [2, 32, 6, 6], data: seededFloats(2 * 32 * 36).map((x) => 4 * x) } };
  const [before = []] = await runModel(make().write(), feeds);
  const model = make().transform(quantizeDynamic());
  const zero = model.graph.constant(model.graph.nodes.find((x) => x.opType === "ConvInteger")?.input[2] ?? "");
  expect([...(zero?.rawData ?? [])]).toEqual([zeroPoint]);
  const [now = []] = await runModel(model.write(), feeds);
  expect(decibels(before, now)).toBeGreaterThan(leastDb);
});

test("an operator set without per-sample scales is refused", () => {
  const model = smallModel({ opset: 12, outputs: ["y"], ...layer("MatMul", [3, 48], [48, 32]) });
  expect(() => model.transform(quantizeDynamic())).toThrow("operator set 13, not 12");
});

test("layers that read the same value quantize it once, and larger convolutions stay", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: [4, 64] },
    outputs: ["y", "z"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["y"] },
      { opType: "MatMul", input: ["x", "b"], output: ["z"] },
    ],
    initializers: [floats("a", [64, 64]), floats("b", [64, 64], 6)],
  }).transform(quantizeDynamic());
  expect(model.graph.nodes.filter((x) => x.opType === "QuantizeLinear")).toHaveLength(1);
  const conv = smallModel({ opset: 13, outputs: ["y"], ...layer("Conv", [1, 32, 8, 8], [32, 32, 3, 3]) });
  expect(conv.transform(quantizeDynamic()).graph.nodes.map((x) => x.opType)).toEqual(["Conv"]);
});

test("a table that is looked up and multiplied by is stored once", async () => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [3] },
      outputs: ["y"],
      nodes: [
        { opType: "Cast", input: ["x"], output: ["i"], attributes: { to: 7 } },
        { opType: "Gather", input: ["w", "i"], output: ["e"] },
        { opType: "Transpose", input: ["w"], output: ["t"], attributes: { perm: [1, 0] } },
        { opType: "MatMul", input: ["e", "t"], output: ["y"] },
      ],
      initializers: [floats("w", [40, 64])],
    });
  const feeds = { x: { dims: [3], data: Float32Array.of(7, 0, 39) } };
  const [before = []] = await runModel(make().write(), feeds);
  const model = make().transform(quantizeDynamic());
  expect(model.graph.proto.initializer.filter((x) => x.rawData.length >= 40 * 64)).toHaveLength(1);
  const [now = []] = await runModel(model.write(), feeds);
  expect(decibels(before, now)).toBeGreaterThan(35);
});
