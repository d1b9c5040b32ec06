// Stores weights as int8, symmetric, one scale per output channel, behind a DequantizeLinear: a quarter of the bytes,
// and the arithmetic stays float32. WebGPU has a kernel for DequantizeLinear but for no integer convolution; on wasm
// the session entry `session.disable_quant_qdq` lets ONNX Runtime dequantize the weights once, while loading.
//
// Scheme of ONNX's DequantizeLinear (operator set 13, `axis`): w ≈ q · scale[channel], q in −127…127, so that no zero
// point is needed; rounding is to nearest, ties to even, with an error of at most scale / 2 per weight. A weight with
// finer scales is stored as a row for each block of an output, reshaped to its dims behind the DequantizeLinear: blocks
// as an attribute (`block_size`) would need operator set 21.
import { SelvedgeError } from "../../core/errors.ts";
import { float16BitsOf, halfAbove, roundToEven } from "../onnx/float16.ts";
import { integerOf, integersAt } from "../onnx/graph.ts";
import type { Graph, NodeSpec } from "../onnx/graph.ts";
import { einsumAxis, gemmAxis } from "../onnx/layer.ts";
import { fitGrid, roundRows } from "./scales.ts";
import type { Rounded, ValueRows } from "./scales.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import { CONTRIB } from "../onnx/model.ts";
import type { Transform } from "../onnx/model.ts";
import { addScales } from "./quantize-blocks.ts";
import { elementCount, float16Tensor, floatsOf, int64Tensor, int8Tensor } from "../onnx/tensor-proto.ts";

/** A weight that may be quantized. */
export interface WeightFacts {
  /** The operator that uses it: Conv, ConvTranspose, MatMul, Gemm, Einsum, Gather, Transpose, LSTM, GRU, RNN, Attention or EmbedLayerNormalization. */
  readonly opType: string;
  /** Its dims in the model. */
  readonly dims: readonly number[];
  /** The number of groups of a convolution; 1 for other operators. */
  readonly group: number;
  /** Name of the weight in the model. */
  readonly name: string;
}

/** Options of `quantizeWeights`. */
export interface QuantizeOptions {
  /** Minimum number of elements; below it the scales and the node cost more. Default 1024. */
  readonly minElements?: number;
  /** Selects how a weight is stored. Default "int8" for all. */
  readonly store?: (weight: WeightFacts) => WeightStore;
  /** Weights that are already rounded, by name. Default none: each is rounded to nearest. */
  readonly rounded?: ReadonlyMap<string, Rounded>;
  /** Number of values of an output that share a scale, by the weight's name. Default all of them. */
  readonly blocks?: ReadonlyMap<string, number>;
}

/** How a weight is stored: int8 behind DequantizeLinear, float16 behind Cast, or unchanged. */
export type WeightStore = "int8" | "float16" | "float32";

/** Defaults of `quantizeWeights`. */
export const QUANTIZE_DEFAULTS: Required<QuantizeOptions> = {
  minElements: 1024,
  store: () => "int8",
  rounded: new Map(),
  blocks: new Map(),
};

/** Whether each channel is convolved separately: few weights, each of which matters much. */
export function isDepthwise(weight: WeightFacts): boolean {
  return weight.opType === "Conv" && weight.group > 1 && weight.dims[1] === 1;
}

/** Whether a convolution reads an image: at most 4 channels; its error propagates everywhere. */
export function isStem(weight: WeightFacts): boolean {
  return weight.opType === "Conv" && weight.group === 1 && (weight.dims[1] ?? 0) <= 4;
}

/**
 * Quantizes the constant float32 weights of convolutions, products, recurrent layers and tables. A weight that several
 * nodes share is stored once; one that they use along different axes stays float32.
 * @throws SelvedgeError `model-invalid` below operator set 13.
 */
