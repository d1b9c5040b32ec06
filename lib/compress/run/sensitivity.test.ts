import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
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
