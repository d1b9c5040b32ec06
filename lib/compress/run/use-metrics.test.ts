import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Tensor } from "../../core/tensor.ts";
import { makeMetric } from "./metric.ts";
import type { MeasuredSample, Metric } from "./metric.ts";
import { useOf } from "./use-metrics.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-use-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const output = (name: string, dims: readonly (number | string)[]) => ({
  ...{ name, dims, dtype: "float32" as const, batchAxis: 0 },
});
const mask = (...data: number[]): Tensor => ({
  dtype: "int64",
  dims: [1, data.length],
  data: BigInt64Array.from(data, BigInt),
});
async function scoreOf(metric: Metric, sample: MeasuredSample): Promise<number> {
  const tally = metric.start();
  tally.add(sample);
  return tally.value();
}
/** Three tokens of two values, of which the last is padding. */
const tokens = (...data: number[]) => ({ last_hidden_state: { dims: [1, 3, 2], data } });

test("the use follows from the pooling file, else from the logits", () => {
  mkdirSync(join(folder, "onnx"));
  mkdirSync(join(folder, "1_Pooling"));
  const path = join(folder, "onnx", "model.onnx");
  const hidden = [output("last_hidden_state", ["batch", "length", 384])];
  expect(useOf(join(folder, "elsewhere", "deep", "model.onnx"), hidden)).toBeNull();
  writeFileSync(join(folder, "1_Pooling", "config.json"), '{"pooling_mode_cls_token": true}');
  expect(useOf(path, hidden)).toEqual({ metric: "cosine", pooling: "cls" });
  writeFileSync(join(folder, "1_Pooling", "config.json"), '{"pooling_mode_max_tokens": true}');
  expect(useOf(path, hidden)).toEqual({ metric: "cosine", pooling: "max" });
  writeFileSync(join(folder, "1_Pooling", "config.json"), "{");
  expect(() => useOf(path, hidden)).toThrow(/1_Pooling.config\.json is not JSON/);
  // modules.json names another folder, whose file counts.
  mkdirSync(join(folder, "2_Pooling"));
  writeFileSync(join(folder, "2_Pooling", "config.json"), '{"pooling_mode": "lasttoken"}');
  writeFileSync(
    join(folder, "modules.json"),
    '[{"type": "sentence_transformers.models.Pooling", "path": "2_Pooling"}]',
  );
  expect(useOf(path, hidden)).toEqual({ metric: "cosine", pooling: "last" });
  for (const name of ["1_Pooling", "2_Pooling", "modules.json"]) rmSync(join(folder, name), { recursive: true });
  expect(useOf(path, [output("logits", ["batch", 10])])).toEqual({ metric: "agreement" });
  expect(useOf(path, [output("logits", ["batch", "length", 32_000]), output("present.0.key", [1, 2, 3, 4])])).toEqual({
    metric: "kl",
  });
  const classes = { ...output("label", ["batch"]), dtype: "int64" as const };
  expect(useOf(path, [classes])).toEqual({ metric: "agreement", isWhole: true });
  expect(useOf(path, [classes, output("scores", ["batch", 3])])).toBeNull();
});

test("whole numbers agree where they are equal: a wrong class costs its share, however near its number is", async () => {
  const metric = await makeMetric(undefined, { hasLabels: false, use: { metric: "agreement", isWhole: true } });
  const reference = { label: { dims: [4], data: [7, 1, 2, 900] } };
  const sample = (data: number[]): MeasuredSample => ({
    ...{ outputs: { label: { dims: [data.length], data } }, reference, feed: {}, label: undefined },
  });
  expect(await scoreOf(metric, sample([7, 1, 2, 900]))).toBe(1);
  expect(await scoreOf(metric, sample([7, 1, 2, 901]))).toBe(0.75);
  expect(await scoreOf(metric, sample([7, 1, 2]))).toBe(0);
});

test("cosine compares the mean of the tokens that the mask keeps", async () => {
  const metric = await makeMetric(undefined, { hasLabels: false, use: { metric: "cosine", pooling: "mean" } });
  const sample = {
    reference: tokens(1, 0, 0, 1, 9, 9),
    outputs: tokens(2, 0, 0, 2, -5, 3),
    feed: { attention_mask: mask(1, 1, 0) },
    label: undefined,
  };
  expect(metric.name).toBe("cosine");
  expect(await scoreOf(metric, sample)).toBeCloseTo(1, 9);
  expect(await scoreOf(metric, { ...sample, feed: {} })).toBeLessThan(0.9);
  expect(
    await scoreOf(await makeMetric("cosine", { hasLabels: false, use: { metric: "cosine", pooling: "cls" } }), {
      ...sample,
      outputs: tokens(0, 1, 0, 0, 0, 0),
    }),
  ).toBeCloseTo(0, 9);
});

test("agreement and divergence skip padding, and look at the logits alone", async () => {
  const logits = (...data: number[]) => ({ present: { dims: [1], data: [7] }, logits: { dims: [1, 2, 2], data } });
  const sample = {
    reference: logits(1, 0, 0, 1),
    outputs: logits(3, 0, 5, 0),
    feed: { attention_mask: mask(1, 0) },
    label: undefined,
  };
  expect(await scoreOf(await makeMetric("agreement", { hasLabels: false }), sample)).toBe(1);
  expect(await scoreOf(await makeMetric("agreement", { hasLabels: false }), { ...sample, feed: {} })).toBe(0.5);
  const kl = await makeMetric("kl", { hasLabels: false });
  // softmax(1, 0) = 0.7311, 0.2689 against softmax(3, 0) = 0.9526, 0.0474.
  expect(await scoreOf(kl, sample)).toBeCloseTo(
    -(0.7311 * Math.log(0.7311 / 0.9526) + 0.2689 * Math.log(0.2689 / 0.0474)),
    3,
  );
  expect([-0.04, -0.06].map((x) => kl.passes(x, 0))).toEqual([true, false]);
});

test("a drop in dB asks for the ratio of signal to error, whatever the use", async () => {
  const use = { metric: "kl" } as const;
  expect((await makeMetric(undefined, { hasLabels: false, use, maxDrop: "28dB" })).name).toBe("sqnr");
});

test("one sample may differ under agreement, whose budget says so; labelled answers have no such slack", async () => {
  const agreement = await makeMetric("agreement", { hasLabels: false });
  expect(agreement).toMatchObject({ mayDifferOnce: true, budget: "at most 2.00 % below float32, or one sample" });
  expect((await makeMetric("top1", { hasLabels: true })).mayDifferOnce).toBeUndefined();
});
