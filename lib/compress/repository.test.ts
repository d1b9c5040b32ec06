import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SPECIAL, wordTokenizer } from "../test-support/word-tokenizer.ts";
import { classifier, seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import type { BundleInput } from "../core/bundle.ts";
import { compress, compressRepository, planCompression } from "./compress.ts";
import { describePorts } from "./bundle/inspect.ts";
import { writeModelFile } from "./onnx/model-file.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { TensorProto_DataType } from "./onnx/onnx.gen.js";
import { floatTensor } from "./onnx/tensor-proto.ts";
import { describeBy, openRepository } from "./repository.ts";
import { openSamples } from "./run/samples.ts";
import { sampleReaders } from "./run/text-samples.ts";

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "selvedge-repository-")), "Tiny Ranker");
  mkdirSync(folder);
});
afterEach(() => {
  rmSync(dirname(folder), { recursive: true, force: true });
});

function put(files: Readonly<Record<string, string | object | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    const isRaw = typeof content === "string" || content instanceof Uint8Array;
    writeFileSync(join(folder, path), isRaw ? content : JSON.stringify(content));
  }
}

const WORDS = [...SPECIAL, "a", "blue", "cat", "dog", "eats", "fish", "green", "house"];
const TOKENIZER = wordTokenizer(WORDS.slice(SPECIAL.length));
const CONFIG = {
  model_type: "bert",
  architectures: ["BertForSequenceClassification"],
  id2label: { 0: "unrelated", 1: "related" },
  max_position_embeddings: 16,
};

/** A classifier of token ids and types: the mean of their vectors, and a layer. */
function ranker(): OnnxModel {
  const dims = ["batch_size", "sequence_length"];
  return smallModel({
    opset: 14,
    inputs: { input_ids: dims, attention_mask: dims, token_type_ids: dims },
    types: {
      input_ids: TensorProto_DataType.INT64,
      attention_mask: TensorProto_DataType.INT64,
      token_type_ids: TensorProto_DataType.INT64,
    },
    outputs: ["logits"],
    outputDims: { logits: ["batch_size", 2] },
    nodes: [
      { opType: "Gather", input: ["words", "input_ids"], output: ["w"] },
      { opType: "Gather", input: ["types", "token_type_ids"], output: ["t"] },
      { opType: "Add", input: ["w", "t"], output: ["sum"] },
      { opType: "Cast", input: ["attention_mask"], output: ["ones"], attributes: { to: 1 } },
      { opType: "ReduceMean", input: ["ones"], output: ["share"], attributes: { axes: [1] } },
      { opType: "ReduceMean", input: ["sum"], output: ["mean"], attributes: { axes: [1], keepdims: 0 } },
      { opType: "Mul", input: ["mean", "share"], output: ["masked"] },
      { opType: "MatMul", input: ["masked", "dense"], output: ["hidden"] },
      { opType: "Tanh", input: ["hidden"], output: ["active"] },
      { opType: "MatMul", input: ["active", "head"], output: ["logits"] },
    ],
    initializers: [
      floatTensor("words", [WORDS.length, 64], seededFloats(WORDS.length * 64, 3)),
      floatTensor("types", [2, 64], seededFloats(128, 4)),
      floatTensor("dense", [64, 64], seededFloats(64 * 64, 5)),
      floatTensor("head", [64, 2], seededFloats(128, 6)),
    ],
  });
}

/** The model part of the bundle that was written. */
function describedIn(out: string): {
  readonly name: string;
  readonly inputs: readonly { readonly name: string; readonly preprocess?: unknown }[];
  readonly outputs: readonly { readonly postprocess?: unknown }[];
} {
  const bundle = JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")) as { model: never };
  return bundle.model;
}

test(
  "a folder of a text classifier becomes a bundle that reads texts and names labels",
  { timeout: 60_000 },
  async () => {
    put({ "config.json": CONFIG, "tokenizer.json": TOKENIZER, "README.md": "---\nlicense: mit\n---\n" });
    // The name of the data is the graph's own choice.
    await mkdirAnd(join(folder, "onnx", "model.onnx"), ranker());
    const pairs = Array.from(
      { length: 40 },
      (_, i) => `a ${WORDS[4 + (i % 8)]} cat\tdog eats ${WORDS[4 + ((i * 3) % 8)]}`,
    );
    put({ "pairs.tsv": pairs.join("\n") });
    const out = join(dirname(folder), "out");
    const [made] = await compressRepository(folder, {
      out,
      targets: ["wasm"],
      forms: ["int8"],
      samples: join(folder, "pairs.tsv"),
      sensitivityMs: 0,
    });
    expect(made?.base).toBe("model");
    expect(made?.report.samples.n).toBe(40);
    const { name, inputs, outputs } = describedIn(out);
    expect(name).toBe("tiny-ranker");
    const step = { step: "text", tokenizer: "tokenizer.json", maxLength: 16 };
    expect(inputs[0]?.preprocess).toEqual([{ ...step, mask: "attention_mask", types: "token_type_ids" }]);
    expect(outputs[0]?.postprocess).toEqual([{ step: "softmax" }, { step: "labels", asset: "labels.txt" }]);
  },
);

