import { describe, expect, test } from "vitest";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { CONTRIB } from "../onnx/model.ts";
import { quantizeBlocks } from "./quantize-blocks.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

describe("quantizeBlocks", () => {
  test.each([
    ["MatMul", 64, {}],
    ["MatMul with rows that do not fill a block", 50, {}],
    ["Gemm", 64, {}],
    ["Gemm with a transposed weight", 48, { transB: 1 }],
  ])("stores %s of %d inputs so that both backends' kernels read it", async (name, K, attributes) => {
    const isGemm = name.startsWith("Gemm");
    const dims = "transB" in attributes ? [24, K] : [K, 24];
    const make = () =>
      smallModel({
        opset: 13,
        inputs: { x: [5, K] },
        outputs: ["y"],
        nodes: [
          {
            opType: isGemm ? "Gemm" : "MatMul",
            input: ["x", "w", ...(isGemm ? ["b"] : [])],
            output: ["y"],
            attributes,
          },
        ],
        initializers: [floatTensor("w", dims, seededFloats(24 * K, 5)), floatTensor("b", [24], seededFloats(24, 6))],
      });
    const feeds = { x: { dims: [5, K], data: seededFloats(5 * K) } };
    const [before = []] = await runModel(make().write(), feeds);
    for (const [bits, least] of [
      [4, 18],
      [8, 42],
    ] as const) {
      const model = make().transform(quantizeBlocks({ bits: () => bits }));
      expect(model.graph.nodes.map((x) => x.opType)).toEqual(isGemm ? ["MatMulNBits", "Add"] : ["MatMulNBits"]);
      for (const provider of ["cpu", "webgpu"]) {
        const [now = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
        expect(decibels(before, now), `${bits} bits on ${provider}`).toBeGreaterThan(least);
      }
    }
  });

  test.each([4, 8] as const)("stores a table that is looked up and multiplied by once, in %d bits", async (bits) => {
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
        initializers: [floatTensor("w", [40, 64], seededFloats(40 * 64, 5))],
      });
    const feeds = { x: { dims: [3], data: Float32Array.of(7, 0, 39) } };
    const [before = []] = await runModel(make().write(), feeds);
    const model = make().transform(quantizeBlocks({ bits: () => bits }));
    expect(model.proto.opsetImport.map((x) => x.domain)).toContain(CONTRIB);
    const operators = ["Cast", "Cast", "Reshape", "GatherBlockQuantized", "MatMulNBits"];
    expect(model.graph.nodes.map((x) => x.opType)).toEqual(operators);
    expect(model.graph.proto.initializer.filter((x) => x.rawData.length > 1000)).toHaveLength(1);
    for (const provider of ["cpu", "webgpu"]) {
      const [now = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
      expect(decibels(before, now)).toBeGreaterThan(bits === 4 ? 18 : 42);
    }
  });

  test("skips a table whose rows end within a block: a lookup would return longer ones", () => {
    const make = (width: number) =>
      smallModel({
        opset: 13,
        inputs: { i: [3] },
        types: { i: 6 },
        outputs: ["y"],
        nodes: [{ opType: "Gather", input: ["t", "i"], output: ["y"] }],
        initializers: [floatTensor("t", [40, width], seededFloats(40 * width))],
      }).transform(quantizeBlocks());
    expect(make(48).graph.nodes.map((x) => x.opType)).toEqual(["Gather"]);
    expect(make(64).graph.nodes.map((x) => x.opType)).not.toContain("Gather");
  });

  test("skips a weight with another kind of use, or that is an input", () => {
    const parts = {
      opset: 13,
      outputs: ["y"],
      nodes: [
        { opType: "MatMul", input: ["x", "w"], output: ["z"] },
        { opType: "Add", input: ["z", "w"], output: ["y"] },
      ],
      initializers: [floatTensor("w", [64, 64], seededFloats(64 * 64))],
    };
    const shared = smallModel({ ...parts, inputs: { x: [64, 64] } }).transform(quantizeBlocks());
    expect(shared.graph.nodes.map((x) => x.opType)).toEqual(["MatMul", "Add"]);
    const given = smallModel({ ...parts, inputs: { x: [64, 64], w: [64, 64] } }).transform(quantizeBlocks());
    expect(given.graph.nodes).toHaveLength(2);
  });
});
