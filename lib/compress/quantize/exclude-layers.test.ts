import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compress } from "../compress.ts";
import type { Feed } from "../run/feeds.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import { measureLayerErrors, excludeLayers } from "./exclude-layers.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const SIZE = 64;

/** Three layers; one input of the first is a thousand times as large as the others, with weight 0. */
const model = () => {
  const square = (name: string, seed: number) => floatTensor(name, [SIZE, SIZE], seededFloats(SIZE * SIZE, seed));
  const first = square("first", 1);
  new Float32Array(first.rawData.buffer, first.rawData.byteOffset, SIZE).fill(0);
  return smallModel({
    opset: 17,
    inputs: { x: ["n", SIZE] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "first"], output: ["a"] },
      { opType: "Relu", input: ["a"], output: ["b"] },
      { opType: "MatMul", input: ["b", "second"], output: ["c"] },
      { opType: "Relu", input: ["c"], output: ["d"] },
      { opType: "MatMul", input: ["d", "third"], output: ["y"] },
    ],
    initializers: [first, square("second", 2), square("third", 3)],
  });
};
const row = (i: number): Float32Array => {
  const x = seededFloats(SIZE, 50 + i);
  x[0] = 1_000;
  return x;
};
const feeds = Array.from({ length: 4 }, (_, i): Feed => ({ x: { dtype: "float32", dims: [1, SIZE], data: row(i) } }));

test("the layer whose inputs suffer from 8 bits has the most error, and each has its share of the work", async () => {
  const errors = await measureLayerErrors(model(), feeds, { budgetMs: 60_000 });
  expect(errors.map((x) => x.name).sort()).toEqual(["first", "second", "third"]);
  const noise = Object.fromEntries(errors.map((x) => [x.name, x.noise]));
  expect(noise["first"]).toBeGreaterThan(0.1);
  for (const other of ["second", "third"]) expect(noise[other]).toBeLessThan(0.001);
  for (const { work } of errors) expect(work).toBeCloseTo(1 / 3, 9);
  expect([...excludeLayers(errors, 33)]).toEqual(["first"]);
});

test("without time, or without samples, nothing is measured", async () => {
  expect(await measureLayerErrors(model(), feeds, { budgetMs: -1 })).toEqual([]);
  expect(await measureLayerErrors(model(), [], { budgetMs: 60_000 })).toEqual([]);
});

test("as little work as possible is excluded, and none where it would be most of it", () => {
  const errors = [
    { name: "large", noise: 0.002, work: 0.45 },
    { name: "small", noise: 0.001, work: 0.05 },
    { name: "good", noise: 0.0001, work: 0.5 },
  ];
  expect([...excludeLayers(errors, 20)]).toEqual([]);
  expect([...excludeLayers(errors, 26)]).toEqual(["small"]);
  expect([...excludeLayers(errors, 30)]).toEqual(["small", "large"]);
  expect([...excludeLayers(errors, 50)]).toEqual([]);
});

test(
  "a form that misses its budget is made again without the layers with the most error",
  { timeout: 60_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-exclude-"));
    try {
      const [path, samples, out] = [join(folder, "model.onnx"), join(folder, "samples.jsonl"), join(folder, "out")];
      writeFileSync(path, model().write());
      writeFileSync(samples, Array.from({ length: 40 }, (_, i) => JSON.stringify({ x: [[...row(i)]] })).join("\n"));
      const report = await compress(path, { out, targets: [], forms: ["int8-dynamic"], samples, sensitivityMs: 0 });
      const form = report.forms.find((x) => x.id === "int8-dynamic");
      expect(form?.isWithinBudget).toBe(true);
      expect(form?.sqnrDb).toBeGreaterThan(33);
      expect(report.notes.join(" ")).toContain("the inputs of 1 of 3 layers are not quantized");
      const written = readModel(readFileSync(join(out, "int8-dynamic.onnx")));
      expect(written.graph.nodes.filter((x) => x.opType === "MatMulInteger")).toHaveLength(2);
      // The excluded layer's weights are stored in 8 bits as well.
      expect(written.byteLength).toBeLessThan(3 * SIZE * SIZE * 1.5);
      expect(form?.bytes).toBe(written.byteLength);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
