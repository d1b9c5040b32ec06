// Stores the weights of MatMul, Gemm and embeddings in blocks of 4 or 8 bits, which ONNX Runtime's own kernels read as
// stored (MatMulNBits, GatherBlockQuantized): on WebGPU they stay small in GPU memory too.
//
// A table that is both looked up and multiplied by (tied embeddings) is stored once. Other weights, such as those of
// convolutions, have no such kernel and are left to quantizeWeights. Data is uint8 with a `bits` attribute, which both
// kernels take and which needs no operator set 21, as tensors of uint4 do; WebGPU's GatherBlockQuantized of ONNX Runtime
// 1.30 computes the same of both.
import { packBlocks } from "./block-layout.ts";
import type { Blocks } from "./block-layout.ts";
import { fitGrid, roundRows, SCALE_STEPS } from "./scales.ts";
import type { GridOptions, Rounded, ValueRows } from "./scales.ts";
import { areHalf, float16BitsOf } from "../onnx/float16.ts";
import { integerOf, integersAt } from "../onnx/graph.ts";
import { gemmAxis, isPlainGemm } from "../onnx/layer.ts";
import type { Graph, ReadingNode } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import { CONTRIB } from "../onnx/model.ts";
import type { Transform } from "../onnx/model.ts";
import { elementCount, float16Tensor, floatsOf, floatTensor, int64Tensor, uint8Tensor } from "../onnx/tensor-proto.ts";

/** BlockSize sizes that the kernels support. */
const BLOCKS = [16, 32, 64, 128, 256] as const;
type BlockSize = (typeof BLOCKS)[number];

/** Options of `quantizeBlocks`. */
export interface QuantizeBlocksOptions {
  /** Bits of a weight, or null for one that is not quantized. Default 4 for all. */
  readonly bits?: (name: string) => 4 | 8 | null;
  /** Number of values that share a scale. Default 32. */
  readonly block?: BlockSize;
  /** BlockSize sizes of single weights, by name. Default none. */
  readonly blocks?: ReadonlyMap<string, number>;
  /** Minimum number of elements; smaller weights are not quantized. Default 1024. */
  readonly minElements?: number;
  /** Weights that are already rounded, by name. Default none: each is rounded to nearest. */
  readonly rounded?: ReadonlyMap<string, Rounded>;
  /** Rounds a weight that is not; returns null for one that is left as it is. Default to nearest. */
  readonly round?: (name: string, rows: ValueRows, options: GridOptions) => Rounded | null;
}

/** Defaults of `quantizeBlocks`. */
export const QUANTIZE_BLOCKS_DEFAULTS: Required<QuantizeBlocksOptions> = {
  bits: () => 4,
  block: 32,
  blocks: new Map(),
  minElements: 1024,
  rounded: new Map(),
  round: (_, rows, options) => roundToNearest(rows, options),
};

/** Minimum number of scales at which float16 saves more than a Cast costs. */
const HALF_MIN = 64;

/** Bytes of one scale in the file. */
const SCALE_BYTES = 2;

/** A node's use of a weight: looked up by row, or multiplied with its rows or its columns as outputs. */
interface Use {
  /** The node's graph: the weight's, or one inside it. */
  readonly graph: Graph;
  readonly node: NodeProto;
  readonly kind: "gather" | "multiply";
  /** A Transpose between weight and node. */
  readonly transpose?: ReadingNode;
  /** Whether rows of the stored weight are outputs. */
  readonly isByRow: boolean;
}

/** Quantizes constant float32 matrices in blocks along the axis that is summed over. */
export function quantizeBlocks(options: QuantizeBlocksOptions = {}): Transform {
  const set = { ...QUANTIZE_BLOCKS_DEFAULTS, ...options };
  const { bits, block: usual, blocks: others, minElements, rounded, round } = set;
  return (model) => {
    for (const graph of model.graph.all())
      for (const tensor of [...graph.proto.initializer]) {
        const width = bits(tensor.name);
        if (width === null || elementCount(tensor) < minElements) continue;
        const uses = usesOf(graph, tensor);
        const first = uses?.[0];
        if (uses === undefined || first === undefined) continue;
        const rows = rowsOf(tensor, first.isByRow);
        const block = others.get(tensor.name) ?? usual;
        // A lookup returns whole blocks: rows that end within a block would come out too long.
        if (rows.columns % block !== 0 && uses.some((x) => x.kind === "gather")) continue;
        const how = { bits: width, block, hasZeros: true, isHalf: true };
        const made = rounded.get(tensor.name) ?? round(tensor.name, rows, how);
        if (made === null) continue;
        const { grid, codes } = made;
        const blocks = packBlocks(rows.rows, rows.columns, grid, codes);
        replace(graph, tensor, rows, uses, blocks, grid.bits, grid.block);
        model.useContribOperators();
      }
  };
}

