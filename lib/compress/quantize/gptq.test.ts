import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MatMul } from "../run/matmul.ts";
import {
  decibels,
  largestDifference,
  runModel,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import { roundByMoments } from "./gptq.ts";
import { fitGrid, roundRows } from "./scales.ts";
import { quantizeWeights } from "./quantize-weights.ts";
import { quantizeBlocks } from "./quantize-blocks.ts";
import { roundLayers } from "./round-weights.ts";
import { floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

let matmul: MatMul;
beforeAll(async () => {
  matmul = await MatMul.open();
});
afterAll(() => matmul.release());

/** Rows of correlated inputs: mixtures of a few sources. */
const mixed = (count: number, columns: number, seed: number): Float32Array => {
  const [sources, mix, noise] = [
    seededFloats(count * 8, seed),
    seededFloats(8 * columns, 77),
    seededFloats(count * columns, seed + 1),
  ];
  return Float32Array.from({ length: count * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    let sum = 0.5 + 0.2 * (noise[i] ?? 0);
    for (let k = 0; k < 8; k++) sum += (sources[row * 8 + k] ?? 0) * (mix[k * columns + column] ?? 0);
    return sum;
  });
};

test("the Cholesky factor of a matrix larger than a block reproduces the matrix", async () => {
  const size = 230;
  const rows = seededFloats(size * 300, 9);
  const matrix = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      for (let k = 0; k < 300; k++)
        matrix[i * size + j] = (matrix[i * size + j] ?? 0) + (rows[i * 300 + k] ?? 0) * (rows[j * 300 + k] ?? 0);
  const factor = matrix.slice();
  await matmul.factor(factor, size);
  let worst = 0;
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k <= j; k++) sum += (factor[i * size + k] ?? 0) * (factor[j * size + k] ?? 0);
      worst = Math.max(worst, Math.abs(sum - (matrix[i * size + j] ?? 0)));
    }
  expect(worst).toBeLessThan(1e-2);
  await expect(matmul.factor(Float64Array.of(1, 2, 2, 1), 2)).rejects.toThrow(RangeError);
});

test("inputs that are constant over the samples leave the weights rounded to nearest", async () => {
  const columns = 48;
  const weights = seededFloats(24 * columns, 5);
  const rows = { rows: 24, columns, at: (row: number, column: number) => weights[row * columns + column] ?? 0 };
  const input = seededFloats(columns, 3).map((x) => 1 + x);
  // Sums in float32, as they come: about their means the products are a little above or below 0.
  const sums = Float64Array.from(input, (x) => Math.fround(x * 600));
  const products = Float64Array.from({ length: columns ** 2 }, (_, i) =>
    Math.fround((input[Math.floor(i / columns)] ?? 0) * (input[i % columns] ?? 0) * 600 * (1 - 1e-7 * (i % 3))),
  );
  const grid = fitGrid(rows, { bits: 8, block: columns });
  const moments = { groups: 1, columns, rows: 600, sums, products };
  const codes = await roundByMoments(matmul, rows, grid, moments, { isCentred: true });
  expect([...codes]).toEqual([...roundRows(rows, grid)]);
});

test.each([40, 200])("%d correlated inputs: outputs have less error than with rounding to nearest", async (columns) => {
  const weights = seededFloats(24 * columns, 5);
  const rows = { rows: 24, columns, at: (row: number, column: number) => weights[row * columns + column] ?? 0 };
  const inputs = mixed(600, columns, 3);
  const products = new Float64Array(columns * columns);
  const sums = new Float64Array(columns);
  for (let row = 0; row < 600; row++)
    for (let i = 0; i < columns; i++) {
      const x = inputs[row * columns + i] ?? 0;
      sums[i] = (sums[i] ?? 0) + x;
      for (let j = 0; j < columns; j++)
        products[i * columns + j] = (products[i * columns + j] ?? 0) + x * (inputs[row * columns + j] ?? 0);
    }
  const grid = fitGrid(rows, { bits: 4, block: columns });
  const moments = { groups: 1, columns, rows: 600, sums, products };
  const others = mixed(100, columns, 1234);
  const errorOf = (codes: Int8Array): number => {
    let total = 0;
    for (let row = 0; row < 100; row++)
      for (let output = 0; output < 24; output++) {
        let off = 0;
        for (let i = 0; i < columns; i++) {
          const now = (codes[output * columns + i] ?? 0) * (grid.scales[output] ?? 0);
          off += ((weights[output * columns + i] ?? 0) - now) * (others[row * columns + i] ?? 0);
        }
        total += off * off;
      }
    return total;
  };
  const nearest = errorOf(roundRows(rows, grid));
  const once = errorOf(await roundByMoments(matmul, rows, grid, moments, { sweeps: 0 }));
  const again = errorOf(await roundByMoments(matmul, rows, grid, moments, { sweeps: 3 }));
  expect(once).toBeLessThan(nearest / 3);
  expect(again).toBeLessThan(once);
});

