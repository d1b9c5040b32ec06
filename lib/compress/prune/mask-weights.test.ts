import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { maskWeights, parseMask } from "./mask-weights.ts";
import { floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 64] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [64, 32], seededFloats(2048))],
  });
const weights = (made: ReturnType<typeof model>) => {
  const tensor = made.graph.constant("w");
  return tensor === undefined ? new Float32Array() : floatsOf(tensor);
};

test("a share sets the smallest weights to 0 and leaves the others as they were", () => {
  const made = model();
  expect(maskWeights(made, parseMask("75%"))).toBeCloseTo(0.75, 3);
  const [was, now] = [weights(model()), weights(made)];
  const kept = [...now].filter((x) => x !== 0).map(Math.abs);
  const gone = [...was].filter((_, i) => now[i] === 0).map(Math.abs);
  expect(Math.min(...kept)).toBeGreaterThanOrEqual(Math.max(...gone));
  expect([...now].every((x, i) => x === 0 || x === was[i])).toBe(true);
});

test("a pattern keeps N of every M weights", () => {
  const made = model();
  maskWeights(made, parseMask("2:4"));
  const now = weights(made);
  for (let at = 0; at < now.length; at += 4)
    expect([...now.subarray(at, at + 4)].filter((x) => x !== 0)).toHaveLength(2);
});

test("a text that is neither a share nor a pattern is refused", () => {
  for (const text of ["100%", "4:2", "half", "2:99", ""]) expect(() => parseMask(text)).toThrow("mask:");
});
