import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { addBranch, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { setAttribute } from "../onnx/graph.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { AttributeProto_AttributeType, AttributeProtoSchema, FunctionProtoSchema } from "../onnx/onnx.gen.js";
import type { FunctionProto, NodeProto } from "../onnx/onnx.gen.js";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { inlineFunctions } from "./inline-functions.ts";
import { simplify } from "./simplify.ts";

const DOMAIN = "own.lib";
const feed = { x: { dims: [2, 4], data: seededFloats(8) } };

/** A function whose body is written as a graph; `opset` is that of the body. */
function functionOf(
  name: string,
  [input, output]: readonly [readonly string[], readonly string[]],
  body: Parameters<typeof smallModel>[0]["nodes"],
  opset = 18,
): FunctionProto {
  const { proto } = smallModel({ opset, inputs: {}, outputs: [], nodes: body });
  const opsetImport = [...proto.opsetImport, { domain: DOMAIN, version: 1n }];
  const node = proto.graph?.node ?? [];
  return create(FunctionProtoSchema, {
    domain: DOMAIN,
    name,
    opsetImport,
    node,
    input: [...input],
    output: [...output],
  });
}

function withFunctions(model: OnnxModel, ...functions: FunctionProto[]): OnnxModel {
  model.proto.irVersion = 10n;
  model.proto.functions = functions;
  model.proto.opsetImport.push({ ...model.proto.opsetImport[0]!, domain: DOMAIN, version: 1n });
  return model;
}

const call = (name: string, input: readonly string[], output: readonly string[]) => ({
  ...{ opType: name, domain: DOMAIN, input, output },
});

/** Operators of a graph and of those below it. */
const operators = (model: OnnxModel): string[] => [...model.graph.all()].flatMap((x) => x.nodes.map((y) => y.opType));

async function expectInlined(model: OnnxModel): Promise<void> {
  const before = await runModel(model.write(), feed);
  model.transform(inlineFunctions());
  expect(model.proto.functions).toEqual([]);
  expect(model.proto.opsetImport.map((x) => x.domain)).not.toContain(DOMAIN);
  expect(await runModel(readModel(model.write()).write(), feed)).toEqual(before);
}

/** Makes an attribute of a node refer to one of the call. */
function refer(node: NodeProto | undefined, name: string, to: string, type = AttributeProto_AttributeType.FLOAT): void {
  node?.attribute.push(create(AttributeProtoSchema, { name, type, refAttrName: to }));
}

test("nested functions that are called twice become nodes with names of their own", async () => {
  const inner = functionOf(
    "Layer",
    [["a", "w"], ["b"]],
    [
      { opType: "MatMul", input: ["a", "w"], output: ["t"] },
      { opType: "Relu", input: ["t"], output: ["b"] },
    ],
  );
  const outer = functionOf(
    "Two",
    [["a", "w"], ["b"]],
    [call("Layer", ["a", "w"], ["t"]), call("Layer", ["t", "w"], ["b"])],
  );
  const model = withFunctions(
    smallModel({
      ...{ opset: 18, inputs: { x: ["batch", 4] }, outputs: ["y"] },
      // "t" is a name of the bodies too.
      nodes: [call("Two", ["x", "w"], ["t"]), call("Two", ["t", "w"], ["y"])],
      initializers: [floatTensor("w", [4, 4], seededFloats(16, 3))],
    }),
    outer,
    inner,
  );
  await expectInlined(model);
  expect(operators(model)).toEqual(Array.from({ length: 4 }, () => ["MatMul", "Relu"]).flat());
});

test("attributes come from the call, else from the function's default; an input left out stays left out", async () => {
  const each = functionOf(
    "Soft",
    [["a", "low", "high"], ["b"]],
    [
      { opType: "LeakyRelu", input: ["a"], output: ["t"] },
      { opType: "Elu", input: ["t"], output: ["u"] },
      { opType: "Clip", input: ["u", "low", "high"], output: ["b"] },
    ],
  );
  refer(each.node[0], "alpha", "slope");
  refer(each.node[1], "alpha", "curve");
  const type = AttributeProto_AttributeType.FLOAT;
  each.attributeProto.push(create(AttributeProtoSchema, { name: "slope", type, f: 0.25 }));
  each.attribute.push("curve");
  const model = withFunctions(
    smallModel({
      ...{ opset: 18, inputs: { x: ["batch", 4] }, outputs: ["y"] },
      nodes: [call("Soft", ["x", "", "most"], ["h"]), call("Soft", ["h"], ["y"])],
      initializers: [floatTensor("most", [], Float32Array.of(0.5))],
    }),
    each,
  );
  setAttribute(model.graph.nodes[0]!, "curve", { float: 0.125 });
  setAttribute(model.graph.nodes[1]!, "curve", { float: 2 });
  setAttribute(model.graph.nodes[1]!, "slope", { float: 0.75 });
  await expectInlined(model);
  const floats = model.graph.nodes.map((x) => x.attribute.map((y) => [y.name, y.f, y.refAttrName]));
  expect(floats).toEqual([
    ...[[["alpha", 0.25, ""]], [["alpha", 0.125, ""]], []],
    ...[[["alpha", 0.75, ""]], [["alpha", 2, ""]], []],
  ]);
});

test("a body of an older operator set is raised with the attributes of the call", async () => {
  const each = functionOf("Shares", [["a"], ["b"]], [{ opType: "Softmax", input: ["a"], output: ["b"] }], 11);
  refer(each.node[0], "axis", "along", AttributeProto_AttributeType.INT);
  each.attribute.push("along");
  // Along the last axis both sets agree; along another ONNX Runtime takes the body for one of the model's set.
  const nodes = [{ ...call("Shares", ["x"], ["y"]), attributes: { along: 1 } }];
  const model = smallModel({ opset: 17, inputs: { x: ["batch", 4] }, outputs: ["y"], nodes });
  await expectInlined(withFunctions(model, each));
});

test("calls in a branch, and branches in a function, are inlined", async () => {
  const each = functionOf(
    "Turn",
    [["a"], ["b"]],
    [
      { opType: "ReduceMax", input: ["a"], output: ["most"], attributes: { keepdims: 0 } },
      { opType: "Cast", input: ["most"], output: ["isOn"], attributes: { to: 9 } },
      { opType: "If", input: ["isOn"], output: ["b"] },
    ],
  );
  addBranch(each.node[2], "then_branch", [{ opType: "Neg", input: ["a"], output: ["t"] }], "t");
  addBranch(each.node[2], "else_branch", [{ opType: "Relu", input: ["a"], output: ["t"] }], "t");
  const model = withFunctions(
    smallModel({
      ...{ opset: 18, inputs: { x: ["batch", 4] }, outputs: ["y"] },
      nodes: [
        call("Turn", ["x"], ["t"]),
        { opType: "ReduceMin", input: ["x"], output: ["least"], attributes: { keepdims: 0 } },
        { opType: "Cast", input: ["least"], output: ["isOn"], attributes: { to: 9 } },
        { opType: "If", input: ["isOn"], output: ["y"] },
      ],
    }),
    each,
  );
  const branch = model.graph.nodes[3];
  addBranch(branch, "then_branch", [call("Turn", ["t"], ["u"])], "u");
  addBranch(branch, "else_branch", [{ opType: "Identity", input: ["t"], output: ["v"] }], "v");
  await expectInlined(model);
});

test("a body of an older operator set is raised to the model's; one of a newer set stays a function", async () => {
  const older = functionOf(
    "Low",
    [["a"], ["b"]],
    [{ opType: "Clip", input: ["a"], output: ["b"], attributes: { max: { float: 0.25 } } }],
    10,
  );
  const nodes = [call("Low", ["x"], ["y"])];
  const parts = { opset: 13, inputs: { x: ["batch", 4] }, outputs: ["y"], nodes };
  const model = withFunctions(smallModel(parts), older);
  model.transform(inlineFunctions());
  expect(model.graph.nodes[0]?.input).toHaveLength(3);
  const [y = []] = await runModel(model.write(), feed);
  expect(Math.max(...y)).toBe(0.25);

  const newer = functionOf("Low", [["a"], ["b"]], [{ opType: "Gelu", input: ["a"], output: ["b"] }], 20);
  const other = withFunctions(smallModel(parts), newer);
  other.transform(inlineFunctions());
  expect(other.proto.functions).toEqual([newer]);
  expect(operators(other)).toEqual(["Low"]);
});

test("weights in a function are initializers of a simplified model, once however often it is called", () => {
  const each = functionOf(
    "Layer",
    [["a"], ["b"]],
    [
      { opType: "Constant", input: [], output: ["w"] },
      { opType: "MatMul", input: ["a", "w"], output: ["b"] },
    ],
  );
  const t = floatTensor("", [16, 16], seededFloats(256));
  const type = AttributeProto_AttributeType.TENSOR;
  each.node[0]?.attribute.push(create(AttributeProtoSchema, { name: "value", type, t }));
  const nodes = [call("Layer", ["x"], ["h"]), call("Layer", ["h"], ["y"])];
  const model = withFunctions(smallModel({ opset: 18, inputs: { x: ["batch", 16] }, outputs: ["y"], nodes }), each);
  model.transform(simplify());
  expect(model.graph.proto.initializer.map((x) => x.dims)).toEqual([[16n, 16n]]);
  expect(operators(model)).toEqual(["MatMul", "MatMul"]);
});
