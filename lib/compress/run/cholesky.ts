// Dense linear algebra for pruning, by Cholesky factorization (Golub & Van Loan, Matrix Computations, 4.2): small
// inverses here, large systems with the products computed by ONNX Runtime.
import type { MatMul } from "./matmul.ts";

/**
 * Factors a symmetric positive-definite matrix in place: L in the lower half; a non-positive pivot is raised a little.
 */
function factor(matrix: Float64Array, size: number): void {
  let largest = 0;
  for (let i = 0; i < size; i++) largest = Math.max(largest, matrix[i * size + i] ?? 0);
  const floor = Math.max(largest * 1e-12, 1e-300);
  for (let column = 0; column < size; column++) {
    const base = column * size;
    let pivot = matrix[base + column] ?? 0;
    for (let k = 0; k < column; k++) pivot -= (matrix[base + k] ?? 0) ** 2;
    const root = Math.sqrt(Math.max(pivot, floor));
    matrix[base + column] = root;
    for (let row = column + 1; row < size; row++) {
      const other = row * size;
      let sum = matrix[other + column] ?? 0;
      for (let k = 0; k < column; k++) sum -= (matrix[other + k] ?? 0) * (matrix[base + k] ?? 0);
      matrix[other + column] = sum / root;
    }
  }
}

/** Returns the inverse of a symmetric positive-definite matrix. */
export function invertSymmetric(matrix: Float64Array, size: number): Float64Array {
  const lower = matrix.slice();
  factor(lower, size);
  // Rows of L⁻¹, then L⁻ᵀ L⁻¹.
  const inverse = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    const base = row * size;
    for (let k = 0; k < row; k++) {
      const value = lower[base + k] ?? 0;
      if (value === 0) continue;
      for (let j = 0; j <= k; j++) inverse[base + j] = (inverse[base + j] ?? 0) - value * (inverse[k * size + j] ?? 0);
    }
    inverse[base + row] = 1;
    const pivot = lower[base + row] ?? 1;
    for (let j = 0; j <= row; j++) inverse[base + j] = (inverse[base + j] ?? 0) / pivot;
  }
  const result = new Float64Array(size * size);
  for (let k = 0; k < size; k++)
    for (let i = 0; i <= k; i++) {
      const value = inverse[k * size + i] ?? 0;
      if (value === 0) continue;
      for (let j = 0; j <= k; j++)
        result[i * size + j] = (result[i * size + j] ?? 0) + value * (inverse[k * size + j] ?? 0);
    }
  return result;
}

/** Number of rows processed in JavaScript between two large products. */
const BLOCK = 96;

/** Solves A · X = B for X, with A symmetric positive-definite of `size` rows, and B of some columns; B becomes X. */
export async function solveSymmetric(
  matmul: MatMul,
  matrix: Float64Array,
  size: number,
  b: Float64Array,
  columns: number,
): Promise<void> {
  const lower = matrix.slice();
  await matmul.factor(lower, size);
  for (let start = 0; start < size; start += BLOCK) {
    const end = Math.min(size, start + BLOCK);
    for (let row = start; row < end; row++) {
      for (let k = start; k < row; k++) subtract(b, columns, row, k, lower[row * size + k] ?? 0);
      scaleRow(b, columns, row, 1 / (lower[row * size + row] ?? 1));
    }
    await eliminate(matmul, b, columns, [start, end], [end, size], (row, k) => lower[row * size + k] ?? 0);
  }
  for (let end = size; end > 0;) {
    const start = Math.floor((end - 1) / BLOCK) * BLOCK;
    for (let row = end - 1; row >= start; row--) {
      for (let k = row + 1; k < end; k++) subtract(b, columns, row, k, lower[k * size + row] ?? 0);
      scaleRow(b, columns, row, 1 / (lower[row * size + row] ?? 1));
    }
    await eliminate(matmul, b, columns, [start, end], [0, start], (row, k) => lower[k * size + row] ?? 0);
    end = start;
  }
}

function subtract(b: Float64Array, columns: number, row: number, from: number, factor: number): void {
  if (factor === 0) return;
  for (let j = 0; j < columns; j++)
    b[row * columns + j] = (b[row * columns + j] ?? 0) - factor * (b[from * columns + j] ?? 0);
}

function scaleRow(b: Float64Array, columns: number, row: number, factor: number): void {
  for (let j = 0; j < columns; j++) b[row * columns + j] = (b[row * columns + j] ?? 0) * factor;
}

/** Subtracts the solved rows from the unsolved ones. */
async function eliminate(
  matmul: MatMul,
  b: Float64Array,
  columns: number,
  [start, end]: readonly [number, number],
  [first, last]: readonly [number, number],
  at: (row: number, solved: number) => number,
): Promise<void> {
  const [rows, width] = [last - first, end - start];
  if (rows === 0) return;
  const factors = new Float32Array(rows * width);
  for (let i = 0; i < rows; i++) for (let k = 0; k < width; k++) factors[i * width + k] = at(first + i, start + k);
  const solved = Float32Array.from(b.subarray(start * columns, end * columns));
  const product = await matmul.multiply(
    { rows, columns: width, values: factors },
    { rows: width, columns, values: solved },
  );
  for (let i = 0; i < product.length; i++) b[first * columns + i] = (b[first * columns + i] ?? 0) - (product[i] ?? 0);
}
