import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import type { CompressReport } from "./report/report.ts";
import { terminalReport } from "./report/markdown.ts";
import { floatTensor } from "./onnx/tensor-proto.ts";
import { raisedSets } from "./raise-weights.ts";
import { readModelFile } from "./onnx/model-file.ts";
import { weightWidths, wideShare } from "./run/weight-widths.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-raise-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const row = (name: string, bytes: number, int8Db: number) => ({
  name,
  operator: "MatMul",
  bytes,
  int8Db,
  int4Db: int8Db - 24,
});

describe("sets of weights to raise", () => {
  const rows = [row("head", 10, 20), row("wide", 900, 22), row("a", 60, 40), row("b", 60, 50), row("c", 70, 60)];
  test("hold the most error for the fewest weights first, and no more than the name allows", () => {
    const sets = raisedSets(rows, 8, 0).map((x) => [...x]);
    expect(sets[0]).toEqual(["head"]);
    expect(sets.at(-1)).toEqual(["head", "a", "b", "c"]);
    const most = Math.max(
      ...sets.map((names) => rows.filter((x) => names.includes(x.name)).reduce((a, x) => a + x.bytes, 0)),
    );
    expect(most).toBeLessThanOrEqual(0.25 * 1_100);
  });
  test("are none where the form has as many already, and all weights of a mixed form", () => {
    expect(raisedSets(rows, 8, 0.25)).toEqual([]);
    expect(raisedSets(rows, "mixed", 0).at(-1)?.size).toBe(5);
  });
});

/** A chain of products of which the last, small one makes most of the error: a few of its weights are large. */
function sensitive(units: number): string {
  const head = seededFloats(units * 8, 9).map((x, i) => (i < 16 ? x * 300 : x));
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", units] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "MatMul", input: ["r", "b"], output: ["s"] },
      { opType: "Tanh", input: ["s"], output: ["t"] },
      { opType: "MatMul", input: ["t", "c"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [units, units], seededFloats(units * units, 3)),
      floatTensor("b", [units, units], seededFloats(units * units, 5)),
      floatTensor("c", [units, 8], head),
    ],
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  return path;
}

async function run(path: string, units: number, maxDrop: string): Promise<CompressReport> {
  const samples = join(folder, "x.jsonl");
  const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify([[...seededFloats(units, 1 + i * 7_368_787)]]));
  writeFileSync(samples, lines.join("\n"));
  const out = join(folder, "out");
  return compress(path, { out, samples, maxDrop, targets: ["wasm"], forms: ["int8"], sensitivityMs: 0 });
}

test(
  "a form that misses its budget gets its most sensitive weights in 16 bits, and says so",
  { timeout: 180_000 },
  async () => {
    const path = sensitive(64);
    const { sqnrDb: plain = 0 } = (await run(path, 64, "1dB")).forms.find((x) => x.id === "int8") ?? {};
    // Just out of reach of 8 bits throughout.
    const report = await run(path, 64, `${((plain ?? 0) + 1).toFixed(1)}dB`);
    const int8 = report.forms.find((x) => x.id === "int8");
    expect(int8).toMatchObject({ isWithinBudget: true });
    expect(wideShare(int8?.widths ?? { 4: 0, 8: 0, 16: 1, 32: 0 })).toBeLessThanOrEqual(0.25);
    expect(int8?.widths?.[16]).toBeGreaterThan(0);
    expect(weightWidths(readModelFile(join(folder, "out", "int8.onnx")))).toEqual(int8?.widths);
    const text = terminalReport(report);
    expect(text).toMatch(/int8: \d of 3 weights, the most sensitive, are stored in 16 bits/);
    expect(text).toMatch(/Weights: int8 \d+ % in 8 bits, \d+ % in 16 bits/);
    expect(text.split("\n").at(-1)).toMatch(
      /^int8: \d\.\d × smaller \([\d,]+ → [\d,]+ bytes over the wire\), SQNR [\d.]+ ± [\d.]+ dB/,
    );
  },
);

test(
  "where a quarter in 16 bits is not enough, the form is called mixed, never int8",
  { timeout: 180_000 },
  async () => {
    const report = await run(sensitive(64), 64, "48dB");
    expect(report.forms.find((x) => x.id === "int8")).toMatchObject({ isWithinBudget: false });
    const mixed = report.forms.find((x) => x.id === "mixed");
    expect(mixed).toMatchObject({ isWithinBudget: true });
    expect(report.defaults).toEqual({ wasm: "mixed" });
    expect(report.bundle?.variants).toContain("mixed");
    expect(mixed?.bytes).toBeLessThan(report.sourceBytes * 0.6);
  },
);

test(
  "a form too wide for its name is mixed, though no weight's sensitivity is known",
  { timeout: 120_000 },
  async () => {
    const model = smallModel({
      opset: 14,
      inputs: { x: ["b", "s", 32] },
      outputs: ["y"],
      nodes: [{ opType: "Einsum", input: ["x", "w"], output: ["y"], attributes: { equation: "bsi,ihd->bhsd" } }],
      initializers: [floatTensor("w", [32, 4, 16], seededFloats(2_048))],
    });
    const path = join(folder, "model.onnx");
    writeFileSync(path, model.write());
    const out = join(folder, "out");
    const report = await compress(path, { out, targets: ["wasm"], forms: ["int8"], sensitivityMs: 0 });
    expect(report.forms.map((x) => [x.id, x.isWithinBudget])).toEqual([
      ["f32", true],
      ["int8", false],
      ["mixed", true],
    ]);
    expect(report.defaults).toEqual({ wasm: "mixed" });
  },
);

test("where nothing helps, the report ends with what to try", { timeout: 180_000 }, async () => {
  const text = terminalReport(await run(sensitive(32), 32, "150dB"));
  expect(text).toMatch(/Try next:\n.*--metric/s);
  expect(text).toMatch(/--max-drop \d+dB/);
});
