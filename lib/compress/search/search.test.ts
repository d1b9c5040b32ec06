import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { inMemory, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { makeMetric } from "../run/metric.ts";
import { readModel } from "../onnx/model.ts";
import { References } from "../run/references.ts";
import { samplesOf } from "../run/samples.ts";
import { frontier, frontierPlot } from "../report/search-report.ts";
import { interval, judge } from "./search-score.ts";
import { search } from "./search.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const bytes = smallModel({
  opset: 13,
  inputs: { x: ["n", 24] },
  outputs: ["y"],
  nodes: [
    { opType: "Gemm", input: ["x", "a", "b"], output: ["h"] },
    { opType: "Relu", input: ["h"], output: ["r"] },
    { opType: "Gemm", input: ["r", "c", "d"], output: ["y"] },
  ],
  initializers: [
    floatTensor("a", [24, 64], seededFloats(24 * 64, 3)),
    floatTensor("b", [64], seededFloats(64, 5)),
    floatTensor("c", [64, 20], seededFloats(64 * 20, 7)),
    floatTensor("d", [20], seededFloats(20, 9)),
  ],
}).write();

async function run(folder: string, maxDrop: string, budgetMs: number, rows = 8) {
  const path = join(folder, "model.onnx");
  writeFileSync(path, bytes);
  const feeds = Array.from({ length: 40 }, (_, i) => ({
    x: { dtype: "float32" as const, dims: [rows, 24], data: seededFloats(24 * rows, i + 1) },
  }));
  const lines: string[] = [];
  const found = await search({
    references: new References(path, samplesOf(feeds)),
    metric: await makeMetric("sqnr", { maxDrop, hasLabels: false }),
    labels: undefined,
    simple: inMemory(readModel(bytes)),
    feeds: feeds.slice(0, 20),
    isSynthetic: false,
    targets: ["wasm"],
    statePath: join(folder, "search.json"),
    budgetMs,
    onProgress: (line) => lines.push(line),
  });
  return { ...found, lines };
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "selvedge-search-"));
  folders.push(made);
  return made;
}

test("a search beats the best uniform setting within the budget, and resumes from its state", async () => {
  const at = folder();
  const { forms, outcome } = await run(at, "12dB", 60_000);
  const [best] = outcome.chosen;
  expect(best?.heldOut).toMatchObject({ n: 20, isPassed: true });
  expect(best?.bytes).toBeLessThan(outcome.uniform?.bytes ?? 0);
  expect(forms.map((x) => x.id)).toContain("searched");
  expect(outcome.ortSeconds).toBeGreaterThan(0);
  expect(outcome.ortSeconds).toBeLessThan(outcome.seconds);
  expect(frontierPlot(outcome).match(/<circle/g)).toHaveLength(outcome.candidates.length);
  const again = await run(at, "12dB", 60_000);
  expect(again.lines.filter((x) => x.includes(" of 25: "))).toEqual([]);
  expect(again.outcome.candidates).toEqual(outcome.candidates);
  // Another budget is another search.
  const other = await run(at, "199dB", 1);
  expect(other.lines.some((x) => x.includes("going on"))).toBe(false);
});

test("the cost of pruning is measured on samples that the reconstruction was not fitted to", async () => {
  // 15 rows are fewer than the 64 hidden units: the remaining units fit them exactly, whatever is removed.
  const { outcome } = await run(folder(), "3dB", 60_000, 1);
  const sizes = outcome.candidates.filter((x) => x.form === "f32" && x.price > 0).map((x) => x.bytes);
  expect(new Set(sizes).size).toBeGreaterThan(1);
});

test("with no time, and a budget that nothing meets, the result is unchanged float32", async () => {
  const { outcome } = await run(folder(), "199dB", 1);
  expect(outcome.chosen.map((x) => [x.id, x.form, x.price])).toEqual([["searched", "f32", 0]]);
});

test("an unreadable state starts a new search", async () => {
  const at = folder();
  writeFileSync(join(at, "search.json"), "{");
  const { lines } = await run(at, "199dB", 1);
  expect(lines.some((x) => x.includes("the search starts over"))).toBe(true);
  expect(JSON.parse(readFileSync(join(at, "search.json"), "utf8"))).toHaveProperty("key");
});

test("the frontier contains the candidates that are not dominated in bytes and work", () => {
  const one = (b: number, macs: number, isPassed = true) => ({
    ...{ form: "int8", left: 0, price: 0, score: 1 },
    ...{ bytes: b, macs, isPassed },
  });
  const all = [one(3, 1), one(2, 2), one(3, 3), one(1, 9), one(1, 1, false)];
  expect(frontier(all).map((x) => x.bytes)).toEqual([1, 2, 3]);
});

test("the interval of paired losses is that of their mean", () => {
  expect(interval([1, 0, 0, 0])).toMatchObject({ mean: 0.25 });
  expect(interval([0, 0])).toEqual({ mean: 0, low: 0, high: 0 });
  expect(interval([])).toBeNull();
});

test("a search rejects a clearly failing model early, and its score says so", async () => {
  const path = join(folder(), "model.onnx");
  writeFileSync(path, bytes);
  const feeds = Array.from({ length: 300 }, (_, i) => ({
    x: { dtype: "float32" as const, dims: [1, 24], data: seededFloats(24, i + 1) },
  }));
  const input = {
    references: new References(path, samplesOf(feeds)),
    metric: await makeMetric("top1", { hasLabels: false }),
    labels: undefined,
  };
  const other = readModel(bytes);
  const weight = other.graph.constant("c");
  if (weight !== undefined) weight.rawData = new Uint8Array(seededFloats(64 * 20, 99).buffer);
  const span = (i: number): boolean => i < 300;
  const [bad, whole] = [other.write(), await judge(bytes, undefined, input, span, { isHasty: true })];
  expect(whole).toMatchObject({ n: 300, score: 1, isPassed: true });
  expect(await judge(bad, undefined, input, span, { isHasty: true })).toMatchObject({ n: 128, isPassed: false });
  expect(await judge(bad, undefined, input, span)).toMatchObject({ n: 300, isPassed: false });
});
