// Pruning order of the units of a group, the least important first.
//
// - magnitude: norm of the weights that make a unit. Needs no samples.
// - activation: a unit's effect on its readers: its mean square times that of its outgoing weights.
// - reconstruction: the error that remains when the readers compensate for it from the remaining units, as well as a
//   linear layer can. Units are removed one by one, since of two redundant ones only one can go. This is Optimal Brain
//   Surgeon (Hassibi & Stork, 1993) with a whole unit for a weight; of the weights it needs W·Wᵀ only.
//
// With several readers, each counts relative to the energy of its own output.
import type { Dependencies, ChannelGroup } from "./channel-groups.ts";
import { byChannel, columnUnits, viewWeights } from "./prune-evidence.ts";
import type { InputMoments } from "./prune-evidence.ts";
import { layerOf } from "../onnx/layer.ts";
import { invertSymmetric } from "../run/cholesky.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatsOf } from "../onnx/tensor-proto.ts";

/** Importance criterion of units. */
export type Importance = "magnitude" | "activation" | "reconstruction";

/** Relative variance below which an input counts as constant. */
export const RIDGE = 1e-3;
/** With more columns than this the inverse takes too long, and activation is used. */
const GREEDY_MAX = 512;
/** Share of the units that are removed one by one; few models tolerate more. */
const GREEDY_SHARE = 0.75;

/** Returns the units of a group, the least important first. */
export function orderUnits(
  found: Dependencies,
  group: ChannelGroup,
  importance: Importance,
  evidence: ReadonlyMap<string, InputMoments>,
): number[] {
  const readers = importance === "magnitude" ? [] : readersOf(found, group, evidence, importance);
  if (readers.length === 0) return ascending(group.units, magnitudes(found, group));
  const isGreedy = readers.every((x) => x.isWhole);
  return isGreedy ? greedily(group.units, readers) : ascending(group.units, activations(group.units, readers));
}

function ascending(units: readonly number[], scores: ReadonlyMap<number, number>): number[] {
  return [...units].sort((a, b) => (scores.get(a) ?? 0) - (scores.get(b) ?? 0));
}

function magnitudes({ walk }: Dependencies, { producers }: ChannelGroup): Map<number, number> {
  const scores = new Map<number, number>();
  for (const { weight, axis, labels } of producers) {
    const constant = walk.graph.constant(weight);
    if (constant?.dataType !== TensorProto_DataType.FLOAT) continue;
    const values = floatsOf(constant);
    const dims = constant.dims.map(Number);
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    const energies = new Float64Array(labels.length);
    let total = 0;
    for (const [i, value] of values.entries()) {
      const at = Math.floor(i / inner) % labels.length;
      energies[at] = (energies[at] ?? 0) + value * value;
      total += value * value;
    }
    for (const [i, label] of labels.entries()) {
      const unit = walk.units.find(label);
      scores.set(unit, (scores.get(unit) ?? 0) + (energies[i] ?? 0) / (total || 1));
    }
  }
  return scores;
}

/** One group of one reading node: the products of its inputs, those of its weights, and the columns of each unit. */
interface Reader {
  readonly columns: number;
  readonly inputs: Float64Array;
  readonly weights: Float64Array;
  readonly columnsOf: ReadonlyMap<number, readonly number[]>;
  /** Whether products of different weights are available too, not only squares. */
  readonly isWhole: boolean;
  /** The energy of its output, or the sum of its inputs' contributions. */
  readonly energy: number;
}

function readersOf(
  found: Dependencies,
  group: ChannelGroup,
  all: ReadonlyMap<string, InputMoments>,
  importance: Importance,
): Reader[] {
  const readers: Reader[] = [];
  for (const read of group.reads) {
    const known = all.get(read.node.output[0] ?? "");
    const layer = layerOf(found.walk.graph, read.node);
    if (known === undefined || layer === undefined) continue;
    const evidence = byChannel(known);
    const { columns, groups, products } = evidence;
    const view = viewWeights(layer, evidence);
    const values = floatsOf(layer.weight);
    for (let g = 0; g < groups; g++) {
      const inputs = products.slice(g * columns ** 2, (g + 1) * columns ** 2);
      const isWhole = importance === "reconstruction" && columns <= GREEDY_MAX;
      const weights = gramOf(columns, view.rows, isWhole, (row, column) => values[view.at(g, row, column)] ?? 0);
      const columnsOf = new Map<number, number[]>();
      for (const [i, unit] of columnUnits(found, read, evidence, g).entries())
        columnsOf.set(unit, [...(columnsOf.get(unit) ?? []), i]);
      let energy = 0;
      for (let i = 0; i < inputs.length; i++) energy += (inputs[i] ?? 0) * (weights[i] ?? 0);
      readers.push({ columns, inputs, weights, columnsOf, isWhole, energy: Math.max(energy, 1e-30) });
    }
  }
  return readers;
}

