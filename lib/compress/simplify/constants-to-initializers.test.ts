import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { AttributeProto_AttributeType, AttributeProtoSchema, SparseTensorProtoSchema } from "../onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";
import { constantsToInitializers } from "./constants-to-initializers.ts";

const feed = { x: { dims: [2, 4], data: seededFloats(8) } };
const product = { opType: "MatMul", input: ["x", "w"], output: ["y"] };
const parts = { opset: 13, inputs: { x: ["batch", 4] }, outputs: ["y"] } as const;

const sparse = (indices: ReturnType<typeof int64Tensor>) =>
  create(SparseTensorProtoSchema, {
    ...{ values: floatTensor("w", [3], Float32Array.of(1, 2, 3)), indices, dims: [4n, 3n] },
  });
const FLAT = int64Tensor("", [3], [1, 5, 11]);
const ROWS = int64Tensor("", [3, 2], [0, 1, 1, 2, 3, 2]);

test.each([
  ["counted through the tensor", FLAT],
  ["a row each", ROWS],
])("a sparse initializer, its indices %s, is filled up", async (_, indices) => {
  const model = smallModel({ ...parts, nodes: [product] });
  model.graph.proto.sparseInitializer.push(sparse(indices));
  model.graph.changed();
  const before = await runModel(model.write(), feed);
  model.transform(constantsToInitializers());
  expect(model.graph.proto.sparseInitializer).toEqual([]);
  expect(model.graph.constant("w")?.dims).toEqual([4n, 3n]);
  expect(await runModel(model.write(), feed)).toEqual(before);
});

test("one whose indices lead out of it is left to the runtime", () => {
  const model = smallModel({ ...parts, nodes: [product] });
  model.graph.proto.sparseInitializer.push(sparse(int64Tensor("", [3], [1, 5, 12])));
  model.transform(constantsToInitializers());
  expect(model.graph.proto.sparseInitializer).toHaveLength(1);
});

test("numbers in the attributes of Constant nodes become tensors", async () => {
  const { FLOAT, FLOATS, INT, INTS, SPARSE_TENSOR } = AttributeProto_AttributeType;
  const attributes = [
    create(AttributeProtoSchema, { name: "value_float", type: FLOAT, f: 2 }),
    create(AttributeProtoSchema, { name: "value_floats", type: FLOATS, floats: [1, 2, 3] }),
    create(AttributeProtoSchema, { name: "value_int", type: INT, i: 1n }),
    create(AttributeProtoSchema, { name: "value_ints", type: INTS, ints: [-1n, 6n] }),
    create(AttributeProtoSchema, { name: "sparse_value", type: SPARSE_TENSOR, sparseTensor: sparse(FLAT) }),
  ];
  const names = ["two", "row", "axis", "dims", "w"];
  const model = smallModel({
    ...parts,
    nodes: [
      ...names.map((name) => ({ opType: "Constant", input: [], output: [name] })),
      { opType: "MatMul", input: ["x", "w"], output: ["a"] },
      { opType: "Mul", input: ["a", "two"], output: ["b"] },
      { opType: "Add", input: ["b", "row"], output: ["c"] },
      { opType: "CumSum", input: ["c", "axis"], output: ["d"] },
      { opType: "Reshape", input: ["d", "dims"], output: ["y"] },
    ],
  });
  for (const [i, attribute] of attributes.entries()) model.graph.nodes[i]?.attribute.push(attribute);
  const before = await runModel(model.write(), feed);
  model.transform(constantsToInitializers());
  expect(model.graph.proto.initializer.map((x) => x.name)).toEqual(names);
  expect(await runModel(model.write(), feed)).toEqual(before);
});
