import { expect, test } from "vitest";
import { readModel } from "../../compress/onnx/model.ts";
import type { OnnxModel } from "../../compress/onnx/model.ts";
import { TensorProto_DataType as T } from "../../compress/onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../../compress/onnx/tensor-proto.ts";
import type { Feed } from "../../compress/run/feeds.ts";
import { runInChildProcess } from "../../compress/run/child-process.ts";
import { sqnr } from "../../compress/run/metric.ts";
import { OPTIONAL } from "../../compress/run/optional-peers.ts";
import { runAll } from "../../compress/run/session.ts";
import { legalize } from "../../compress/simplify/legalize.ts";
import { foldConstants } from "../../compress/run/infer-values.ts";
import { placementsFromLog } from "../../core/assignment-log.ts";
import { addBranch, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { rewriteForWebGpu } from "./rewrite-model.ts";
import { rewritesFor } from "./webgpu-rewrites.ts";

const VERSION = OPTIONAL["onnxruntime-node"]?.version ?? "";
const floats = (dims: readonly number[], seed = 1): Feed[string] => ({
  dtype: "float32",
  dims,
  data: seededFloats(
    dims.reduce((a, b) => a * b, 1),
    seed,
  ),
});

/** A mask of ids, added to scores: int64 to Expand, to Cast. */
function masked(): { model: OnnxModel; feed: Feed } {
  const model = smallModel({
    opset: 14,
    inputs: { mask: ["batch", "sequence"], scores: ["batch", 1, "sequence", "sequence"] },
    types: { mask: T.INT64 },
    outputs: ["y"],
    nodes: [
      { opType: "Unsqueeze", input: ["mask", "axes"], output: ["wide"] },
      { opType: "Shape", input: ["scores"], output: ["shape"] },
      { opType: "Expand", input: ["wide", "shape"], output: ["all"] },
      { opType: "Cast", input: ["all"], output: ["ones"], attributes: { to: T.FLOAT } },
      { opType: "Sub", input: ["one", "ones"], output: ["hidden"] },
      { opType: "Mul", input: ["hidden", "low"], output: ["bias"] },
      { opType: "Add", input: ["scores", "bias"], output: ["sum"] },
      { opType: "Softmax", input: ["sum"], output: ["y"] },
    ],
    initializers: [
      int64Tensor("axes", [2], [1, 2]),
      floatTensor("one", [], Float32Array.of(1)),
      floatTensor("low", [], Float32Array.of(-1e4)),
    ],
  });
  const mask = {
    dtype: "int64" as const,
    dims: [2, 6],
    data: BigInt64Array.from({ length: 12 }, (_, i) => (i % 5 ? 1n : 0n)),
  };
  return { model, feed: { mask, scores: floats([2, 1, 6, 6]) } };
}

/** The guard of a softmax over rows that are hidden altogether, which are NaN. */
function guarded(): { model: OnnxModel; feed: Feed } {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["batch", 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Softmax", input: ["x"], output: ["p"] },
      { opType: "IsNaN", input: ["p"], output: ["bad"] },
      { opType: "Where", input: ["bad", "zero", "p"], output: ["q"] },
      { opType: "MatMul", input: ["q", "w"], output: ["y"] },
    ],
    initializers: [floatTensor("zero", [], Float32Array.of(0)), floatTensor("w", [8, 4], seededFloats(32, 2))],
  });
  return { model, feed: { x: floats([3, 8]) } };
}

/** A convolution with channels divisible by 3 and not by 4, in one or two dims. */
function threes(rank: 1 | 2, channels: number): { model: OnnxModel; feed: Feed } {
  const size = Array.from({ length: rank }, () => 10);
  const kernel = size.map(() => 3);
  const model = smallModel({
    opset: 13,
    inputs: { x: ["batch", channels, ...size] },
    outputs: ["y"],
    nodes: [
      { opType: "Relu", input: ["x"], output: ["r"] },
      {
        opType: "Conv",
        input: ["r", "w", "b"],
        output: ["y"],
        attributes: { strides: size.map(() => 2), pads: [...size, ...size].map(() => 1) },
      },
    ],
    initializers: [
      floatTensor("w", [8, channels, ...kernel], seededFloats(8 * channels * 3 ** rank, 5)),
      floatTensor("b", [8], seededFloats(8, 6)),
    ],
  });
  return { model, feed: { x: floats([2, channels, ...size]) } };
}

const CASES = [
  ["Expand of int64 before a Cast", masked, "Expand"],
  ["IsNaN", guarded, "IsNaN"],
  ["a convolution of 6 channels", () => threes(2, 6), null],
  ["a convolution of 21 channels along one axis", () => threes(1, 21), null],
] as const;

/** Lists the operators that run on the CPU in a WebGPU session. */
async function onCpu(model: Uint8Array): Promise<string[]> {
  const { log } = await runInChildProcess(model, "webgpu", {});
  const placements = placementsFromLog(log.split("\n")) ?? [];
  return placements.filter((x) => x.provider === "CPUExecutionProvider").map((x) => x.operator);
}

async function ratio(
  model: Uint8Array,
  reference: Uint8Array,
  feed: Feed,
  provider: "cpu" | "webgpu",
): Promise<number> {
  const [[now = {}], [was = {}]] = [await runAll(model, [feed], { provider }), await runAll(reference, [feed])];
  return sqnr([{ outputs: now, reference: was }]);
}

