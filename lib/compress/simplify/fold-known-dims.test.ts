import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { largestDifference, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { foldKnownDims } from "./fold-known-dims.ts";
import { AttributeProto_AttributeType, AttributeProtoSchema, TensorProto_DataType } from "../onnx/onnx.gen.js";
import { openModel } from "../run/session.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** The exported form of `x.chunk(2, -1)` with a free batch: half of a dim that is the same in every run. */
const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 6] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Shape", input: ["h"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "one"], output: ["width"], attributes: { axis: 0 } },
      { opType: "Div", input: ["width", "two"], output: ["half"] },
      { opType: "Unsqueeze", input: ["half", "zero"], output: ["end"] },
      { opType: "Slice", input: ["h", "zero", "end", "last"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [6, 8], seededFloats(48, 3)),
      int64Tensor("one", [], [1]),
      int64Tensor("two", [], [2]),
      int64Tensor("zero", [1], [0]),
      int64Tensor("last", [1], [-1]),
    ],
  });

async function answer(bytes: Uint8Array, n: number): Promise<{ dims: readonly number[]; data: number[] }> {
  const session = await openModel(bytes, "cpu");
  const { y } = await session.run({ x: { dtype: "float32", dims: [n, 6], data: seededFloats(n * 6, 5) } });
  await session.release();
  return { dims: y?.dims ?? [], data: Array.from(y?.data ?? [], Number) };
}

/** The exported form of `token.expand(x.shape[0], -1, -1)`, and of merging batch and heads. */
const expanding = () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["n", 6, 4] },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "zero"], output: ["batch"], attributes: { axis: 0 } },
      { opType: "Concat", input: ["batch", "same", "same"], output: ["asked"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["asked", "same"], output: ["list"] },
      { opType: "Shape", input: ["list"], output: ["length"] },
      { opType: "ConstantOfShape", input: ["length"], output: ["ones"] },
      { opType: "Mul", input: ["ones", "same"], output: ["kept"] },
      { opType: "Equal", input: ["list", "kept"], output: ["isKept"] },
      { opType: "Where", input: ["isKept", "ones", "list"], output: ["target"] },
      { opType: "Expand", input: ["token", "target"], output: ["tokens"] },
      { opType: "Concat", input: ["tokens", "x"], output: ["all"], attributes: { axis: 1 } },
      { opType: "Mul", input: ["batch", "seven"], output: ["rows"] },
      { opType: "Concat", input: ["rows", "four"], output: ["flat"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["all", "flat"], output: ["y"] },
    ],
    initializers: [
      floatTensor("token", [1, 1, 4], seededFloats(4, 3)),
      ...Object.entries({ zero: 0, same: -1, seven: 7, four: 4 }).map(([name, x]) => int64Tensor(name, [1], [x])),
    ],
  });
  const { TENSOR: type } = AttributeProto_AttributeType;
  const value = create(AttributeProtoSchema, { name: "value", type, t: int64Tensor("", [1], [1]) });
  model.graph.nodes.find((x) => x.opType === "ConstantOfShape")?.attribute.push(value);
  return model;
};

test("a target with comparisons and multiplications is rebuilt from dims alone", async () => {
  const folded = expanding();
  await foldKnownDims(folded);
  expect(folded.graph.nodes.map((x) => x.opType)).toEqual(["Shape", "Gather", "Concat", "Expand", "Concat", "Reshape"]);
  for (const n of [1, 3]) {
    const feeds = { x: { dims: [n, 6, 4], data: seededFloats(n * 24, 5) } };
    expect(await runModel(folded.write(), feeds)).toEqual(await runModel(expanding().write(), feeds));
  }
});

test("the shape of a value of unknown rank is not confused with that of a scalar", async () => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: ["n", 6], t: ["rank"] },
      outputs: ["y"],
      nodes: [
        { opType: "Cast", input: ["t"], output: ["dims"], attributes: { to: TensorProto_DataType.INT64 } },
        { opType: "Reshape", input: ["x", "dims"], output: ["h"] },
        { opType: "Shape", input: ["h"], output: ["shape"] },
        { opType: "Flatten", input: ["h"], output: ["flat"], attributes: { axis: 1 } },
        { opType: "Relu", input: ["flat"], output: ["r"] },
        { opType: "Reshape", input: ["r", "shape"], output: ["y"] },
      ],
      initializers: [],
    });
  const model = make();
  await foldKnownDims(model);
  const feeds = {
    x: { dims: [2, 6], data: seededFloats(12, 5) },
    t: { dims: [3], data: Float32Array.of(2, 3, 2) },
  };
  expect(await runModel(model.write(), feeds)).toEqual(await runModel(make().write(), feeds));
});

test("values computed from a dim that never changes become constants; a free batch stays free", async () => {
  const folded = model();
  await foldKnownDims(folded);
  expect(folded.graph.nodes.map((x) => x.opType)).toEqual(["MatMul", "Slice"]);
  for (const n of [1, 3]) {
    const [was, now] = [await answer(model().write(), n), await answer(folded.write(), n)];
    expect(now.dims).toEqual([n, 4]);
    expect(largestDifference(was.data, now.data)).toBe(0);
  }
});
