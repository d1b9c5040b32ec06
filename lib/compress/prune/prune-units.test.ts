import fc from "fast-check";
import { expect, test } from "vitest";
import { findDependencies } from "./channel-groups.ts";
import { largestDifference, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { chooseUnits, maskUnits, removeUnits } from "./prune-units.ts";
import { BLOCKS, randomModel } from "../../test-support/compress/random-graph.ts";
import { elementCount, floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";
import { slice } from "../../test-support/slice.ts";

const block = fc.record({ kind: fc.constantFrom(...BLOCKS), channels: fc.integer({ min: 2, max: 9 }) });
const plan = fc.record({
  blocks: fc.array(block, { minLength: 1, maxLength: 7 }),
  isDense: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1_000 }),
  share: fc.double({ min: 0.1, max: 1, noNaN: true }),
});

/** Prunes and masks the same units of a model, and returns both. */
async function both(model: OnnxModel, share: number): Promise<{ pruned: OnnxModel; masked: OnnxModel; gone: number }> {
  const bytes = model.write();
  const [pruned, masked] = [readModel(bytes), readModel(bytes)];
  const found = await findDependencies(pruned);
  const wishes = found.groups
    .filter((x) => x.isExact)
    .map((group) => ({
      group,
      order: [...group.units].sort((a, b) => ((a * 7_919) % 101) - ((b * 7_919) % 101)),
      count: Math.ceil(group.size * share),
    }));
  const removed = chooseUnits(found, wishes);
  maskUnits(masked, await findDependencies(masked), removed);
  removeUnits(pruned, found, removed);
  return { pruned, masked, gone: removed.size };
}

const weights = ({ graph }: OnnxModel): number => graph.proto.initializer.reduce((sum, x) => sum + elementCount(x), 0);

test("a pruned model computes what the model computes with the same units at 0, and is smaller", async () => {
  let most = 0;
  await fc.assert(
    fc.asyncProperty(plan, async ({ blocks, isDense, seed, share }) => {
      const model = randomModel(blocks, isDense, seed);
      const { pruned, masked, gone } = await both(model, share);
      const feed = { x: { dims: [2, 3, 8, 8], data: seededFloats(384, seed) } };
      const [a = []] = await runModel(masked.write(), feed);
      const [b = []] = await runModel(pruned.write(), feed);
      const size = Math.max(1, ...a.map(Math.abs));
      expect(largestDifference(a, b) / size).toBeLessThan(1e-5);
      if (gone > 0) expect(weights(pruned)).toBeLessThan(weights(model));
      most = Math.max(most, gone);
    }),
    { numRuns: slice(40, 120) },
  );
  expect(most).toBeGreaterThan(10);
});

const matrix = (name: string, ...dims: number[]) =>
  floatTensor(
    name,
    dims,
    seededFloats(
      dims.reduce((a, b) => a * b, 1),
      name.length + (dims[0] ?? 0),
    ),
  );

/**
 * One layer of a transformer: attention of 4 heads on a width of 16, and an FFN of 24 hidden units; where `isTraced`, all
 * that is reshaped computes its target, as exporters write it that trace with a free batch.
 */
