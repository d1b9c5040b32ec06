import { expect, test } from "vitest";
import { mergedDecoder, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { NodeSpec } from "../onnx/graph.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { measureSensitivity } from "./sensitivity.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

/** Two branches, of which the first dominates the output. */
const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: [1, 32] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "strong"], output: ["a"] },
      { opType: "MatMul", input: ["x", "weak"], output: ["b"] },
      { opType: "Add", input: ["a", "b"], output: ["y"] },
    ],
    initializers: [
      floatTensor("strong", [32, 16], seededFloats(512, 3)),
      floatTensor(
        "weak",
        [32, 16],
        seededFloats(512, 4).map((x) => x / 100),
      ),
    ],
  });
const feeds = [{ x: { dtype: "float32", dims: [1, 32], data: seededFloats(32, 9) } } as const];

test("the more sensitive weight comes first, and 4 bits have more error than 8", async () => {
  const rows = await measureSensitivity(model(), feeds, { budgetMs: 60_000 });
  expect(rows.map((x) => x.name)).toEqual(["strong", "weak"]);
  const [strong, weak] = rows;
  expect((weak?.int4Db ?? 0) - (strong?.int4Db ?? 0)).toBeGreaterThan(30);
  for (const { int8Db, int4Db } of rows) expect(int8Db - int4Db).toBeGreaterThan(15);
  expect(strong).toMatchObject({ operator: "MatMul", bytes: 2_048 });
});

test("without time nothing is measured", async () => {
  expect(await measureSensitivity(model(), feeds, { budgetMs: -1 })).toEqual([]);
});

test("weights that only branches read, and those of recurrent layers, are measured too; other inputs of these are none", async () => {
  const merged = mergedDecoder(80, 16);
  const ids = { dtype: "int64", dims: [2], data: BigInt64Array.from([3n, 70n]) } as const;
  const isCached = { dtype: "bool", dims: [], data: Uint8Array.of(1) } as const;
  const rows = await measureSensitivity(merged, [{ ids, isCached }], { budgetMs: 60_000 });
  expect(new Set(rows.map((x) => x.name))).toEqual(new Set(["table", "dense"]));
  for (const { int8Db } of rows) expect(int8Db).toBeLessThan(100);
  const lstm = smallModel({
    opset: 13,
    inputs: { x: [4, 1, 8] },
    outputs: ["y"],
    nodes: [{ opType: "LSTM", input: ["x", "w", "r", "b"], output: ["y"], attributes: { hidden_size: 16 } }],
    initializers: [
      floatTensor("w", [1, 64, 8], seededFloats(512, 3)),
      floatTensor("r", [1, 64, 16], seededFloats(1_024, 4)),
      floatTensor("b", [1, 128], seededFloats(128, 5)),
    ],
  });
  const x = { dtype: "float32", dims: [4, 1, 8], data: seededFloats(32) } as const;
  const found = await measureSensitivity(lstm, [{ x }], { budgetMs: 60_000 });
  expect(new Set(found.map((row) => row.name))).toEqual(new Set(["w", "r"]));
});

test("weights of an Einsum are measured as a product's of the same values, a scale for each output", async () => {
  const values = seededFloats(512, 3).map((x, i) => (i % 16 === 7 ? x * 50 : x));
  const made = (node: NodeSpec, dims: readonly number[], data = values) =>
    smallModel({
      ...{ opset: 13, inputs: { x: [1, 32] }, outputs: ["y"], nodes: [node] },
      initializers: [floatTensor("w", dims, data)],
    });
  const rowOf = async (model: OnnxModel) => (await measureSensitivity(model, feeds, { budgetMs: 60_000 }))[0];
  const product = await rowOf(made({ opType: "MatMul", input: ["x", "w"], output: ["y"] }, [32, 16]));
  const einsum = (input: string[], equation: string): NodeSpec => {
    return { opType: "Einsum", input, output: ["y"], attributes: { equation } };
  };
  const turned = Float32Array.from(values, (_, i) => values[(i % 32) * 16 + Math.floor(i / 32)] ?? 0);
  for (const model of [
    made(einsum(["x", "w"], "bi,io->bo"), [32, 16]),
    made(einsum(["w", "x"], "oi,bi->bo"), [16, 32], turned),
  ]) {
    const row = await rowOf(model);
    expect(row).toMatchObject({ name: "w", operator: "Einsum" });
    expect(row?.int8Db).toBeCloseTo(product?.int8Db ?? 0, 1);
    expect(row?.int4Db).toBeCloseTo(product?.int4Db ?? 0, 1);
  }
});
