import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXACT_DB, makeMetric, readLabels, sqnr } from "./metric.ts";
import type { MeasuredSample, Metric } from "./metric.ts";

const outputs = (...data: number[]) => ({ y: { dims: [1, data.length], data } });
const measured = (now: number[], was: number[], label?: number[]) => ({
  outputs: outputs(...now),
  reference: outputs(...was),
  feed: {},
  label,
});

/** Scores samples sequentially. */
async function scoreOf(metric: Metric, samples: readonly MeasuredSample[]): Promise<number> {
  const tally = metric.start();
  for (const sample of samples) tally.add(sample);
  return tally.value();
}

test("sqnr is the power ratio of the worst output in dB, and the maximum where nothing differs", () => {
  expect(sqnr([measured([1.1, 0], [1, 0])])).toBeCloseTo(20, 5);
  expect(sqnr([measured([1, 2], [1, 2])])).toBe(EXACT_DB);
  const [both, one] = [
    { ...outputs(1), z: { dims: [1], data: [1] } },
    { ...outputs(1), z: { dims: [1], data: [2] } },
  ];
  expect(sqnr([{ outputs: one, reference: both }])).toBeCloseTo(0, 5);
  expect(sqnr([measured([Number.NaN], [1])])).toBe(-EXACT_DB);
  expect(sqnr([measured([1], [1, 2])])).toBe(-EXACT_DB);
});

test("whole numbers beside floats count where more of them differ than one sample's, and than 2 %", () => {
  const sample = (y: number, id: number) => ({ y: { dims: [1], data: [y] }, id: { dims: [1], data: [id] } });
  const pairs = (n: number, wrong: number) =>
    Array.from({ length: n }, (_, i) => ({ reference: sample(1.5, 7), outputs: sample(1.65, i < wrong ? 90 : 7) }));
  expect(sqnr(pairs(30, 0))).toBeCloseTo(20, 5);
  expect(sqnr(pairs(30, 1))).toBeCloseTo(20, 5);
  expect(sqnr(pairs(30, 2))).toBeLessThan(0);
  expect(sqnr(pairs(200, 4))).toBeCloseTo(20, 5);
  expect(sqnr(pairs(200, 5))).toBeLessThan(0);
  // One of few samples says nothing of the others.
  expect(sqnr(pairs(1, 1))).toBeLessThan(0);
  expect(sqnr(pairs(9, 1))).toBeLessThan(0);
  // Another number of boxes is no answer at all.
  const { id } = sample(1, 7);
  expect(
    sqnr([{ reference: sample(1.5, 7), outputs: { y: { dims: [1], data: [1.5] }, id: { ...id, data: [7, 7] } } }]),
  ).toBe(-EXACT_DB);
});

test("a mask sets no scale, and must be a mask in the form too", () => {
  const values = [0.5, -1, 2];
  const wrong = values.map((x) => -x);
  for (const mask of [-3.4e38, 1e30, -Infinity]) {
    expect(sqnr([measured([mask, ...wrong], [mask, ...values])])).toBeCloseTo(sqnr([measured(wrong, values)]), 9);
    expect(sqnr([measured([mask * (1 + 1e-7), ...values], [mask, ...values])])).toBe(EXACT_DB);
    for (const other of [0, -65_504, -mask, Math.max(mask, -3e38) * 0.9, Number.NaN])
      expect(sqnr([measured([other, ...values], [mask, ...values])])).toBe(-EXACT_DB);
  }
  // A mask in the form alone.
  expect(sqnr([measured([-3.4e38, ...values], [0, ...values])])).toBe(-EXACT_DB);
});

test.each(["top1", "exact", "agreement"])("%s: logits that are not numbers are no class", async (name) => {
  const metric = await makeMetric(name, { hasLabels: name === "top1" });
  const none = Number.NaN;
  expect(await scoreOf(metric, [measured([none, none], [1, 0])])).toBe(0);
  expect(await scoreOf(metric, [measured([1, none], [1, 0])])).toBe(0);
  expect(await scoreOf(metric, [measured([-Infinity, 3], [-1, 0])])).toBe(1);
});

