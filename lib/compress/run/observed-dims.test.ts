import { expect, test } from "vitest";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { withObservedDims } from "./observed-dims.ts";

test("a declared size of an output that a run contradicts is opened, in the description and in the model", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: ["batch", 6, 32, 32] },
    outputs: ["y"],
    outputDims: { y: ["batch", 6, 16, 16] },
    nodes: [{ opType: "Relu", input: ["x"], output: ["y"] }],
  });
  const output = { name: "y", dtype: "float32", dims: ["batch", 6, 16, 16], batchAxis: 0 } as const;
  const notes: string[] = [];
  const observed = { y: { dims: [1, 6, 32, 32], data: [] } };
  const [now] = withObservedDims([output], model, observed, notes);
  expect(now?.dims).toEqual(["batch", 6, "y_2", "y_3"]);
  expect(notes.join()).toContain("declared [batch, 6, 16, 16], but a run returned [1, 6, 32, 32]");
  const type = model.graph.proto.output[0]?.type?.value;
  const dims = type?.case === "tensorType" ? type.value.shape?.dim.map((x) => x.value.value) : [];
  expect(dims).toEqual(["batch", 6n, undefined, undefined]);
  expect(withObservedDims([output], model, undefined, notes)).toEqual([output]);
});

test("an output that is declared with one row, and returns two, has a batch axis", () => {
  const nodes = [{ opType: "Relu", input: ["x"], output: ["y"] }];
  const dims = { inputs: { x: ["batch", 6] }, outputDims: { y: [1, 6] } };
  const model = smallModel({ opset: 13, outputs: ["y"], nodes, ...dims });
  const output = { name: "y", dtype: "float32", dims: [1, 6], batchAxis: null } as const;
  const [now] = withObservedDims([output], model, { y: { dims: [2, 6], data: [] } }, [], true);
  expect(now).toMatchObject({ dims: ["y_0", 6], batchAxis: 0 });
  // Another size may be a count that the rows share.
  const [other] = withObservedDims([output], model, { y: { dims: [3, 6], data: [] } }, [], true);
  expect(other).toMatchObject({ dims: ["y_0", 6], batchAxis: null });
});
