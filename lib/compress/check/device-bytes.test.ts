import { expect, test } from "vitest";
import { deviceBytes } from "./device-bytes.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { quantizeBlocks } from "../quantize/quantize-blocks.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const product = () =>
  smallModel({
    opset: 13,
    inputs: { x: [5, 128] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [128, 64], seededFloats(128 * 64, 5))],
  });
const WHOLE = 4 * 128 * 64;

test("a weight that is folded while loading takes as much as float32, however it is stored", () => {
  expect(deviceBytes(product())).toBe(WHOLE);
  expect(deviceBytes(product().transform(quantizeWeights()))).toBe(WHOLE);
  expect(deviceBytes(product().transform(quantizeWeights({ store: () => "float16" })))).toBe(WHOLE);
});

test("a weight that a kernel reads in blocks takes its stored size, with float32 scales", () => {
  const blocks = (bits: 4 | 8) => deviceBytes(product().transform(quantizeBlocks({ bits: () => bits, block: 64 })));
  const scales = 4 * 2 * 64;
  expect(blocks(8)).toBe(WHOLE / 4 + scales);
  expect(blocks(4)).toBeGreaterThanOrEqual(WHOLE / 8 + scales);
  expect(blocks(4)).toBeLessThan(WHOLE / 8 + 2 * scales);
});
