import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { runReference } from "./evaluate-source.ts";
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
