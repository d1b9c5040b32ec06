import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { runAll } from "../run/session.ts";
import type { OnnxModel } from "./model.ts";
import { readModelFile, writeModelFile } from "./model-file.ts";
import { rawLength, setRaw, StoredBytes, storedOf } from "./stored-bytes.ts";
import { floatsOf, floatTensor } from "./tensor-proto.ts";
import { Scratch, writeModel } from "./written-model.ts";

let scratch: Scratch;
let folder: string;
beforeEach(() => {
  scratch = new Scratch();
  folder = mkdtempSync(join(tmpdir(), "selvedge-written-"));
});
afterEach(async () => {
  await scratch.close();
  rmSync(folder, { recursive: true, force: true });
});

const N = 160;
const model = (): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { x: [1, N] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["z"] },
      { opType: "MatMul", input: ["z", "b"], output: ["y"] },
    ],
    initializers: [floatTensor("a", [N, N], seededFloats(N * N, 1)), floatTensor("b", [N, N], seededFloats(N * N, 2))],
  });
const feed = { x: { dtype: "float32", dims: [1, N], data: seededFloats(N, 3) } } as const;

test("a large model is written to a file that runs alike, and reads its weights from there", async () => {
  const whole = model();
  const written = await writeModel(whole, scratch, 0);
  expect(await runAll(written.source, [feed])).toEqual(await runAll(whole.write(), [feed]));
  expect(written.model.graph.proto.initializer.map((x) => [storedOf(x) !== undefined, rawLength(x)])).toEqual([
    [true, N * N * 4],
    [true, N * N * 4],
  ]);
  expect(Buffer.compare(written.model.write(), whole.write())).toBe(0);
});

test("weights that lie in a file are linked, not written again, and a changed one is", async () => {
  const path = join(folder, "model.onnx");
  await writeModelFile(path, model(), { external: true });
  const [data = ""] = readdirSync(folder).filter((x) => x.endsWith(".data"));
  const first = await writeModel((await writeModel(readModelFile(path), scratch, 0)).model, scratch, 0);
  const changed = first.model.copy();
  const [a, b] = changed.graph.proto.initializer;
  if (a !== undefined) a.rawData = new Uint8Array(seededFloats(N * N, 9).buffer);
  const second = await writeModel(changed, scratch, 0);
  const [c, d] = second.model.graph.proto.initializer;
  expect(d && storedOf(d)?.path).toBe(b && storedOf(b)?.path);
  expect(c && floatsOf(c)).toEqual(seededFloats(N * N, 9));
  // Two models share the second weight: three weights on disk, not four.
  const temporary = scratch.folder();
  const sizes = readdirSync(temporary).map((x) => statSync(join(temporary, x)).size);
  expect(sizes.filter((x) => x >= N * N * 4).length).toBe(2);
  expect(dirname(second.source as string)).toBe(temporary);
  expect(data).not.toBe("");
});

test("weights behind a symbolic link are linked to where they lie", async () => {
  await mkdir(join(folder, "blobs"));
  await mkdir(join(folder, "snapshots", "first"), { recursive: true });
  const whole = join(folder, "blobs", "weights");
  const path = join(folder, "snapshots", "first", "weights");
  writeFileSync(whole, new Uint8Array(seededFloats(N * N, 1).buffer));
  symlinkSync(join("..", "..", "blobs", "weights"), path);
  const stored = model();
  const [a] = stored.graph.proto.initializer;
  if (a !== undefined) setRaw(a, new StoredBytes(path, 0, N * N * 4));
  const written = await writeModel(stored, scratch, 0);
  const [moved] = written.model.graph.proto.initializer;
  const linked = (moved && storedOf(moved)?.path) ?? "";
  expect(lstatSync(linked).ino).toBe(lstatSync(whole).ino);
  expect(moved && floatsOf(moved)).toEqual(seededFloats(N * N, 1));
  expect(await runAll(written.source, [feed])).toEqual(await runAll(model().write(), [feed]));
});

test("a process that exits early removes its temporary folder", async () => {
  const written = new URL("./written-model.ts", import.meta.url).href;
  const script = `const { Scratch } = await import(${JSON.stringify(written)});
    process.stdout.write(new Scratch().folder());
    process.exit();`;
  const path = join(folder, "exit.mjs");
  writeFileSync(path, script);
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const left = execFileSync(process.execPath, ["--import", loader, path], { encoding: "utf8" });
  expect(left).toContain("selvedge-models-");
  expect(statSync(left, { throwIfNoEntry: false })).toBeUndefined();
}, 60_000);

test("the temporary folder goes with the compression", async () => {
  const { source } = await writeModel(model(), scratch, 0);
  await scratch.close();
  expect(statSync(dirname(source as string), { throwIfNoEntry: false })).toBeUndefined();
});
