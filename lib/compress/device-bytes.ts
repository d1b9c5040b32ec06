// Counts what a model's weights take of a GPU's memory once it is loaded. ONNX Runtime computes what hangs on constants
// alone while loading, so a weight behind DequantizeLinear or Cast lies there in float32, whatever it weighs in the file;
// what a kernel reads as it is (MatMulNBits, GatherBlockQuantized) stays as small as it was. Activations are not counted.
import type { Graph } from "./graph.ts";
import { integerOf, uses } from "./graph.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto } from "./onnx.gen.js";
import type { OnnxModel } from "./onnx.ts";
import { bitsOf, elementCount } from "./weights.ts";

/** Operators behind which the forms' weights are stored, all of which are computed while loading. */
const FOLDED = new Set(["Cast", "DequantizeLinear", "Identity", "Mul", "Reshape", "Transpose"]);

/** A constant: how many elements of how many bits. */
interface Constant {
  readonly elements: number;
  readonly bits: number;
}

/** Counts the bytes of all constants that a run reads, as they lie in memory; shapes and the like, int64, are left out. */
export function deviceBytes(model: OnnxModel): number {
  let bytes = 0;
  for (const graph of model.graph.all()) {
    const constants = constantsOf(graph);
    const read = new Set<string>();
    for (const node of graph.nodes)
      if (!node.output.some((x) => constants.has(x))) for (const name of uses(node)) read.add(name);
    for (const [name, { elements, bits }] of constants)
      if (read.has(name) || graph.isOutput(name)) bytes += Math.ceil((elements * bits) / 8);
  }
  return bytes;
}

function constantsOf(graph: Graph): Map<string, Constant> {
  const constants = new Map<string, Constant>();
  const shapes = new Set<string>();
  for (const tensor of graph.proto.initializer)
    if (tensor.dataType === TensorProto_DataType.INT64) shapes.add(tensor.name);
    else constants.set(tensor.name, { elements: elementCount(tensor), bits: bitsOf(tensor.dataType) });
  for (const node of graph.nodes) {
    if (node.domain !== "" || !FOLDED.has(node.opType)) continue;
    const inputs = node.input.map((x) => constants.get(x));
    if (!node.input.every((x) => constants.has(x) || shapes.has(x))) continue;
    const elements = Math.max(0, ...inputs.map((x) => x?.elements ?? 0));
    for (const name of node.output) constants.set(name, { elements, bits: bitsAfter(node, inputs[0]) });
  }
  return constants;
}

function bitsAfter(node: NodeProto, first: Constant | undefined): number {
  if (node.opType === "Cast") return bitsOf(integerOf(node, "to", TensorProto_DataType.FLOAT));
  return node.opType === "DequantizeLinear" ? 32 : (first?.bits ?? 32);
}