test.each(CASES)(
  "%s runs on WebGPU and is right there once rewritten",
  { timeout: 60_000 },
  async (_, make, operator) => {
    const { model, feed } = make();
    const before = model.write();
    if (operator !== null) expect(await onCpu(before)).toContain(operator);
    else expect(await ratio(before, before, feed, "webgpu")).toBeLessThan(20);
    const inWorker = rewriteForWebGpu(before, VERSION);
    const byTool = model.transform(legalize());
    await foldConstants(byTool);
    for (const after of [inWorker ?? new Uint8Array(), byTool.write()]) {
      expect(await ratio(after, before, feed, "cpu")).toBeGreaterThan(120);
      if (operator !== null) expect(await onCpu(after)).not.toContain(operator);
      expect(await ratio(after, before, feed, "webgpu")).toBeGreaterThan(100);
      // Nothing is left to rewrite.
      expect(rewriteForWebGpu(after, VERSION)).toBeNull();
    }
    readModel(inWorker ?? new Uint8Array());
  },
);

test.each([
  ["single pixels", { kernel: [1, 1], outputs: 8, group: 1 }],
  ["outputs not divisible by 4", { kernel: [3, 3], outputs: 6, group: 1 }],
  ["groups", { kernel: [3, 3], outputs: 8, group: 2 }],
] as const)("a convolution of %s stays as it is", (_, { kernel, outputs, group }) => {
  const count = (outputs * 6 * kernel[0] * kernel[1]) / group;
  const model = smallModel({
    opset: 13,
    inputs: { x: [1, 6, 8, 8] },
    outputs: ["y"],
    nodes: [{ opType: "Conv", input: ["x", "w"], output: ["y"], attributes: { group } }],
    initializers: [floatTensor("w", [outputs, 6 / group, ...kernel], seededFloats(count))],
  });
  expect(rewriteForWebGpu(model.write(), VERSION)).toBeNull();
});

test("an Expand that something else reads too stays: a branch, an output, a Cast to another width", () => {
  const { model } = masked();
  const bytes = model.write();
  expect(rewriteForWebGpu(bytes, VERSION)).not.toBeNull();
  const cast = masked().model;
  for (const node of cast.graph.nodes) for (const x of node.attribute) if (x.name === "to") x.i = BigInt(T.DOUBLE);
  expect(rewriteForWebGpu(cast.write(), VERSION)).toBeNull();
  const branched = masked().model;
  branched.graph.proto.node.push(
    ...smallModel({
      opset: 14,
      inputs: {},
      outputs: ["z"],
      nodes: [{ opType: "If", input: ["is"], output: ["z"] }],
    }).graph.nodes,
  );
  for (const name of ["then_branch", "else_branch"] as const)
    addBranch(branched.graph.nodes.at(-1), name, [{ opType: "Neg", input: ["all"], output: [name] }], name);
  expect(rewriteForWebGpu(branched.write(), VERSION)).toBeNull();
});

/** A table of 6 positions, by the number of the ids. */
function positioned(opType: "Range" | "CumSum"): OnnxModel {
  const counted = {
    Range: [
      { opType: "Shape", input: ["ids"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "one"], output: ["length"] },
      { opType: "Range", input: ["zero", "length", "one"], output: ["flat"] },
      { opType: "Unsqueeze", input: ["flat", "axis"], output: ["counts"] },
    ],
    CumSum: [
      { opType: "CumSum", input: ["ids", "one"], output: ["sums"] },
      { opType: "Sub", input: ["sums", "one"], output: ["counts"] },
    ],
  };
  return smallModel({
    opset: 14,
    inputs: { ids: ["batch", "sequence"] },
    types: { ids: T.INT64 },
    outputs: ["y"],
    nodes: [...counted[opType], { opType: "Gather", input: ["table", "counts"], output: ["y"] }],
    initializers: [
      int64Tensor("zero", [], [0]),
      int64Tensor("one", [], [1]),
      int64Tensor("axis", [1], [0]),
      floatTensor("table", [6, 4], seededFloats(24, 3)),
    ],
  });
}

test.each(["Range", "CumSum"] as const)("a position of %s beyond its table fails on WebGPU", async (opType) => {
  const before = positioned(opType).write();
  const after = rewriteForWebGpu(before, VERSION) ?? new Uint8Array();
  const ids = (n: number): Feed => ({ ids: { dtype: "int64", dims: [1, n], data: new BigInt64Array(n).fill(1n) } });
  expect(await ratio(after, before, ids(6), "webgpu")).toBeGreaterThan(100);
  expect((await runInChildProcess(before, "webgpu", {}, [ids(7)])).exit).toBe(0);
  const { log } = await runInChildProcess(after, "webgpu", {}, [ids(7)]);
  expect(log.includes("indices element out of data bounds, idx=6")).toBe(true);
  expect(rewriteForWebGpu(after, VERSION)).toBeNull();
});

test("ids, and rows that are computed otherwise, stay as they are", () => {
  const model = positioned("Range");
  for (const node of model.graph.nodes) if (node.opType === "Range") node.opType = "Max";
  expect(rewriteForWebGpu(model.write(), VERSION)).toBeNull();
});

test("what is no model stays as it is", () => {
  for (const bytes of [new Uint8Array(), Uint8Array.of(8, 7, 58, 200), new TextEncoder().encode("<!doctype html>")])
    expect(rewriteForWebGpu(bytes, VERSION)).toBeNull();
});

test("the rewrites are keyed by the version of ONNX Runtime", () => {
  expect(rewritesFor("1.30.0").map((x) => x.id)).toContain("pad-conv-channels");
  expect(rewritesFor("").length).toBe(rewritesFor("1.30.0-dev.2026").length);
});
