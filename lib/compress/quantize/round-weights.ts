// Rounds the weights of a whole model by the statistics of its layers' inputs on samples, before the transforms store
// them: a weight with codes from here needs only be packed. The mean remaining error of an output is corrected in the
// following bias.
//
// A weight shared by layers with different inputs, or that is also an embedding table, is left to rounding to nearest:
// the optimum for one is not that of the other. Branches of an If are one layer in two cases, so there it is rounded.
import { MatMul } from "../run/matmul.ts";
import type { Graph } from "../onnx/graph.ts";
import { roundByMoments } from "./gptq.ts";
import type { KeptRounding, KeptWeight } from "./kept-rounding.ts";
import { fitGrid } from "./scales.ts";
import type { GridOptions, Rounded, ValueRows } from "./scales.ts";
import { indexOf, layerOf } from "../onnx/layer.ts";
import type { Layer } from "../onnx/layer.ts";
import { measureMoments } from "../run/input-moments.ts";
import { takenBranches } from "../run/taken-branches.ts";
import type { Moments } from "../run/input-moments.ts";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import type { SampleFeeds } from "../run/statistics.ts";
import { elementCount, floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

/** Returns the grid for a layer's weights; undefined for a layer that is not to be rounded. */
export type ChooseGrid = (layer: Layer) => Omit<GridOptions, "importance"> | undefined;

/**
 * Rounds the layers for which `choose` returns a grid, by the weight's name; changes the biases behind them in the
 * model. A weight that several branches of an If read is rounded by the inputs of the branch that most samples take.
 */
export function roundLayers(model: OnnxModel, feeds: SampleFeeds, choose: ChooseGrid): Promise<Map<string, Rounded>> {
  return roundNewLayers(model, feeds, choose, undefined);
}

/**
 * Does the same, but takes weights that were rounded so for an earlier form of the model from `kept`, and awaits `between`
 * after each layer: it rejects to stop.
 */
export async function roundNewLayers(
  model: OnnxModel,
  feeds: SampleFeeds,
  choose: ChooseGrid,
  kept: KeptRounding | undefined,
  between?: (share: number) => Promise<void>,
): Promise<Map<string, Rounded>> {
  const rounded = new Map<string, Rounded>();
  const shifts: Shift[] = [];
  const add = (graph: Graph, layer: Layer, made: KeptWeight): void => {
    rounded.set(layer.weight.name, made);
    const place = made.shift === null ? undefined : biasOf(graph, layer);
    if (made.shift !== null && place !== undefined) shifts.push({ place, shift: made.shift });
  };
  let matmul: MatMul | undefined;
  try {
    for await (const part of partsOf(model, feeds)) {
      const { graph } = part.model;
      const nodes = graph.nodes.filter((node) => {
        const layer = layerOf(graph, node);
        if (layer === undefined || rounded.has(layer.weight.name) || !part.isOwn(layer.weight.name)) return false;
        const options = hasOneUse(graph, layer) ? choose(layer) : undefined;
        const before = options && kept?.get(layer.weight.name, "by inputs", options);
        if (before !== undefined) add(graph, layer, before);
        return options !== undefined && before === undefined;
      });
      if (nodes.length === 0) continue;
      matmul ??= await MatMul.open();
      for await (const { layers, moments } of measureMoments(part.model, part.feeds, nodes))
        for (const layer of layers) {
          const options = choose(layer);
          if (options === undefined) continue;
          const made = await roundLayer(matmul, graph, layer, moments, options, part.model === model);
          if (made === null) continue;
          add(graph, layer, made);
          kept?.set(layer.weight.name, "by inputs", options, made);
          await between?.(0);
        }
    }
  } finally {
    await matmul?.release();
  }
  for (const { place, shift } of shifts) shiftBias(model.graph, place, shift);
  return rounded;
}

/** A model whose layers are observed with samples. */
interface Part {
  readonly model: OnnxModel;
  readonly feeds: SampleFeeds;
  /** Whether a name is that of one weight of the whole model, which is nowhere a table. */
  isOwn(name: string): boolean;
}

/** Yields the model, then its branches: what an If holds is seen in these alone. */
async function* partsOf(model: OnnxModel, feeds: SampleFeeds): AsyncGenerator<Part> {
  const counts = countNames(model);
  // Two branches may each have a weight of the same name.
  const isOwn = (name: string): boolean =>
    (counts.get(name) ?? 0) < 2 && model.graph.readers(name)?.every(({ node }) => node.opType !== "Gather") === true;
  yield { model, feeds, isOwn };
  for await (const taken of takenBranches(model, feeds)) yield { ...taken, isOwn };
}

/** Counts the initializers of each name: graphs beside each other may each have one. */
export function countNames(model: OnnxModel): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const graph of model.graph.all())
    for (const { name } of graph.proto.initializer) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