export function quantizeWeights(options: QuantizeOptions = {}): Transform {
  const { minElements, store, rounded, blocks } = { ...QUANTIZE_DEFAULTS, ...options };
  return (model) => {
    if (model.opset < 13)
      throw new SelvedgeError("model-invalid", `per-channel weights need operator set 13, not ${model.opset}`, {
        opset: model.opset,
      });
    for (const graph of model.graph.all()) {
      for (const tensor of [...graph.proto.initializer]) {
        if (tensor.dataType !== TensorProto_DataType.FLOAT || elementCount(tensor) < minElements) continue;
        const users = graph.consumers(tensor.name);
        const axis = rowAxis(graph, tensor);
        const facts = factsOf(graph, tensor);
        if (axis === undefined || facts === undefined) continue;
        if (graph.constant(tensor.name) !== tensor || graph.isOutput(tensor.name)) continue;
        const form = store(facts);
        if (form === "int8") {
          const isStored = storeBlocks(graph, tensor, axis, users, rounded.get(tensor.name), blocks.get(tensor.name));
          if (!isStored) storeInt8(graph, tensor, axis, users, rounded.get(tensor.name));
        } else if (form === "float16") toFloat16(graph, tensor, users);
      }
    }
  };
}

/**
 * Returns the output channel axis of a weight, for nodes of this graph and of subgraphs; undefined for a tensor that is
 * no weight, or whose users differ.
 */
export function rowAxis(graph: Graph, tensor: TensorProto): number | undefined {
  const readers = graph.readers(tensor.name) ?? [];
  const axes = new Set(readers.map((x) => channelAxis(x.graph, x.node, tensor)));
  return axes.size === 1 ? [...axes][0] : undefined;
}

/** Describes a weight by the first node that reads it; undefined where none does. */
export function factsOf(graph: Graph, tensor: TensorProto): WeightFacts | undefined {
  const [first] = graph.readers(tensor.name) ?? [];
  if (first === undefined) return undefined;
  const dims = tensor.dims.map(Number);
  // An operator with a fused activation or transposition uses its weights as it does without.
  const opType = first.node.domain === CONTRIB ? first.node.opType.replace(/^Fused/, "") : first.node.opType;
  return { opType, dims, group: integerOf(first.node, "group", 1), name: tensor.name };
}

/** Reads a weight as a row for each output; undefined where it is not stored as such rows or columns. */
export function rowsAlong(graph: Graph, tensor: TensorProto): ValueRows | undefined {
  const axis = rowAxis(graph, tensor);
  return axis === undefined ? undefined : rowsOf(tensor, axis);
}

function rowsOf(tensor: TensorProto, axis: number): ValueRows | undefined {
  const [height = 0, ...rest] = tensor.dims.map(Number);
  const width = rest.reduce((a, b) => a * b, 1);
  const values = floatsOf(tensor);
  if (axis === 0) return { rows: height, columns: width, at: (row, column) => values[row * width + column] ?? 0 };
  if (rest.length !== 1) return undefined;
  return { rows: width, columns: height, at: (row, column) => values[column * width + row] ?? 0 };
}

/** Returns the output channel axis of a weight, or undefined where the node does not use it as a weight. */
function channelAxis(graph: Graph, node: NodeProto, weight: TensorProto): number | undefined {
  const at = node.input.indexOf(weight.name);
  if (at < 0 || node.input.lastIndexOf(weight.name) !== at) return undefined;
  const rank = weight.dims.length;
  if (node.domain === CONTRIB) return contribAxis(node, at, rank);
  if (node.domain !== "") return undefined;
  if (node.opType === "Gather") return at === 0 && rank === 2 && integerOf(node, "axis", 0) === 0 ? 0 : undefined;
  if (node.opType === "Transpose" && rank === 2) {
    const [output = ""] = node.output;
    const isByRow = graph.consumers(output).every((x) => x.opType === "MatMul" && x.input[1] === output);
    return isByRow && integersAt(node, "perm")?.join() !== "0,1" && !graph.isOutput(output) ? 0 : undefined;
  }
  // [directions, gates · hidden, inputs]: both directions share their scales.
  if (["LSTM", "GRU", "RNN"].includes(node.opType)) return at === 1 || at === 2 ? 1 : undefined;
  if (node.opType === "Einsum") return einsumAxis(node, at, rank);
  // A product with the weights on the left has an output for each row of them.
  if (at === 0 && node.opType === "MatMul") return rank >= 2 ? rank - 2 : undefined;
  if (at !== 1) return undefined;
  switch (node.opType) {
    case "Conv":
      return 0;
    case "ConvTranspose":
      return integerOf(node, "group", 1) === 1 ? 1 : undefined;
    case "MatMul":
      return rank >= 2 ? rank - 1 : undefined;
    case "Gemm":
      return gemmAxis(node);
    default:
      return undefined;
  }
}

