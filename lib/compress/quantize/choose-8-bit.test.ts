import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { choose8Bit } from "./choose-8-bit.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

/** A sum of three products, the second of which is a hundred times as large. */
const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: [4, 32] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["p"] },
      { opType: "MatMul", input: ["x", "b"], output: ["q"] },
      { opType: "MatMul", input: ["x", "c"], output: ["r"] },
      { opType: "Mul", input: ["q", "k"], output: ["s"] },
      { opType: "Sum", input: ["p", "s", "r"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [32, 32], seededFloats(1024, 2)),
      floatTensor("b", [32, 32], seededFloats(1024, 3)),
      floatTensor("c", [32, 32], seededFloats(1024, 4)),
      floatTensor("k", [], Float32Array.of(100)),
    ],
  });
const feeds = [{ x: { dtype: "float32" as const, dims: [4, 32], data: seededFloats(128) } }];

test("the most sensitive weight gets 8 bits, within the share", async () => {
  expect([...(await choose8Bit(model(), feeds, { share: 0.4 }))]).toEqual(["b"]);
  expect((await choose8Bit(model(), feeds, { share: 0.7 })).size).toBe(2);
  expect((await choose8Bit(model(), feeds, { share: 0.2 })).size).toBe(0);
  expect((await choose8Bit(model(), [])).size).toBe(0);
});