/** Rounds a weight; null where its scales are not finite. */
export function roundToNearest(rows: ValueRows, options: GridOptions): Rounded | null {
  const grid = fitGrid(rows, options);
  return grid.scales.every(Number.isFinite) ? { grid, codes: roundRows(rows, grid) } : null;
}

/**
 * Returns the block size at which a product's 8-bit weights, padded to whole blocks, and its scales take the fewest
 * bytes.
 */
export function leastBlock(columns: number): BlockSize {
  const bytes = (block: BlockSize): number => Math.ceil(columns / block) * (block + SCALE_BYTES);
  return [...BLOCKS].sort((a, b) => bytes(a) - bytes(b))[0] ?? 32;
}

/** Lists the uses of a weight; undefined where one is of another kind, or where they sum over different axes. */
function usesOf(graph: Graph, tensor: TensorProto): Use[] | undefined {
  if (tensor.dataType !== TensorProto_DataType.FLOAT || tensor.dims.length !== 2) return undefined;
  if (graph.constant(tensor.name) !== tensor || graph.isOutput(tensor.name)) return undefined;
  const uses: Use[] = [];
  for (const reader of graph.readers(tensor.name) ?? []) {
    const { node } = reader;
    const isTransposed = node.opType === "Transpose" && integersAt(node, "perm")?.join() !== "0,1";
    const transposed = node.output[0] ?? "";
    const isInner = isTransposed && !reader.graph.isOutput(transposed);
    const users = isInner ? reader.graph.readers(transposed) : [reader];
    if (users === undefined) return undefined;
    for (const user of users) {
      const use = useOf(user, isTransposed ? transposed : tensor.name, isTransposed ? reader : undefined);
      if (use === undefined) return undefined;
      uses.push(use);
    }
  }
  return new Set(uses.map((x) => x.isByRow)).size === 1 ? uses : undefined;
}

function useOf({ graph, node }: ReadingNode, name: string, transpose: ReadingNode | undefined): Use | undefined {
  if (node.domain !== "") return undefined;
  const between = { graph, ...(transpose === undefined ? {} : { transpose }) };
  const isSecond = node.input[1] === name && node.input.indexOf(name) === node.input.lastIndexOf(name);
  switch (node.opType) {
    case "Gather":
      if (transpose !== undefined || node.input[0] !== name || node.input[1] === name) return undefined;
      return integerOf(node, "axis", 0) === 0 ? { graph, node, kind: "gather", isByRow: true } : undefined;
    case "MatMul":
      return isSecond ? { node, kind: "multiply", isByRow: transpose !== undefined, ...between } : undefined;
    case "Gemm": {
      if (!isSecond || !isPlainGemm(node)) return undefined;
      const isByRow = (gemmAxis(node) === 0) !== (transpose !== undefined);
      return { node, kind: "multiply", isByRow, ...between };
    }
    default:
      return undefined;
  }
}

function rowsOf(tensor: TensorProto, isByRow: boolean): ValueRows {
  const values = floatsOf(tensor);
  const [height = 0, width = 0] = tensor.dims.map(Number);
  return isByRow
    ? { rows: height, columns: width, at: (row, column) => values[row * width + column] ?? 0 }
    : { rows: width, columns: height, at: (row, column) => values[column * width + row] ?? 0 };
}

