import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { BundleInput } from "../../core/bundle.ts";
import type { Dtype } from "../../core/tensor.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { synthesizeSamples } from "../evaluate-source.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { hintsFor } from "./model-hints.ts";
import { firstFeeds, openSamples } from "./samples.ts";
import { declaredSizes, syntheticInputs, syntheticSets, syntheticSizes } from "./synthetic-inputs.ts";
import type { Hints } from "./synthetic-inputs.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-synthetic-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const input = (name: string, dims: readonly (number | string)[], dtype: Dtype = "float32"): BundleInput => ({
  ...{ name, dtype, dims, batchAxis: null },
});
const first = (inputs: readonly BundleInput[], hints: Partial<Hints> = {}) => {
  // The first alone: each makes tensors of megabytes.
  const [set] = syntheticInputs(inputs, { typical: {}, bound: 10, ...hints });
  return set?.[0] ?? {};
};
const dimsOf = (inputs: readonly BundleInput[], hints: Partial<Hints> = {}): (readonly number[] | undefined)[] => {
  const feed = first(inputs, hints);
  return inputs.map((x) => feed[x.name]?.dims);
};

test("a past starts empty, and a sum of dims is the sum of their sizes", () => {
  const inputs = [
    input("input_ids", ["batch_size", "sequence_length"], "int64"),
    input("attention_mask", ["batch_size", "past_sequence_length + sequence_length"], "int64"),
    input("past_key_values.0.key", ["batch_size", 3, "past_sequence_length", 16]),
    input("total", ["batch_size", "total_sequence_length"], "int64"),
    input("use_cache_branch", [1], "bool"),
  ];
  expect(dimsOf(inputs)).toEqual([[1, 32], [1, 32], [1, 3, 0, 16], [1, 32], [1]]);
  expect(first(inputs)["use_cache_branch"]?.data).toEqual(Uint8Array.of(0));
  const lengths = { past_sequence_length: 5, sequence_length: 2 };
  expect(dimsOf(inputs, { typical: lengths })[1]).toEqual([1, 7]);
});

test("open channels of an image are 3, its sides those of the configuration, and no guess is beyond bounds", () => {
  const image = input("pixel_values", ["batch_size", "num_channels", "height", "width"]);
  expect(dimsOf([image])).toEqual([[1, 3, 224, 224]]);
  expect(dimsOf([image], { sizes: { channels: 1, height: 28, width: 30 } })).toEqual([[1, 1, 28, 30]]);
  const unnamed = input("x", ["x_0", "x_1", "x_2", "x_3"]);
  const last = input("y", ["y_0", "y_1", "y_2", 3]);
  expect(dimsOf([unnamed, last])).toEqual([
    [1, 3, 224, 224],
    [1, 224, 224, 3],
  ]);
  const five = input("video", ["a0", "b1", "e2", "f3", "g4"]);
  const [a, b, c, d] = syntheticSets([five], { typical: {}, bound: 2 });
  for (const make of [a, b, c, d]) {
    const data = make?.(1)[0]?.["video"]?.data;
    expect(data?.length).toBeGreaterThan(0);
    expect(data?.length).toBeLessThanOrEqual(2 ** 22);
  }
});

test("files beside the model state sizes and vocabulary, and an input stays within the table that it indexes", () => {
  mkdirSync(join(folder, "onnx"));
  const write = (name: string, json: unknown): void => {
    writeFileSync(join(folder, name), JSON.stringify(json));
  };
  write("preprocessor_config.json", { image_mean: [0.5, 0.5, 0.5], size: { height: 192, width: 160 } });
  write("config.json", { vocab_size: 99 });
  const model = smallModel({
    opset: 13,
    inputs: { input_ids: ["b", "s"], kind: ["b", "s"] },
    outputs: ["y"],
    types: { input_ids: TensorProto_DataType.INT64, kind: TensorProto_DataType.INT64 },
    nodes: [
      { opType: "Cast", input: ["input_ids"], output: ["i"], attributes: { to: TensorProto_DataType.INT32 } },
      { opType: "Gather", input: ["words", "i"], output: ["w"] },
      { opType: "Gather", input: ["kinds", "kind"], output: ["k"] },
      { opType: "Add", input: ["w", "k"], output: ["y"] },
    ],
    initializers: [
      floatTensor("words", [500, 8], seededFloats(4_000, 1)),
      floatTensor("kinds", [3, 8], seededFloats(24, 2)),
    ],
  });
  const path = join(folder, "onnx", "model.onnx");
  expect(hintsFor(path, model)).toEqual({
    bounds: { input_ids: 99, kind: 3 },
    sizes: { channels: 3, height: 192, width: 160 },
  });
  write("tokenizer.json", { model: { vocab: { a: 0, b: 1, c: 2, d: 3 } } });
  expect(hintsFor(path, model).bounds?.["input_ids"]).toBe(4);
});

