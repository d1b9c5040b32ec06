// Compensates for removed units in the weights of their readers: least squares over samples, no training.
//
// A removed unit is estimated from the remaining ones by the best linear map, x_r ≈ m_r + C (x_k − m_k), which is
// folded into the weights of the next layer: W_k + W_r C, and its bias. For a product this is the best that the layer
// can do; for a convolution of large patches the map is from channel to channel.
import type { MatMul } from "../run/matmul.ts";
import type { Dependencies } from "./channel-groups.ts";
import type { Read } from "./dependency-walk.ts";
import { layerOf } from "../onnx/layer.ts";
import type { Layer } from "../onnx/layer.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { columnUnits, viewWeights } from "./prune-evidence.ts";
import type { InputMoments } from "./prune-evidence.ts";
import { RIDGE } from "./prune-importance.ts";
import { replaceConstant } from "./prune-units.ts";
import type { Removal } from "./prune-units.ts";
import { solveSymmetric } from "../run/cholesky.ts";
import { elementCount, floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

/** Relative uncertainty of a mean square after float32 sums over samples. */
const FLOAT32_NOISE = 1e-6;
/** Maximum factor by which the ridge is raised. */
const RIDGE_MOST = 1e7;

/** Changes the weights of all readers of units to be removed; must be called before the removal. */
export async function reconstructReaders(
  matmul: MatMul,
  model: OnnxModel,
  found: Dependencies,
  removed: Removal,
  evidence: ReadonlyMap<string, InputMoments>,
): Promise<void> {
  const done = new Set<string>();
  for (const read of found.walk.reads) {
    const key = read.node.output[0] ?? "";
    const known = evidence.get(key);
    const layer = layerOf(found.walk.graph, read.node);
    if (known === undefined || layer === undefined || done.has(layer.weight.name)) continue;
    if (!read.labels.some((x) => removed.has(found.walk.units.find(x)))) continue;
    // Weights that several nodes share are not changed: the optimum for one is not that of the other.
    if (model.graph.consumers(layer.weight.name).length > 1) continue;
    done.add(layer.weight.name);
    await repairReader(matmul, model, found, read, layer, known, removed);
  }
}

async function repairReader(
  matmul: MatMul,
  model: OnnxModel,
  found: Dependencies,
  read: Read,
  layer: Layer,
  evidence: InputMoments,
  removed: Removal,
): Promise<void> {
  const { columns, groups, means, products } = evidence;
  const view = viewWeights(layer, evidence);
  const values = floatsOf(layer.weight).slice();
  const bias = biasOf(model, found, layer);
  const perOutput = view.rows / (layer.outputs / groups);
  for (let g = 0; g < groups; g++) {
    const units = columnUnits(found, read, evidence, g);
    const kept = [...units.keys()].filter((i) => !removed.has(units[i] ?? 0));
    const gone = [...units.keys()].filter((i) => removed.has(units[i] ?? 0));
    const mean = (i: number): number => (bias === undefined ? 0 : (means[g * columns + i] ?? 0));
    const moment = (i: number, j: number): number =>
      (products[g * columns ** 2 + i * columns + j] ?? 0) - mean(i) * mean(j);
    const estimate = await estimateOf(
      matmul,
      kept,
      gone,
      moment,
      (i) => products[g * columns ** 2 + i * columns + i] ?? 0,
    );
    if (estimate === undefined) continue;
    const weights = new Float32Array(gone.length * view.rows);
    for (const [b, j] of gone.entries())
      for (let row = 0; row < view.rows; row++) weights[b * view.rows + row] = values[view.at(g, row, j)] ?? 0;
    const added = await matmul.multiply(
      { rows: kept.length, columns: gone.length, values: Float32Array.from(estimate) },
      { rows: gone.length, columns: view.rows, values: weights },
    );
    const shifts = new Float64Array(view.rows);
    for (let row = 0; row < view.rows; row++) {
      let shift = 0;
      for (const [b, j] of gone.entries()) shift += mean(j) * (weights[b * view.rows + row] ?? 0);
      shifts[row] = shift;
    }
    for (const [a, i] of kept.entries())
      for (let row = 0; row < view.rows; row++) {
        const more = added[a * view.rows + row] ?? 0;
        const at = view.at(g, row, i);
        values[at] = (values[at] ?? 0) + more;
        shifts[row] = (shifts[row] ?? 0) - more * mean(i);
      }
    if (bias === undefined) continue;
    for (let row = 0; row < view.rows; row++) {
      const output = g * (layer.outputs / groups) + Math.floor(row / perOutput);
      bias.values[output] = (bias.values[output] ?? 0) + (shifts[row] ?? 0);
    }
  }
  replaceConstant(model, floatTensor(layer.weight.name, layer.weight.dims.map(Number), values));
  bias?.write();
}

/**
 * Returns Cᵀ: a row for each remaining column, a column for each removed one; undefined where the samples do not
 * determine it. Inputs that hardly vary relative to their mean, such as the mean over a picture, are known to no more
 * digits than float32 leaves of their squares: then the ridge is raised until the matrix can be factored.
 */
async function estimateOf(
  matmul: MatMul,
  kept: readonly number[],
  gone: readonly number[],
  moment: (i: number, j: number) => number,
  square: (i: number) => number,
): Promise<Float64Array | undefined> {
  const size = kept.length;
  const mean = (of: (i: number) => number): number => kept.reduce((sum, i) => sum + of(i), 0) / size;
  const least = Math.max(mean((i) => moment(i, i)) * RIDGE, mean(square) * FLOAT32_NOISE, 1e-12);
  for (let ridge = least; ridge < least * RIDGE_MOST; ridge *= 10) {
    const matrix = new Float64Array(size ** 2);
    for (const [a, i] of kept.entries())
      for (const [b, j] of kept.entries()) matrix[a * size + b] = moment(i, j) + (a === b ? ridge : 0);
    const estimate = new Float64Array(size * gone.length);
    for (const [a, i] of kept.entries())
      for (const [b, j] of gone.entries()) estimate[a * gone.length + b] = moment(i, j);
    try {
      await solveSymmetric(matmul, matrix, size, estimate, gone.length);
    } catch (error) {
      if (error instanceof RangeError) continue;
      throw error;
    }
    if (estimate.every(Number.isFinite)) return estimate;
  }
  return undefined;
}

interface Bias {
  readonly values: Float64Array;
  write(): void;
}

/** Returns a layer's bias to change: its own, or that of the Add behind a product; undefined where it has none. */
function biasOf(model: OnnxModel, { walk }: Dependencies, { node, outputs }: Layer): Bias | undefined {
  const { graph } = model;
  const [user, input] = node.opType === "MatMul" ? behind(model, node.output[0] ?? "") : [node, 2];
  if (user === undefined) return undefined;
  const name = user.input[input] ?? "";
  const constant = graph.constant(name);
  if (name !== "" && constant === undefined) return undefined;
  if (
    constant !== undefined &&
    (constant.dataType !== TensorProto_DataType.FLOAT || elementCount(constant) !== outputs)
  )
    return undefined;
  // A bias is one row: its last axis holds all of it.
  if (constant !== undefined && Number(constant.dims.at(-1) ?? 0n) !== outputs) return undefined;
  const values = constant === undefined ? new Float64Array(outputs) : Float64Array.from(floatsOf(constant));
  return {
    values,
    write() {
      const dims = constant?.dims.map(Number) ?? [outputs];
      const changed = floatTensor(name, dims, Float32Array.from(values));
      if (constant !== undefined && graph.consumers(name).length === 1) {
        replaceConstant(model, changed);
        return;
      }
      // A tensor of its own, which is cut like the outputs that it belongs to.
      changed.name = graph.freshName(`${node.output[0] ?? ""}/bias`);
      const labels = walk.axes(node.output[0] ?? "")?.at(node.opType === "Conv" ? 1 : -1) ?? null;
      walk.set(
        changed.name,
        dims.map((_, i) => (i === dims.length - 1 ? labels : null)),
      );
      user.input[input] = graph.addInitializer(changed);
      graph.changed();
    },
  };
}

function behind({ graph }: OnnxModel, value: string): [ReturnType<typeof graph.onlyConsumer>, number] {
  const next = graph.onlyConsumer(value);
  return next?.opType === "Add" ? [next, next.input[0] === value ? 1 : 0] : [undefined, 0];
}
