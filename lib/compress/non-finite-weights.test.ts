// Models whose weights hold NaN or infinities: the file loads and runs, and every form would equal it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import { writeModelFile } from "./onnx/model-file.ts";
import { floatTensor } from "./onnx/tensor-proto.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-non-finite-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Compresses two products of 64 × 64; `bad` replaces a value of one of them. */
async function compressed(weight: "a" | "b", bad: number, samples?: string, forms = ["int8", "int8-dynamic"]) {
  const values = (name: string, seed: number) => {
    const all = seededFloats(64 * 64, seed);
    if (name === weight) all[70] = bad;
    return floatTensor(name, [64, 64], all);
  };
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 64] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "MatMul", input: ["r", "b"], output: ["y"] },
    ],
    initializers: [values("a", 3), values("b", 4)],
  });
  const path = join(folder, "model.onnx");
  await writeModelFile(path, model);
  const out = join(folder, "out");
  return compress(path, { out, targets: ["wasm"], forms, samples, sensitivityMs: 0 });
}

test.each(["synthetic", "given"])(
  "a model that answers NaN alone is refused, with the weight that holds NaN (%s samples)",
  { timeout: 60_000 },
  async (kind) => {
    const samples = kind === "given" ? join(folder, "x.jsonl") : undefined;
    const line = (seed: number) => JSON.stringify([[...seededFloats(64, seed)]]);
    if (samples !== undefined) writeFileSync(samples, Array.from({ length: 20 }, (_, i) => line(i + 1)).join("\n"));
    await expect(compressed("a", Number.NaN, samples)).rejects.toThrow(
      /^model: it answers NaN to every input, .*"a" holds NaN in 1 of 4,096 values: export it again/,
    );
  },
);

test.each([
  ["NaN", Number.NaN],
  ["infinity", -Infinity],
])("a weight with %s is named, and no form rounds it", { timeout: 60_000 }, async (kind, bad) => {
  const report = await compressed("b", bad);
  const holds = `"b" holds ${kind} in 1 of 4,096 values`;
  expect(report.notes.join(" ")).toContain(holds);
  for (const id of ["int8", "int8-dynamic"]) {
    const form = report.forms.find((x) => x.id === id);
    expect(form?.why).toContain(holds);
    expect(form?.widths).toEqual({ 4: 0, 8: 0.5, 16: 0, 32: 0.5 });
    expect(form?.sqnrDb).toBeGreaterThan(40);
  }
});