test("a model whose sizes are all open gets samples without a long search", { timeout: 60_000 }, async () => {
  const model = smallModel({
    opset: 13,
    inputs: { pixel_values: ["batch_size", "num_channels", "height", "width"] },
    outputs: ["y"],
    nodes: [{ opType: "Conv", input: ["pixel_values", "w"], output: ["y"], attributes: { strides: [8, 8] } }],
    initializers: [floatTensor("w", [2, 3, 8, 8], seededFloats(384, 3))],
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  const inputs = [input("pixel_values", ["batch_size", "num_channels", "height", "width"])];
  const samples = await synthesizeSamples(path, inputs, { typical: {}, bound: 1, ...hintsFor(path, model) });
  expect(samples.n).toBeGreaterThanOrEqual(8);
  const [feed] = await firstFeeds(samples, 1);
  expect(feed?.["pixel_values"]?.dims.slice(0, 2)).toEqual([1, 3]);
});

test("JSON lines may hold an array without items, nested or by its dims", async () => {
  const past = input("past", ["batch", 2, "past_length", 8]);
  const path = join(folder, "x.jsonl");
  writeFileSync(path, '{"past": [[[], []]]}\n{"past": {"dims": [1, 2, 0, 8], "data": []}}\n');
  const feeds = await firstFeeds(await openSamples(path, [past], 10), 10);
  expect(feeds.map((x) => x["past"]?.dims)).toEqual([
    [1, 2, 0, 8],
    [1, 2, 0, 8],
  ]);
});

test("a length that an output declares is tried where no usual one runs", () => {
  const ids = input("input_ids", ["batch", "length"], "int64");
  const others = declaredSizes([{ dims: ["batch", 13, 500] }, { dims: [1, 32, 100_000] }]);
  expect(others).toEqual([13, 500]);
  const lengths = [...syntheticSizes([ids], { typical: {}, bound: 10, others })].map((x) => x["input_ids"]?.[1]);
  expect(lengths.slice(-2)).toEqual([13, 500]);
});

test("inputs that a model answers all alike are no samples: any form would pass", async () => {
  const path = join(folder, "bound.onnx");
  const nodes = [
    { opType: "MatMul", input: ["x", "w"], output: ["h"] },
    { opType: "Mul", input: ["h", "none"], output: ["zero"] },
    { opType: "Add", input: ["zero", "half"], output: ["y"] },
  ];
  const initializers = [
    floatTensor("w", [4, 4], seededFloats(16)),
    floatTensor("none", [], Float32Array.of(0)),
    floatTensor("half", [], Float32Array.of(0.5)),
  ];
  const model = smallModel({ opset: 17, inputs: { x: ["n", 4] }, outputs: ["y"], nodes, initializers });
  writeFileSync(path, model.write());
  const notes: string[] = [];
  const samples = await synthesizeSamples(path, [input("x", ["n", 4])], { typical: {}, bound: 10 }, notes);
  expect(samples.n).toBe(0);
  expect(notes.join()).toBe(
    "The model answers the same to all synthetic inputs, so nothing was measured; give --samples.",
  );
  const open = smallModel({ opset: 17, inputs: { x: ["n", "size"] }, outputs: ["y"], nodes, initializers });
  writeFileSync(path, open.write());
  const both: string[] = [];
  await synthesizeSamples(path, [input("x", ["n", "size"])], { typical: {}, bound: 10 }, both);
  expect(both.join()).toMatch(/answers the same to all synthetic inputs on which it runs.* the last error: .*MatMul/s);
  const stopped: string[] = [];
  await synthesizeSamples(path, [input("x", ["n", "size"])], { typical: {}, bound: 10 }, stopped, {
    signal: AbortSignal.abort(),
  });
  expect(stopped).toEqual([]);
});