/** The same of an operator that ONNX Runtime adds to ONNX's own, as its graph passes leave them in optimized models. */
function contribAxis(node: NodeProto, at: number, rank: number): number | undefined {
  if (node.opType === "EmbedLayerNormalization") return at >= 2 && at <= 4 && rank === 2 ? 0 : undefined;
  if (at !== 1) return undefined;
  switch (node.opType) {
    case "FusedConv":
      return 0;
    case "FusedGemm":
      return gemmAxis(node);
    case "FusedMatMul":
      if (integerOf(node, "transBatchB", 0) !== 0 || rank < 2) return undefined;
      return gemmAxis(node) === 0 ? rank - 2 : rank - 1;
    // [inputs, query + key + value]
    case "Attention":
      return rank === 2 ? 1 : undefined;
    default:
      return undefined;
  }
}

/** Stores a weight whose rows have several scales each; returns whether it was stored. */
function storeBlocks(
  graph: Graph,
  tensor: TensorProto,
  axis: number,
  users: readonly NodeProto[],
  rounded: Rounded | undefined,
  block: number | undefined,
): boolean {
  const size = rounded?.grid.block ?? block;
  const rows = rowsOf(tensor, axis);
  if (rows === undefined || size === undefined || size >= rows.columns || rows.columns % size !== 0) return false;
  const grid = rounded?.grid ?? fitGrid(rows, { bits: 8, block: size, isEven: true, isHalf: true });
  if (!grid.scales.every(Number.isFinite)) return false;
  const codes = rounded?.codes ?? roundRows(rows, grid);
  const { scales, zeros } = grid;
  replace(graph, tensor, users, (wide) => {
    const name = (what: string): string => graph.freshName(`${tensor.name}/${what}`);
    const whole = (what: string, values: readonly number[]): string =>
      graph.addInitializer(int64Tensor(name(what), [values.length], values));
    const input = [
      graph.addInitializer(int8Tensor(name("int8"), [scales.length, size], codes)),
      addScales(graph, name("scale"), [scales.length], scales),
      ...(zeros === undefined ? [] : [graph.addInitializer(int8Tensor(name("zero"), [scales.length], zeros))]),
    ];
    const [listed, turned] = [name("blocks"), name("rows")];
    const dims = axis === 0 ? tensor.dims.map(Number) : [rows.rows, rows.columns];
    return [
      { opType: "DequantizeLinear", input, output: [listed], attributes: { axis: 0 } },
      { opType: "Reshape", input: [listed, whole("dims", dims)], output: [axis === 0 ? wide : turned] },
      ...(axis === 0 ? [] : [{ opType: "Transpose", input: [turned], output: [wide], attributes: { perm: [1, 0] } }]),
    ];
  });
  return true;
}

function storeInt8(
  graph: Graph,
  tensor: TensorProto,
  axis: number,
  users: readonly NodeProto[],
  rounded: Rounded | undefined,
): void {
  const dims = tensor.dims.map(Number);
  const { values, scales } = toInt8(tensor, axis, rounded);
  if (scales.some((x) => !Number.isFinite(x))) return;
  replace(graph, tensor, users, (dequantized) => {
    const quantized = int8Tensor(graph.freshName(`${tensor.name}/int8`), dims, values);
    const scale = addScales(graph, graph.freshName(`${tensor.name}/scale`), [scales.length], scales);
    const input = [graph.addInitializer(quantized), scale];
    return [{ opType: "DequantizeLinear", input, output: [dequantized], attributes: { axis } }];
  });
}