function replace(
  graph: Graph,
  tensor: TensorProto,
  { rows, columns }: ValueRows,
  uses: readonly Use[],
  blocks: Blocks,
  bits: 4 | 8,
  block: number,
): void {
  const count = Math.ceil(columns / block);
  const rowBytes = blocks.values.length / rows;
  const name = (what: string): string => graph.freshName(`${tensor.name}/${what}`);
  const flat = uses.every((x) => x.kind === "gather");
  const dims = flat ? [rows, rowBytes] : [rows, count, rowBytes / count];
  const values = graph.addInitializer(uint8Tensor(name(`int${bits}`), dims, blocks.values));
  const scales = addScales(graph, name("scale"), [rows, count], blocks.scales);
  const zeros =
    blocks.zeros === undefined
      ? []
      : [graph.addInitializer(uint8Tensor(name("zero"), [rows, blocks.zeros.length / rows], blocks.zeros))];
  for (const use of uses) {
    if (use.kind === "gather") {
      let table = values;
      if (!flat) {
        table = use.graph.freshName(`${tensor.name}/table`);
        const shape = graph.addInitializer(int64Tensor(name("table-shape"), [2], [rows, rowBytes]));
        use.graph.insertBefore(use.node, { opType: "Reshape", input: [values, shape], output: [table] });
      }
      putGather(use, [table, scales, ...zeros], { block_size: block, bits });
    } else putProduct(use, [values, scales, ...zeros], { K: columns, N: rows, bits, block_size: block });
    use.graph.remove(new Set([use.node]));
    const { transpose } = use;
    if (transpose !== undefined && transpose.graph.consumers(transpose.node.output[0] ?? "").length === 0)
      transpose.graph.remove(new Set([transpose.node]));
  }
  graph.proto.initializer.splice(graph.proto.initializer.indexOf(tensor), 1);
  graph.changed();
}

function putGather({ graph, node }: Use, [table = "", ...rest]: string[], attributes: Record<string, number>): void {
  graph.insertBefore(node, {
    opType: "GatherBlockQuantized",
    domain: CONTRIB,
    input: [table, node.input[1] ?? "", ...rest],
    output: [node.output[0] ?? ""],
    attributes: { gather_axis: 0, quantize_axis: 1, ...attributes },
  });
}

function putProduct({ graph, node }: Use, weights: readonly string[], attributes: Record<string, number>): void {
  const [output = ""] = node.output;
  const bias = node.opType === "Gemm" ? (node.input[2] ?? "") : "";
  const product = bias === "" ? output : graph.freshName(`${output}/product`);
  const input = [node.input[0] ?? "", ...weights];
  graph.insertBefore(node, { opType: "MatMulNBits", domain: CONTRIB, input, output: [product], attributes });
  if (bias !== "") graph.insertBefore(node, { opType: "Add", input: [product, bias], output: [output] });
}

/**
 * Adds scales in fewer bytes: one byte each where all are multiples of one step (`snapScales`), two where float16
 * represents them. ONNX Runtime widens them once, while loading.
 */
export function addScales(graph: Graph, name: string, dims: readonly number[], scales: Float32Array): string {
  const step = scales.length < HALF_MIN ? undefined : stepOf(scales);
  const [first] = graph.nodes;
  if (scales.length < HALF_MIN || first === undefined || (step === undefined && !areHalf(scales)))
    return graph.addInitializer(floatTensor(name, dims, scales));
  const to = { to: TensorProto_DataType.FLOAT };
  if (step === undefined) {
    const half = float16Tensor(graph.freshName(`${name}/float16`), dims, float16BitsOf(scales));
    graph.insertBefore(first, { opType: "Cast", input: [graph.addInitializer(half)], output: [name], attributes: to });
    return name;
  }
  const [count, wide] = [graph.freshName(`${name}/uint8`), graph.freshName(`${name}/steps`)];
  graph.addInitializer(
    uint8Tensor(
      count,
      dims,
      Uint8Array.from(scales, (x) => Math.round(x / step)),
    ),
  );
  const unit = graph.addInitializer(floatTensor(graph.freshName(`${name}/step`), [], Float32Array.of(step)));
  graph.insertBefore(first, { opType: "Cast", input: [count], output: [wide], attributes: to });
  graph.insertBefore(first, { opType: "Mul", input: [wide, unit], output: [name] });
  return name;
}

/** Returns the step of which all scales are exact multiples, by 1 to 255, where the largest is 255 times. */
function stepOf(scales: Float32Array): number | undefined {
  const step = scales.reduce((most, x) => Math.max(most, x), 0) / SCALE_STEPS;
  const isMultiple = (x: number): boolean => x >= step && Math.round(x / step) * step === x;
  return Math.fround(step) === step && scales.every(isMultiple) ? step : undefined;
}
