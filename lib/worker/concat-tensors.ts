// Concatenates and splits tensors along an axis: any dtype, any axis. Contiguous inputs become one view, and small
// parts are views of the whole: neither is copied.
import { float16Bits } from "./processing/image.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { Dtype, DtypeArrays, Tensor } from "../core/tensor.ts";

type Data = DtypeArrays[Dtype];

/** A part of fewer bytes is a view of the whole; a larger one has its own buffer, which can be moved. */
const OWN_BYTES = 2 ** 16;

/** Concatenates tensors of one dtype along an axis; their other dims must be equal. */
export function joinTensors(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors as [Tensor];
  const rows = tensors.reduce((sum, tensor) => sum + (tensor.dims[axis] as number), 0);
  const dims = resized(first.dims, axis, rows);
  const blocks = product(dims.slice(0, axis));
  const whole = blocks === 1 ? sideBySide(tensors) : null;
  if (whole !== null) return { dtype: first.dtype, dims, data: whole } as Tensor;
  const data = allocate(first.dtype, product(dims));
  let at = 0;
  for (let block = 0; block < blocks; block += 1)
    for (const tensor of tensors) {
      const length = product(tensor.dims.slice(axis));
      copy(tensor.data, block * length, length, data, at);
      at += length;
    }
  return { dtype: first.dtype, dims, data } as Tensor;
}

/** Splits a tensor along an axis into parts of so many rows; null where it does not have exactly that many rows. */
export function splitTensor(tensor: Tensor, axis: number, rows: readonly number[]): Tensor[] | null {
  if (tensor.dims[axis] !== rows.reduce((sum, count) => sum + count, 0)) return null;
  const { dtype, dims, data } = tensor;
  const isView = !Array.isArray(data) && product(dims.slice(0, axis)) === 1;
  const inner = product(dims.slice(axis + 1));
  let from = 0;
  return rows.map((count) => {
    const at = from;
    from += count;
    if (!isView || count * inner * data.BYTES_PER_ELEMENT >= OWN_BYTES) return sliceTensor(tensor, axis, at, count);
    return { dtype, dims: resized(dims, axis, count), data: data.subarray(at * inner, from * inner) } as Tensor;
  });
}

/** Returns so many rows of a tensor, from a first one on. */
export function sliceTensor({ dtype, dims, data }: Tensor, axis: number, from: number, count: number): Tensor {
  const inner = product(dims.slice(axis + 1));
  const blocks = product(dims.slice(0, axis));
  const part = resized(dims, axis, count);
  const result = allocate(dtype, product(part));
  for (let block = 0; block < blocks; block += 1)
    copy(data, (block * (dims[axis] as number) + from) * inner, count * inner, result, block * count * inner);
  return { dtype, dims: part, data: result } as Tensor;
}

/** Pads a tensor along an axis with one value. */
export function padTensor(tensor: Tensor, axis: number, size: number, value: number): Tensor {
  const missing = size - (tensor.dims[axis] as number);
  if (missing === 0) return tensor;
  const { dtype } = tensor;
  const dims = resized(tensor.dims, axis, missing);
  const data = allocate(dtype, product(dims));
  if (dtype === "int64" || dtype === "uint64") (data as BigInt64Array).fill(BigInt(value));
  else if (dtype !== "string") (data as Float32Array).fill(dtype === "float16" ? float16Bits(value) : value);
  return joinTensors([tensor, { dtype, dims, data } as Tensor], axis);
}

/** Tolerance within which two answers are equal: 1e-4 of the largest value. */
const TOLERANCE = 1e-4;

/** Whether two tensors are equal, except for rounding. */
export function isSame(a: Tensor, b: Tensor): boolean {
  if (a.dtype !== b.dtype || a.dims.join() !== b.dims.join()) return false;
  if (a.dtype !== "float32" && a.dtype !== "float64")
    return Array.prototype.every.call(a.data, (x, i) => x === b.data[i]);
  const [left, right] = [a.data as Float32Array, b.data as Float32Array];
  let largest = 0;
  for (const x of left) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  const isNear = (x: number, y: number): boolean => Object.is(x, y) || Math.abs(x - y) <= TOLERANCE * largest;
  return left.every((x, i) => isNear(x, right[i] as number));
}

/** Returns one view of elements that are contiguous in one buffer; null where they are not. */
function sideBySide(tensors: readonly Tensor[]): Data | null {
  const [{ dtype, data: first }] = tensors as [Tensor];
  if (dtype === "string" || Array.isArray(first)) return null;
  const { buffer, byteOffset } = first;
  let at = byteOffset;
  let length = 0;
  for (const { data } of tensors) {
    if (Array.isArray(data) || data.buffer !== buffer || data.byteOffset !== at) return null;
    at += data.byteLength;
    length += data.length;
  }
  return new ARRAY_TYPES[dtype](buffer as ArrayBuffer, byteOffset, length);
}

function allocate(dtype: Dtype, count: number): Data {
  return dtype === "string" ? Array.from({ length: count }, () => "") : zeros(dtype, count);
}

function copy(source: Data, from: number, count: number, target: Data, to: number): void {
  if (Array.isArray(source)) for (let i = 0; i < count; i += 1) (target as string[])[to + i] = source[from + i] ?? "";
  else (target as Float32Array).set((source as Float32Array).subarray(from, from + count), to);
}

function resized(dims: readonly number[], axis: number, size: number): number[] {
  return dims.map((dim, i) => (i === axis ? size : dim));
}

function product(dims: readonly number[]): number {
  return dims.reduce((total, dim) => total * dim, 1);
}
