import { expect, test } from "vitest";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { countMacs, totalMacs } from "../run/macs.ts";
import { readModel } from "../onnx/model.ts";
import { Pruner } from "./pruner.ts";
import type { PruneOptions } from "./pruner.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const HIDDEN = 32;

/** An MLP with redundant hidden units: each is a mixture of 6 directions. */
function redundant(): Uint8Array<ArrayBuffer> {
  const [directions, mix] = [seededFloats(10 * 6, 3), seededFloats(6 * HIDDEN, 5)];
  const up = new Float32Array(10 * HIDDEN);
  for (let i = 0; i < 10; i++)
    for (let j = 0; j < HIDDEN; j++)
      for (let k = 0; k < 6; k++)
        up[i * HIDDEN + j] = (up[i * HIDDEN + j] ?? 0) + (directions[i * 6 + k] ?? 0) * (mix[k * HIDDEN + j] ?? 0);
  return smallModel({
    opset: 13,
    inputs: { x: ["n", 10] },
    outputs: ["y"],
    nodes: [
      { opType: "Gemm", input: ["x", "up", "bias"], output: ["h"] },
      { opType: "LeakyRelu", input: ["h"], output: ["a"], attributes: { alpha: { float: 0.7 } } },
      { opType: "MatMul", input: ["a", "down"], output: ["d"] },
      { opType: "Add", input: ["d", "shift"], output: ["y"] },
    ],
    initializers: [
      floatTensor("up", [10, HIDDEN], up),
      floatTensor("bias", [HIDDEN], seededFloats(HIDDEN, 7)),
      floatTensor("down", [HIDDEN, 4], seededFloats(HIDDEN * 4, 11)),
      floatTensor("shift", [4], seededFloats(4, 13)),
    ],
  }).write();
}

const feed = (seed: number) => ({ x: { dtype: "float32" as const, dims: [64, 10], data: seededFloats(640, seed) } });
const samples = Array.from({ length: 8 }, (_, i) => feed(100 + i));

/** Prunes half of the hidden units and returns the SQNR of the outputs on a held-out input. */
async function quality(options: PruneOptions): Promise<number> {
  const bytes = redundant();
  const pruner = await Pruner.open(bytes, samples, samples[0], options);
  const { model, groups } = await pruner.prune({ share: 0.5 });
  expect(groups).toMatchObject([{ kind: "hidden", size: HIDDEN, removed: HIDDEN / 2 }]);
  expect(model.graph.constant("up")?.dims.map(Number)).toEqual([10, HIDDEN / 2]);
  const [was = []] = await runModel(bytes, feed(999));
  const [now = []] = await runModel(model.write(), feed(999));
  return decibels(was, now);
}

test("readers compensate for removed units, on held-out inputs", async () => {
  const plain = await quality({ importance: "magnitude", repair: false });
  const repaired = await quality({ importance: "magnitude" });
  const judged = await quality({ importance: "reconstruction" });
  expect(repaired).toBeGreaterThan(plain + 10);
  expect(judged).toBeGreaterThan(plain + 15);
});

test("units that hardly vary relative to their mean are reconstructed as far as the samples allow", async () => {
  const wide = 24;
  const small = seededFloats(10 * wide, 3).map((x) => x * 1e-4);
  const bytes = smallModel({
    opset: 13,
    inputs: { x: ["n", 10] },
    outputs: ["y"],
    nodes: [
      { opType: "Gemm", input: ["x", "up", "bias"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["a"] },
      { opType: "Gemm", input: ["a", "down", "shift"], output: ["y"] },
    ],
    initializers: [
      floatTensor("up", [10, wide], small),
      floatTensor("bias", [wide], new Float32Array(wide).fill(30)),
      floatTensor("down", [wide, 4], seededFloats(wide * 4, 5)),
      floatTensor("shift", [4], seededFloats(4, 7)),
    ],
  }).write();
  const pruner = await Pruner.open(bytes, samples, samples[0]);
  const { model } = await pruner.prune({ share: 0.25 });
  const [was = []] = await runModel(bytes, feed(999));
  const [now = []] = await runModel(model.write(), feed(999));
  expect(decibels(was, now)).toBeGreaterThan(60);
});

test("a share keeps the right number of units, multiples where requested, and never none", async () => {
  const pruner = await Pruner.open(redundant(), samples, samples[0]);
  const [group] = pruner.groups;
  const removed = async (shares: Parameters<Pruner["prune"]>[0]) => (await pruner.prune(shares)).groups[0]?.removed;
  expect(await removed({ share: 0.25 })).toBe(8);
  expect(await removed({ share: 0.3, multipleOf: 8 })).toBe(8);
  expect(await removed({ share: 1 })).toBe(HIDDEN - 1);
  expect(await removed({ share: 0, groups: { [group?.id ?? ""]: 0.75 } })).toBe(24);
  await expect(pruner.prune({ share: 0, groups: { nowhere: 0.5 } })).rejects.toThrow('unknown group "nowhere"');
});

test("multiply-adds are counted from the lengths of a run, and pruning reduces them", async () => {
  const bytes = redundant();
  const counted = await countMacs(readModel(bytes), feed(1));
  expect(counted.map((x) => [x.node.opType, x.macs])).toEqual([
    ["Gemm", 64 * 10 * HIDDEN],
    ["MatMul", 64 * HIDDEN * 4],
  ]);
  const { model } = await (await Pruner.open(bytes, samples, samples[0])).prune({ share: 0.25 });
  expect(await totalMacs(model, feed(1))).toBe((64 * 14 * HIDDEN * 3) / 4);
});

test("without samples the size of weights decides, and nothing is reconstructed", async () => {
  const pruner = await Pruner.open(redundant(), [], samples[0]);
  const { model } = await pruner.prune({ share: 0.25 });
  const now = model.graph.constant("shift")?.rawData;
  const was = readModel(redundant()).graph.constant("shift")?.rawData;
  expect(Buffer.compare(now ?? new Uint8Array(), was ?? new Uint8Array())).toBe(0);
});
