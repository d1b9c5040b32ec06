// Reads NumPy's array files (.npy, formats 1 to 3) and archives of them (.npz). The size of the array is checked
// against its shape, which existing libraries don't do. A .npy file's values are read piecewise on demand: a set of
// samples may be larger than memory. An archive is expanded as a whole, up to a limit.
import { unzipSync } from "fflate";
import type { UnzipFileInfo } from "fflate";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";

import { SelvedgeError } from "../../core/errors.ts";
import { float16Value } from "../onnx/float16.ts";

/** Values of an array: numbers, of which 64-bit integers are exact up to 2^53, or texts. */
export type ArrayValues = ArrayLike<number> | readonly string[];

/** An array as numbers. */
export interface NumberArray {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

/** An array whose values are read on demand. */
export interface ArraySource {
  readonly dims: readonly number[];
  /** Reads `count` values from index `start` on, in row-major order. */
  read(start: number, count: number): ArrayValues;
}

const MAGIC = "\u0093NUMPY";
/** Maximum size of the header that describes an array. */
const HEADER_MAX_BYTES = 1 << 20;
/** Maximum size of an archive's arrays in memory, all of which are expanded at once. */
const NPZ_MAX_BYTES = 2 ** 31;
/** No deflate stream expands to more than 1,032 times its bytes (zlib's technical notes). */
const DEFLATE_RATIO_MAX = 1_032;

/** Reads one array of numbers. */
export function readNpy(bytes: Uint8Array, name = "the .npy file"): NumberArray {
  const source = arrayIn(bytes, name);
  const data = source.read(
    0,
    source.dims.reduce((a, b) => a * b, 1),
  );
  if (isText(data)) throw invalid(name, "contains texts, not numbers");
  return { dims: source.dims, data };
}

/** Reads all arrays of an archive, by name. */
export function readNpz(bytes: Uint8Array): Record<string, NumberArray> {
  return Object.fromEntries(
    entriesOf(bytes, "the .npz file").map(([name, x]) => [name.slice(0, -4), readNpy(x, name)]),
  );
}

/** Opens an array file; its values are read later. */
export function openNpy(path: string): ArraySource {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const head = new Uint8Array(Math.min(size, HEADER_MAX_BYTES));
    readSync(file, head, 0, head.length, 0);
    const header = headerOf(head, size, path);
    return sourceOf(header, path, (start, length) => readRange(path, start, length));
  } finally {
    closeSync(file);
  }
}

/** Opens an archive of arrays, by name. */
export function openNpz(path: string): Record<string, ArraySource> {
  const entries = entriesOf(new Uint8Array(readFileSync(path)), path);
  return Object.fromEntries(entries.map(([name, x]) => [name.slice(0, -4), arrayIn(x, `${path}: ${name}`)]));
}

