// The memory that a compression holds, measured in a process of its own: a model whose weights are 135 MB, of which the
// largest takes 8 MB. A toolchain that holds the model whole needs that much more.
import { execFileSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { Checker } from "./check/check.ts";
import type { CheckResult } from "./check/check.ts";
import { modelPieces } from "./onnx/encode.ts";
import { setPlace } from "./onnx/external-data.ts";
import { float16Bits } from "./onnx/float16.ts";
import { readModelFile, writeWhole } from "./onnx/model-file.ts";
import { TensorProto_DataType, TensorProtoSchema } from "./onnx/onnx.gen.js";
import type { WrittenModel } from "./onnx/written-model.ts";
import type { CompressReport } from "./report/report.ts";
import { runAll } from "./run/session.ts";

const [N, LAYERS] = [1_450, 16];
/** Bound on the memory of a compression beside the modules that are loaded first: 1.3 times what was measured. */
const COMPRESS_BYTES = 300e6;
/** The same of opening a float16 model of 67 MB, whose file is below the size from which it is read by parts. */
const OPEN_BYTES = 140e6;

const folder = mkdtempSync(join(tmpdir(), "selvedge-large-"));
const [path, half] = [join(folder, "model.onnx"), join(folder, "half.onnx")];
beforeAll(async () => {
  const values = seededFloats(N * N, 1).map((x) => x / 40);
  await write(path, TensorProto_DataType.FLOAT, values);
  await write(half, TensorProto_DataType.FLOAT16, Uint16Array.from(values, float16Bits));
}, 60_000);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a chain of products whose weights are external data. */
async function write(path: string, type: TensorProto_DataType, values: Float32Array | Uint16Array): Promise<void> {
  const bytes = new Uint8Array(values.buffer);
  const file = openSync(`${path}.data`, "w");
  for (let i = 0; i < LAYERS; i++) writeSync(file, bytes);
  closeSync(file);
  const initializers = Array.from({ length: LAYERS }, (_, i) => {
    const tensor = create(TensorProtoSchema, { name: `w${i}`, dataType: type, dims: [BigInt(N), BigInt(N)] });
    setPlace(tensor, { location: basename(`${path}.data`), offset: i * bytes.length, length: bytes.length });
    return tensor;
  });
  const nodes = initializers.flatMap(({ name }, i) => [
    { opType: "MatMul", input: [i === 0 ? "x" : `t${i}`, name], output: [`m${i}`] },
    { opType: "Tanh", input: [`m${i}`], output: [i === LAYERS - 1 ? "y" : `t${i + 1}`] },
  ]);
  const ports = { inputs: { x: ["n", N] }, outputs: ["y"], types: { x: type, y: type } };
  const model = smallModel({ opset: 17, ...ports, nodes, initializers });
  await writeWhole(path, modelPieces(model.proto));
}

/** Runs statements with a module of the toolchain, in a process of its own; returns the memory that they added. */
function peakOf(module: string, statements: string): number {
  const script = join(folder, "run.mjs");
  writeFileSync(
    script,
    `import { readFileSync } from "node:fs";
    // Not getrusage, which counts the parent's memory before exec.
    const peak = () => 1024 * Number(/VmHWM:\\s*(\\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
    const loaded = await import(${JSON.stringify(new URL(module, import.meta.url).href)});
    const before = peak();
    ${statements}
    process.stdout.write(String(peak() - before));
    process.exit();`,
  );
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return Number(execFileSync(process.execPath, ["--import", loader, script], { encoding: "utf8" }));
}

test("compress holds no more than a few weights of a large model in its own memory", { timeout: 300_000 }, () => {
  const out = join(folder, "out");
  const options = { out, targets: ["webgpu"], forms: ["int8"], sensitivityMs: 0, limit: 4 };
  const added = peakOf("./compress.ts", `await loaded.compress(${JSON.stringify(path)}, ${JSON.stringify(options)});`);
  expect(added).toBeGreaterThan(0);
  expect(added).toBeLessThan(COMPRESS_BYTES);
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

test("a float16 source is brought up to float32 by parts, on disk", { timeout: 120_000 }, () => {
  const open = `const { scratch } = await loaded.openSource(${JSON.stringify(half)}); await scratch.close();`;
  expect(peakOf("./open-source.ts", open)).toBeLessThan(OPEN_BYTES);
});

test("the command line checks a large model on wasm, in a process of its own", { timeout: 180_000 }, () => {
  const bin = fileURLToPath(new URL("../cli/bin.js", import.meta.url));
  const said = execFileSync(process.execPath, [bin, "check", path, "--targets", "wasm"], { encoding: "utf8" });
  expect(said).toMatch(/wasm: passed/);
});

test(
  "forms are timed against float32 after its own form is gone (tool-reference-gone)",
  { timeout: 120_000 },
  async () => {
    const gone = join(folder, "form.onnx");
    copyFileSync(path, gone);
    const feed = { x: { dtype: "float32", dims: [1, N], data: seededFloats(N, 2) } } as const;
    const checker = new Checker(path, [feed]);
    const checked = async (id: "f32" | "int8", made: WrittenModel): Promise<CheckResult | undefined> => {
      const expected = await runAll(made.source, [feed]);
      return (await checker.check({ form: { id, needs: [] }, ...made, expected }, ["wasm"]))[0];
    };
    try {
      const model = readModelFile(path);
      await checked("f32", { model, source: gone, byteLength: model.byteLength });
      rmSync(gone);
      const check = await checked("int8", { model, source: path, byteLength: model.byteLength });
      expect(check).toMatchObject({ verdict: "passed", speed: 1 });
    } finally {
      await checker.close();
    }
  },
);
