import { expect, test } from "vitest";
import { addBranch, runModel, smallModel } from "../../test-support/compress/fixtures.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import { readModel } from "./model.ts";
import { floatTensor } from "./tensor-proto.ts";

const norm = { opType: "LayerNormalization", input: ["x", "scale", ""], output: ["y"] } as const;
const scale = floatTensor("scale", [4], Float32Array.of(1, 2, 3, 4));

test("a missing bias that has an empty name is left out as the model is read, in branches too (read-empty-names)", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [1, 4], isFirst: [] },
    types: { isFirst: TensorProto_DataType.BOOL },
    outputs: ["y"],
    nodes: [{ opType: "If", input: ["isFirst"], output: ["y"] }],
    initializers: [scale],
  });
  addBranch(model.graph.nodes[0], "then_branch", [{ ...norm, output: ["a"] }], "a");
  addBranch(model.graph.nodes[0], "else_branch", [{ opType: "Abs", input: ["x"], output: ["b"] }], "b");
  const read = readModel(model.write());
  expect(read.mended).toEqual(["empty-names"]);
  expect(read.graph.nodes[0]?.attribute[0]?.g?.node[0]?.input).toEqual(["x", "scale"]);
  expect(readModel(read.write()).mended).toEqual([]);
});

test("a BatchNormalization with empty names for its statistics runs, as one without (read-empty-names)", async () => {
  const parts = ["scale", "bias", "mean", "variance"].map((name) =>
    floatTensor(name, [4], Float32Array.of(1, 2, 3, 4)),
  );
  const made = (output: readonly string[]) =>
    smallModel({
      opset: 13,
      inputs: { x: [1, 4] },
      outputs: ["y"],
      nodes: [{ opType: "BatchNormalization", input: ["x", "scale", "bias", "mean", "variance"], output }],
      initializers: parts,
    }).write();
  const x = { dims: [1, 4], data: Float32Array.of(-1, 1, 2, 3) };
  const read = readModel(made(["y", "", "", "", ""]));
  expect(await runModel(read.write(), { x })).toEqual(await runModel(made(["y"]), { x }));
});

test("empty names that ONNX Runtime takes stay as they are", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: [1, 4] },
    outputs: ["y"],
    nodes: [{ opType: "Clip", input: ["x", "", ""], output: ["y"] }],
  });
  const bytes = model.write();
  expect(readModel(bytes).mended).toEqual([]);
  expect(readModel(bytes).write()).toEqual(bytes);
});
