// A perceptron for Fashion-MNIST with 5.8 million weights, 23 MB as float32, trained here: large in proportion to its
// computation, so that batches, memory and download size matter.
import { makeVariants } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";
import type { OnnxModel } from "../lib/compress/onnx/model.ts";
import type { NodeSpec } from "../lib/compress/onnx/graph.ts";
import { FASHION_INPUT, FASHION_OUTPUT, fashionLabels, fashionWeights } from "./fashion.ts";
import { buildGraph, readWeights } from "./graph.ts";
import type { Weights } from "./graph.ts";

const WEIGHTS = fashionWeights("mlp");

/**
 * Measured with ONNX Runtime Web on one thread, interleaved with float32: 1.8 for one picture, since each run packs all
 * weights anew for the integer product, 0.44 for 64 together. So integers are for callers with many pictures, who pin
 * the variant.
 */
const SPEED = { wasm: 1.8 } as const;

/** Builds the bundle fashion-mlp. */
export const fashionMlp: Recipe = {
  name: "fashion-mlp",
  sources: [WEIGHTS],
  async build() {
    return {
      model: {
        name: "fashion-mlp",
        version: "1.0.0",
        licence: "MIT",
        description: "Which of ten kinds of clothing a grey picture of 28 × 28 shows: a wide perceptron.",
        inputs: [FASHION_INPUT],
        outputs: [FASHION_OUTPUT],
        exampleDims: { batch: 1 },
      },
      variants: await makeVariants(buildMlp(), ["int8-dynamic", "int8", "f32"], { "int8-dynamic": SPEED }),
      assets: [fashionLabels()],
    };
  },
};

/** Builds the perceptron's graph: two hidden layers of 2,048 units. */
export function buildMlp(): OnnxModel {
  const weight = readWeights(WEIGHTS);
  const nodes: NodeSpec[] = [
    { opType: "Flatten", input: [FASHION_INPUT.name], output: ["flat"], attributes: { axis: 1 } },
    { opType: "Gemm", input: ["flat", "weight1", "bias1"], output: ["sum1"] },
    { opType: "Relu", input: ["sum1"], output: ["hidden1"] },
    { opType: "Gemm", input: ["hidden1", "weight2", "bias2"], output: ["sum2"] },
    { opType: "Relu", input: ["sum2"], output: ["hidden2"] },
    { opType: "Gemm", input: ["hidden2", "weight3", "bias3"], output: [FASHION_OUTPUT.name] },
  ];
  const names = ["weight3", "bias1", "bias2", "bias3"];
  return buildGraph({ inputs: [FASHION_INPUT], outputs: [FASHION_OUTPUT] }, nodes, {
    ...Object.fromEntries([1, 2].map((i) => [`weight${i}`, dense(i, weight(`down${i}`), weight(`up${i}`))])),
    ...Object.fromEntries(names.map((x) => [x, weight(x)])),
  });
}

/** Returns a large matrix: the fixed one drawn from a seed, plus the product of the two thin trained ones. */
export function dense(layer: number, down: Weights, up: Weights): Weights {
  const [rows = 0, rank = 0] = down.dims;
  const [, columns = 0] = up.dims;
  const data = new Float32Array(rows * columns);
  const scale = Math.sqrt(6 / rows);
  const sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      sums[column] = Math.fround(drawn(layer, row * columns + column) * scale);
    for (let i = 0; i < rank; i++) {
      const factor = down.data[row * rank + i] ?? 0;
      const line = up.data.subarray(i * columns, (i + 1) * columns);
      for (let column = 0; column < columns; column++)
        sums[column] = (sums[column] ?? 0) + factor * (line[column] ?? 0);
    }
    data.set(sums, row * columns);
  }
  return { dims: [rows, columns], data };
}

/** Draws a number in −1…1 for a position in a layer's matrix: Murmur3's finalizer, as in train.py. */
function drawn(layer: number, place: number): number {
  let hash = (place + Math.imul(layer, 0x9e3779b9)) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 8) / 2 ** 23 - 1;
}
