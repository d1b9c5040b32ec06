// Random convolutional graphs for tests: each letter of a plan adds a block to a [2, channels, 8, 8] value.
import { smallModel, seededFloats } from "./fixtures.ts";
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import type { TensorProto } from "../../compress/onnx/onnx.gen.js";
import type { OnnxModel } from "../../compress/onnx/model.ts";
import { floatTensor, int64Tensor } from "../../compress/onnx/tensor-proto.ts";

/** Kinds of blocks of a random graph. */
export const BLOCKS = [
  "conv",
  "depthwise",
  "grouped",
  "norm",
  "relu",
  "prelu",
  "scale",
  "residual",
  "projected",
  "concat",
  "split",
  "squeeze-excite",
  "pool",
  "transposed",
  "shuffle",
  "pad",
  "slice",
  "pixel-shuffle",
  "layout",
] as const;

/** One block: its kind, and its number of channels where that is free. */
export interface Block {
  readonly kind: (typeof BLOCKS)[number];
  readonly channels: number;
}

/** Makes a model of blocks that ends in a convolution, or in a dense layer of two. */
export function randomModel(blocks: readonly Block[], isDense: boolean, seed: number): OnnxModel {
  const graph = new GraphBuilder(seed);
  let [value, channels] = ["x", 3];
  for (const block of [{ kind: "conv", channels: 8 } as const, ...blocks])
    [value, channels] = graph.block(block, value, channels);
  if (isDense) {
    const pooled = graph.node("GlobalAveragePool", [value]);
    const flat = graph.node("Flatten", [pooled]);
    const hidden = graph.node("Gemm", [flat, graph.floats(channels, 12), graph.floats(12)]);
    graph.node("MatMul", [graph.node("Relu", [hidden]), graph.floats(12, 5)], {}, "y");
  } else graph.node("Conv", [value, graph.floats(4, channels, 1, 1)], {}, "y");
  const { nodes, initializers } = graph;
  return smallModel({ opset: 13, inputs: { x: ["n", 3, 8, 8] }, outputs: ["y"], nodes, initializers });
}

class GraphBuilder {
  readonly nodes: NodeSpec[] = [];
  readonly initializers: TensorProto[] = [];
  #count = 0;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  node(opType: string, input: string[], attributes: NonNullable<NodeSpec["attributes"]> = {}, output?: string): string {
    const name = output ?? `v${this.#count++}`;
    this.nodes.push({ opType, input, output: [name], attributes });
    return name;
  }

  floats(...dims: number[]): string {
    const name = `w${this.#count++}`;
    const length = dims.reduce((a, b) => a * b, 1);
    const scale = 1 / Math.sqrt(Math.max(1, length / (dims[0] ?? 1)));
    const values = seededFloats(length, this.#seed * 97 + this.#count).map((x) => x * scale);
    this.initializers.push(floatTensor(name, dims, values));
    return name;
  }

  list(...values: number[]): string {
    const name = `l${this.#count++}`;
    this.initializers.push(int64Tensor(name, [values.length], values));
    return name;
  }

  conv(value: string, from: number, to: number, kernel = 1, group = 1): string {
    const pads = Array<number>(4).fill((kernel - 1) / 2);
    const weight = this.floats(to, from / group, kernel, kernel);
    return this.node("Conv", [value, weight, this.floats(to)], { group, pads });
  }

  block({ kind, channels: wanted }: Block, value: string, channels: number): [string, number] {
    switch (kind) {
      case "conv":
        return [this.conv(value, channels, wanted, 3), wanted];
      case "depthwise":
        return [
          this.conv(value, channels, channels * (wanted % 2 === 0 ? 1 : 2), 3, channels),
          channels * (wanted % 2 === 0 ? 1 : 2),
        ];
      case "grouped":
        return channels % 4 === 0 ? [this.conv(value, channels, 16, 1, 4), 16] : [value, channels];
      case "norm": {
        const [scale, shift, mean] = [this.floats(channels), this.floats(channels), this.floats(channels)];
        const variance = `w${this.#count++}`;
        this.initializers.push(floatTensor(variance, [channels], new Float32Array(channels).fill(0.7)));
        return [this.node("BatchNormalization", [value, scale, shift, mean, variance]), channels];
      }
      case "relu":
        return [this.node(wanted % 2 === 0 ? "Relu" : "Sigmoid", [value]), channels];
      case "prelu":
        return [this.node("PRelu", [value, this.floats(channels, 1, 1)]), channels];
      case "scale":
        return [this.node("Mul", [this.floats(1, channels, 1, 1), value]), channels];
      case "residual": {
        const inner = this.node("Relu", [this.conv(value, channels, wanted)]);
        return [this.node("Add", [value, this.conv(inner, wanted, channels, 3)]), channels];
      }
      case "projected":
        return [this.node("Add", [this.conv(value, channels, wanted, 3), this.conv(value, channels, wanted)]), wanted];
      case "concat": {
        const other = this.node("Tanh", [this.conv(value, channels, wanted)]);
        return [this.node("Concat", [value, other], { axis: 1 }), channels + wanted];
      }
      case "split": {
        const [left, right] = [`v${this.#count++}`, `v${this.#count++}`];
        const first = Math.ceil(channels / 3);
        if (first === channels) return [value, channels];
        this.nodes.push({
          opType: "Split",
          input: [value, this.list(first, channels - first)],
          output: [left, right],
          attributes: { axis: 1 },
        });
        return [this.node("Concat", [this.conv(right, channels - first, wanted), left], { axis: 1 }), wanted + first];
      }
      case "squeeze-excite": {
        const small = this.node("Relu", [this.conv(this.node("GlobalAveragePool", [value]), channels, 4)]);
        return [this.node("Mul", [value, this.node("Sigmoid", [this.conv(small, 4, channels)])]), channels];
      }
      case "pool":
        return [this.node("MaxPool", [value], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }), channels];
      case "transposed": {
        const weight = this.floats(channels, wanted, 3, 3);
        return [this.node("ConvTranspose", [value, weight, this.floats(wanted)], { pads: [1, 1, 1, 1] }), wanted];
      }
      case "shuffle": {
        if (channels % 2 !== 0) return [value, channels];
        const apart = this.node("Reshape", [value, this.list(-1, 2, channels / 2, 8, 8)]);
        const swapped = this.node("Transpose", [apart], { perm: [0, 2, 1, 3, 4] });
        return [this.node("Reshape", [swapped, this.list(0, channels, 8, 8)]), channels];
      }
      case "pad":
        return [this.node("Pad", [value, this.list(0, 0, 0, 0, 0, 2, 0, 0)]), channels + 2];
      case "slice": {
        if (channels < 3) return [value, channels];
        const sliced = this.node("Slice", [value, this.list(1), this.list(9_999), this.list(1)]);
        return [sliced, channels - 1];
      }
      case "pixel-shuffle": {
        const deep = this.node("SpaceToDepth", [value], { blocksize: 2 });
        const made = this.conv(deep, channels * 4, 16);
        return [this.node("DepthToSpace", [made], { blocksize: 2, mode: wanted % 2 === 0 ? "DCR" : "CRD" }), 4];
      }
      case "layout": {
        const last = this.node("Transpose", [value], { perm: [0, 2, 3, 1] });
        const mixed = this.node("Add", [
          this.node("MatMul", [last, this.floats(channels, wanted)]),
          this.floats(wanted),
        ]);
        return [this.node("Transpose", [this.node("Relu", [mixed])], { perm: [0, 3, 1, 2] }), wanted];
      }
    }
  }
}
