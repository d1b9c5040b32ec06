import { InferenceSession } from "onnxruntime-node";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chooseStep } from "./calibrate.ts";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { measureSteps, quantizeStatic } from "./quantize-static.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const feedOf = (dims: readonly number[], seed: number) => ({
  x: {
    dtype: "float32" as const,
    dims,
    data: seededFloats(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  },
});
const feedsOf = (dims: readonly number[]) => Array.from({ length: 8 }, (_, i) => feedOf(dims, 10 + i));

/** Returns the operators of a model after ONNX Runtime's optimization. */
async function fused(model: OnnxModel): Promise<string[]> {
  const path = join(mkdtempSync(join(tmpdir(), "static-")), "optimised.onnx");
  const options = { optimizedModelFilePath: path, graphOptimizationLevel: "extended", logSeverityLevel: 4 } as const;
  await (await InferenceSession.create(model.write(), options)).release();
  return readModel(new Uint8Array(readFileSync(path))).graph.nodes.map((x) => x.opType);
}

const residual = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 8, 12, 12] },
    outputs: ["y"],
    nodes: [
      { opType: "Conv", input: ["x", "w", "b"], output: ["a"], attributes: { pads: [1, 1, 1, 1] } },
      { opType: "Relu", input: ["a"], output: ["r"] },
      { opType: "Conv", input: ["r", "v", "b"], output: ["c"], attributes: { pads: [1, 1, 1, 1] } },
      { opType: "Add", input: ["c", "r"], output: ["s"] },
      { opType: "GlobalAveragePool", input: ["s"], output: ["p"] },
      { opType: "Flatten", input: ["p"], output: ["f"] },
      { opType: "Gemm", input: ["f", "g", "h"], output: ["y"], attributes: { transB: 1 } },
    ],
    initializers: [
      floatTensor("w", [16, 8, 3, 3], seededFloats(1152, 2)),
      floatTensor("v", [16, 16, 3, 3], seededFloats(2304, 3)),
      floatTensor("b", [16], seededFloats(16, 4)),
      floatTensor("g", [70, 16], seededFloats(1120, 5)),
      floatTensor("h", [70], seededFloats(70, 6)),
    ],
  });

describe("quantizeStatic", () => {
  test("convolutions run as integers, a residual is right, and the outputs' type is kept", async () => {
    const { x } = feedOf([2, 8, 12, 12], 99);
    const [before = []] = await runModel(residual().write(), { x });
    const model = residual();
    const steps = await measureSteps(model, feedsOf([1, 8, 12, 12]));
    model.transform(quantizeStatic({ steps }));
    const [now = []] = await runModel(model.write(), { x });
    expect(decibels(before, now)).toBeGreaterThan(30);
    const operators = await fused(model);
    expect(operators.filter((name) => name === "QLinearConv")).toHaveLength(2);
    expect(operators).not.toContain("Conv");
  });

  test("ranges decide: those of other inputs give other outputs", async () => {
    const { x } = feedOf([2, 8, 12, 12], 99);
    const [before = []] = await runModel(residual().write(), { x });
    const model = residual();
    const small = feedsOf([1, 8, 12, 12]).map(({ x: value }) => ({
      x: { ...value, data: value.data.map((y) => y / 8) },
    }));
    model.transform(quantizeStatic({ steps: await measureSteps(model, small) }));
    const [now = []] = await runModel(model.write(), { x });
    expect(decibels(before, now)).toBeLessThan(12);
  });

  test("an input that 8 bits represent poorly stays float32, with the layer that reads it", async () => {
    const make = () =>
      smallModel({
        opset: 13,
        inputs: { x: [4, 32] },
        outputs: ["y"],
        nodes: [
          { opType: "Add", input: ["x", "mask"], output: ["m"] },
          { opType: "MatMul", input: ["m", "w"], output: ["a"] },
          { opType: "MatMul", input: ["x", "v"], output: ["b"] },
          { opType: "Add", input: ["a", "b"], output: ["y"] },
        ],
        initializers: [
          floatTensor(
            "mask",
            [32],
            Float32Array.from({ length: 32 }, (_, i) => (i === 3 ? -1e4 : 0)),
          ),
          floatTensor(
            "w",
            [32, 40],
            seededFloats(1280, 7).map((value, i) => (Math.floor(i / 40) === 3 ? 0 : value)),
          ),
          floatTensor("v", [32, 40], seededFloats(1280, 8)),
        ],
      });
    const { x } = feedOf([4, 32], 5);
    const [before = []] = await runModel(make().write(), { x });
    const model = make();
    const steps = await measureSteps(model, feedsOf([4, 32]));
    expect([...steps.keys()].sort()).toEqual(["a", "b", "x"]);
    model.transform(quantizeStatic({ steps }));
    const [now = []] = await runModel(model.write(), { x });
    expect(decibels(before, now)).toBeGreaterThan(30);
  });
});

test("a black-and-white input is quantized, though it uses two of 256 codes", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: [4, 32] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [32, 40], seededFloats(1280, 7))],
  });
  const [{ x }] = feedsOf([4, 32]) as [ReturnType<typeof feedOf>];
  const steps = await measureSteps(model, [{ x: { ...x, data: x.data.map((value) => (value > 0 ? 255 : 0)) } }]);
  expect(steps.get("x")).toEqual({ scale: 1, zero: 0 });
});

describe("chooseStep", () => {
  /** Most numbers lie in −1…1, a few at `far`. */
  const histogram = (far: number, few: number) => {
    const counts = new Float64Array(2048);
    const width = (far + 1) / 2048;
    for (let i = 0; i < 2048 && i * width < 2; i++) counts[i] = 1e6;
    counts[2047] = few;
    return { min: -1, max: far, counts };
  };
  const coarse = chooseStep(histogram(40, 1), { calibration: "min-max" });

  test("min-max keeps the extremes; mse and percentile clip a few of them", () => {
    expect(coarse?.scale).toBeCloseTo(41 / 255, 5);
    expect(chooseStep(histogram(40, 1))?.scale).toBeLessThan((coarse?.scale ?? 0) / 2);
    expect(chooseStep(histogram(40, 1), { calibration: "percentile" })?.scale).toBeLessThan((coarse?.scale ?? 0) / 10);
  });

  test("mse keeps frequent extremes", () => {
    expect(chooseStep(histogram(40, 5e7))?.scale).toBeCloseTo(41 / 255, 2);
  });

  test("0 is always exact, and a value without a range gets no parameters", () => {
    const counts = new Float64Array(2048).fill(10);
    const step = chooseStep({ min: 3, max: 5, counts });
    expect(step?.zero).toBe(0);
    expect(chooseStep({ min: -Infinity, max: 1, counts })).toBeUndefined();
    expect(chooseStep({ min: 0, max: 0, counts })).toBeUndefined();
  });
});
