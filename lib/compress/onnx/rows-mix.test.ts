// The toolchain and the page decide alike whether the rows of a batch influence each other.
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { addBranch, seededFloats, smallModel, twoLayers } from "../../test-support/compress/fixtures.ts";
import { rowsMix } from "../../worker/backend/read-rows.ts";
import { quantizeDynamic } from "../quantize/quantize-dynamic.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { makeNode } from "./graph.ts";
import type { NodeSpec } from "./graph.ts";
import { FunctionProtoSchema } from "./onnx.gen.js";
import { modelMixesRows } from "./rows-mix.ts";
import { floatTensor, int64Tensor } from "./tensor-proto.ts";

test("forms quantize the activations of each row alone, so none mixes rows", () => {
  const layers = () => twoLayers({ opset: 13, inputs: 64, units: 96, outputs: 32 });
  expect(modelMixesRows(layers())).toBe(false);
  expect(modelMixesRows(layers().transform(quantizeWeights()))).toBe(false);
  expect(modelMixesRows(layers().transform(quantizeDynamic()))).toBe(false);
});

test("for any chain of layers the toolchain says what the page says", () => {
  const steps: Readonly<Record<string, (from: string, to: string) => NodeSpec>> = {
    relu: (x, y) => ({ opType: "Relu", input: [x], output: [y] }),
    product: (x, y) => ({ opType: "MatMul", input: [x, "w"], output: [y] }),
    softmax: (x, y) => ({ opType: "Softmax", input: [x], output: [y], attributes: { axis: 1 } }),
    softmaxOfRows: (x, y) => ({ opType: "Softmax", input: [x], output: [y], attributes: { axis: 0 } }),
    turned: (x, y) => ({ opType: "Transpose", input: [x], output: [y], attributes: { perm: [1, 0] } }),
    mean: (x, y) => ({ opType: "ReduceMean", input: [x], output: [y], attributes: { axes: [1] } }),
    first: (x, y) => ({ opType: "Gather", input: [x, "zero"], output: [y], attributes: { axis: 0 } }),
    listed: (x, y) => ({ opType: "Reshape", input: [x, "list"], output: [y] }),
    halves: (x, y) => ({ opType: "Squeeze", input: [x, "zero"], output: [y] }),
  };
  const chain = fc.array(fc.constantFrom(...Object.keys(steps)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(chain, fc.constantFrom<number | string>("n", 4), (names, rows) => {
      const model = smallModel({
        opset: 13,
        inputs: { x: [rows, 8] },
        outputs: [`v${names.length}`],
        nodes: names.flatMap((name, i) => steps[name]?.(i === 0 ? "x" : `v${i}`, `v${i + 1}`) ?? []),
        initializers: [
          floatTensor("w", [8, 8], seededFloats(64)),
          int64Tensor("zero", [1], [0]),
          int64Tensor("list", [2], [-1, 8]),
        ],
      });
      expect(modelMixesRows(model)).toBe(rowsMix(model.write()));
    }),
    { numRuns: 300 },
  );
});

test("what a function that a function calls computes of the whole batch counts", () => {
  const defined = (name: string, node: NodeSpec) =>
    create(FunctionProtoSchema, { name, domain: "f", input: ["a"], output: ["b"], node: [makeNode(node)] });
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 4] },
    outputs: ["y"],
    nodes: [{ opType: "Outer", domain: "f", input: ["x"], output: ["y"] }],
  });
  const outer = defined("Outer", { opType: "Inner", domain: "f", input: ["a"], output: ["b"] });
  const whole = { opType: "DynamicQuantizeLinear", input: ["a"], output: ["b", "s", "z"] };
  model.proto.functions = [outer, defined("Inner", whole)];
  const both = (): boolean[] => [modelMixesRows(model), rowsMix(model.write())];
  expect(both()).toEqual([true, true]);
  model.proto.functions = [outer, defined("Inner", { opType: "Outer", domain: "f", input: ["a"], output: ["b"] })];
  expect(both()).toEqual([false, false]);
  // A branch in a function, which calls another one.
  const branching = defined("Inner", { opType: "If", input: ["c"], output: ["b"] });
  addBranch(branching.node[0], "then_branch", [{ opType: "Last", domain: "f", input: ["a"], output: ["t"] }], "t");
  addBranch(branching.node[0], "else_branch", [{ opType: "Relu", input: ["a"], output: ["e"] }], "e");
  model.proto.functions = [outer, branching, defined("Last", whole)];
  expect(both()).toEqual([true, true]);
  // Another overload of the function is not the one that is called.
  const other = defined("Outer", whole);
  other.overload = "int8";
  model.proto.functions = [other, defined("Outer", { opType: "Relu", input: ["a"], output: ["b"] })];
  expect(both()).toEqual([false, false]);
});

test("what a branch computes of the whole batch counts", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 8], c: [] },
    outputs: ["y"],
    types: { c: 9 },
    nodes: [{ opType: "If", input: ["c"], output: ["y"] }],
  });
  const [node] = model.graph.nodes;
  addBranch(node, "then_branch", [{ opType: "Relu", input: ["x"], output: ["a"] }], "a");
  addBranch(
    node,
    "else_branch",
    [
      { opType: "DynamicQuantizeLinear", input: ["x"], output: ["q", "s", "z"] },
      { opType: "DequantizeLinear", input: ["q", "s", "z"], output: ["b"] },
    ],
    "b",
  );
  expect([modelMixesRows(model), rowsMix(model.write())]).toEqual([true, true]);
});
