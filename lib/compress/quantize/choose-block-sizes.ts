// Chooses which of the weights with one scale per output get finer scales: the step of a block of 8-bit values is set
// by its largest value, so a shorter block has less error. Scales cost bytes, and the outputs depend on a few weights
// most: for example a table that is used both as embedding and as output projection. Those come first, within a budget.
//
// The budget is what a model saves by storing its other constants in 16 bits: so finer scales never make it larger than
// plain 8-bit weights with float32 constants, and a model without such constants is not changed.
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { measureSensitivity } from "../run/sensitivity.ts";
import type { Feed } from "../run/samples.ts";
import type { SampleFeeds } from "../run/statistics.ts";
import { rowsAlong } from "./quantize-weights.ts";
import type { ValueRows } from "./scales.ts";
import { elementCount } from "../onnx/tensor-proto.ts";

/** Options of `chooseBlockSizes`. */
export interface ChooseBlockSizesOptions {
  /** Maximum to spend, as a share of the weights' bytes. Default 0.02. */
  readonly share?: number;
  /** Number of samples for measuring sensitivity. Default 4. */
  readonly samples?: number;
  /** Time limit of the measurement. Default 10 s. */
  readonly budgetMs?: number;
}

/** Defaults of `chooseBlockSizes`. */
export const CHOOSE_BLOCK_SIZES_DEFAULTS: Required<ChooseBlockSizesOptions> = {
  share: 0.02,
  samples: 4,
  budgetMs: 10_000,
};

/** Block sizes to choose from: columns that share a scale. */
const BLOCKS = [256, 128, 64, 32, 16] as const;
/** Bytes of one scale. */
const SCALE_BYTES = 2;
/** Bytes of the additional nodes of a weight in blocks. */
const NODE_BYTES = 160;
/** Minimum number of elements for a constant to be narrowed. */
const NARROWED_MIN = 64;

/** Returns the block size of each weight that is worth finer scales than one per output. */
export async function chooseBlockSizes(
  model: OnnxModel,
  feeds: SampleFeeds,
  isStored: (weight: TensorProto) => boolean,
  options: ChooseBlockSizesOptions = {},
): Promise<ReadonlyMap<string, number>> {
  const { share, samples, budgetMs } = { ...CHOOSE_BLOCK_SIZES_DEFAULTS, ...options };
  const chosen = new Map<string, number>();
  const weights = new Map<string, ValueRows>();
  let [size, left] = [0, 0];
  for (const tensor of model.graph.proto.initializer) {
    if (tensor.dataType !== TensorProto_DataType.FLOAT) continue;
    const rows = isStored(tensor) ? rowsAlong(model.graph, tensor) : undefined;
    if (rows !== undefined) {
      weights.set(tensor.name, rows);
      size += elementCount(tensor);
      left -= SCALE_BYTES * rows.rows;
    } else if (elementCount(tensor) >= NARROWED_MIN) left += 2 * elementCount(tensor);
  }
  left = Math.min(left, share * size);
  const first: Feed[] = [];
  for await (const feed of feeds) if (first.push(feed) >= samples) break;
  if (first.length === 0 || left < NODE_BYTES) return chosen;
  const steps: { name: string; block: number; gain: number; bytes: number }[] = [];
  for (const { name, int8Db } of await measureSensitivity(model, first, { budgetMs, bits: [8] })) {
    const weight = weights.get(name);
    if (weight === undefined || !Number.isFinite(int8Db)) continue;
    const { rows, columns } = weight;
    const whole = coarseness(weight, columns);
    if (whole === 0) continue;
    const perCoarseness = 10 ** (-int8Db / 10) / whole;
    let before = { coarse: whole, bytes: rows * SCALE_BYTES - NODE_BYTES };
    for (const block of BLOCKS) {
      if (block >= columns || columns % block !== 0) continue;
      const now = { coarse: coarseness(weight, block), bytes: (rows * columns * SCALE_BYTES) / block };
      const gain = perCoarseness * (before.coarse - now.coarse);
      steps.push({ name, block, gain, bytes: now.bytes - before.bytes });
      before = now;
    }
  }
  // A step is available once the coarser one of its weight is taken.
  for (;;) {
    const open = new Map<string, (typeof steps)[number]>();
    for (const step of steps)
      if (step.block < (chosen.get(step.name) ?? Infinity) && !open.has(step.name)) open.set(step.name, step);
    const [best] = [...open.values()]
      .filter((x) => x.bytes <= left && x.gain > 0)
      .sort((a, b) => b.gain / b.bytes - a.gain / a.bytes);
    if (best === undefined) return chosen;
    chosen.set(best.name, best.block);
    left -= best.bytes;
  }
}

/** Sums the rounding errors over blocks with the step of the largest value, up to a common factor. */
function coarseness({ rows, columns, at }: ValueRows, block: number): number {
  let sum = 0;
  for (let row = 0; row < rows; row++)
    for (let start = 0; start < columns; start += block) {
      let peak = 0;
      const end = Math.min(columns, start + block);
      for (let column = start; column < end; column++) peak = Math.max(peak, Math.abs(at(row, column)));
      sum += peak * peak * (end - start);
    }
  return sum;
}
