import { expect, test } from "vitest";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import { quantizeWeights } from "./quantize-weights.ts";
import { chooseBlockSizes } from "./choose-block-sizes.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

/** Numbers with one outlier in 37, which no uniform scale suits. */
const peaked = (length: number, seed: number): Float32Array =>
  seededFloats(length, seed).map((x, i) => (i % 37 === 0 ? 4 * x : x));
/** A sum of two products, the second of which is a hundred times as large, and of constants that are no weights. */
const model = (others: number) =>
  smallModel({
    opset: 13,
    inputs: { x: [4, 128] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["p"] },
      { opType: "MatMul", input: ["x", "b"], output: ["q"] },
      { opType: "Mul", input: ["q", "k"], output: ["s"] },
      { opType: "Sum", input: ["p", "s"], output: ["t"] },
      { opType: "Add", input: ["t", "places"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [128, 128], peaked(128 * 128, 2)),
      floatTensor("b", [128, 128], peaked(128 * 128, 3)),
      floatTensor("k", [], Float32Array.of(100)),
      floatTensor("places", [others, 1, 128], seededFloats(others * 128, 4)),
    ],
  });
const feeds = [{ x: { dtype: "float32" as const, dims: [4, 128], data: seededFloats(512) } }];
const isWeight = ({ name }: { name: string }): boolean => name === "a" || name === "b";

test("the most sensitive weight gets finer scales, within the bytes that other constants save", async () => {
  const few = await chooseBlockSizes(model(6), feeds, isWeight, { share: 0.1 });
  expect([...few.keys()]).toEqual(["b"]);
  const more = await chooseBlockSizes(model(16), feeds, isWeight, { share: 0.2 });
  expect(more.get("b")).toBeLessThan(few.get("b") ?? 0);
  expect((await chooseBlockSizes(model(8), feeds, isWeight, { share: 0 })).size).toBe(0);
  expect((await chooseBlockSizes(model(2), feeds, isWeight)).size, "two scales for each output cost as much").toBe(0);
  expect((await chooseBlockSizes(model(8), [], isWeight)).size).toBe(0);
});

test("a weight with a scale for each block has less error, whichever way it is stored", async () => {
  for (const [spec, dims] of [
    [{ opType: "MatMul", input: ["x", "w"] }, [96, 40]],
    [{ opType: "Gemm", input: ["x", "w"], attributes: { transB: 1 } }, [40, 96]],
  ] as const) {
    const plain = smallModel({
      opset: 13,
      inputs: { x: [5, 96] },
      outputs: ["y"],
      nodes: [{ ...spec, output: ["y"] }],
      initializers: [floatTensor("w", dims, peaked(96 * 40, 6))],
    });
    const x = { x: { dims: [5, 96], data: seededFloats(5 * 96, 7) } };
    const bytes = plain.write();
    const [whole = []] = await runModel(bytes, x);
    const errorOf = async (block: number): Promise<number> => {
      const blocks = new Map([["w", block]]);
      const [now = []] = await runModel(readModel(bytes).transform(quantizeWeights({ blocks })).write(), x);
      return decibels(whole, now);
    };
    const [row, fine] = [await errorOf(96), await errorOf(16)];
    expect(fine).toBeGreaterThan(row + 3);
    // A block size that does not divide the row is not used.
    expect(await errorOf(36)).toBe(row);
  }
});