interface Shift {
  readonly place: BiasPlace;
  readonly shift: Float64Array;
}

async function roundLayer(
  matmul: MatMul,
  graph: Graph,
  layer: Layer,
  moments: Moments,
  options: Omit<GridOptions, "importance">,
  canShift: boolean,
): Promise<KeptWeight | null> {
  const rows = rowsOf(layer);
  const grid = fitGrid(rows, { ...options, importance: importanceOf(moments) });
  if (!grid.scales.every(Number.isFinite) || moments.products.some((x) => !Number.isFinite(x))) return null;
  const place = canShift ? biasOf(graph, layer) : undefined;
  const isCentred = place !== undefined && floatsOf(place.bias).every((x) => x !== 0);
  const codes = await roundByMoments(matmul, rows, grid, moments, { isCentred });
  const rounded = { grid, codes };
  return { ...rounded, shift: place === undefined ? null : meanError(rows, rounded, moments) };
}

/** Reads a layer's weights as a row for each output. */
export function rowsOf(layer: Layer): ValueRows {
  const values = floatsOf(layer.weight);
  return { rows: layer.outputs, columns: layer.columns, at: (row, column) => values[indexOf(layer, row, column)] ?? 0 };
}

/** Place of a layer's bias: an input of a node that nothing else reads. */
interface BiasPlace {
  readonly node: NodeProto;
  readonly input: number;
  readonly bias: TensorProto;
}

function hasOneUse(graph: Graph, { node, weight }: Layer): boolean {
  const users = graph.consumers(weight.name);
  const [user] = users;
  if (users.length !== 1 || user === undefined) return false;
  return user === node || graph.onlyConsumer(user.output[0] ?? "") === node;
}

function biasOf(graph: Graph, { node, outputs }: Layer): BiasPlace | undefined {
  const placeAt = (node: NodeProto, input: number): BiasPlace | undefined => {
    const bias = graph.constant(node.input[input] ?? "");
    if (bias?.dataType !== TensorProto_DataType.FLOAT || elementCount(bias) !== outputs) return undefined;
    return Number(bias.dims.at(-1)) === outputs ? { node, input, bias } : undefined;
  };
  if (node.opType !== "MatMul") return placeAt(node, 2);
  const add = graph.onlyConsumer(node.output[0] ?? "");
  if (add?.opType !== "Add" || add.domain !== "") return undefined;
  return placeAt(
    add,
    add.input.findIndex((x) => x !== node.output[0]),
  );
}

/** Returns the mean error of each output over all rows. */
function meanError(
  { rows, columns, at }: ValueRows,
  { grid, codes }: Rounded,
  { groups, sums, rows: count }: Moments,
): Float64Array {
  const blocks = Math.ceil(columns / grid.block);
  return Float64Array.from({ length: rows }, (_, row) => {
    const group = Math.floor((row * groups) / rows);
    let sum = 0;
    for (let column = 0; column < columns; column++) {
      const i = row * blocks + Math.floor(column / grid.block);
      const now = ((codes[row * columns + column] ?? 0) - (grid.zeros?.[i] ?? 0)) * (grid.scales[i] ?? 0);
      sum += (at(row, column) - now) * ((sums[group * columns + column] ?? 0) / count);
    }
    return sum;
  });
}

/**
 * A bias of 0 is not changed: zero inputs there must yield zeros, which may be divided by their norm (a Swin's padded
 * keys).
 */
function shiftBias(graph: Graph, { node, input, bias }: BiasPlace, shift: Float64Array): void {
  const name = node.input[input] ?? "";
  const values = floatsOf(bias).map((x, i) => (x === 0 ? 0 : x + (shift[i] ?? 0)));
  // A separate tensor: others may read the same one.
  node.input[input] = graph.addInitializer(
    floatTensor(graph.freshName(`${name}/shifted`), bias.dims.map(Number), values),
  );
  graph.changed();
}

/** Returns the mean energy of each column over all groups; a column that was 0 on all samples keeps a small weight. */
function importanceOf({ groups, columns, products }: Moments): Float64Array {
  const energy = new Float64Array(columns);
  for (let group = 0; group < groups; group++)
    for (let i = 0; i < columns; i++)
      energy[i] = (energy[i] ?? 0) + (products[(group * columns + i) * columns + i] ?? 0);
  const floor = (energy.reduce((a, b) => a + b, 0) / columns) * 1e-3 || 1;
  return energy.map((x) => Math.max(x, floor));
}
