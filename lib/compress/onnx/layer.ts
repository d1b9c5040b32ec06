// A layer for the quantizers: a product or a convolution with constant float32 weights. Each output is a sum over
// `columns` inputs, with a row of weights of its own; a convolution's groups are separate products.
import { floatOf, integerOf, integersAt, textOf } from "./graph.ts";
import type { Graph } from "./graph.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto, TensorProto } from "./onnx.gen.js";

/** A node whose second input is constant weights. */
export interface Layer {
  /** The Conv, MatMul, Gemm or other node. */
  readonly node: NodeProto;
  /** The weights, perhaps behind a Transpose. */
  readonly weight: TensorProto;
  /** Number of groups of a convolution; 1 for other operators. */
  readonly groups: number;
  /** Number of inputs that each output sums over. */
  readonly columns: number;
  /** Number of outputs over all groups. */
  readonly outputs: number;
  /** Whether the weights are stored as a row for each output; else as a column. */
  readonly isByRow: boolean;
}

/** Returns the layer of a node of `graph` if it is a MatMul, Gemm or Conv with a constant matrix or kernel. */
export function layerOf(graph: Graph, node: NodeProto): Layer | undefined {
  if (node.domain !== "") return undefined;
  const [input = "", name = ""] = node.input;
  const source = graph.constant(name) === undefined ? graph.producer(name) : undefined;
  const isTurned = source?.opType === "Transpose" && source.domain === "" && isSwap(source);
  const weight = graph.constant(isTurned ? (source.input[0] ?? "") : name);
  if (weight?.dataType !== TensorProto_DataType.FLOAT || input === name) return undefined;
  const dims = weight.dims.map(Number);
  switch (node.opType) {
    case "MatMul":
      return dims.length === 2 ? matrix(node, weight, isTurned) : undefined;
    case "Gemm":
      if (dims.length !== 2 || !isPlainGemm(node)) return undefined;
      return matrix(node, weight, (gemmAxis(node) === 0) !== isTurned);
    case "Conv": {
      const columns = dims.slice(1).reduce((a, b) => a * b, 1);
      if (isTurned || dims.length < 3) return undefined;
      return { node, weight, groups: integerOf(node, "group", 1), columns, outputs: dims[0] ?? 0, isByRow: true };
    }
    default:
      return undefined;
  }
}

/** Whether a Gemm is a product plus its bias: nothing is scaled, and its first input not transposed. */
export function isPlainGemm(node: NodeProto): boolean {
  return floatOf(node, "alpha", 1) === 1 && floatOf(node, "beta", 1) === 1 && integerOf(node, "transA", 0) === 0;
}

/** Returns the output channel axis of the weights of a Gemm, or of another operator with its attribute `transB`. */
export function gemmAxis(node: NodeProto): 0 | 1 {
  return integerOf(node, "transB", 0) === 0 ? 1 : 0;
}

/** Returns the index in the weights of an output's weight for an input. */
export function indexOf(layer: Pick<Layer, "isByRow" | "columns" | "outputs">, output: number, column: number): number {
  return layer.isByRow ? output * layer.columns + column : column * layer.outputs + output;
}

function matrix(node: NodeProto, weight: TensorProto, isByRow: boolean): Layer {
  const [height = 0, width = 0] = weight.dims.map(Number);
  const [outputs, columns] = isByRow ? [height, width] : [width, height];
  return { node, weight, groups: 1, columns, outputs, isByRow };
}

function isSwap(transpose: NodeProto): boolean {
  return (integersAt(transpose, "perm") ?? [1, 0]).join() === "1,0";
}

/**
 * Returns the output channel axis of a weight that an Einsum of two values reads as its input `at`: the last axis that
 * the output has, and the other value has not; undefined where there is none, or the equation has an ellipsis there.
 */
export function einsumAxis(node: NodeProto, at: number, rank: number): number | undefined {
  const [inputs = "", output = ""] = textOf(node, "equation", "").replaceAll(" ", "").split("->");
  const [own = "", other = ""] = at === 0 ? inputs.split(",") : inputs.split(",").reverse();
  if (node.input.length !== 2 || own.length !== rank || own.includes(".")) return undefined;
  const axes = [...own].flatMap((x, axis) => (output.includes(x) && !other.includes(x) ? [axis] : []));
  return axes.at(-1);
}