async function mkdirAnd(path: string, model: OnnxModel): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await writeModelFile(path, model, { external: true });
}

const port = (name: string, text = false): BundleInput => ({
  name,
  dtype: "int64",
  dims: ["batch", "length"],
  batchAxis: 0,
  ...(text && { text: { tokenizer: "t", maxLength: 9, mask: "attention_mask", types: "token_type_ids" } }),
});
const PORTS = [port("input_ids", true), port("attention_mask"), port("token_type_ids")];

test.each([
  ["lines.txt", "a blue cat\n\n", [2, 4, 5, 6, 3], [0, 0, 0, 0, 0]],
  ["pairs.tsv", "a cat\tfish\n", [2, 4, 6, 3, 9, 3], [0, 0, 0, 0, 1, 1]],
  ["list.json", JSON.stringify([["a cat", "fish"]]), [2, 4, 6, 3, 9, 3], [0, 0, 0, 0, 1, 1]],
  ["fields.jsonl", '{"text":"a cat","text_pair":"fish"}', [2, 4, 6, 3, 9, 3], [0, 0, 0, 0, 1, 1]],
  ["fields2.jsonl", '{"text":"dog"}', [2, 7, 3], [0, 0, 0]],
  ["ids.jsonl", '{"input_ids":[[2,7,3]],"attention_mask":[[1,1,1]]}', [2, 7, 3], [0, 0, 0]],
] as const)("%s becomes token ids and types", async (name, content, ids, types) => {
  put({ [name]: content });
  const samples = await openSamples(join(folder, name), PORTS, 9, sampleReaders(PORTS, { t: TOKENIZER }));
  for await (const feed of samples.each()) {
    expect(Array.from(feed["input_ids"]?.data as BigInt64Array, Number)).toEqual(ids);
    expect(Array.from(feed["token_type_ids"]?.data as BigInt64Array, Number)).toEqual(types);
    expect(Array.from(feed["attention_mask"]?.data as BigInt64Array, Number)).toEqual(ids.map(() => 1));
  }
});

test("a pair that is too long is cut to the model's length, and keeps both texts", async () => {
  put({ "pairs.tsv": `${"a blue cat eats fish ".repeat(9)}\tgreen house\n` });
  const readers = sampleReaders(PORTS, { t: TOKENIZER });
  const samples = await openSamples(join(folder, "pairs.tsv"), PORTS, 9, readers);
  for await (const feed of samples.each()) {
    const ids = Array.from(feed["input_ids"]?.data as BigInt64Array, Number);
    expect(ids.length).toBeLessThanOrEqual(9);
    expect(ids.slice(-3)).toEqual([10, 11, 3]);
  }
});

test("a pair is read as a page reads it: padded to a fixed length, and whole where the file joins no pairs", async () => {
  put({ "pairs.tsv": "a cat\tgreen house\n" });
  const joinless = JSON.stringify({ ...(JSON.parse(TOKENIZER) as object), post_processor: null });
  const ports = PORTS.map((x) => ({ ...x, dims: ["batch", 6] }));
  const samples = await openSamples(join(folder, "pairs.tsv"), ports, 9, sampleReaders(ports, { t: joinless }));
  for await (const feed of samples.each()) {
    expect(Array.from(feed["input_ids"]?.data as BigInt64Array, Number)).toEqual([4, 6, 10, 11, 0, 0]);
    expect(Array.from(feed["attention_mask"]?.data as BigInt64Array, Number)).toEqual([1, 1, 1, 1, 0, 0]);
  }
});

test("texts without a tokenizer are refused with the way out", async () => {
  put({ "lines.txt": "a cat\n" });
  await expect(openSamples(join(folder, "lines.txt"), PORTS, 9)).rejects.toThrow("give the folder of the repository");
});

