// Models whose weights cannot be stored in 4 bits, as a convolution's: int4 of them would be int8 under another name.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseBundle } from "../core/bundle-schema.ts";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import { writeModelFile } from "./onnx/model-file.ts";
import { floatTensor } from "./onnx/tensor-proto.ts";
import type { CompressReport } from "./report/report.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-no-int4-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Compresses a convolution of 16 channels to 64, and a product of as many columns. */
async function compressed(columns: number, forms?: readonly string[]): Promise<CompressReport> {
  const weights = seededFloats(64 * 16 * 9).map((x) => x / 12);
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 16, 8, 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Conv", input: ["x", "a"], output: ["c"], attributes: { pads: [1, 1, 1, 1] } },
      { opType: "GlobalAveragePool", input: ["c"], output: ["p"] },
      { opType: "Flatten", input: ["p"], output: ["f"] },
      { opType: "MatMul", input: ["f", "b"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [64, 16, 3, 3], weights),
      floatTensor("b", [64, columns], seededFloats(64 * columns, 2)),
    ],
  });
  const path = join(folder, "model.onnx");
  await writeModelFile(path, model);
  return compress(path, { out: join(folder, "out"), targets: ["webgpu"], sensitivityMs: 0, ...(forms && { forms }) });
}

const packed = (): string[] =>
  parseBundle(JSON.parse(readFileSync(join(folder, "out", "bundle", "bundle.json"), "utf8"))).variants.map((x) => x.id);

test("int4 is left out where no weight has 4 bits, with the reason", { timeout: 60_000 }, async () => {
  const report = await compressed(8);
  expect(report.forms.map((x) => x.id)).toEqual(["f32", "int8"]);
  expect(report.notes.join(" ")).toContain("int4 is left out: none of its weights take 4 bits");
  expect(packed()).not.toContain("int4");
  expect(existsSync(join(folder, "out", "int4.onnx"))).toBe(false);
});

test("int4 that was asked for is named as not made", { timeout: 60_000 }, async () => {
  const report = await compressed(8, ["int4"]);
  const int4 = report.forms.find((x) => x.id === "int4");
  expect(int4).toMatchObject({ isWithinBudget: false, bytes: 0 });
  expect(int4?.why).toContain("none of its weights take 4 bits");
});

test("int4 is made where a product has enough of the weights", { timeout: 60_000 }, async () => {
  const report = await compressed(64);
  const bytes = (id: string): number => report.forms.find((x) => x.id === id)?.bytes ?? Number.NaN;
  expect(bytes("int4")).toBeLessThan(bytes("int8") - 1_000);
});

test("int8 of a model without weights says so, and speaks of no share of them", { timeout: 60_000 }, async () => {
  const path = join(folder, "model.onnx");
  const nodes = [{ opType: "Softmax", input: ["x"], output: ["y"] }];
  await writeModelFile(path, smallModel({ opset: 13, inputs: { x: ["n", 8] }, outputs: ["y"], nodes }));
  const report = await compress(path, {
    out: join(folder, "out"),
    targets: ["wasm"],
    forms: ["int8"],
    sensitivityMs: 0,
  });
  expect(report.forms.find((x) => x.id === "int8")?.why).toContain("the model has no weights to store in fewer bits");
});
