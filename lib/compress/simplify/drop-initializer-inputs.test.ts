import { expect, test } from "vitest";
import { runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { dropInitializerInputs } from "./drop-initializer-inputs.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

test("a weight that is also an input is removed from the inputs, with the same outputs", async () => {
  const model = smallModel({
    opset: 8,
    inputs: { x: [1, 4], w: [4, 2] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [4, 2], seededFloats(8))],
  });
  model.proto.irVersion = 3n;
  const feed = { x: { dims: [1, 4], data: Float32Array.of(1, 2, 3, 4) } };
  const before = await runModel(model.write(), feed);
  model.transform(dropInitializerInputs());
  expect(model.graph.proto.input.map((x) => x.name)).toEqual(["x"]);
  expect(await runModel(model.write(), feed)).toEqual(before);
});
