// Estimates the GPU memory of a model's weights once loaded. ONNX Runtime folds nodes that depend on constants alone
// while loading, so a weight behind Cast is held in float32, whatever its size in the file; one behind DequantizeLinear
// where the session says so, as of the forms that are made for a GPU. Weights
// that a kernel reads as stored (MatMulNBits, GatherBlockQuantized) stay small. Activations are not counted.
import type { Graph } from "../onnx/graph.ts";
import { integerOf, uses } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { bitsOf, elementCount } from "../onnx/tensor-proto.ts";

/** Operators behind which the forms store weights, all of which are folded while loading. */
const FOLDED = new Set(["Cast", "DequantizeLinear", "Identity", "Mul", "Reshape", "Transpose"]);

/** A constant: number of elements and bits per element. */
interface ConstantSize {
  readonly elements: number;
  readonly bits: number;
}

/**
 * Counts the bytes in memory of all constants that a run reads; shapes and other int64 constants are left out.
 * @param foldsDequantize - as of `foldedBytes`. Default: true
 */
export function deviceBytes(model: OnnxModel, foldsDequantize = true): number {
  return deviceTensors(model, foldsDequantize).reduce((sum, x) => sum + x, 0);
}

/** Lists the sizes of these constants, in bytes. */
export function deviceTensors(model: OnnxModel, foldsDequantize: boolean): number[] {
  const sizes: number[] = [];
  for (const graph of model.graph.all()) {
    const constants = constantsOf(graph, foldsDequantize);
    const read = new Set<string>();
    for (const node of graph.nodes)
      if (!node.output.some((x) => constants.has(x))) for (const name of uses(node)) read.add(name);
    for (const [name, { elements, bits }] of constants)
      if (read.has(name) || graph.isOutput(name)) sizes.push(Math.ceil((elements * bits) / 8));
  }
  return sizes;
}

/**
 * Counts the bytes of the constants that ONNX Runtime computes from others while loading: what a load holds beside the
 * stored weights. DequantizeLinear is folded only where the session says so (`session.disable_quant_qdq`).
 */
export function foldedBytes(model: OnnxModel, foldsDequantize: boolean): number {
  let bytes = 0;
  for (const graph of model.graph.all()) {
    const stored = new Set(graph.proto.initializer.map((x) => x.name));
    const constants = constantsOf(graph, foldsDequantize);
    const read = new Set(
      graph.nodes.filter((node) => !node.output.some((x) => constants.has(x))).flatMap((node) => [...uses(node)]),
    );
    for (const [name, { elements, bits }] of constants)
      if (read.has(name) && !stored.has(name)) bytes += Math.ceil((elements * bits) / 8);
  }
  return bytes;
}

function constantsOf(graph: Graph, foldsDequantize: boolean): Map<string, ConstantSize> {
  const constants = new Map<string, ConstantSize>();
  const shapes = new Set<string>();
  for (const tensor of graph.proto.initializer)
    if (tensor.dataType === TensorProto_DataType.INT64) shapes.add(tensor.name);
    else constants.set(tensor.name, { elements: elementCount(tensor), bits: bitsOf(tensor.dataType) });
  for (const node of graph.nodes) {
    if (node.domain !== "" || !FOLDED.has(node.opType)) continue;
    if (node.opType === "DequantizeLinear" && !foldsDequantize) continue;
    const inputs = node.input.map((x) => constants.get(x));
    if (!node.input.every((x) => constants.has(x) || shapes.has(x))) continue;
    const elements = Math.max(0, ...inputs.map((x) => x?.elements ?? 0));
    for (const name of node.output) constants.set(name, { elements, bits: bitsAfter(node, inputs[0]) });
  }
  return constants;
}

function bitsAfter(node: NodeProto, first: ConstantSize | undefined): number {
  if (node.opType === "Cast") return bitsOf(integerOf(node, "to", TensorProto_DataType.FLOAT));
  return node.opType === "DequantizeLinear" ? 32 : (first?.bits ?? 32);
}