function transformer(isTraced = false): OnnxModel {
  const traced = [
    { opType: "Shape", input: ["x"], output: ["sizes"] },
    { opType: "Gather", input: ["sizes", "first"], output: ["batch0"] },
    { opType: "Gather", input: ["sizes", "second"], output: ["time0"] },
    { opType: "Unsqueeze", input: ["batch0", "ahead"], output: ["batch"] },
    { opType: "Unsqueeze", input: ["time0", "ahead"], output: ["length"] },
    { opType: "Shape", input: ["norm"], output: ["normSizes"] },
    { opType: "Slice", input: ["normSizes", "last", "end"], output: ["width"] },
    { opType: "Div", input: ["width", "four"], output: ["depth"] },
    { opType: "Concat", input: ["batch", "length", "four", "depth"], output: ["apart"], attributes: { axis: 0 } },
    { opType: "Concat", input: ["batch", "length", "width"], output: ["together"], attributes: { axis: 0 } },
  ];
  const head = (name: string) => [
    { opType: "MatMul", input: ["norm", `w${name}`], output: [`${name}0`] },
    { opType: "Reshape", input: [`${name}0`, "apart"], output: [`${name}1`] },
    {
      opType: "Transpose",
      input: [`${name}1`],
      output: [name],
      attributes: { perm: name === "k" ? [0, 2, 3, 1] : [0, 2, 1, 3] },
    },
  ];
  return smallModel({
    opset: 17,
    inputs: { x: ["n", "time", 8] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "embed"], output: ["wide"] },
      { opType: "LayerNormalization", input: ["wide", "gain", "shift"], output: ["norm"] },
      ...(isTraced ? traced : []),
      ...["q", "k", "v"].flatMap(head),
      { opType: "MatMul", input: ["q", "k"], output: ["scores"] },
      { opType: "Softmax", input: ["scores"], output: ["weights"] },
      { opType: "MatMul", input: ["weights", "v"], output: ["mixed"] },
      { opType: "Transpose", input: ["mixed"], output: ["back"], attributes: { perm: [0, 2, 1, 3] } },
      { opType: "Reshape", input: ["back", "together"], output: ["flat"] },
      { opType: "MatMul", input: ["flat", "wo"], output: ["attended"] },
      { opType: "Add", input: ["wide", "attended"], output: ["stream"] },
      { opType: "MatMul", input: ["stream", "up"], output: ["hidden0"] },
      { opType: "Add", input: ["bias", "hidden0"], output: ["hidden1"] },
      { opType: "Relu", input: ["hidden1"], output: ["hidden"] },
      { opType: "MatMul", input: ["hidden", "down"], output: ["delta"] },
      { opType: "Add", input: ["stream", "delta"], output: ["after"] },
      { opType: "MatMul", input: ["after", "out"], output: ["y"] },
    ],
    initializers: [
      matrix("embed", 8, 16),
      matrix("gain", 16),
      matrix("shift", 16),
      ...["wq", "wk", "wv", "wo"].map((x) => matrix(x, 16, 16)),
      matrix("up", 16, 24),
      matrix("bias", 24),
      matrix("down", 24, 16),
      matrix("out", 16, 3),
      ...(isTraced
        ? [
            int64Tensor("first", [], [0]),
            int64Tensor("second", [], [1]),
            int64Tensor("ahead", [1], [0]),
            int64Tensor("last", [1], [-1]),
            int64Tensor("end", [1], [100]),
            int64Tensor("four", [1], [4]),
          ]
        : [int64Tensor("apart", [4], [0, 0, 4, 4]), int64Tensor("together", [3], [0, 0, 16])]),
    ],
  });
}

test.each([false, true])(
  "heads, hidden units and residual width of a transformer are distinguished, traced: %s",
  async (isTraced) => {
    const { groups } = await findDependencies(transformer(isTraced));
    expect(groups.map((x) => [x.kind, x.units.length, x.isExact])).toEqual([
      ["width", 16, false],
      ["heads", 4, true],
      ["hidden", 24, true],
    ]);
  },
);

test.each([false, true])("removing heads and hidden units equals masking them, traced: %s", async (isTraced) => {
  const { pruned, masked } = await both(transformer(isTraced), 0.5);
  const feed = { x: { dims: [2, 5, 8], data: seededFloats(80) } };
  const [a = []] = await runModel(masked.write(), feed);
  const [b = []] = await runModel(pruned.write(), feed);
  expect(largestDifference(a, b)).toBeLessThan(1e-5 * Math.max(...a.map(Math.abs)));
  const dims = (name: string) => pruned.graph.constant(name)?.dims.map(Number);
  expect([dims("wq"), dims("wo"), dims("up"), dims("down")]).toEqual([
    [16, 8],
    [8, 16],
    [16, 12],
    [12, 16],
  ]);
});

test("inputs of an unsupported operator are not pruned", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 4] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["h"] },
      { opType: "CumSum", input: ["h", "axis"], output: ["s"] },
      { opType: "MatMul", input: ["s", "b"], output: ["y"] },
    ],
    initializers: [matrix("a", 4, 6), matrix("b", 6, 2), int64Tensor("axis", [], [1])],
  });
  expect((await findDependencies(model)).groups).toEqual([]);
});

test("a weight that two layers share is cut once, for both", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 6] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "first"], output: ["a"] },
      { opType: "Relu", input: ["a"], output: ["b"] },
      { opType: "MatMul", input: ["b", "same"], output: ["c"] },
      { opType: "Relu", input: ["c"], output: ["d"] },
      { opType: "MatMul", input: ["d", "same"], output: ["e"] },
      { opType: "MatMul", input: ["e", "last"], output: ["y"] },
    ],
    initializers: [matrix("first", 6, 8), matrix("same", 8, 8), matrix("last", 8, 2)],
  });
  expect((await findDependencies(readModel(model.write()))).groups.map((x) => x.kind)).toEqual(["hidden"]);
  const { pruned, masked } = await both(model, 0.4);
  expect(pruned.graph.constant("same")?.dims.map(Number)).toEqual([4, 4]);
  const feed = { x: { dims: [3, 6], data: seededFloats(18) } };
  const [a = []] = await runModel(masked.write(), feed);
  const [b = []] = await runModel(pruned.write(), feed);
  expect(largestDifference(a, b)).toBeLessThan(1e-4);
});

test("a quantized model is refused, and the error says what to prune instead", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 4] },
    outputs: ["y"],
    nodes: [{ opType: "QuantizeLinear", input: ["x", "s"], output: ["y"] }],
    initializers: [floatTensor("s", [], Float32Array.of(1))],
  });
  await expect(findDependencies(model)).rejects.toThrow("prune the float model it was made from");
});
