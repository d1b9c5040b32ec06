// The arithmetic of block-wise weights: rows of values, cut into blocks of which each has a scale and, where that pays,
// a zero point. Layout of MatMulNBits (ONNX Runtime's contrib operators): w ≈ (q − zero) · scale, q unsigned, two to a
// byte for 4 bits, the first in the low half; a row's last block is padded.
//
// Scales are searched, not taken from the extremes: at 4 bits, clipping the largest values a little loses less than a
// coarse step for all others. Errors may be weighted, by how strongly each input of a layer is driven.

/** Rows of values to be quantized; `at` reads without a copy, in whatever order they are stored. */
export interface Rows {
  readonly rows: number;
  readonly columns: number;
  at(row: number, column: number): number;
}

/** How to quantize rows. */
export interface BlockOptions {
  readonly bits: 4 | 8;
  /** Columns to a block: a power of 2, 16 to 256. */
  readonly block: number;
  /** A weight for each column's squared error. Default 1. */
  readonly importance?: ArrayLike<number> | undefined;
}

/** Quantized rows, as MatMulNBits and GatherBlockQuantized take them. */
export interface Blocks {
  readonly values: Uint8Array;
  readonly scales: Float32Array;
  /** Absent where every zero point is the middle, 8 or 128. */
  readonly zeros?: Uint8Array;
  /** Sum of weighted squared errors. */
  readonly error: number;
}

/** How much of the full range a scale may cover, the best of which is taken. */
const SHRINK: readonly number[] = [1, 0.97, 0.94, 0.91, 0.88, 0.85, 0.81, 0.77, 0.72];
/** Zero points must lower the error to this share of what it was to be worth their bytes. */
const ZEROS_PAY = 0.9;

/** Quantizes rows block by block, with zero points where they pay. */
export function quantizeBlocks(rows: Rows, options: BlockOptions): Blocks {
  const plain = quantize(rows, options, false);
  // At 8 bits a zero point gains next to nothing.
  if (options.bits === 8) return plain;
  const shifted = quantize(rows, options, true);
  return shifted.error < plain.error * ZEROS_PAY ? shifted : plain;
}

function quantize({ rows, columns, at }: Rows, options: BlockOptions, hasZeros: boolean): Blocks {
  const { bits, block, importance } = options;
  const count = Math.ceil(columns / block);
  const perByte = 8 / bits;
  const [top, middle] = [2 ** bits - 1, 2 ** (bits - 1)];
  const rowBytes = (count * block) / perByte;
  const zeroBytes = Math.ceil(count / perByte);
  const values = new Uint8Array(rows * rowBytes);
  const scales = new Float32Array(rows * count);
  const zeros = new Uint8Array(hasZeros ? rows * zeroBytes : 0);
  const weights = new Float64Array(block);
  const cost = new Float64Array(block).fill(1);
  let error = 0;
  for (let row = 0; row < rows; row++)
    for (let b = 0; b < count; b++) {
      const length = Math.min(block, columns - b * block);
      for (let i = 0; i < length; i++) {
        weights[i] = at(row, b * block + i);
        if (importance !== undefined) cost[i] = importance[b * block + i] ?? 1;
      }
      const best = bestGrid(weights, cost, length, top, middle, hasZeros);
      error += best.error;
      scales[row * count + b] = best.scale;
      if (hasZeros) pack(zeros, row * zeroBytes * perByte + b, best.zero, bits);
      const start = row * rowBytes * perByte + b * block;
      for (let i = 0; i < block; i++) {
        const q = i < length ? nearest((weights[i] ?? 0) / best.scale + best.zero, top) : best.zero;
        pack(values, start + i, q, bits);
      }
    }
  return { values, scales, error, ...(hasZeros ? { zeros } : {}) };
}

/** Finds the scale and zero point of least error for one block. */
function bestGrid(
  weights: Float64Array,
  cost: Float64Array,
  length: number,
  top: number,
  middle: number,
  hasZeros: boolean,
): { scale: number; zero: number; error: number } {
  let [low, high] = [0, 0];
  for (let i = 0; i < length; i++) {
    low = Math.min(low, weights[i] ?? 0);
    high = Math.max(high, weights[i] ?? 0);
  }
  let best = { scale: 1, zero: middle, error: Number.POSITIVE_INFINITY };
  if (low === 0 && high === 0) return { ...best, error: 0 };
  for (const shrink of SHRINK) {
    // Without a zero point the extreme value takes the one step that the range has more on its lower side.
    const wide = hasZeros ? (high - low) / top : (high > -low ? -high : -low) / middle;
    const scale = Math.fround(wide * shrink);
    if (Math.abs(scale) < 2 ** -126 || !Number.isFinite(scale)) continue;
    const zero = hasZeros ? nearest(-low / (wide || 1), top) : middle;
    let error = 0;
    for (let i = 0; i < length && error < best.error; i++) {
      const weight = weights[i] ?? 0;
      const off = weight - (nearest(weight / scale + zero, top) - zero) * scale;
      error += off * off * (cost[i] ?? 1);
    }
    if (error < best.error) best = { scale, zero, error };
  }
  return Number.isFinite(best.error) ? best : { ...best, error: 0 };
}

function nearest(value: number, top: number): number {
  return Math.max(0, Math.min(top, Math.round(value)));
}

function pack(bytes: Uint8Array, index: number, value: number, bits: 4 | 8): void {
  if (bits === 8) bytes[index] = value;
  else bytes[index >> 1] = (bytes[index >> 1] ?? 0) | (value << (4 * (index & 1)));
}