test("top1 counts right answers, by label or by the reference", async () => {
  const metric = await makeMetric("top1", { hasLabels: true, maxDrop: "10%" });
  const samples = [measured([0, 1], [0, 1], [1]), measured([0, 1], [1, 0], [0]), measured([3, 1], [3, 1])];
  expect(await scoreOf(metric, samples)).toBeCloseTo(2 / 3);
  expect(metric.passes(0.85, 0.9)).toBe(true);
  expect(metric.passes(0.75, 0.9)).toBe(false);
});

test("exact compares every position; of a CTC output only the decoded text", async () => {
  const rows = (...winners: number[]) => ({
    y: { dims: [1, winners.length, 3], data: winners.flatMap((x) => [0, 1, 2].map((c) => (c === x ? 1 : 0))) },
  });
  const sample = { outputs: rows(1, 1, 0, 2), reference: rows(1, 0, 2, 2), feed: {}, label: undefined };
  expect(await scoreOf(await makeMetric("exact", { hasLabels: false }), [sample])).toBe(0);
  const reading = await makeMetric("exact", { hasLabels: false, decode: { op: "ctc", asset: "labels.txt" } });
  expect(await scoreOf(reading, [sample])).toBe(1);
  expect(await scoreOf(reading, [{ ...sample, outputs: rows(1, 1, 0, 1) }])).toBe(0);
  // With class 2 for the blank, class 0 is a letter.
  const other = await makeMetric("exact", { hasLabels: false, decode: { op: "ctc", asset: "labels.txt", blank: 2 } });
  const text = { ...sample, reference: rows(0, 2, 1) };
  expect(await scoreOf(other, [{ ...text, outputs: rows(0, 0, 1) }])).toBe(1);
  expect(await scoreOf(other, [{ ...text, outputs: rows(1, 2, 1) }])).toBe(0);
  expect(await scoreOf(other, [{ ...text, outputs: rows(2, 2, 1) }])).toBe(0);
});

test("perplexity is that of the correct classes, negated so that more is better", async () => {
  const metric = await makeMetric("perplexity", { hasLabels: true });
  expect(await scoreOf(metric, [measured([0, 0, 0, 0], [0, 0, 0, 0], [2])])).toBeCloseTo(-4);
  await expect(scoreOf(metric, [measured([0, 0], [0, 0], [2])])).rejects.toThrow(/position 0 is class 2/);
  await expect(makeMetric("perplexity", { hasLabels: false })).rejects.toThrow(/labels/);
});

test("a drop in another unit, and an unknown metric, are refused by name", async () => {
  await expect(makeMetric("sqnr", { hasLabels: false, maxDrop: "0.5" })).rejects.toThrow(/"30dB".*"0.5%" \(23 dB\)/);
  await expect(makeMetric("top1", { hasLabels: false, maxDrop: "30dB" })).rejects.toThrow(/top1.*"0.5%"/);
  await expect(makeMetric("top1", { hasLabels: false, maxDrop: "much" })).rejects.toThrow(/"much"/);
  await expect(makeMetric("bleu", { hasLabels: false })).rejects.toThrow(/"bleu"/);
  expect((await makeMetric("sqnr", { hasLabels: false, maxDrop: "42dB" })).passes(41, 0)).toBe(false);
});

test("for sqnr a share is the allowed error energy", async () => {
  const metric = await makeMetric("sqnr", { hasLabels: false, maxDrop: "0.1%" });
  expect(metric.budget).toBe("at least 30 dB (error below 0.1% of the outputs' energy)");
  expect([29.9, 30.1].map((x) => metric.passes(x, 200))).toEqual([false, true]);
});

test("a module's score gets all samples, and must return a number", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-metric-"));
  try {
    const path = join(folder, "metric.mjs");
    writeFileSync(path, "export const score = (samples) => samples.filter((x) => x.outputs.y.data[0] > 0).length;");
    const metric = await makeMetric(path, { hasLabels: false });
    expect(await scoreOf(metric, [measured([1], [1]), measured([-1], [1]), measured([2], [1])])).toBe(2);
    const other = join(folder, "other.mjs");
    writeFileSync(other, 'export const score = () => "good";');
    await expect(scoreOf(await makeMetric(other, { hasLabels: false }), [])).rejects.toThrow(/returned good/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("labels are read from lines of integers", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-labels-"));
  try {
    const path = join(folder, "labels.txt");
    writeFileSync(path, "3\n1 2\n");
    expect(readLabels(path)).toEqual([[3], [1, 2]]);
    writeFileSync(path, "cat\n");
    expect(() => readLabels(path)).toThrow(/"cat"/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
