import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { runReference } from "./evaluate-source.ts";
import type { SampleOptions } from "./evaluate-source.ts";
import type { Feed } from "./run/feeds.ts";
import { makeMetric } from "./run/metric.ts";
import { samplesOf } from "./run/samples.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-source-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a model that answers class 0 over samples of class 1. */
async function wrong(signal: AbortSignal | undefined): Promise<number> {
  const path = join(folder, "model.onnx");
  const nodes = [{ opType: "Identity", input: ["x"], output: ["y"] }];
  writeFileSync(path, smallModel({ opset: 17, inputs: { x: ["n", 3] }, outputs: ["y"], nodes }).write());
  const data = Float32Array.from(seededFloats(3), (x, i) => (i === 0 ? 9 : x));
  const feeds: Feed[] = Array.from({ length: 20 }, () => ({ x: { dtype: "float32", dims: [1, 3], data } }));
  const labels = feeds.map(() => [1]);
  const metric = await makeMetric("top1", { hasLabels: true });
  const run = await runReference(path, samplesOf(feeds), metric, labels, { signal, fittedMost: Infinity }, []);
  return run.references.samples.n;
}

test("stopped on the first sample, the labels are not judged by it", async () => {
  expect(await wrong(AbortSignal.abort())).toBe(1);
  await expect(wrong(undefined)).rejects.toThrow(/answers none of the 20 samples as labelled/);
});

test.each([
  [true, null],
  [false, "samples: the model answers 0 to all 20 of them, so nothing can be measured"],
] as const)(
  "of a model that answers 0 alone nothing is measured (synthetic inputs: %s)",
  async (isSynthetic, error) => {
    const path = join(folder, "zero.onnx");
    const nodes = [{ opType: "Relu", input: ["x"], output: ["y"] }];
    writeFileSync(path, smallModel({ opset: 17, inputs: { x: ["n", 3] }, outputs: ["y"], nodes }).write());
    const feeds = (value: number): Feed[] =>
      Array.from({ length: 20 }, (_, i) => ({
        x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(-1, -2, i === 19 ? value : -3) },
      }));
    const metric = await makeMetric("sqnr", { hasLabels: false });
    const notes: string[] = [];
    const run = (value: number) =>
      runReference(path, samplesOf(feeds(value), isSynthetic), metric, undefined, { fittedMost: Infinity }, notes);
    expect((await run(1)).references.samples.n).toBe(20);
    if (error !== null) {
      await expect(run(-3)).rejects.toThrow(error);
      return;
    }
    const { references, score } = await run(-3);
    expect([references.samples.n, score]).toEqual([0, null]);
    expect(notes).toEqual(["The model answers 0 to all synthetic inputs, so nothing was measured; give --samples."]);
  },
);

test.each([true, false])(
  "of a model that answers NaN alone nothing is measured (synthetic inputs: %s)",
  async (isSynthetic) => {
    const path = join(folder, "nan.onnx");
    const nodes = [{ opType: "Sqrt", input: ["x"], output: ["y"] }];
    writeFileSync(path, smallModel({ opset: 17, inputs: { x: ["n", 3] }, outputs: ["y"], nodes }).write());
    const feeds: Feed[] = Array.from({ length: 20 }, () => ({
      x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(-1, -2, -3) },
    }));
    const metric = await makeMetric("sqnr", { hasLabels: false });
    const run = (nonFinite: SampleOptions["nonFinite"]) =>
      runReference(path, samplesOf(feeds, isSynthetic), metric, undefined, { fittedMost: Infinity, nonFinite }, []);
    if (!isSynthetic) await expect(run([])).rejects.toThrow("samples: the model answers NaN to all 20 of them");
    await expect(run([{ name: "w", nans: 1, infinities: 0, count: 9 }])).rejects.toThrow(
      'model: it answers NaN to every input, since of its weights "w" holds NaN in 1 of 9 values',
    );
  },
);
