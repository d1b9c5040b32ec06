// A repository from a local hub, or a folder, as a bundle of one's own.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseBundle } from "../core/bundle-schema.ts";
import type { Bundle } from "../core/bundle.ts";
import { main } from "../cli/cli.ts";
import { captureOutput } from "../test-support/capture-output.ts";
import { smallModel } from "../test-support/compress/fixtures.ts";
import { HubServer } from "../test-support/hub-server.ts";
import type { RepoFiles } from "../test-support/hub-server.ts";
import { importRepository } from "./import-repository.ts";
import { TensorProto_DataType } from "./onnx/onnx.gen.js";
import { floatTensor } from "./onnx/tensor-proto.ts";

let hub: HubServer;
let out: string;
beforeEach(async () => {
  hub = await HubServer.start();
  out = mkdtempSync(join(tmpdir(), "selvedge-import-"));
});
afterEach(() => {
  hub.close();
  rmSync(out, { recursive: true, force: true });
});

/** An encoder: a row of a table for each token, in 8 bits by the largest value of the batch where it is dynamic. */
function encoder(scale: number, isDynamic = false): Uint8Array<ArrayBuffer> {
  const ids = ["batch_size", "sequence_length"];
  return smallModel({
    opset: 13,
    inputs: { input_ids: ids, attention_mask: ids },
    types: { input_ids: TensorProto_DataType.INT64, attention_mask: TensorProto_DataType.INT64 },
    outputs: ["last_hidden_state"],
    outputDims: { last_hidden_state: [...ids, 4] },
    nodes: isDynamic
      ? [
          { opType: "Gather", input: ["table", "input_ids"], output: ["rows"] },
          { opType: "DynamicQuantizeLinear", input: ["rows"], output: ["q", "scale", "zero"] },
          { opType: "DequantizeLinear", input: ["q", "scale", "zero"], output: ["last_hidden_state"] },
        ]
      : [{ opType: "Gather", input: ["table", "input_ids"], output: ["last_hidden_state"] }],
    initializers: [
      floatTensor(
        "table",
        [400, 4],
        Float32Array.from({ length: 1_600 }, (_, i) => scale * i),
      ),
    ],
  }).write();
}

const FILES: RepoFiles = {
  "README.md": "---\nlicense: apache-2.0\n---\n",
  "config.json": JSON.stringify({ architectures: ["BertModel"] }),
  "tokenizer.json": "{}",
  "tokenizer_config.json": JSON.stringify({ model_max_length: 128 }),
  "modules.json": JSON.stringify([{ type: "sentence_transformers.models.Pooling", path: "1_Pooling" }]),
  "1_Pooling/config.json": JSON.stringify({ pooling_mode_mean_tokens: true }),
  "onnx/model.onnx": encoder(1),
  "onnx/model_quantized.onnx": encoder(2, true),
  "onnx/model_int8.onnx": encoder(2),
  "onnx/model_q4.onnx": encoder(3),
};

const bundleAt = (folder: string): Bundle =>
  parseBundle(JSON.parse(readFileSync(join(folder, "bundle.json"), "utf8")) as unknown);

test("a repository becomes a bundle with its steps, its licence and its commit", async () => {
  const commit = hub.commit("owner/Tiny_Name", FILES);
  const { folder, notes } = await importRepository("owner/Tiny_Name", {
    out,
    host: hub.url,
    dtypes: ["fp32", "int8", "q8"],
  });
  const { model, variants, assets } = bundleAt(folder);
  expect(notes).toEqual([]);
  expect(model).toMatchObject({ name: "tiny_name", version: commit, licence: "apache-2.0" });
  expect(model.inputs[0]).toMatchObject({
    text: { tokenizer: "tokenizer.json", maxLength: 128, mask: "attention_mask" },
  });
  expect(model.outputs[0]?.decode).toEqual({ op: "pool", mode: "mean", mask: "attention_mask" });
  expect(variants.map((x) => [x.id, x.needs, x.mixesRows])).toEqual([
    ["fp32", [], false],
    ["int8", ["wasm"], false],
    ["q8", ["wasm"], true],
  ]);
  expect(assets?.map((x) => x.path)).toEqual(["tokenizer.json"]);
  expect(readdirSync(join(out, "source/onnx")).sort()).toEqual([
    "model.onnx",
    "model_int8.onnx",
    "model_quantized.onnx",
  ]);
});