describe("roundLayers", () => {
  const feedsOf = (seed: number, count = 8) =>
    Array.from({ length: count }, (_, i) => ({
      x: { dtype: "float32" as const, dims: [40, 64], data: mixed(40, 64, seed + i * 10) },
    }));
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: ["n", 64] },
      outputs: ["y"],
      nodes: [
        { opType: "MatMul", input: ["x", "w"], output: ["a"] },
        { opType: "Add", input: ["a", "b"], output: ["h"] },
        { opType: "Relu", input: ["h"], output: ["r"] },
        { opType: "Gemm", input: ["r", "v", "b"], output: ["y"], attributes: { transB: 1 } },
      ],
      initializers: [
        floatTensor("w", [64, 48], seededFloats(64 * 48, 5)),
        floatTensor("v", [48, 48], seededFloats(48 * 48, 6)),
        floatTensor("b", [48], seededFloats(48, 7)),
      ],
    });

  test.each([
    ["int8 by output", 8],
    ["int4 in blocks", 4],
  ] as const)("%s is nearer to float32 on samples that it has not seen, whichever way weights lie", async (_, bits) => {
    const [{ x }] = feedsOf(9999, 1) as [ReturnType<typeof feedsOf>[number]];
    const [before = []] = await runModel(make().write(), { x });
    const grid = bits === 8 ? { bits, block: 64, isEven: true } : { bits, block: 16, hasZeros: true };
    const model = make();
    const rounded = await roundLayers(model, feedsOf(1), (layer) => ({
      ...grid,
      block: Math.min(grid.block, layer.columns),
    }));
    expect([...rounded.keys()]).toEqual(["w", "v"]);
    const store = (weights: typeof rounded) =>
      bits === 8 ? quantizeWeights({ rounded: weights }) : quantizeBlocks({ rounded: weights, block: 16 });
    const [near = []] = await runModel(make().transform(store(new Map())).write(), { x });
    const [now = []] = await runModel(model.transform(store(rounded)).write(), { x });
    expect(decibels(before, now)).toBeGreaterThan(decibels(before, near) + 4);
  });

  test("a bias of 0 stays 0, so that zero inputs still yield zeros there", async () => {
    const model = make();
    const bias = seededFloats(48, 7).map((x, i) => (i % 3 === 0 ? 0 : x));
    model.graph.proto.initializer = model.graph.proto.initializer.map((x) =>
      x.name === "b" ? floatTensor("b", [48], bias) : x,
    );
    model.graph.changed();
    const rounded = await roundLayers(model, feedsOf(1), (layer) => ({ bits: 4, block: layer.columns }));
    const shifted = floatsOf(model.graph.constant(model.graph.nodes[1]?.input[1] ?? "")!);
    expect([...shifted].map((x) => x === 0)).toEqual([...bias].map((x) => x === 0));
    model.transform(quantizeWeights({ rounded }));
    model.graph.proto.output[0]!.name = "h";
    const zeros = { x: { dims: feedsOf(1)[0]!.x.dims, data: feedsOf(1)[0]!.x.data.map(() => 0) } };
    const [answers = []] = await runModel(model.write(), zeros);
    for (const [i, value] of answers.entries()) if ((i % 48) % 3 === 0) expect(value).toBe(0);
  });

  test("the mean error goes into the bias; a bias that others read is not changed for them", async () => {
    const model = make();
    const rounded = await roundLayers(model, feedsOf(1), (layer) => ({ bits: 4, block: layer.columns }));
    const [shifted, other] = [model.graph.nodes[1]?.input[1] ?? "", model.graph.nodes[3]?.input[2] ?? ""];
    expect([shifted, other]).not.toContain("b");
    expect(shifted).not.toBe(other);
    model.transform(quantizeWeights({ rounded }));
    const mean = async (from: ReturnType<typeof make>): Promise<number[]> => {
      const [add] = from.graph.nodes.filter((x) => x.opType === "Add");
      from.graph.proto.output[0]!.name = add?.output[0] ?? "";
      const total = new Array<number>(48).fill(0);
      for (const { x } of feedsOf(1))
        for (const [i, value] of ((await runModel(from.write(), { x }))[0] ?? []).entries())
          total[i % 48] = (total[i % 48] ?? 0) + value / 320;
      return total;
    };
    expect(largestDifference(await mean(make()), await mean(model))).toBeLessThan(2e-3);
  });
});
