// Second moments of layer inputs over samples: for each layer the sum of x·xᵀ and of x over all rows x that are
// multiplied with its weights. They alone determine which errors of weights show in the layer's output.
//
// A row of a convolution is a patch. Patches come from the convolution itself, with one-hot weights, so that pads,
// strides and groups are always right. Products are large (K × K for K inputs): layers are measured in rounds whose
// products fit the budget, each round iterating over the samples again; moments that a caller does not keep are
// dropped.
import type { Graph, NodeSpec } from "../onnx/graph.ts";
import { layerOf } from "../onnx/layer.ts";
import type { Layer } from "../onnx/layer.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { append, everyNth, observe } from "./statistics.ts";
import type { SampleFeeds, Tap } from "./statistics.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

/** Sums over the rows that a layer's weights are multiplied with, separate for each group of a convolution. */
export interface Moments {
  /** Number of groups of the convolution; 1 for other operators. */
  readonly groups: number;
  /** Values in a row: inputs of a product; channels · height · width of a kernel, in the order of its weights. */
  readonly columns: number;
  /** Number of rows summed. */
  readonly rows: number;
  /** Sums of the rows: groups × columns. */
  readonly sums: Float64Array;
  /** Sums of the pairwise products of columns: groups × columns × columns, symmetric. */
  readonly products: Float64Array;
}

/** Options of `measureMoments`. */
export interface MomentsOptions {
  /** Memory budget for products, in bytes. Default 128 MiB. */
  readonly budgetBytes?: number;
  /** Maximum number of rows per sample, evenly spaced. Default 512. */
  readonly rowsMax?: number;
  /**
   * Number of rows after which sampling stops: further samples add little, and products of long rows take time. Default
   * 16,384.
   */
  readonly rowsEnough?: number;
  /** Layers with longer rows are skipped: their products would take minutes. Default 4,608. */
  readonly columnsMax?: number;
}

/** Defaults of `measureMoments`. */
export const MOMENTS_DEFAULTS: Required<MomentsOptions> = {
  budgetBytes: 128 * 2 ** 20,
  rowsMax: 512,
  rowsEnough: 16_384,
  columnsMax: 4608,
};

/** Layers with the same input, and its moments. */
export interface LayerMoments {
  /** Layers that read this input. */
  readonly layers: readonly Layer[];
  /** Sums over its rows. */
  readonly moments: Moments;
}

/**
 * Measures the inputs of products and convolutions with constant weights, of all or of those named by node. The model
 * is restored afterwards, and must not be changed before the next item is requested.
 */
export async function* measureMoments(
  model: OnnxModel,
  feeds: SampleFeeds,
  nodes: readonly NodeProto[] = model.graph.nodes,
  options: MomentsOptions = {},
): AsyncGenerator<LayerMoments> {
  const { budgetBytes, rowsMax, rowsEnough, columnsMax } = { ...MOMENTS_DEFAULTS, ...options };
  const byInput = new Map<string, Layer[]>();
  for (const node of nodes) {
    const layer = layerOf(model.graph, node);
    if (layer === undefined || layer.columns > columnsMax) continue;
    const window = node.opType === "Conv" ? [node.attribute.map(textOf).sort(), layer.weight.dims.slice(1)] : [];
    const key = [node.input[0], layer.columns, layer.groups, ...window].join(" ");
    const known = byInput.get(key);
    if (known === undefined) byInput.set(key, [layer]);
    else known.push(layer);
  }
  const waiting = [...byInput.values()];
  while (waiting.length > 0) {
    const turn: { layers: Layer[]; first: Layer; sums: Sums }[] = [];
    let bytes = 0;
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const [first] = next;
      if (first === undefined) break;
      bytes += 8 * first.groups * first.columns ** 2;
      if (turn.length > 0 && bytes > budgetBytes) break;
      turn.push({ layers: next, first, sums: new Sums(first.groups, first.columns) });
      waiting.shift();
    }
    const taps = (): Tap[] => turn.map(({ first, sums }) => tapOf(model.graph, first, rowsMax, sums));
    await observe(model, feeds, taps, () => turn.every(({ sums }) => sums.rows >= rowsEnough));
    for (const { layers, sums } of turn) if (sums.rows > 0) yield { layers, moments: sums };
  }
}

class Sums implements Moments {
  readonly groups: number;
  readonly columns: number;
  readonly sums: Float64Array;
  readonly products: Float64Array;
  rows = 0;

  constructor(groups: number, columns: number) {
    this.groups = groups;
    this.columns = columns;
    this.sums = new Float64Array(groups * columns);
    this.products = new Float64Array(groups * columns ** 2);
  }

  add(sums: ArrayLike<number>, products: ArrayLike<number>, rows: number): void {
    for (let i = 0; i < this.sums.length; i++) this.sums[i] = (this.sums[i] ?? 0) + (sums[i] ?? 0);
    for (let i = 0; i < this.products.length; i++) this.products[i] = (this.products[i] ?? 0) + (products[i] ?? 0);
    this.rows += rows;
  }
}

function tapOf(graph: Graph, layer: Layer, rowsMax: number, into: Sums): Tap {
  const { groups, columns } = layer;
  const [input = ""] = layer.node.input;
  const node = (what: string, spec: Omit<NodeSpec, "output">): string => append(graph, `${input}/${what}`, spec)[0];
  const whole = (...values: number[]): string =>
    graph.addInitializer(int64Tensor(graph.freshName(`${input}/integers`), [values.length], values));
  const turned = (value: string, ...perm: number[]): string =>
    node("turned", { opType: "Transpose", input: [value], attributes: { perm } });
  let rows = input;
  if (layer.node.opType === "Conv") {
    const patches = node("patches", { opType: "Conv", input: [input, graph.addInitializer(oneHot(graph, layer))] });
    const conv = graph.proto.node.at(-1);
    if (conv !== undefined) conv.attribute = layer.node.attribute;
    rows = turned(node("flat", { opType: "Reshape", input: [patches, whole(0, groups * columns, -1)] }), 0, 2, 1);
  }
  const listed = node("rows", { opType: "Reshape", input: [rows, whole(-1, groups * columns)] });
  const picked = everyNth(graph, listed, rowsMax);
  const split = turned(node("split", { opType: "Reshape", input: [picked, whole(-1, groups, columns)] }), 1, 2, 0);
  const products = node("products", { opType: "MatMul", input: [split, turned(split, 0, 2, 1)] });
  const sums = node("sums", { opType: "ReduceSum", input: [split, whole(2)], attributes: { keepdims: 0 } });
  const shape = node("shape", { opType: "Shape", input: [picked] });
  return {
    outputs: [sums, products, shape],
    take: ([sum = [], product = [], dims = []]) => {
      into.add(sum, product, dims[0] ?? 0);
    },
  };
}

/** Makes weights that copy each value of a patch to an output of its own. */
function oneHot(graph: Graph, { groups, columns, weight, node }: Layer): ReturnType<typeof floatTensor> {
  const values = new Float32Array(groups * columns ** 2);
  for (let i = 0; i < groups * columns; i++) values[i * columns + (i % columns)] = 1;
  const dims = [groups * columns, ...weight.dims.slice(1).map(Number)];
  return floatTensor(graph.freshName(`${node.output[0] ?? ""}/one-hot`), dims, values);
}

function textOf({ name, i, ints, s }: NodeProto["attribute"][number]): string {
  return [name, i, ...ints, ...s].join(",");
}
