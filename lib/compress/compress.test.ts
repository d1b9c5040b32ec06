import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseBundle } from "../core/bundle-schema.ts";
import { compress } from "./compress.ts";
import type { Feed } from "./run/feeds.ts";
import { seededFloats, smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { sqnrTally } from "./run/metric.ts";
import { openModel } from "./run/session.ts";

const [INPUTS, UNITS, SAMPLES] = [16, 300, 3_000];

test("a pruned model is fitted to half of the samples, and generalizes to others", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-compress-"));
  try {
    const model = twoLayers({ opset: 13, inputs: INPUTS, units: UNITS, outputs: 8 }).write();
    const [path, samples, out] = ["model.onnx", "samples.jsonl", "out"].map((x) => join(folder, x)) as [
      string,
      string,
      string,
    ];
    writeFileSync(path, model);
    const lines = Array.from({ length: SAMPLES }, (_, i) =>
      JSON.stringify({ x: [[...seededFloats(INPUTS, 100 + i)]] }),
    );
    writeFileSync(samples, lines.join("\n"));
    const report = await compress(path, {
      out,
      targets: ["wasm"],
      forms: [],
      samples,
      prune: { share: 0.25 },
      sensitivityMs: 0,
    });
    expect(report.notes.join(" ")).toContain(`The remaining weights were fitted to the first ${SAMPLES / 2} samples.`);
    // Fitted to fewer samples than the layer has units, it would interpolate those and fail on all others.
    const unseen = Array.from({ length: 200 }, (_, i): Feed => ({
      x: { dtype: "float32", dims: [1, INPUTS], data: seededFloats(INPUTS, 10_000 + i) },
    }));
    const [whole, pruned] = [await openModel(model, "cpu"), await openModel(join(out, "pruned.onnx"), "cpu")];
    const tally = sqnrTally();
    for (const feed of unseen) tally.add({ reference: await whole.run(feed), outputs: await pruned.run(feed) });
    await whole.release();
    await pruned.release();
    expect(tally.value()).toBeGreaterThan(19.5);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each([
  [0, true],
  [1, false],
] as const)(
  "a variant says whether its rows influence each other: softmax along axis %i",
  async (axis, mixesRows) => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-compress-"));
    try {
      const path = join(folder, "model.onnx");
      const nodes = [{ opType: "Softmax", input: ["x"], output: ["y"], attributes: { axis } }];
      writeFileSync(path, smallModel({ opset: 13, inputs: { x: ["n", 8] }, outputs: ["y"], nodes }).write());
      const out = join(folder, "out");
      await compress(path, { out, targets: ["wasm"], forms: [], sensitivityMs: 0 });
      const bundle = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
      expect(bundle.variants.map((x) => x.mixesRows)).toEqual([mixesRows]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
