import { expect, test } from "vitest";
import { runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { simplify } from "../simplify/simplify.ts";
import type { OnnxModel } from "./model.ts";
import { rankOf } from "./rank.ts";
import { int64Tensor } from "./tensor-proto.ts";

/** The exported form of `x.reshape(x.shape[start:end])`, then a Reshape to a matrix by a dim of the result. */
const reshaped = (start: bigint, end: bigint): OnnxModel =>
  smallModel({
    opset: 17,
    inputs: { x: [1, "c", "h", "w"] },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "Slice", input: ["shape", "start", "end", "zero"], output: ["part"] },
      { opType: "Reshape", input: ["x", "part"], output: ["r"] },
      { opType: "Relu", input: ["r"], output: ["q"] },
      { opType: "Shape", input: ["q"], output: ["own"] },
      { opType: "Gather", input: ["own", "zero"], output: ["rows"], attributes: { axis: 0 } },
      { opType: "Concat", input: ["rows", "rest"], output: ["target"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["q", "target"], output: ["y"] },
    ],
    initializers: [
      int64Tensor("start", [1], [start]),
      int64Tensor("end", [1], [end]),
      int64Tensor("zero", [1], [0]),
      int64Tensor("rest", [1], [-1]),
    ],
  });

test.each([
  [1n, 4n, 3],
  [1n, 9n, 3],
  [1n, 2n ** 31n - 1n, 3],
  [1n, 2n ** 63n - 1n, 3],
  [0n, 2n ** 63n - 1n, 4],
  [-3n, 2n ** 63n - 1n, 3],
  [0n, -1n, 3],
  [-9n, 4n, 4],
  [3n, 1n, 0],
])("a slice of a shape from %s to %s has the length %i: borders are clamped", (start, end, rank) => {
  expect(rankOf(reshaped(start, end).graph, "q")).toBe(rank);
});

test("the length of a slice of a shape of unknown rank is not guessed", () => {
  const model = reshaped(1n, 3n);
  const [x] = model.graph.proto.input;
  if (x?.type?.value.case === "tensorType") delete x.type.value.value.shape;
  expect(rankOf(model.graph, "q")).toBeUndefined();
});

test.each([4n, 2n ** 31n - 1n, 2n ** 63n - 1n])(
  "a model that reshapes by the rest of a shape up to %s is simplified and computes the same",
  async (end) => {
    const feeds = { x: { dims: [1, 2, 3, 4], data: seededFloats(24, 1) } };
    const simplified = reshaped(1n, end).transform(simplify());
    expect(await runModel(simplified.write(), feeds)).toEqual(await runModel(reshaped(1n, end).write(), feeds));
  },
);
