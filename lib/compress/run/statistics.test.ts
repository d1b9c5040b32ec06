import { expect, test } from "vitest";
import { runModel, smallModel, seededFloats } from "../../test-support/compress/fixtures.ts";
import { measureMoments } from "./input-moments.ts";
import type { LayerMoments } from "./input-moments.ts";
import { measureHistograms, measurePeaks, measureRanges } from "./statistics.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 3] },
    outputs: ["y"],
    nodes: [
      { opType: "Mul", input: ["x", "k"], output: ["h"] },
      { opType: "MatMul", input: ["h", "w"], output: ["y"] },
    ],
    initializers: [floatTensor("k", [], Float32Array.of(2)), floatTensor("w", [3, 4], seededFloats(12))],
  });
const feed = (...data: number[]) => ({
  x: { dtype: "float32" as const, dims: [data.length / 3, 3], data: Float32Array.from(data) },
});
const all = async (source: AsyncIterable<LayerMoments>): Promise<LayerMoments[]> => {
  const list: LayerMoments[] = [];
  for await (const each of source) list.push(each);
  return list;
};

test("ranges and peaks are over all samples, and the model is restored", async () => {
  const made = model();
  const before = made.write();
  const feeds = [feed(1, 2, 3), feed(0, -5, 0)];
  const ranges = await measureRanges(made, feeds);
  expect(ranges.get("h")).toEqual({ min: -10, max: 6 });
  expect(ranges.get("x")).toEqual({ min: -5, max: 3 });
  expect((await measurePeaks(made, feeds)).get("h")).toBe(10);
  expect(Buffer.compare(made.write(), before)).toBe(0);
});

test("a value that is NaN on some sample has no bounds", async () => {
  const ranges = await measureRanges(model(), [feed(1, 2, 3), feed(Number.NaN, 0, 0)], new Set(["h"]));
  expect([...ranges]).toEqual([["h", { min: -Infinity, max: Infinity }]]);
});

test("histograms count each number in its bin, summed over samples", async () => {
  async function* stream() {
    yield feed(0, 1, 2);
    yield feed(2, 2, 4);
    await Promise.resolve();
  }
  const histograms = await measureHistograms(model(), stream(), new Map([["h", { min: 0, max: 8 }]]));
  const { counts } = histograms.get("h") ?? { counts: new Float64Array(0) };
  const filled = [...counts.entries()].filter(([, x]) => x > 0);
  expect(filled).toEqual([
    [0, 1],
    [512, 1],
    [1024, 3],
    [2047, 1],
  ]);
});

test("moments of a product are the sums of its inputs and of their products", async () => {
  const [{ layers, moments } = { layers: [], moments: undefined }] = await all(
    measureMoments(model(), [feed(1, 0, 3, 1, 0, 0), feed(0, 1, 1)]),
  );
  expect(layers.map((x) => x.weight.name)).toEqual(["w"]);
  expect(moments?.rows).toBe(3);
  expect([...(moments?.sums ?? [])]).toEqual([4, 2, 8]);
  expect([...(moments?.products ?? [])]).toEqual([8, 0, 12, 0, 4, 4, 12, 4, 40]);
});

test.each([
  ["plain", 1, 4],
  ["grouped", 2, 4],
  ["depthwise", 4, 4],
])("moments of a %s convolution yield the energy of its output, pads and strides included", async (_, group, C) => {
  const columns = (C / group) * 6;
  const weights = seededFloats(8 * columns, 3);
  const made = smallModel({
    opset: 13,
    inputs: { x: ["n", C, 7, 9] },
    outputs: ["y"],
    nodes: [
      {
        opType: "Conv",
        input: ["x", "w"],
        output: ["y"],
        attributes: { group, strides: [2, 1], pads: [1, 0, 1, 2], kernel_shape: [2, 3] },
      },
      { opType: "Mul", input: ["y", "y"], output: ["energy"] },
    ],
    initializers: [floatTensor("w", [8, C / group, 2, 3], weights)],
  });
  const x = { dtype: "float32" as const, dims: [2, C, 7, 9], data: seededFloats(2 * C * 63, 5) };
  const [found] = await all(measureMoments(made, [{ x }], made.graph.nodes, { rowsMax: 1e6 }));
  const { products, groups } = found?.moments ?? { products: new Float64Array(0), groups: 0 };
  expect(groups).toBe(group);
  let total = 0;
  for (let output = 0; output < 8; output++) {
    const g = Math.floor((output * group) / 8);
    for (let i = 0; i < columns; i++)
      for (let j = 0; j < columns; j++)
        total +=
          (weights[output * columns + i] ?? 0) *
          (weights[output * columns + j] ?? 0) *
          (products[(g * columns + i) * columns + j] ?? 0);
  }
  const [y = []] = await runModel(made.write(), { x });
  const energy = y.reduce((sum, v) => sum + v * v, 0);
  expect(Math.abs(total / energy - 1)).toBeLessThan(1e-4);
});

test("layers of one input are measured once, and a small budget only takes more rounds", async () => {
  const made = smallModel({
    opset: 13,
    inputs: { x: ["n", 3] },
    outputs: ["y", "z"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "MatMul", input: ["x", "v"], output: ["y"] },
      { opType: "Gemm", input: ["h", "v"], output: ["z"], attributes: { transB: 1 } },
    ],
    initializers: [floatTensor("w", [3, 3], seededFloats(9)), floatTensor("v", [3, 3], seededFloats(9, 2))],
  });
  const feeds = [feed(1, 2, 3), feed(4, 5, 6)];
  const wide = await all(measureMoments(made, feeds));
  const narrow = await all(measureMoments(made, feeds, made.graph.nodes, { budgetBytes: 1 }));
  expect(wide.map((x) => x.layers.map((y) => y.node.output[0]))).toEqual([["h", "y"], ["z"]]);
  expect(narrow.map((x) => x.moments.products)).toEqual(wide.map((x) => x.moments.products));
});

test("iteration over samples stops once there are enough rows", async () => {
  let taken = 0;
  const source = {
    *[Symbol.iterator]() {
      for (; taken < 100; taken++) yield feed(1, 2, 3, 4, 5, 6);
    },
  };
  const options = { rowsMax: 1, rowsEnough: 5 };
  const [{ moments } = { moments: undefined }] = await all(measureMoments(model(), source, undefined, options));
  expect(moments?.rows).toBe(5);
  expect(taken).toBeLessThan(7);
});
