import { gzipSync } from "node:zlib";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { twoLayers } from "../../test-support/compress/fixtures.ts";
import { readModelFile, writeModelFile } from "./model-file.ts";
import { decodeModel, readModel } from "./model.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const bytes = (...values: readonly (number | string)[]): Uint8Array =>
  Uint8Array.from(values.flatMap((x) => (typeof x === "number" ? [x] : [...text(x)])));

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 90360123\n`;

test.each([
  ["a Git LFS pointer", text(POINTER), "git lfs pull"],
  ["a TensorFlow Lite model", bytes(28, 0, 0, 0, "TFL3", 20, 0, 32, 0), "tf2onnx.convert --tflite"],
  ["a SavedModel", bytes(8, 1, 0x12, 0xf0, 1, 10, 5, "abc"), "tf2onnx.convert --saved-model"],
  ["a model of OpenVINO", text('<?xml version="1.0"?>\n<net name="a" version="11">'), "OpenVINO"],
  ["a PyTorch archive", bytes("PK", 3, 4, 0, 0, 8, 8, 0, 0, "archive/data.pkl"), "torch.onnx.export"],
  ["an old PyTorch checkpoint", bytes(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9), "a pickle of Python"],
  ["a safetensors file", bytes(64, 0, 0, 0, 0, 0, 0, 0, '{"w":{"dtype":"F32"}}'), "safetensors"],
  ["a Keras model", bytes(0x89, "HDF\r\n", 26, 10, 0, 0), "HDF5"],
  ["a GGUF file", bytes("GGUF", 3, 0, 0, 0), "GGUF"],
  ["a page of a hub", text("<!DOCTYPE html><html><head>"), "/resolve/"],
  ["a config.json", text('{\n  "architectures": ["BertModel"]}'), "it is JSON"],
  ["a gzipped model", gzipSync(text("model")), "unpack it"],
  ["a WebAssembly module", bytes(0, "asm", 1, 0, 0, 0), "WebAssembly"],
] as const)("%s in place of a model is named for what it is", (_, file, words) => {
  expect(() => readModel(file)).toThrow(words);
});

test("a truncated model is still called truncated", () => {
  const whole = twoLayers({ opset: 13, inputs: 16, units: 300, outputs: 8 }).write();
  expect(() => readModel(whole.subarray(0, whole.length / 2))).toThrow("it is truncated or not an ONNX file");
});

test("external data that is a pointer, incomplete or under another name says what to do", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-kind-"));
  try {
    const path = join(folder, "model.onnx");
    await writeModelFile(path, twoLayers({ opset: 13, inputs: 16, units: 300, outputs: 8 }), { external: true });
    const { graph } = decodeModel(new Uint8Array(readFileSync(path)));
    const name = graph.proto.initializer[0]?.externalData.find((x) => x.key === "location")?.value ?? "";
    writeFileSync(join(folder, name), POINTER);
    expect(() => readModelFile(path)).toThrow("git lfs pull");
    writeFileSync(join(folder, name), new Uint8Array(5_000));
    expect(() => readModelFile(path)).toThrow("its download is incomplete");
    rmSync(join(folder, name));
    writeFileSync(join(folder, "model.onnx_data"), new Uint8Array(50_000));
    expect(() => readModelFile(path)).toThrow("model.onnx_data is there: rename it");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