/** Returns a weight's int8 values and a scale for each index of `axis`: rounded already, else to nearest. */
export function toInt8(
  tensor: TensorProto,
  axis: number,
  rounded: Rounded | undefined,
): { values: Int8Array; scales: Float32Array } {
  const dims = tensor.dims.map(Number);
  // Weights rounded to several scales per output, but not stored so here, are rounded again.
  const fits = rounded?.grid.zeros === undefined && rounded?.grid.scales.length === dims[axis];
  if (rounded === undefined || !fits) return quantizeInt8(floatsOf(tensor), dims, axis, { isHalf: true });
  return { values: axis === 0 ? rounded.codes : turned(rounded.codes, dims), scales: rounded.grid.scales };
}

/** Transposes rows per output into the order of a matrix of `dims`, whose columns are the outputs. */
function turned(codes: Int8Array, [height = 0, width = 0]: readonly number[]): Int8Array {
  const values = new Int8Array(codes.length);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) values[row * width + column] = codes[column * height + row] ?? 0;
  return values;
}

function toFloat16(graph: Graph, tensor: TensorProto, users: readonly NodeProto[]): void {
  const values = floatsOf(tensor);
  if (values.some((x) => !Number.isFinite(x) || Math.abs(x) > 65_504)) return;
  replace(graph, tensor, users, (widened) => {
    const name = graph.freshName(`${tensor.name}/float16`);
    const input = [graph.addInitializer(float16Tensor(name, tensor.dims.map(Number), float16BitsOf(values)))];
    return [{ opType: "Cast", input, output: [widened], attributes: { to: TensorProto_DataType.FLOAT } }];
  });
}

function replace(
  graph: Graph,
  tensor: TensorProto,
  users: readonly NodeProto[],
  make: (output: string) => readonly NodeSpec[],
): void {
  const first = graph.nodes.find((x) => users.includes(x));
  if (first === undefined) return;
  const wide = graph.freshName(`${tensor.name}/float32`);
  for (const spec of make(wide)) graph.insertBefore(first, spec);
  graph.replaceUses(tensor.name, wide);
  graph.proto.initializer.splice(graph.proto.initializer.indexOf(tensor), 1);
  graph.changed();
}

/**
 * Quantizes values to symmetric int8, with a scale for each index of `axis`; with `isHalf` scales are rounded to
 * float16.
 */
export function quantizeInt8(
  values: Float32Array,
  dims: readonly number[],
  axis: number,
  options: { readonly isHalf?: boolean } = {},
): { values: Int8Array; scales: Float32Array } {
  const channels = dims[axis] ?? 1;
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const peaks = new Float32Array(channels);
  const quantized = new Int8Array(values.length);
  // Plain loops: `from` with a function first collects a list of numbers, ten times the size of its result.
  for (let i = 0; i < values.length; i++) {
    const channel = Math.floor(i / inner) % channels;
    const size = Math.abs(values[i] ?? 0);
    // A NaN propagates, so that the weight is left unquantized.
    peaks[channel] = Math.max(peaks[channel] ?? 0, size);
  }
  // Normal numbers only: a subnormal scale has too few bits to bound the error, and some GPUs flush it to 0.
  const scales = peaks.map((peak) => Math.max(peak / 127, 2 ** -126));
  if (options.isHalf === true) for (const [i, scale] of scales.entries()) scales[i] = halfAbove(scale);
  for (let i = 0; i < values.length; i++) {
    const scale = scales[Math.floor(i / inner) % channels] ?? 1;
    quantized[i] = Math.max(-127, Math.min(127, roundToEven((values[i] ?? 0) / scale)));
  }
  return { values: quantized, scales };
}
