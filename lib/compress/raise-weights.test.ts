import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
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
  const shares = (wide: number) => ({ 4: 0, 8: 1 - wide, 16: wide, 32: 0 });
  const bytesOf = (names: readonly string[]): number =>
    rows.filter((x) => names.includes(x.name)).reduce((sum, x) => sum + x.bytes, 0);

  test("hold the most error for the fewest weights first, and no more than the name allows", () => {
    const sets = raisedSets(rows, 8, null);
    expect([...(sets[0] ?? [])]).toEqual([["head", 16]]);
    expect([...(sets.at(-1)?.keys() ?? [])]).toEqual(["head", "a", "b", "c"]);
    for (const set of sets) expect(bytesOf([...set.keys()])).toBeLessThanOrEqual(0.25 * 1_100);
  });
  test("are none where the form has as many already, and all weights of a mixed form", () => {
    expect(raisedSets(rows, 8, shares(0.25))).toEqual([]);
    expect(raisedSets(rows, "mixed", shares(0)).at(-1)?.size).toBe(5);
  });

  describe("of 4 bits", () => {
    const weights = fc.array(
      fc.record({ bytes: fc.integer({ min: 1, max: 1_000 }), int4Db: fc.double({ min: -10, max: 60, noNaN: true }) }),
      { minLength: 1, maxLength: 30 },
    );
    const gains = fc.double({ min: -3, max: 40, noNaN: true });
    const setsOf = fc
      .tuple(weights, gains)
      .map(([list, gain]) =>
        list.map((x, i) => ({ ...x, name: `w${i}`, operator: "MatMul", int8Db: x.int4Db + gain })),
      );

    test("8 bits come before 16: a fourth of the error for half of the bits", () => {
      const [first] = raisedSets([row("a", 100, 40), row("b", 100, 41), row("c", 1_000, 60)], 4, null);
      expect([...(first ?? [])]).toEqual([
        ["a", 8],
        ["b", 8],
      ]);
    });
    test("a weight that 8 bits hardly help goes to 16 at once", () => {
      const outlier = { ...row("a", 100, 0), int4Db: -1 };
      expect(raisedSets([outlier, row("b", 900, 60)], 4, null)[0]?.get("a")).toBe(16);
    });
    test("tables and convolutions, which have 8 bits already, get 16 or nothing", () => {
      const table = { ...row("t", 100, 10), operator: "Gather" };
      for (const set of raisedSets([table, row("b", 900, 60)], 4, null)) expect(set.get("t")).not.toBe(8);
    });
    test("each set costs more bits than the one before, at most 3 a weight, and keeps weights in 4 bits", () => {
      fc.assert(
        fc.property(setsOf, (list) => {
          const total = list.reduce((sum, x) => sum + x.bytes, 0);
          const costs = raisedSets(list, 4, null).map((set) => {
            const in16 = list.filter((x) => set.get(x.name) === 16).reduce((sum, x) => sum + x.bytes, 0);
            const in8 = list.filter((x) => set.get(x.name) === 8).reduce((sum, x) => sum + x.bytes, 0);
            expect(in16).toBeLessThanOrEqual(0.25 * total * (1 + 1e-6));
            expect(in8).toBeLessThanOrEqual(0.95 * total * (1 + 1e-6));
            return (12 * in16 + 4 * in8) / total;
          });
          for (const [i, cost] of costs.entries()) expect(cost).toBeGreaterThan(costs[i - 1] ?? 0);
          for (const cost of costs) expect(cost).toBeLessThanOrEqual(3 * (1 + 1e-6));
        }),
      );
    });
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

async function run(
  path: string,
  units: number,
  maxDrop: string,
  onProgress: (line: string) => void = () => undefined,
): Promise<CompressReport> {
  const samples = join(folder, "x.jsonl");
  const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify([[...seededFloats(units, 1 + i * 7_368_787)]]));
  writeFileSync(samples, lines.join("\n"));
  const out = join(folder, "out");
  return compress(path, { out, samples, maxDrop, targets: ["wasm"], forms: ["int8"], sensitivityMs: 0, onProgress });
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
    expect(text).toMatch(/int8: \d of 3 weights in 16 bits, the most sensitive, to stay/);
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
      // Weights in a product of three values keep 16 bits.
      nodes: [
        { opType: "Einsum", input: ["x", "w", "v"], output: ["y"], attributes: { equation: "bsi,ihd,hd->bhsd" } },
      ],
      initializers: [
        floatTensor("w", [32, 4, 16], seededFloats(2_048)),
        floatTensor("v", [4, 16], seededFloats(64, 2)),
      ],
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

test("a form that two rows refuse is not made again as it is", { timeout: 120_000 }, async () => {
  // A row alone has no distance from the rows' mean; of two, it is the difference, whose error 8 bits show.
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 32] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "ReduceMean", input: ["h"], output: ["mean"], attributes: { axes: [0], keepdims: 1 } },
      { opType: "Sub", input: ["h", "mean"], output: ["distance"] },
      { opType: "Add", input: ["distance", "level"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [32, 32], seededFloats(1_024, 3)), floatTensor("level", [], Float32Array.of(0.01))],
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  const lines: string[] = [];
  const report = await run(path, 32, "30dB", (line) => lines.push(line));
  expect(report.forms.find((x) => x.id === "int8")?.why).toMatch(/^it computes a batch of two samples otherwise/);
  expect(lines.filter((x) => x.startsWith("making mixed"))).toEqual([
    "making mixed again, with 1 of 1 weights in 16 bits",
  ]);
});

test("where nothing helps, the report ends with what to try", { timeout: 180_000 }, async () => {
  const text = terminalReport(await run(sensitive(32), 32, "150dB"));
  expect(text).toMatch(/Try next:\n.*--metric/s);
  expect(text).toMatch(/--max-drop \d+dB/);
});