test("files that are there are not fetched again; a folder is packed as it is", async () => {
  hub.commit("owner/name", FILES);
  const options = { out, host: hub.url, dtypes: ["q8"] };
  const first = await importRepository("owner/name", options);
  hub.cdn.asked = [];
  const second = await importRepository("owner/name", options);
  expect([second.identity, hub.cdn.asked]).toEqual([first.identity, []]);
  const other = await importRepository(join(out, "source"), { out: join(out, "other"), dtypes: ["q8"] });
  expect(other.bundle.variants.map((x) => x.id)).toEqual(["q8"]);
});

test("a repository whose files lie beside its graphs is read from there", async () => {
  const beside = Object.entries(FILES).map(([path, file]) => [path.replace(/^(?=config|tokenizer)/, "onnx/"), file]);
  hub.commit("owner/name", Object.fromEntries(beside) as RepoFiles);
  const { folder } = await importRepository("owner/name", { out, host: hub.url, dtypes: ["q8"] });
  const { model, assets } = bundleAt(folder);
  expect(model.inputs[0]?.text).toMatchObject({ tokenizer: "tokenizer.json", maxLength: 128, trim: true });
  expect(assets?.map((x) => x.path)).toEqual(["tokenizer.json"]);
});

test("vocab.json is fetched for a model that writes texts by CTC alone", async () => {
  const files = { ...FILES, "vocab.json": "{}" };
  for (const [architecture, isFetched] of [
    ["BertModel", false],
    ["HubertForCTC", true],
  ] as const) {
    hub.commit(`owner/${architecture}`, { ...files, "config.json": JSON.stringify({ architectures: [architecture] }) });
    const options = { out: join(out, architecture), host: hub.url, dtypes: ["q8"] };
    await importRepository(`owner/${architecture}`, options);
    expect(existsSync(join(options.out, "source/vocab.json")), architecture).toBe(isFetched);
  }
});

test("wrong bytes, a gated repository, a missing encoding and a wrong name are refused with the fix", async () => {
  hub.commit("owner/name", FILES);
  const options = { out, host: hub.url };
  hub.cdn.trick = () => ({ kind: "flip", at: 99 });
  await expect(importRepository("owner/name", options)).rejects.toThrow("its host states");
  expect(readdirSync(join(out, "source/onnx"))).toEqual([]);
  await expect(importRepository("owner/name", { ...options, dtypes: ["fp16"] })).rejects.toThrow(
    "has no fp16, only fp32, int8, q4, q8",
  );
  await expect(importRepository("../name", options)).rejects.toThrow('expected "owner/name" or a folder');
  hub.token = "hf_secret";
  await expect(importRepository("owner/name", options)).rejects.toThrow("private or gated, or does not exist");
});

test("the command prints the line that loads the bundle", async () => {
  hub.commit("owner/name", FILES);
  let printed = "";
  captureOutput((text) => {
    printed += text;
  });
  const words = ["import", "owner/name", "--out", join(out, "name"), "--host", hub.url, "--dtype", "q8"];
  expect(await main(words)).toBe(0);
  vi.restoreAllMocks();
  expect(printed).toContain('engine.load("/name/bundle/bundle.json")');
});

test("a setting for which pictures are not converted is noted", async () => {
  const settings = { image_processor_type: "NewestImageProcessor", size: 8 };
  hub.commit("owner/pictures", { ...FILES, "preprocessor_config.json": JSON.stringify(settings) });
  const { notes } = await importRepository("owner/pictures", { out, host: hub.url });
  expect(notes).toContain('preprocessor_config.json: "size" of NewestImageProcessor is not supported: tensors alone');
});