/** Computes the products of weight columns; only of each with itself unless `isWhole`. */
function gramOf(
  columns: number,
  rows: number,
  isWhole: boolean,
  at: (row: number, column: number) => number,
): Float64Array {
  const gram = new Float64Array(columns ** 2);
  const line = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) line[i] = at(row, i);
    for (let i = 0; i < columns; i++) {
      const value = line[i] ?? 0;
      if (value === 0) continue;
      if (!isWhole) gram[i * columns + i] = (gram[i * columns + i] ?? 0) + value * value;
      else
        for (let j = 0; j < columns; j++) gram[i * columns + j] = (gram[i * columns + j] ?? 0) + value * (line[j] ?? 0);
    }
  }
  return gram;
}

function activations(units: readonly number[], readers: readonly Reader[]): Map<number, number> {
  return new Map(
    units.map((unit) => {
      let score = 0;
      for (const { columns, inputs, weights, columnsOf, energy } of readers)
        for (const i of columnsOf.get(unit) ?? [])
          score += ((inputs[i * columns + i] ?? 0) * (weights[i * columns + i] ?? 0)) / energy;
      return [unit, score];
    }),
  );
}

/** Removes units one by one, each time the one for which the others can compensate best. */
function greedily(units: readonly number[], readers: readonly Reader[]): number[] {
  const states = readers.map((x) => {
    const damped = x.inputs.slice();
    let trace = 0;
    for (let i = 0; i < x.columns; i++) trace += damped[i * x.columns + i] ?? 0;
    const ridge = (trace / x.columns) * RIDGE + 1e-12;
    for (let i = 0; i < x.columns; i++) damped[i * x.columns + i] = (damped[i * x.columns + i] ?? 0) + ridge;
    return { ...x, inverse: invertSymmetric(damped, x.columns), weights: x.weights.slice() };
  });
  const left = new Set(units);
  const order: number[] = [];
  const most = Math.ceil(units.length * GREEDY_SHARE);
  while (left.size > 0) {
    if (order.length >= most) return [...order, ...ascending([...left], activations([...left], readers))];
    let [best, least] = [-1, Infinity];
    for (const unit of left) {
      let score = 0;
      for (const state of states) score += costOf(state, state.columnsOf.get(unit) ?? []) / state.energy;
      if (score < least || best === -1) [best, least] = [unit, score];
    }
    left.delete(best);
    order.push(best);
    for (const state of states) for (const column of state.columnsOf.get(best) ?? []) takeOut(state, column);
  }
  return order;
}

interface State extends Reader {
  readonly inverse: Float64Array;
  readonly weights: Float64Array;
}

/** Returns the error of setting columns to 0 with the others compensating: the trace of W_J (H⁻¹_JJ)⁻¹ W_Jᵀ. */
function costOf({ columns, inverse, weights }: State, list: readonly number[]): number {
  const [only] = list;
  if (only === undefined) return 0;
  if (list.length === 1) return (weights[only * columns + only] ?? 0) / (inverse[only * columns + only] ?? 1);
  const block = blockInverse(inverse, columns, list);
  let sum = 0;
  for (const [a, i] of list.entries())
    for (const [b, j] of list.entries()) sum += (block[a * list.length + b] ?? 0) * (weights[i * columns + j] ?? 0);
  return sum;
}

function blockInverse(matrix: Float64Array, columns: number, list: readonly number[]): Float64Array {
  const block = Float64Array.from({ length: list.length ** 2 }, (_, at) => {
    const [i = 0, j = 0] = [list[Math.floor(at / list.length)], list[at % list.length]];
    return (matrix[i * columns + j] ?? 0) + (i === j ? 1e-12 : 0);
  });
  return invertSymmetric(block, list.length);
}

/**
 * Removes a column from the inverse, and lets the weights compensate. With b = H⁻¹_j / H⁻¹_jj the weights become W −
 * W_j b, so their products A − a bᵀ − b aᵀ + a_j b bᵀ.
 */
function takeOut({ columns, inverse, weights }: State, column: number): void {
  const [row, held] = [
    inverse.slice(column * columns, (column + 1) * columns),
    weights.slice(column * columns, (column + 1) * columns),
  ];
  const pivot = row[column] ?? 0;
  if (pivot <= 0) return;
  const share = row.map((x) => x / pivot);
  const own = held[column] ?? 0;
  for (let i = 0; i < columns; i++) {
    // A column that was already removed is 0 throughout, and stays so.
    const [h, b, a] = [row[i] ?? 0, share[i] ?? 0, held[i] ?? 0];
    if (h === 0 && a === 0) continue;
    const start = i * columns;
    const factor = own * b - a;
    for (let k = 0; k < columns; k++) {
      const by = share[k] ?? 0;
      inverse[start + k] = (inverse[start + k] ?? 0) - h * by;
      weights[start + k] = (weights[start + k] ?? 0) + factor * by - b * (held[k] ?? 0);
    }
  }
  for (let k = 0; k < columns; k++) {
    inverse[column * columns + k] = 0;
    inverse[k * columns + column] = 0;
    weights[column * columns + k] = 0;
    weights[k * columns + column] = 0;
  }
}
