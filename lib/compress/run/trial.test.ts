// Models on which onnxruntime-node 1.30 ends the process that it runs in.
import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import type { Feed } from "./feeds.ts";
import { openTrial, runTrial, tryModel } from "./trial.ts";

const feed: Feed = { x: { dtype: "float32", dims: [1, 4, 8], data: seededFloats(32, 1) } };

/** Attention without its bias, which the operator's schema allows, as the third of five nodes. */
function attention(bias: string): OnnxModel {
  const model = smallModel({
    opset: 17,
    inputs: { x: [1, "n", 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Relu", input: ["x"], output: ["a"] },
      { opType: "Neg", input: ["a"], output: ["b"] },
      {
        opType: "Attention",
        domain: "com.microsoft",
        input: ["b", "w", bias],
        output: ["c"],
        attributes: { num_heads: 2 },
      },
      { opType: "Add", input: ["c", "a"], output: ["d"] },
      { opType: "Relu", input: ["d"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [8, 24], seededFloats(192, 2)), floatTensor("bias", [24], seededFloats(24, 3))],
  });
  model.useContribOperators();
  return model;
}

test(
  "a run in which ONNX Runtime crashes is an error that names the node (tool-crash)",
  { timeout: 60_000 },
  async () => {
    const model = await openTrial(attention("").write(), "attention.onnx");
    await expect(model.run(feed)).rejects.toMatchObject({
      code: "model-invalid",
      message: expect.stringMatching(
        /^attention\.onnx: ONNX Runtime crashes \(SIG\w+\) as it runs the model at the Attention node "c\/Attention": /,
      ) as string,
    });
    await model.release();
  },
);

test(
  "a load in which ONNX Runtime crashes is an error that names the node (tool-crash)",
  { timeout: 60_000 },
  async () => {
    const split = smallModel({
      opset: 18,
      inputs: { x: [2, 6] },
      outputs: ["y"],
      nodes: [
        { opType: "Neg", input: ["x"], output: ["a"] },
        { opType: "Split", input: ["a", "sizes"], output: ["b", "c", ""], attributes: { axis: 1, num_outputs: 2 } },
        { opType: "Relu", input: ["b"], output: ["y"] },
      ],
    });
    split.graph.proto.node[1]!.input.pop();
    await expect(tryModel(split.write(), { path: "split.onnx" })).rejects.toThrow(
      /^split\.onnx: ONNX Runtime crashes \(SIG\w+\) as it loads the model at the Split node "b\/Split": /,
    );
  },
);

test("a model that runs answers in its trial as elsewhere, and errors other than crashes are left to its use", async () => {
  const source = attention("bias").write();
  const [answer] = await runTrial(source, [feed]);
  expect(answer?.["y"]?.dims).toEqual([1, 4, 8]);
  await expect(runTrial(source, [{}])).rejects.toThrow(/x/);
  await tryModel(source, { path: "attention.onnx", feed: {} });
});
