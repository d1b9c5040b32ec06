// The layout of block-wise weights that MatMulNBits and GatherBlockQuantized (ONNX Runtime's contrib operators) read.
// Codes are unsigned; 4-bit codes are packed two to a byte, the first in the low half. A row's last block is padded
// with zero points.
import type { Grid } from "./scales.ts";

/** Quantized rows in the layout of MatMulNBits and GatherBlockQuantized. */
export interface Blocks {
  readonly values: Uint8Array;
  readonly scales: Float32Array;
  /** Absent where every zero point is the midpoint, 8 or 128. */
  readonly zeros?: Uint8Array;
}

/** Packs rows of codes. */
export function packBlocks(rows: number, columns: number, grid: Grid, codes: Int8Array): Blocks {
  const { bits, block, scales } = grid;
  const count = Math.ceil(columns / block);
  const perByte = 8 / bits;
  const middle = 2 ** (bits - 1);
  const values = new Uint8Array((rows * count * block) / perByte);
  const zeroBytes = Math.ceil(count / perByte);
  const zeros = new Uint8Array(grid.zeros === undefined ? 0 : rows * zeroBytes);
  for (let row = 0; row < rows; row++)
    for (let b = 0; b < count; b++) {
      const zero = grid.zeros?.[row * count + b] ?? 0;
      if (grid.zeros !== undefined) put(zeros, row * zeroBytes * perByte + b, zero + middle, bits);
      const start = row * count * block + b * block;
      const length = Math.min(block, columns - b * block);
      for (let i = 0; i < block; i++)
        put(values, start + i, (i < length ? (codes[row * columns + b * block + i] ?? 0) : zero) + middle, bits);
    }
  return { values, scales, ...(grid.zeros === undefined ? {} : { zeros }) };
}

function put(bytes: Uint8Array, index: number, value: number, bits: 4 | 8): void {
  if (bits === 8) bytes[index] = value;
  else bytes[index >> 1] = (bytes[index >> 1] ?? 0) | (value << (4 * (index & 1)));
}
