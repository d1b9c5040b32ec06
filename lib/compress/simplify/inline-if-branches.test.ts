import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { fixInputs } from "./fix-inputs.ts";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { makeNode } from "../onnx/graph.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  TensorProto_DataType,
} from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { openModel } from "../run/session.ts";
import { inlineIfBranches } from "./inline-if-branches.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** Makes an If node from its effect on a value in the then and the else branch. */
function branch(node: NodeProto, name: "then_branch" | "else_branch", scale: number, value: string = name): NodeProto {
  const g = create(GraphProtoSchema, {
    name,
    node: [makeNode({ opType: "Mul", input: ["x", `${value}/scale`], output: [`${value}/y`] })],
    initializer: [floatTensor(`${value}/scale`, [], Float32Array.of(scale))],
    output: [{ name: `${value}/y` }],
  });
  node.attribute.push(create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g }));
  return node;
}

/** A model that multiplies by 2 where `n` is 7, else by 3. */
function model(): OnnxModel {
  const made = smallModel({
    opset: 16,
    inputs: { x: [2], n: [] },
    types: { n: TensorProto_DataType.INT64 },
    outputs: ["y"],
    nodes: [
      { opType: "Equal", input: ["n", "seven"], output: ["is"] },
      { opType: "If", input: ["is"], output: ["z"] },
      { opType: "Neg", input: ["z"], output: ["y"] },
    ],
    initializers: [int64Tensor("seven", [], [7])],
  });
  const [, node] = made.graph.nodes;
  if (node !== undefined) branch(branch(node, "then_branch", 2), "else_branch", 3);
  made.graph.changed();
  return made;
}

const x = { dtype: "float32" as const, dims: [2], data: Float32Array.of(1, -5) };

async function answer(bytes: Uint8Array): Promise<number[]> {
  const session = await openModel(bytes, "cpu");
  const { y } = await session.run({ x });
  await session.release();
  return Array.from(y?.data ?? [], Number);
}

for (const { n, factor } of [
  { n: 7, factor: 2 },
  { n: 8, factor: 3 },
])
  test(`where an input is fixed to ${n}, its branch replaces the If`, async () => {
    const inlined = model().transform(fixInputs({ n }), inlineIfBranches());
    expect(inlined.graph.nodes.map((node) => node.opType)).not.toContain("If");
    expect(inlined.graph.proto.input.map((input) => input.name)).toEqual(["x"]);
    expect(await answer(inlined.write())).toEqual([-factor, 5 * factor]);
  });

test("an If whose condition is an input stays", () => {
  expect(
    model()
      .transform(inlineIfBranches())
      .graph.nodes.map((node) => node.opType),
  ).toEqual(["Equal", "If", "Neg"]);
});

test("a branch with names of the outer graph is not inlined", () => {
  const made = model();
  const [, node] = made.graph.nodes;
  if (node === undefined) throw new Error("there is no If");
  node.attribute = [];
  branch(branch(node, "then_branch", 2, "taken"), "else_branch", 3);
  made.graph.addInitializer(floatTensor("taken/scale", [], Float32Array.of(9)));
  made.graph.changed();
  const bytes = made.transform(fixInputs({ n: 7 }), inlineIfBranches()).write();
  expect(readModel(bytes).graph.nodes.map((x) => x.opType)).toContain("If");
});

test("a missing input, or one whose type cannot represent the number, is refused by name", () => {
  expect(() => model().transform(fixInputs({ m: 1 }))).toThrow('the model has no input "m"');
  expect(() => model().transform(fixInputs({ n: 1.5 }))).toThrow('input "n" cannot be fixed to 1.5');
});
