import { describe, expect, test } from "vitest";
import { quantizeBlocks as toBlocks } from "./blocks.ts";
import { decibels, largestDifference, runModel, seededFloats, smallModel } from "./fixtures.ts";
import { CONTRIB } from "./onnx.ts";
import { quantizeBlocks } from "./quantize-blocks.ts";
import { floatTensor } from "./weights.ts";

const rowsOf = (values: Float32Array, columns: number) => ({
  rows: values.length / columns,
  columns,
  at: (row: number, column: number) => values[row * columns + column] ?? 0,
});

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
    expect(model.graph.nodes.map((x) => x.opType)).toEqual(["Cast", "Reshape", "GatherBlockQuantized", "MatMulNBits"]);
    expect(model.graph.proto.initializer.filter((x) => x.rawData.length > 1000)).toHaveLength(1);
    for (const provider of ["cpu", "webgpu"]) {
      const [now = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
      expect(decibels(before, now)).toBeGreaterThan(bits === 4 ? 18 : 42);
    }
  });

  test("leaves a weight alone that something else uses too, or that is an input", () => {
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

describe("blocks", () => {
  test("take zero points where values lie to one side, and none where they are even", () => {
    const even = toBlocks(rowsOf(seededFloats(320), 32), { bits: 4, block: 32 });
    expect(even.zeros).toBeUndefined();
    const values = seededFloats(320).map((x) => x + 1);
    const shifted = toBlocks(rowsOf(values, 32), { bits: 4, block: 32 });
    expect(shifted.zeros).toBeDefined();
  });

  test("are better than the extremes' scale, and give zeros for zeros", () => {
    const values = seededFloats(32 * 64).map((x) => x ** 3);
    const { error } = toBlocks(rowsOf(values, 32), { bits: 4, block: 32 });
    let plain = 0;
    for (let row = 0; row < 64; row++) {
      const block = values.slice(row * 32, row * 32 + 32);
      const scale = Math.max(...block.map(Math.abs)) / 7;
      plain += block.reduce((sum, x) => sum + (x - Math.round(x / scale) * scale) ** 2, 0);
    }
    expect(error).toBeLessThan(plain * 0.8);
    expect(toBlocks(rowsOf(new Float32Array(32), 32), { bits: 4, block: 32 }).values).toEqual(
      new Uint8Array(16).fill(0x88),
    );
  });

  test("count the errors of a column by its importance", () => {
    const values = seededFloats(32 * 64).map((x, i) => (i % 32 === 0 ? x * 0.1 : x));
    const importance = Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? 1e4 : 1));
    const offBy = (blocks: ReturnType<typeof toBlocks>): number => {
      let sum = 0;
      for (let row = 0; row < 64; row++) {
        const q =
          ((blocks.values[row * 16] ?? 0) & 15) - (blocks.zeros === undefined ? 8 : (blocks.zeros[row] ?? 0) & 15);
        sum += ((values[row * 32] ?? 0) - q * (blocks.scales[row] ?? 0)) ** 2;
      }
      return sum;
    };
    const rows = rowsOf(values, 32);
    const weighted = offBy(toBlocks(rows, { bits: 4, block: 32, importance }));
    expect(weighted).toBeLessThan(offBy(toBlocks(rows, { bits: 4, block: 32 })) * 0.5);
  });

  test("are rounded to the nearest step", () => {
    const values = seededFloats(64, 3);
    const { values: q, scales } = toBlocks(rowsOf(values, 64), { bits: 8, block: 64 });
    const back = Array.from(q, (x) => (x - 128) * (scales[0] ?? 0));
    expect(largestDifference([...values], back)).toBeLessThanOrEqual(Math.abs(scales[0] ?? 0) * 0.51 + 1e-9);
  });
});
