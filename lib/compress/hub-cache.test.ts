// Folders of huggingface_hub's cache, where files are links to blobs, as input of `compress` and `import`.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseBundle } from "../core/bundle-schema.ts";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import { importRepository } from "./import-repository.ts";
import { readModelFile, writeModelFile } from "./onnx/model-file.ts";
import { floatTensor } from "./onnx/tensor-proto.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
let folder: string;
let cache: string;
let snapshot: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-cache-"));
  cache = join(folder, "hub", "models--some-owner--Tiny-Model");
  snapshot = join(cache, "snapshots", COMMIT);
  for (const x of [join(snapshot, "onnx"), join(cache, "blobs"), join(cache, "refs"), join(folder, "made")])
    mkdirSync(x, { recursive: true });
  writeFileSync(join(cache, "refs", "main"), COMMIT);
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 64] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [64, 64], seededFloats(4096))],
  });
  const made = join(folder, "made");
  await writeModelFile(join(made, "model.onnx"), model, { external: true });
  for (const name of readdirSync(made)) put(`onnx/${name}`, readFileSync(join(made, name)));
  put("config.json", Buffer.from('{"architectures":["BertModel"]}'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Puts a file as the hub's client does: a blob, and a relative link to it. */
function put(path: string, bytes: Uint8Array): void {
  const name = `blob-${path.replaceAll("/", "-")}`;
  writeFileSync(join(cache, "blobs", name), bytes);
  symlinkSync(join(path.includes("/") ? "../../.." : "../..", "blobs", name), join(snapshot, path));
}

/** Moves the blob of the external data elsewhere, and links to it there. */
function moveData(to: string): void {
  const name = readdirSync(join(snapshot, "onnx")).find((x) => x.endsWith(".data")) ?? "";
  const link = join(snapshot, "onnx", name);
  mkdirSync(to, { recursive: true });
  renameSync(join(cache, "blobs", `blob-onnx-${name}`), join(to, "moved"));
  rmSync(link);
  symlinkSync(join(to, "moved"), link);
}

test("a snapshot of the cache is compressed, and the bundle has the model's name", { timeout: 60_000 }, async () => {
  const out = join(folder, "out");
  const report = await compress(snapshot, { out, targets: ["wasm"], forms: ["f32"], sensitivityMs: 0 });
  expect(report.defaults).toEqual({ wasm: "f32" });
  const bundle = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
  expect(bundle.model.name).toBe("tiny-model");
});

test("the model's folder of the cache is imported by the snapshot that refs/main names", async () => {
  mkdirSync(join(cache, "snapshots", "older"));
  const { folder: made } = await importRepository(cache, { out: join(folder, "out") });
  expect(existsSync(join(made, "bundle.json"))).toBe(true);
  rmSync(join(cache, "refs"), { recursive: true });
  await expect(importRepository(cache, { out: join(folder, "out") })).rejects.toThrow(
    /snapshots .*older.*: give the path/,
  );
});

test("links out of the model's folder of the cache are refused with the place that they lead to", async () => {
  moveData(join(folder, "hub", "models--some-owner--other", "blobs"));
  const path = join(snapshot, "onnx", "model.onnx");
  expect(() => readModelFile(path)).toThrow(/"w".*leads to .*models--some-owner--other.*outside of the model's folder/);
  await expect(compress(snapshot, { out: join(folder, "out") })).rejects.toThrow(/leads to .*outside of the model's/);
  await expect(importRepository(snapshot, { out: join(folder, "out") })).rejects.toThrow(/leads to .*outside of/);
});

test("a link whose blob is gone is named as an incomplete download", () => {
  moveData(join(cache, "blobs"));
  rmSync(join(cache, "blobs", "moved"));
  expect(() => readModelFile(join(snapshot, "onnx", "model.onnx"))).toThrow(/a file that does not exist: download/);
});

test("outside of a cache, a folder named blobs is like any other", () => {
  const plain = join(folder, "models--x", "other", COMMIT, "onnx");
  mkdirSync(join(plain, ".."), { recursive: true });
  renameSync(join(snapshot, "onnx"), plain);
  mkdirSync(join(folder, "models--x", "blobs"));
  for (const name of readdirSync(plain)) {
    rmSync(join(plain, name));
    renameSync(join(cache, "blobs", `blob-onnx-${name}`), join(folder, "models--x", "blobs", name));
    symlinkSync(join("../../../blobs", name), join(plain, name));
  }
  expect(() => readModelFile(join(plain, "model.onnx"))).toThrow(/leads out of the model's folder/);
});

/** Copies the snapshot into a folder that is no cache: files, and no links. */
function plainCopy(): string {
  const plain = join(folder, "plain");
  cpSync(snapshot, plain, { recursive: true, dereference: true });
  return plain;
}

/** Moves a file of a folder, and links to its new place. */
function moveAndLink(path: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  renameSync(path, to);
  symlinkSync(relative(dirname(path), to), path);
}

test.each(["config.json", "onnx/model.onnx", "README.md"])(
  "in a folder that is no cache, %s that is a link out of it is refused with the place",
  async (path) => {
    const plain = plainCopy();
    writeFileSync(join(plain, "README.md"), "---\nlicense: mit\n---");
    moveAndLink(join(plain, path), join(folder, "elsewhere", "moved"));
    const refused = /(config\.json|model\.onnx|README\.md) leads to .*elsewhere.moved, which is outside of .*plain/;
    await expect(importRepository(plain, { out: join(folder, "out") })).rejects.toThrow(refused);
    await expect(compress(plain, { out: join(folder, "out") })).rejects.toThrow(refused);
    rmSync(join(folder, "elsewhere"), { recursive: true });
    await expect(importRepository(plain, { out: join(folder, "out") })).rejects.toThrow(/a file that does not exist/);
  },
);

test("a folder whose name begins as that of another is not inside of it", async () => {
  const plain = plainCopy();
  moveAndLink(join(plain, "config.json"), join(folder, "plain-other", "config.json"));
  await expect(importRepository(plain, { out: join(folder, "out") })).rejects.toThrow(/outside of .*plain:/);
});

test("in a folder that is no cache, links inside of it are followed, and others that are not read are let be", async () => {
  const plain = plainCopy();
  moveAndLink(join(plain, "config.json"), join(plain, "files", "config.json"));
  moveAndLink(join(plain, "onnx", "model.onnx"), join(plain, "files", "model.onnx"));
  symlinkSync(folder, join(plain, "samples"));
  symlinkSync(join(folder, "nowhere"), join(plain, "notes.txt"));
  const linked = join(folder, "linked");
  symlinkSync(plain, linked);
  const { folder: made } = await importRepository(linked, { out: join(folder, "out") });
  expect(existsSync(join(made, "bundle.json"))).toBe(true);
});

test("a snapshot that is itself a link out of the model's folder is refused", async () => {
  const other = plainCopy();
  rmSync(snapshot, { recursive: true });
  symlinkSync(other, snapshot);
  await expect(importRepository(cache, { out: join(folder, "out") })).rejects.toThrow(/leads to .*plain.*outside of/);
});

test("generation_config.json is copied beside the bundle, and a note says where", { timeout: 60_000 }, async () => {
  const text = '{"eos_token_id":[2,7],"max_new_tokens":64}';
  put("generation_config.json", Buffer.from(text));
  const [imported, made] = [join(folder, "imported"), join(folder, "out")];
  const { notes } = await importRepository(cache, { out: imported });
  const report = await compress(cache, { out: made, targets: ["wasm"], forms: ["f32"], sensitivityMs: 0 });
  for (const [out, said] of [
    [imported, notes],
    [made, report.notes],
  ] as const) {
    const path = join(out, "generation_config.json");
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(said.join(" ")).toContain(
      `generation_config.json is no part of the bundle: the app that generates reads it from ${path}`,
    );
  }
});
