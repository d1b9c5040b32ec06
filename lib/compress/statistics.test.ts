import { expect, test } from "vitest";
import { smallModel, seededFloats } from "./fixtures.ts";
import { measureImportance, measurePeaks } from "./statistics.ts";
import { floatTensor } from "./weights.ts";

const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 3] },
    outputs: ["y"],
    nodes: [
      { opType: "Mul", input: ["x", "k"], output: ["h"] },
      { opType: "MatMul", input: ["h", "w"], output: ["y"] },
    ],
    initializers: [floatTensor("k", [], Float32Array.of(2)), floatTensor("w", [3, 4], seededFloats(12))],
  });
const feed = (...data: number[]) => ({
  x: { dtype: "float32" as const, dims: [data.length / 3, 3], data: Float32Array.from(data) },
});

test("peaks are the largest sizes over all samples, and the model stays as it was", async () => {
  const made = model();
  const before = made.write();
  const peaks = await measurePeaks(made, [feed(1, 2, 3), feed(0, -5, 0)]);
  expect(peaks.get("h")).toBe(10);
  expect(Buffer.compare(made.write(), before)).toBe(0);
});

test("importance is the energy of each input of a product, never quite 0", async () => {
  const importance = await measureImportance(model(), [feed(1, 0, 3, 1, 0, 0)]);
  const [a = 0, b = 0, c = 0] = importance.get("w") ?? [];
  expect([a, c]).toEqual([8, 36]);
  expect(b).toBeGreaterThan(0);
  expect(b).toBeLessThan(0.1);
});
