// Statistics of the places where units are read: second moments of their inputs over samples, and the weights by which
// they are summed. Scores and reconstruction are computed from these alone, for any number of prunings of one model.
//
// For a convolution with large patches only the products between channels are kept, averaged over the kernel positions:
// its rows are then one for each output and position.
import type { Dependencies } from "./channel-groups.ts";
import type { Read } from "./dependency-walk.ts";
import type { Layer } from "../onnx/layer.ts";
import { indexOf, layerOf } from "../onnx/layer.ts";
import type { Moments } from "../run/input-moments.ts";
import { measureMoments } from "../run/input-moments.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import type { SampleFeeds } from "../run/statistics.ts";

/** Second moments of the inputs of one reading node; symmetric, separate for each group of a convolution. */
export interface InputMoments {
  readonly groups: number;
  /** Number of columns of a group. */
  readonly columns: number;
  /** Contiguous columns that belong to one channel: the kernel positions, or 1. */
  readonly span: number;
  /** Means: groups × columns. */
  readonly means: Float64Array;
  /** Means of products: groups × columns × columns. */
  readonly products: Float64Array;
}

/** Patches longer than this are reduced to channels. */
const PATCH_MAX = 1_200;
/** Inputs longer than this are not measured: their products would take minutes and gigabytes. */
const COLUMNS_MAX = 4_608;

/** @internal Measures the inputs of all nodes that read units; keyed by the node's first output. */
export async function gatherEvidence(
  model: OnnxModel,
  { groups, walk }: Dependencies,
  feeds: SampleFeeds,
): Promise<Map<string, InputMoments>> {
  const wanted = new Set<NodeProto>();
  for (const { reads } of groups)
    for (const { node } of reads) if (layerOf(walk.graph, node) !== undefined) wanted.add(node);
  const evidence = new Map<string, InputMoments>();
  const nodes = walk.graph.nodes.filter((x) => wanted.has(x));
  for await (const { layers, moments } of measureMoments(model, feeds, nodes, { columnsMax: COLUMNS_MAX })) {
    const [first] = layers;
    if (first === undefined) continue;
    const made = fromMoments(moments, spanOf(first));
    for (const { node } of layers) evidence.set(node.output[0] ?? "", made);
  }
  return evidence;
}

function spanOf({ node, weight }: Layer): number {
  return node.opType === "Conv" ? weight.dims.slice(2).reduce((a, b) => a * Number(b), 1) : 1;
}

function fromMoments({ groups, columns, rows, sums, products }: Moments, span: number): InputMoments {
  const patches: InputMoments = {
    groups,
    columns,
    span,
    means: sums.map((x) => x / rows),
    products: products.map((x) => x / rows),
  };
  return span > 1 && columns > PATCH_MAX ? byChannel(patches) : patches;
}

/** Reduces patches to channels. */
export function byChannel(patches: InputMoments): InputMoments {
  const { groups, columns, span, means, products } = patches;
  if (span === 1) return patches;
  const channels = columns / span;
  const made: InputMoments = {
    groups,
    columns: channels,
    span: 1,
    means: new Float64Array(groups * channels),
    products: new Float64Array(groups * channels ** 2),
  };
  for (let g = 0; g < groups; g++)
    for (let a = 0; a < channels; a++) {
      let mean = 0;
      for (let o = 0; o < span; o++) mean += means[g * columns + a * span + o] ?? 0;
      made.means[g * channels + a] = mean / span;
      for (let b = 0; b < channels; b++) {
        let sum = 0;
        for (let o = 0; o < span; o++) sum += products[g * columns ** 2 + (a * span + o) * columns + b * span + o] ?? 0;
        made.products[g * channels ** 2 + a * channels + b] = sum / span;
      }
    }
  return made;
}

/**
 * Weights of a reading node as a matrix in the layout of the evidence: a row for each output, a column for each input.
 */
export interface WeightView {
  readonly rows: number;
  /** Returns the index of a row's weight for a column of a group. */
  at(group: number, row: number, column: number): number;
}

/** Returns a layer's weights as a matrix in the layout of `evidence`. */
export function viewWeights(layer: Layer, evidence: InputMoments): WeightView {
  const { groups, columns } = evidence;
  const kernel = spanOf(layer);
  if (layer.node.opType !== "Conv")
    return { rows: layer.outputs, at: (_group, row, column) => indexOf(layer, row, column) };
  const outputs = layer.outputs / groups;
  if (evidence.span === kernel)
    return { rows: outputs, at: (group, row, column) => (group * outputs + row) * columns + column };
  return {
    rows: outputs * kernel,
    at: (group, row, column) =>
      ((group * outputs + Math.floor(row / kernel)) * columns + column) * kernel + (row % kernel),
  };
}

/** @internal Returns the unit of each column of one group. */
export function columnUnits(
  { walk }: Dependencies,
  { labels }: Read,
  { columns, span, groups }: InputMoments,
  group: number,
): number[] {
  const channels = labels.length / groups;
  return Array.from({ length: columns }, (_, i) =>
    walk.units.find(labels[group * channels + Math.floor(i / span)] ?? 0),
  );
}
