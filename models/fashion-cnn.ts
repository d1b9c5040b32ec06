// A small convolutional network for Fashion-MNIST: 24 thousand weights, 1.9 million multiply-adds, trained here.
import { makeVariants } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";
import type { OnnxModel } from "../lib/compress/onnx/model.ts";
import type { NodeSpec } from "../lib/compress/onnx/graph.ts";
import { FASHION_INPUT, FASHION_OUTPUT, fashionLabels, fashionWeights } from "./fashion.ts";
import { buildGraph, readWeights } from "./graph.ts";

const WEIGHTS = fashionWeights("cnn");

/** Builds the bundle fashion-cnn. */
export const fashionCnn: Recipe = {
  name: "fashion-cnn",
  sources: [WEIGHTS],
  async build() {
    return {
      model: {
        name: "fashion-cnn",
        version: "1.0.0",
        licence: "MIT",
        description: "Which of ten kinds of clothing a grey picture of 28 × 28 shows: a small convolutional network.",
        inputs: [FASHION_INPUT],
        outputs: [FASHION_OUTPUT],
        exampleDims: { batch: 1 },
      },
      variants: await makeVariants(buildCnn(), ["f32", "int8"]),
      assets: [fashionLabels()],
    };
  },
};

/**
 * Builds the network's graph: three convolutions, the first two with 2 × 2 max pooling, global average pooling, a matrix
 * product.
 */
export function buildCnn(): OnnxModel {
  const weight = readWeights(WEIGHTS);
  const nodes: NodeSpec[] = [];
  let value = FASHION_INPUT.name;
  for (const i of [1, 2, 3]) {
    const conv = `conv${i}`;
    nodes.push(
      {
        opType: "Conv",
        input: [value, `weight${i}`, `bias${i}`],
        output: [conv],
        attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
      },
      { opType: "Relu", input: [conv], output: [`relu${i}`] },
    );
    value = `relu${i}`;
    if (i === 3) break;
    const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
    nodes.push({ opType: "MaxPool", input: [value], output: [`pool${i}`], attributes });
    value = `pool${i}`;
  }
  nodes.push(
    { opType: "GlobalAveragePool", input: [value], output: ["mean"] },
    { opType: "Flatten", input: ["mean"], output: ["flat"], attributes: { axis: 1 } },
    {
      opType: "Gemm",
      input: ["flat", "weight4", "bias4"],
      output: [FASHION_OUTPUT.name],
      attributes: { transB: 1 },
    },
  );
  const names = [1, 2, 3, 4].flatMap((i) => [`weight${i}`, `bias${i}`]);
  return buildGraph(
    { inputs: [FASHION_INPUT], outputs: [FASHION_OUTPUT] },
    nodes,
    Object.fromEntries(names.map((x) => [x, weight(x)])),
  );
}
