import { describe, expect, test } from "vitest";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { quantizeBlocks } from "../quantize/quantize-blocks.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { shareConstants } from "./share-constants.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const make = (last: Float32Array) =>
  smallModel({
    opset: 13,
    inputs: { x: [3] },
    outputs: ["y"],
    nodes: [
      { opType: "Cast", input: ["x"], output: ["i"], attributes: { to: 7 } },
      { opType: "Gather", input: ["table", "i"], output: ["e"] },
      { opType: "Gemm", input: ["e", "head"], output: ["y"], attributes: { transB: 1 } },
    ],
    initializers: [floatTensor("table", [40, 64], seededFloats(2560, 5)), floatTensor("head", [40, 64], last)],
  });
const x = { dims: [3], data: Float32Array.of(7, 0, 39) };

test("a tied weight that is written twice is deduplicated, and both uses read it quantized", async () => {
  const [before = []] = await runModel(make(seededFloats(2560, 5)).write(), { x });
  const model = make(seededFloats(2560, 5)).transform(shareConstants());
  expect(model.graph.proto.initializer).toHaveLength(1);
  expect((await runModel(model.write(), { x }))[0]).toEqual(before);
  model.transform(quantizeBlocks({ bits: () => 8 }));
  expect(model.graph.nodes.map((node) => node.opType)).toContain("GatherBlockQuantized");
  expect(model.graph.proto.initializer.filter((y) => y.rawData.length > 1000)).toHaveLength(1);
  expect(decibels(before, (await runModel(model.write(), { x }))[0] ?? [])).toBeGreaterThan(42);
});

test("constants that differ in one value are not merged", () => {
  const other = seededFloats(2560, 5);
  other[100] = (other[100] ?? 0) + 1e-6;
  expect(make(other).transform(shareConstants()).graph.proto.initializer).toHaveLength(2);
});

describe("a table whose values, turned, are the weights of the last product", () => {
  const [rows, columns] = [130, 70];
  const values = seededFloats(rows * columns, 5);
  const turned = (change: (head: Float32Array) => void = () => undefined) => {
    const head = Float32Array.from({ length: rows * columns }, (_, i) => {
      const [column, row] = [Math.floor(i / rows), i % rows];
      return values[row * columns + column] ?? 0;
    });
    change(head);
    return smallModel({
      opset: 13,
      inputs: { x: [3] },
      outputs: ["y"],
      nodes: [
        { opType: "Cast", input: ["x"], output: ["i"], attributes: { to: 7 } },
        { opType: "Gather", input: ["table", "i"], output: ["e"] },
        { opType: "MatMul", input: ["e", "head"], output: ["y"] },
      ],
      initializers: [floatTensor("table", [rows, columns], values), floatTensor("head", [columns, rows], head)],
    });
  };
  const ids = { dims: [3], data: Float32Array.of(7, 0, 129) };

  test("is stored once, with the same answers, and in 8 bits for both uses (tool-tied-turned)", async () => {
    const [before = []] = await runModel(turned().write(), { x: ids });
    const model = turned().transform(shareConstants());
    expect(model.graph.proto.initializer.map((y) => y.name)).toEqual(["table"]);
    expect(decibels(before, (await runModel(model.write(), { x: ids }))[0] ?? [])).toBeGreaterThan(120);
    const int8 = model.copy().transform(quantizeWeights());
    expect(int8.write().length).toBeLessThan(model.write().length * 0.35);
    expect(decibels(before, (await runModel(int8.write(), { x: ids }))[0] ?? [])).toBeGreaterThan(38);
  });

  test.each([0, 69 * 130 + 129])("and is not where value %d differs", (at) => {
    const model = turned((head) => {
      head[at] = (head[at] ?? 0) + 1e-6;
    });
    expect(model.transform(shareConstants()).graph.proto.initializer).toHaveLength(2);
  });
});
