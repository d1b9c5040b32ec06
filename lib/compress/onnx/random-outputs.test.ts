import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { makeNode } from "./graph.ts";
import type { NodeSpec } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { FunctionProtoSchema } from "./onnx.gen.js";
import { randomOutputs } from "./random-outputs.ts";

const defined = (name: string, output: readonly string[], nodes: readonly NodeSpec[]) =>
  create(FunctionProtoSchema, { name, domain: "f", input: ["a"], output: [...output], node: nodes.map(makeNode) });

/** A function with a random and a plain output, called by another one. */
function noisy(): OnnxModel {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 4] },
    outputs: ["noise", "plain", "sum", "size"],
    nodes: [
      { opType: "Outer", domain: "f", input: ["x"], output: ["noise", "plain"] },
      { opType: "Add", input: ["noise", "plain"], output: ["sum"] },
      { opType: "Shape", input: ["noise"], output: ["size"] },
    ],
  });
  model.proto.functions = [
    defined("Outer", ["b", "c"], [{ opType: "Inner", domain: "f", input: ["a"], output: ["b", "c"] }]),
    defined(
      "Inner",
      ["b", "c"],
      [
        { opType: "RandomNormalLike", input: ["a"], output: ["b"] },
        { opType: "Relu", input: ["a"], output: ["c"] },
      ],
    ),
  ];
  return model;
}

test("numbers drawn in a function, or in one that it calls, make the outputs random that they reach", () => {
  expect(randomOutputs(noisy())).toEqual(["noise", "sum"]);
});

test("a function that calls itself, which a reader refuses, does not hang the search", () => {
  const model = noisy();
  model.proto.functions = [
    defined("Outer", ["b", "c"], [{ opType: "Outer", domain: "f", input: ["a"], output: ["b", "c"] }]),
  ];
  expect(randomOutputs(model)).toEqual([]);
});
