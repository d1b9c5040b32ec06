import { expect, test } from "vitest";
import { assignmentInNode } from "../check/assignment-node.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { narrowIds } from "./narrow-ids.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { readModel } from "../onnx/model.ts";
import { openModel } from "../run/session.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** Looks ids up in a table, and masks padding; both, or the mask alone. */
const masked = (isLookedUp: boolean, padding = 0) =>
  smallModel({
    opset: 17,
    inputs: { ids: ["n", 6] },
    outputs: ["y"],
    nodes: [
      ...(isLookedUp ? [{ opType: "Gather", input: ["table", "ids"], output: ["rows"] }] : []),
      { opType: "Equal", input: ["padding", "ids"], output: ["is-padding"] },
      { opType: "Unsqueeze", input: ["is-padding", "last"], output: ["mask"] },
      { opType: "Where", input: ["mask", "zero", isLookedUp ? "rows" : "one"], output: ["y"] },
    ],
    initializers: [
      floatTensor("table", [10, 4], seededFloats(40)),
      floatTensor("zero", [], Float32Array.of(0)),
      floatTensor("one", [1], Float32Array.of(1)),
      int64Tensor("padding", [], [padding]),
      int64Tensor("last", [1], [-1]),
    ],
    types: { ids: TensorProto_DataType.INT64 },
  });

async function answer(bytes: Uint8Array): Promise<number[]> {
  const model = await openModel(bytes, "cpu");
  const data = BigInt64Array.from([0, 3, 9, 0, 1, 0, 2, 0, 0, 5, 6, 7], BigInt);
  const { y } = await model.run({ ids: { dtype: "int64", dims: [2, 6], data } });
  await model.release();
  return Array.from(y?.data ?? [], Number);
}

test("indices of a table are compared in 32 bits, which WebGPU supports, with the same outputs", async () => {
  const before = masked(true).write();
  const model = readModel(before).transform(narrowIds());
  expect(model.graph.nodes.map((x) => x.opType)).toContain("Cast");
  const after = model.write();
  expect(await answer(after)).toEqual(await answer(before));
  expect((await assignmentInNode(before, "webgpu")).cpu).toBe(1);
  expect(await assignmentInNode(after, "webgpu")).toMatchObject({ cpu: 0 });
});

test.each([
  ["numbers of which nothing is known", false, 0],
  ["a constant that 32 bits do not hold", true, 2 ** 31],
])("%s stay as they are", (_, isLookedUp, padding) => {
  const model = masked(isLookedUp, padding);
  const before = model.graph.nodes.length;
  model.transform(narrowIds());
  expect(model.graph.nodes).toHaveLength(before);
});
