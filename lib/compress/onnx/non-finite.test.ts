import { expect, test } from "vitest";
import { addBranch, smallModel } from "../../test-support/compress/fixtures.ts";
import { rowAxis } from "../quantize/quantize-weights.ts";
import { describeNonFinite, nonFiniteWeights } from "./non-finite.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import { floatTensor } from "./tensor-proto.ts";

test("weights with NaN and infinities are found in branches too; a mask is none of them", () => {
  const values = (...of: number[]) => Float32Array.from(of);
  const made = smallModel({
    opset: 17,
    inputs: { x: ["n", 2], c: [] },
    types: { c: TensorProto_DataType.BOOL },
    outputs: ["y"],
    nodes: [{ opType: "If", input: ["c"], output: ["y"] }],
    initializers: [
      floatTensor("a", [2, 2], values(1, NaN, NaN, Infinity)),
      floatTensor("b", [2, 2], values(1, 2, -Infinity, 3)),
      floatTensor("sum", [2], values(NaN, 0)),
      floatTensor("mask", [2, 2], values(0, -Infinity, 0, 0)),
      floatTensor("fill", [2, 2], values(1, 2, -Infinity, 0)),
      floatTensor("sound", [2, 2], values(1, 2, 3, 4)),
    ],
  });
  const product = (weight: string, input: string, output: string) => {
    return { opType: "MatMul", input: [input, weight], output: [output] };
  };
  addBranch(made.graph.nodes[0], "then_branch", [product("a", "x", "p"), product("sound", "p", "q")], "q");
  const others = [
    product("b", "x", "r"),
    { opType: "Add", input: ["r", "sum"], output: ["s"] },
    { opType: "Max", input: ["s", "fill"], output: ["t"] },
    product("mask", "t", "u"),
  ];
  addBranch(made.graph.nodes[0], "else_branch", others, "u");
  made.graph.changed();
  const found = nonFiniteWeights(made, (graph, tensor) => rowAxis(graph, tensor) !== undefined);
  expect(found.map((x) => x.name)).toEqual(["a", "b", "sum"]);
  expect(describeNonFinite(found)).toBe(
    '"a" holds NaN and infinity in 3 of 4 values, "b" holds infinity in 1 of 4 values, "sum" holds NaN in 1 of 2 values',
  );
  expect(describeNonFinite([...found, ...found])).toMatch(/, 3 more do so$/);
});