test("an image folder's sizes and means come from preprocessor_config.json", async () => {
  put({
    "config.json": { ...CONFIG, architectures: ["ViTForImageClassification"] },
    "preprocessor_config.json": {
      image_processor_type: "ViTImageProcessor",
      size: { height: 12, width: 12 },
      image_mean: [0.5, 0.4, 0.3],
      image_std: [0.2, 0.2, 0.2],
    },
    "onnx/model.onnx": classifier({ channels: 3, size: 12, classes: 2 }).write(),
  });
  const model = classifier({ channels: 3, size: 12, classes: 2 });
  const ports = await describePorts(model);
  const described = { name: "x", version: "1", licence: "unknown", ...ports };
  const { description, assets } = describeBy(openRepository(folder), described);
  expect(description.inputs[0]?.image).toMatchObject({
    mean: [0.5, 0.4, 0.3],
    resize: { to: { width: 12, height: 12 } },
  });
  // The output is "y" here, not "logits": a name that no file describes stays without labels.
  expect(assets).toEqual([]);
  const input = description.inputs[0];
  expect(input?.name).not.toBe("pixel_values");
  const other = classifier({ channels: 3, size: 16, classes: 2 });
  const otherPorts = await describePorts(other);
  const unfit = describeBy(openRepository(folder), { ...described, ...otherPorts });
  expect(unfit.description.inputs[0]?.image).toBeUndefined();
});

test("the pixel mask is an image's where the graph has one", () => {
  put({
    "preprocessor_config.json": { image_processor_type: "DetrImageProcessor", size: { shortest_edge: 8 } },
    "onnx/model.onnx": classifier({ channels: 3, size: 12, classes: 2 }).write(),
  });
  const x = { name: "pixel_values", dtype: "float32", dims: ["b", 3, "h", "w"], batchAxis: 0 } as const;
  const mask = { name: "pixel_mask", dtype: "int64", dims: ["b", 64, 64], batchAxis: 0 } as const;
  const maskOf = (...inputs: readonly BundleInput[]): unknown => {
    const described = { name: "x", version: "1", licence: "unknown", inputs, outputs: [] };
    return describeBy(openRepository(folder), described).description.inputs[0]?.image?.mask;
  };
  expect(maskOf(x, mask)).toBe("pixel_mask");
  expect(maskOf(x)).toBeUndefined();
  expect(maskOf(x, { ...mask, dims: ["b", 64] })).toBeUndefined();
});

test("the spectrogram of a Whisper encoder is the input's where the graph takes its bands and frames", () => {
  put({
    "preprocessor_config.json": { feature_extractor_type: "WhisperFeatureExtractor", sampling_rate: 16_000 },
    "onnx/encoder_model.onnx": classifier({ channels: 3, size: 12, classes: 2 }).write(),
  });
  const port = { name: "input_features", dtype: "float32", dims: ["b", 80, 3000], batchAxis: 0 } as const;
  const soundOf = (input: BundleInput): unknown => {
    const described = { name: "x", version: "1", licence: "unknown", inputs: [input], outputs: [] };
    return describeBy(openRepository(folder), described).description.inputs[0]?.sound;
  };
  expect(soundOf(port)).toMatchObject({ sampleRate: 16_000, bands: 80, seconds: 30 });
  expect(soundOf({ ...port, dims: ["b", 128, 3000] })).toBeUndefined();
});

test("a folder's graphs are those in float32, else float16; a merged decoder stands for its parts", async () => {
  const bytes = ranker().write();
  const names = ["encoder_model", "decoder_model", "decoder_with_past_model", "decoder_model_merged", "embed_fp16"];
  put({ "config.json": CONFIG });
  put(
    Object.fromEntries(
      [...names, "encoder_model_quantized", "encoder_model_fp16"].map((x) => [`onnx/${x}.onnx`, bytes]),
    ),
  );
  expect(
    openRepository(folder)
      .graphs.map((x) => x.base)
      .sort(),
  ).toEqual(["decoder_model_merged", "embed", "encoder_model"]);
  await expect(compress(folder, { out: join(folder, "out") })).rejects.toThrow("holds several graphs");
  expect(await planCompression({ out: join(folder, "out"), repository: folder })).toMatchObject({ repository: folder });
});

test("a folder without a graph, or with quantized ones alone, is refused", () => {
  put({ "config.json": CONFIG });
  expect(() => openRepository(folder)).toThrow("holds no .onnx file");
  put({ "onnx/model_q4.onnx": new Uint8Array(8) });
  expect(() => openRepository(folder)).toThrow("holds quantized models alone (onnx/model_q4.onnx)");
});
