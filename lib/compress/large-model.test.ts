// The memory that a compression holds, measured in a process of its own: a model whose weights are 180 MB, of which the
// largest takes 36 MB. A toolchain that holds the model whole needs several times its size.
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { modelPieces } from "./onnx/encode.ts";
import { setPlace } from "./onnx/external-data.ts";
import { readModelFile, writeWhole } from "./onnx/model-file.ts";
import { TensorProto_DataType, TensorProtoSchema } from "./onnx/onnx.gen.js";
import type { CompressReport } from "./report/report.ts";

const [N, LAYERS] = [3_000, 5];
const WEIGHT_BYTES = N * N * 4;
/** Memory of the process for a small model: Node, the toolchain as TypeScript, ONNX Runtime. */
const BASE_BYTES = 350e6;

const folder = mkdtempSync(join(tmpdir(), "selvedge-large-"));
const path = join(folder, "model.onnx");
beforeAll(async () => {
  const file = openSync(join(folder, "model.data"), "w");
  const bytes = new Uint8Array(seededFloats(N * N, 1).map((x) => x / 40).buffer);
  for (let i = 0; i < LAYERS; i++) writeSync(file, bytes);
  closeSync(file);
  const initializers = Array.from({ length: LAYERS }, (_, i) => {
    const tensor = create(TensorProtoSchema, {
      name: `w${i}`,
      dataType: TensorProto_DataType.FLOAT,
      dims: [BigInt(N), BigInt(N)],
    });
    setPlace(tensor, { location: "model.data", offset: i * WEIGHT_BYTES, length: WEIGHT_BYTES });
    return tensor;
  });
  const nodes = initializers.flatMap(({ name }, i) => [
    { opType: "MatMul", input: [i === 0 ? "x" : `t${i}`, name], output: [`m${i}`] },
    { opType: "Tanh", input: [`m${i}`], output: [i === LAYERS - 1 ? "y" : `t${i + 1}`] },
  ]);
  const model = smallModel({ opset: 17, inputs: { x: ["n", N] }, outputs: ["y"], nodes, initializers });
  await writeWhole(path, modelPieces(model.proto));
}, 60_000);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("compress holds no more than a few weights of a large model in its own memory", { timeout: 300_000 }, () => {
  const out = join(folder, "out");
  const run = `
    const { compress } = await import(${JSON.stringify(new URL("./compress.ts", import.meta.url).href)});
    const options = { out: ${JSON.stringify(out)}, targets: ["webgpu"], forms: ["int8"], sensitivityMs: 0, limit: 4 };
    await compress(${JSON.stringify(path)}, options);
    const { readFileSync } = await import("node:fs");
    // Not getrusage, which counts the parent's memory before exec.
    const peak = /VmHWM:\\\\s*(\\\\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    process.stdout.write(String(peak));
    process.exit();
  `.replaceAll("\\\\", "\\");
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const script = join(folder, "run.mjs");
  const file = openSync(script, "w");
  writeSync(file, run);
  closeSync(file);
  const peak = Number(execFileSync(process.execPath, ["--import", loader, script], { encoding: "utf8" })) * 1024;
  expect(peak).toBeGreaterThan(0);
  expect(peak).toBeLessThan(BASE_BYTES + 6 * WEIGHT_BYTES);
  const report = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as CompressReport;
  expect(report.forms.map((x) => [x.id, x.bytes > 0])).toEqual([
    ["f32", true],
    ["int8", true],
  ]);
  // Estimated from an eighth of the weights, which are noise.
  const [f32] = report.forms;
  expect((f32?.brotliBytes ?? 0) / (f32?.bytes ?? 1)).toBeGreaterThan(0.8);
  expect((f32?.brotliBytes ?? 0) / (f32?.bytes ?? 1)).toBeLessThan(1.01);
  expect(report.forms[1]?.sqnrDb).toBeGreaterThan(25);
  expect(report.forms[1]?.bytes).toBeLessThan(report.sourceBytes * 0.27);
  const products = readModelFile(join(out, "int8.onnx")).graph.nodes.filter((x) => x.opType === "MatMulNBits");
  expect(products).toHaveLength(LAYERS);
  expect(existsSync(join(out, "bundle", "bundle.json"))).toBe(report.bundle !== null);
});

test("the command line checks a large model on wasm, in a process of its own", { timeout: 180_000 }, () => {
  const bin = fileURLToPath(new URL("../cli/bin.js", import.meta.url));
  const said = execFileSync(process.execPath, [bin, "check", path, "--targets", "wasm"], { encoding: "utf8" });
  expect(said).toMatch(/wasm: passed/);
});
