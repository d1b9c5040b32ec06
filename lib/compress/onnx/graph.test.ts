import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { AttributeProtoSchema } from "./onnx.gen.js";
import { floatTensor } from "./tensor-proto.ts";

const value = (name: string) => floatTensor(name, [1], Float32Array.of(2));

/** y = If(c) ? x · k : x · s, with k in the outer graph and s of the branch's own. */
function branching() {
  const branch = (factor: string, own: readonly string[]) =>
    smallModel({
      opset: 13,
      inputs: {},
      outputs: ["z"],
      nodes: [{ opType: "Mul", input: ["x", factor], output: ["z"] }],
      initializers: own.map(value),
    }).graph.proto;
  const model = smallModel({
    opset: 13,
    inputs: { x: [1], c: [] },
    outputs: ["y"],
    types: { c: 9 },
    nodes: [{ opType: "If", input: ["c"], output: ["y"] }],
    initializers: [value("k"), value("s")],
  });
  const node = model.graph.proto.node[0]!;
  node.attribute = [
    create(AttributeProtoSchema, { name: "then_branch", type: 5, g: branch("k", []) }),
    create(AttributeProtoSchema, { name: "else_branch", type: 5, g: branch("s", ["s"]) }),
  ];
  return model.graph;
}

test("a use in a subgraph counts, unless the subgraph shadows the name", () => {
  const graph = branching();
  expect(graph.consumers("k").map((x) => x.opType)).toEqual(["If"]);
  expect(graph.consumers("x")).toHaveLength(1);
  expect(graph.consumers("s")).toEqual([]);
});

test("replacing a value includes subgraphs, except those that shadow the name", () => {
  const graph = branching();
  graph.replaceUses("k", "other");
  graph.replaceUses("s", "other");
  const inner = [...graph.all()].slice(1).map((x) => x.nodes[0]?.input);
  expect(inner).toEqual([
    ["x", "other"],
    ["x", "s"],
  ]);
});

test("constants are looked up outwards", () => {
  const [, first, second] = [...branching().all()];
  expect(first?.constant("k")?.name).toBe("k");
  expect(second?.constant("s")?.rawData).toEqual(value("s").rawData);
  expect(first?.constant("x")).toBeUndefined();
});

test("an initializer that a caller may override is no constant", () => {
  const { graph } = smallModel({
    opset: 13,
    inputs: { x: [1], k: [1] },
    outputs: ["y"],
    nodes: [{ opType: "Mul", input: ["x", "k"], output: ["y"] }],
    initializers: [value("k")],
  });
  expect(graph.constant("k")).toBeUndefined();
});

test("a value used twice by a node, or that is also an output, has no only consumer", () => {
  const { graph } = smallModel({
    opset: 13,
    inputs: { x: [1] },
    outputs: ["b", "c"],
    nodes: [
      { opType: "Relu", input: ["x"], output: ["a"] },
      { opType: "Mul", input: ["a", "a"], output: ["b"] },
      { opType: "Neg", input: ["b"], output: ["c"] },
    ],
  });
  expect(graph.onlyConsumer("x")?.opType).toBe("Relu");
  expect(graph.onlyConsumer("a")).toBeUndefined();
  expect(graph.onlyConsumer("b")).toBeUndefined();
});

test("a fresh name is used neither in this graph nor in an outer one", () => {
  const graph = branching();
  const [, inner] = [...graph.all()];
  expect(inner?.freshName("k")).toBe("k_1");
  expect(inner?.freshName("new")).toBe("new");
});

test("a new name is none of the graphs below either, where it would shadow a value", () => {
  const graph = branching();
  expect(graph.freshName("z")).toBe("z_1");
  expect(graph.freshName("k")).toBe("k_1");
  expect(graph.freshName("w")).toBe("w");
  const [, inner] = graph.all();
  inner?.addInitializer(value("w"));
  expect(graph.freshName("w")).toBe("w_1");
});
