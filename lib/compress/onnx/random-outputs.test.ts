import { create } from "@bufbuild/protobuf";
import { isDeepStrictEqual as equal } from "node:util";
import { expect, test } from "vitest";
import { addBranch, runModelOften, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { makeNode } from "./graph.ts";
import type { NodeSpec } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { AttributeProtoSchema, FunctionProtoSchema, TensorProto_DataType } from "./onnx.gen.js";
import { describeDropouts, randomOutputs, trainingDropouts } from "./random-outputs.ts";
import { floatTensor, rawTensor } from "./tensor-proto.ts";

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

const { BOOL } = TensorProto_DataType;
const SCALARS = [
  floatTensor("ratio", [], Float32Array.of(0.5)),
  floatTensor("zero", [], Float32Array.of(0)),
  rawTensor("on", BOOL, [], Uint8Array.of(1)),
  rawTensor("off", BOOL, [], Uint8Array.of(0)),
];

const dropout = (output: string, ...input: readonly string[]): NodeSpec => ({
  opType: "Dropout",
  input: ["x", ...input],
  output: [output],
});

test("a Dropout draws on an input, where its training mode is true and its ratio not 0", async () => {
  const outputs = ["default_y", "plain_y", "off_y", "kept_y", "dropped_y", "half_y", "weight_y", "read_y"];
  const model = smallModel({
    opset: 17,
    inputs: { x: [2, 64] },
    types: { mask: BOOL },
    outputs: [...outputs, "mask", "left_y"],
    nodes: [
      dropout("default_y"),
      dropout("plain_y", "ratio"),
      dropout("off_y", "ratio", "off"),
      dropout("kept_y", "zero", "on"),
      dropout("dropped_y", "ratio", "on"),
      dropout("half_y", "", "on"),
      { ...dropout("weight_y"), input: ["w", "ratio", "on"] },
      { opType: "Neg", input: ["x"], output: ["h"] },
      { opType: "Dropout", input: ["h", "ratio", "on"], output: ["read_y", "mask"] },
      { opType: "Abs", input: ["x"], output: ["a"] },
      { opType: "Dropout", input: ["a", "ratio", "on"], output: ["left"] },
      { opType: "Relu", input: ["left"], output: ["left_y"] },
    ],
    initializers: [...SCALARS, floatTensor("w", [64], seededFloats(64))],
  });
  const random = ["dropped_y", "half_y", "weight_y", "read_y", "mask"];
  expect(randomOutputs(model)).toEqual(random);
  const feeds = { x: { dims: [2, 64], data: seededFloats(128) } };
  const runs = await runModelOften(model.write(), [feeds, feeds]);
  const differ = model.graph.proto.output.filter((_, i) => !equal(runs[0]?.[i], runs[1]?.[i]));
  expect(differ.map((x) => x.name)).toEqual(random);
  expect(describeDropouts(trainingDropouts(model))).toBe(
    'Dropout "dropped_y/Dropout", "half_y/Dropout", "weight_y/Dropout", 1 more drop values as in training',
  );
});

test("a Dropout in training draws in a subgraph, with a constant from outside, and in a function", () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 4], which: [] },
    types: { which: BOOL },
    outputs: ["branch", "called", "plain"],
    nodes: [
      { opType: "If", input: ["which"], output: ["branch"] },
      { opType: "Train", domain: "f", input: ["x"], output: ["called"] },
      { opType: "Relu", input: ["x"], output: ["plain"] },
    ],
    initializers: SCALARS,
  });
  addBranch(model.graph.nodes[0], "then_branch", [dropout("a", "ratio", "on")], "a");
  addBranch(model.graph.nodes[0], "else_branch", [{ opType: "Relu", input: ["x"], output: ["b"] }], "b");
  const inside = defined(
    "Train",
    ["b"],
    [
      { opType: "Constant", input: [], output: ["mode"] },
      { opType: "Dropout", input: ["a", "", "mode"], output: ["b", "mask"] },
      { opType: "Not", input: ["mask"], output: ["read"] },
    ],
  );
  inside.node[0]?.attribute.push(create(AttributeProtoSchema, { name: "value", t: SCALARS[2] }));
  model.proto.functions = [inside];
  model.graph.changed();
  expect(randomOutputs(model)).toEqual(["branch", "called"]);
  expect(trainingDropouts(model)).toHaveLength(2);
});
