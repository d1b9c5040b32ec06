// Stores constants that are not weights in fewer bytes: masks, position tables, bounds. Few distinct values that are
// all integer multiples of one number become 8 bits exactly; numbers that float16 represents become float16 exactly;
// with `isExact` false others become the nearest float16. ONNX Runtime widens them once, while loading.
import { areHalf, float16BitsOf, float16Value } from "../onnx/float16.ts";
import { integerOf } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { removeUnused } from "./remove-unused.ts";
import { elementCount, float16Tensor, floatsOf, floatTensor, int8Tensor } from "../onnx/tensor-proto.ts";

/** Options of `packConstants`. */
export interface PackConstantsOptions {
  /** Minimum number of elements; for smaller constants the node costs more than it saves. Default 256. */
  readonly minElements?: number;
  /** Whether values must be preserved exactly. Default true. */
  readonly isExact?: boolean;
  /**
   * Whether values that are subnormal in float16 count as representable, down to 2⁻²⁴. Default false: a GPU may flush
   * them to 0.
   */
  readonly hasSubnormals?: boolean;
}

/** Defaults of `packConstants`. */
export const PACK_CONSTANTS_DEFAULTS: Required<PackConstantsOptions> = {
  minElements: 256,
  isExact: true,
  hasSubnormals: false,
};

/** Above this a float16 is coarse in absolute terms, and such a number is no weight but a bound. */
const SIZE_MAX = 256;

/** Narrows float32 constants of the main graph and of its subgraphs. */
export function packConstants(options: PackConstantsOptions = {}): Transform {
  const { minElements, isExact, hasSubnormals } = { ...PACK_CONSTANTS_DEFAULTS, ...options };
  return (model) => {
    for (const graph of model.graph.all())
      for (const tensor of [...graph.proto.initializer]) {
        if (tensor.dataType !== TensorProto_DataType.FLOAT || elementCount(tensor) < minElements) continue;
        if (graph.constant(tensor.name) !== tensor || graph.isOutput(tensor.name)) continue;
        const values = floatsOf(tensor);
        const step = stepOf(values);
        if (step !== undefined) toInt8(graph, tensor, values, step);
        else if (areHalf(values, hasSubnormals) || (!isExact && values.every((x) => Math.abs(x) < SIZE_MAX)))
          toFloat16(graph, tensor, values);
      }
  };
}

/**
 * Restores float16 constants that a Cast widens to float32: the inverse of `packConstants` where that chose float16.
 */
export function widenConstants(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      const casts = new Set<NodeProto>();
      for (const node of graph.nodes) {
        const half = isWidening(node) ? graph.constant(node.input[0] ?? "") : undefined;
        const [name = ""] = node.output;
        if (half?.dataType !== TensorProto_DataType.FLOAT16 || half.rawData.length === 0 || graph.isOutput(name))
          continue;
        const { buffer, byteOffset, byteLength } = half.rawData.slice();
        const bits = new Uint16Array(buffer, byteOffset, byteLength / 2);
        graph.addInitializer(floatTensor(name, half.dims.map(Number), Float32Array.from(bits, float16Value)));
        casts.add(node);
      }
      graph.remove(casts);
    }
    model.transform(removeUnused());
  };
}

function isWidening(node: NodeProto): boolean {
  return node.opType === "Cast" && node.domain === "" && integerOf(node, "to", 0) === TensorProto_DataType.FLOAT;
}

/** Returns the number of which all values are multiples, by −127 to 127. */
function stepOf(values: Float32Array): number | undefined {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  if (most === 0) return 1;
  if (!Number.isFinite(most)) return undefined;
  for (let times = 1; times <= 127; times++) {
    const step = Math.fround(most / times);
    if (values.every((x) => Math.fround(Math.round(x / step) * step) === x)) return step;
  }
  return undefined;
}

function toInt8(graph: Graph, tensor: TensorProto, values: Float32Array, step: number): void {
  const codes = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) codes[i] = Math.round((values[i] ?? 0) / step);
  const stored = int8Tensor(graph.freshName(`${tensor.name}/int8`), tensor.dims.map(Number), codes);
  const scale = floatTensor(graph.freshName(`${tensor.name}/step`), [], Float32Array.of(step));
  replace(graph, tensor, "DequantizeLinear", [stored, scale], {});
}

function toFloat16(graph: Graph, tensor: TensorProto, values: Float32Array): void {
  const name = graph.freshName(`${tensor.name}/float16`);
  const stored = float16Tensor(name, tensor.dims.map(Number), float16BitsOf(values));
  replace(graph, tensor, "Cast", [stored], { to: TensorProto_DataType.FLOAT });
}

/** Replaces a constant by a value of the same name that a node at the front makes. */
function replace(
  graph: Graph,
  tensor: TensorProto,
  opType: string,
  inputs: readonly TensorProto[],
  attributes: Readonly<Record<string, number>>,
): void {
  const [first] = graph.nodes;
  if (first === undefined) return;
  graph.proto.initializer = graph.proto.initializer.filter((x) => x !== tensor);
  const input = inputs.map((x) => graph.addInitializer(x));
  graph.insertBefore(first, { opType, input, output: [tensor.name], attributes });
}