function entriesOf(bytes: Uint8Array, name: string): [string, Uint8Array][] {
  let total = 0;
  const isArray = (x: UnzipFileInfo): boolean => {
    if (!x.name.endsWith(".npy")) return false;
    total += x.originalSize;
    // The library allocates the claimed size before it is verified.
    if (x.originalSize > x.size * DEFLATE_RATIO_MAX + 1_024 || total > NPZ_MAX_BYTES)
      throw new RangeError(`${x.name} declares ${x.originalSize} uncompressed bytes, over the limit`);
    return true;
  };
  try {
    return Object.entries(unzipSync(bytes, { filter: isArray }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(name, `is not a .npz archive (${reason}); past 2 GB, save one .npy for each input into a folder`);
  }
}

/** Whether an array's values are texts. */
export function isText(values: ArrayValues): values is readonly string[] {
  return Array.isArray(values) && typeof values[0] === "string";
}

interface NpyHeader {
  readonly dims: readonly number[];
  readonly type: string;
  readonly size: number;
  readonly start: number;
  readonly isColumnMajor: boolean;
}

function arrayIn(bytes: Uint8Array, name: string): ArraySource {
  const header = headerOf(bytes, bytes.length, name);
  return sourceOf(header, name, (start, length) => bytes.slice(start, start + length));
}

function headerOf(bytes: Uint8Array, fileBytes: number, name: string): NpyHeader {
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC)
    throw invalid(name, "is not a NumPy array");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isShort = bytes[6] === 1;
  const at = isShort ? 10 : 12;
  const start = at + (isShort ? view.getUint16(8, true) : view.getUint32(8, true));
  const text = new TextDecoder("latin1").decode(bytes.subarray(at, start));
  const type = /'descr':\s*'([<>|=])([a-zA-Z])(\d+)'/.exec(text);
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (type === null || shape === undefined)
    throw invalid(name, "has an unsupported header; save plain numbers, as np.save(path, array) does");
  if (type[1] === ">") throw invalid(name, "is big-endian; save array.astype(array.dtype.newbyteorder('<'))");
  const dims = shape
    .split(",")
    .filter((x) => x.trim() !== "")
    .map(Number);
  const size = Number(type[3]) * (type[2] === "U" ? 4 : 1);
  const count = dims.reduce((a, b) => a * b, 1);
  if (fileBytes - start !== count * size)
    throw invalid(name, `holds ${fileBytes - start} bytes for the shape [${dims.join(", ")}]`);
  const isColumnMajor = /'fortran_order':\s*True/.test(text);
  return { dims, type: type[2] === "U" ? "U" : `${type[2]}${type[3]}`, size, start, isColumnMajor };
}

function sourceOf(
  header: NpyHeader,
  name: string,
  bytesAt: (start: number, length: number) => Uint8Array,
): ArraySource {
  const { dims, type, size, start, isColumnMajor } = header;
  const decode = DECODERS[type];
  if (decode === undefined) throw invalid(name, `has the element type ${type}`);
  const values = (from: number, count: number): ArrayValues => {
    // A copy at offset 0, so that it is aligned for a typed array.
    const { buffer } = Uint8Array.from(bytesAt(start + from * size, count * size));
    return decode(buffer, size);
  };
  if (!isColumnMajor) return { dims, read: values };
  const total = dims.reduce((a, b) => a * b, 1);
  let rows: number[] | string[] | undefined;
  return {
    dims,
    read: (from, count) => {
      rows ??= rowMajor(values(0, total), dims);
      return rows.slice(from, from + count);
    },
  };
}

/** Converts values from column-major to row-major order. */
function rowMajor(values: ArrayValues, dims: readonly number[]): number[] | string[] {
  const steps = dims.map((_, i) => dims.slice(0, i).reduce((a, b) => a * b, 1));
  const placeOf = (index: number): number => {
    let [rest, from] = [index, 0];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const dim = dims[axis] ?? 1;
      from += (rest % dim) * (steps[axis] ?? 1);
      rest = Math.floor(rest / dim);
    }
    return from;
  };
  if (isText(values)) return values.map((_, i) => values[placeOf(i)] ?? "");
  return Array.from(values, (_, i) => values[placeOf(i)] ?? 0);
}

function readRange(path: string, start: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(path, "r");
  try {
    for (let at = 0; at < length;) {
      const read = readSync(file, bytes, at, Math.min(length - at, 2 ** 30), start + at);
      if (read === 0) throw invalid(path, "was truncated while it was read");
      at += read;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

const DECODERS: Readonly<Record<string, (buffer: ArrayBuffer, size: number) => ArrayValues>> = {
  f2: (x) => Float32Array.from(new Uint16Array(x), float16Value),
  f4: (x) => new Float32Array(x),
  f8: (x) => new Float64Array(x),
  i8: (x) => Float64Array.from(new BigInt64Array(x), Number),
  u8: (x) => Float64Array.from(new BigUint64Array(x), Number),
  i4: (x) => new Int32Array(x),
  u4: (x) => new Uint32Array(x),
  i2: (x) => new Int16Array(x),
  u2: (x) => new Uint16Array(x),
  i1: (x) => new Int8Array(x),
  u1: (x) => new Uint8Array(x),
  b1: (x) => new Uint8Array(x),
  U: (x, size) => {
    const letters = new Uint32Array(x);
    const length = size / 4;
    return Array.from({ length: length === 0 ? 0 : letters.length / length }, (_, i) =>
      String.fromCodePoint(...letters.subarray(i * length, (i + 1) * length)).replace(/\0+$/, ""),
    );
  },
};

function invalid(name: string, what: string): SelvedgeError {
  return new SelvedgeError("model-invalid", `${name}: ${what}`, { file: name });
}
