import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { addBranch, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { FunctionProtoSchema, GraphProtoSchema, NodeProtoSchema, OperatorSetIdProtoSchema } from "../onnx/onnx.gen.js";
import { plainNames } from "./plain-names.ts";
import { simplify } from "./simplify.ts";

const parts = { opset: 13, inputs: { x: ["batch", 4] }, outputs: ["y"] } as const;

test("a value called __proto__ gets another name, in branches too, and the answers stay", async () => {
  const model = smallModel({
    ...parts,
    nodes: [
      { opType: "Neg", input: ["x"], output: ["__proto__"] },
      { opType: "ReduceMax", input: ["__proto__"], output: ["proto"], attributes: { keepdims: 0 } },
      { opType: "Cast", input: ["proto"], output: ["isOn"], attributes: { to: 9 } },
      { opType: "If", input: ["isOn"], output: ["y"] },
    ],
  });
  addBranch(model.graph.nodes[3], "then_branch", [{ opType: "Relu", input: ["__proto__"], output: ["t"] }], "t");
  addBranch(model.graph.nodes[3], "else_branch", [{ opType: "Abs", input: ["__proto__"], output: ["e"] }], "e");
  const feed = { x: { dims: [2, 4], data: seededFloats(8) } };
  const before = await runModel(model.write(), feed);
  model.transform(plainNames());
  const names = [...model.graph.all()].flatMap((x) => x.nodes.flatMap((y) => [...y.input, ...y.output]));
  expect(names).not.toContain("__proto__");
  expect(names.filter((x) => x === "proto_1")).toHaveLength(4);
  expect(await runModel(model.write(), feed)).toEqual(before);
});

test("the new name is none of a branch's own", async () => {
  const model = smallModel({
    ...parts,
    nodes: [
      { opType: "Neg", input: ["x"], output: ["__proto__"] },
      { opType: "ReduceMax", input: ["x"], output: ["most"], attributes: { keepdims: 0 } },
      { opType: "Cast", input: ["most"], output: ["isOn"], attributes: { to: 9 } },
      { opType: "If", input: ["isOn"], output: ["y"] },
    ],
  });
  const inner = [
    { opType: "Relu", input: ["x"], output: ["proto"] },
    { opType: "Add", input: ["proto", "__proto__"], output: ["t"] },
  ];
  addBranch(model.graph.nodes[3], "then_branch", inner, "t");
  addBranch(model.graph.nodes[3], "else_branch", [{ opType: "Abs", input: ["__proto__"], output: ["e"] }], "e");
  const feed = { x: { dims: [2, 4], data: seededFloats(8) } };
  const before = await runModel(model.write(), feed);
  model.transform(plainNames());
  expect(await runModel(model.write(), feed)).toEqual(before);
});

test("domains have one name in the branches of a function too, and one import", () => {
  const model = smallModel({
    ...parts,
    nodes: [{ opType: "Twice", domain: "own", input: ["x"], output: ["y"] }],
  });
  const node = create(NodeProtoSchema, { domain: "ai.onnx", opType: "Abs", input: ["a"], output: ["b"] });
  const g = create(GraphProtoSchema, { node: [node] });
  const branch = create(NodeProtoSchema, {
    opType: "If",
    input: ["c"],
    output: ["b"],
    attribute: [{ name: "then_branch", g }],
  });
  model.proto.functions = [create(FunctionProtoSchema, { name: "Twice", domain: "own", node: [branch] })];
  model.proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: "ai.onnx", version: 13n }));
  model.transform(plainNames());
  expect(node.domain).toBe("");
  expect(model.proto.opsetImport.map((x) => x.domain)).toEqual([""]);
});

test("a model that names its operators' domain ai.onnx is simplified like any other", () => {
  const nodes = [
    { opType: "Identity", domain: "ai.onnx", input: ["x"], output: ["same"] },
    { opType: "MatMul", domain: "ai.onnx", input: ["same", "w"], output: ["y"] },
  ];
  const model = smallModel({ ...parts, nodes, initializers: [floatTensor("w", [4, 3], seededFloats(12))] });
  model.proto.opsetImport[0]!.domain = "ai.onnx";
  model.transform(simplify());
  expect(model.graph.nodes.map((x) => [x.domain, x.opType, x.input])).toEqual([["", "MatMul", ["x", "w"]]]);
});
