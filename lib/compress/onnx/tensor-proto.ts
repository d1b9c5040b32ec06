// Reads and makes TensorProto values: the one place that handles raw_data against the typed fields, byte order (ONNX is
// little-endian, and so is every machine that this runs on), and alignment: raw_data is a view into the file, or read from it, and copied
// only where it is not aligned for a typed array.
import { create } from "@bufbuild/protobuf";
import { SelvedgeError } from "../../core/errors.ts";
import { TensorProto_DataLocation, TensorProto_DataType, TensorProtoSchema } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { rawLength } from "./stored-bytes.ts";

/** Element types that ONNX has added since 1.17, the version of the generated schema. */
export const NEWER = {
  FLOAT4E2M1: { type: 23, bits: 4 },
  FLOAT8E8M0: { type: 24, bits: 8 },
  UINT2: { type: 25, bits: 2 },
  INT2: { type: 26, bits: 2 },
} as const;

/** Bits of one element of each ONNX type that has a fixed size. */
const BITS: ReadonlyMap<number, number> = new Map([
  [TensorProto_DataType.FLOAT, 32],
  [TensorProto_DataType.UINT8, 8],
  [TensorProto_DataType.INT8, 8],
  [TensorProto_DataType.UINT16, 16],
  [TensorProto_DataType.INT16, 16],
  [TensorProto_DataType.INT32, 32],
  [TensorProto_DataType.INT64, 64],
  [TensorProto_DataType.BOOL, 8],
  [TensorProto_DataType.FLOAT16, 16],
  [TensorProto_DataType.DOUBLE, 64],
  [TensorProto_DataType.UINT32, 32],
  [TensorProto_DataType.UINT64, 64],
  [TensorProto_DataType.COMPLEX64, 64],
  [TensorProto_DataType.COMPLEX128, 128],
  [TensorProto_DataType.BFLOAT16, 16],
  [TensorProto_DataType.FLOAT8E4M3FN, 8],
  [TensorProto_DataType.FLOAT8E4M3FNUZ, 8],
  [TensorProto_DataType.FLOAT8E5M2, 8],
  [TensorProto_DataType.FLOAT8E5M2FNUZ, 8],
  [TensorProto_DataType.UINT4, 4],
  [TensorProto_DataType.INT4, 4],
  ...Object.values(NEWER).map(({ type, bits }): [number, number] => [type, bits]),
]);

/** Returns the bits of one element of an ONNX type; 0 for texts. */
export function bitsOf(dataType: number): number {
  return BITS.get(dataType) ?? 0;
}

/** Counts the elements of a tensor. */
export function elementCount(tensor: TensorProto): number {
  return tensor.dims.reduce((product, dim) => product * Number(dim), 1);
}

/**
 * Checks that a tensor holds its values once, inside the file, and as many as its dims say. A tensor with both raw_data
 * and typed values shows one to a scanner and the other to a runtime: it is refused.
 * @throws SelvedgeError `model-invalid`
 */
export function checkTensor(tensor: TensorProto, where: string): void {
  const fail = (what: string): never => {
    throw new SelvedgeError("model-invalid", `${where} ${what}`, { tensor: tensor.name });
  };
  if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL || tensor.externalData.length > 0)
    fail("keeps its values in another file: read the model by its path");
  if (tensor.segment !== undefined) fail("is a segment of a larger tensor, which no runtime reads");
  const count = checkedCount(tensor, where);
  const { floatData, int32Data, int64Data, doubleData, uint64Data, stringData } = tensor;
  const rawBytes = rawLength(tensor);
  const lengths = [floatData, int32Data, int64Data, doubleData, uint64Data, stringData].map((x) => x.length);
  const filled = lengths.filter((x) => x > 0).length + (rawBytes > 0 ? 1 : 0);
  if (filled > 1) fail("holds its values twice, in raw_data and in a typed field");
  const bits = BITS.get(tensor.dataType);
  if (tensor.dataType !== TensorProto_DataType.STRING && bits === undefined)
    fail(`has the unknown element type ${tensor.dataType}`);
  if (rawBytes > 0 || filled === 0) {
    if (bits === undefined ? count > 0 : rawBytes !== Math.ceil((count * bits) / 8))
      fail(`holds ${rawBytes} bytes, which does not fit its dims [${tensor.dims.join(", ")}]`);
  } else {
    const complex = tensor.dataType === TensorProto_DataType.COMPLEX64 || bits === 128;
    const length = Math.max(...lengths);
    // Elements of 4 bits and fewer share the byte in a value of int32_data; a complex number takes two values.
    const isPacked = bits !== undefined && bits < 8;
    if (length !== (isPacked ? Math.ceil((count * bits) / 8) : count * (complex ? 2 : 1)))
      fail(`holds ${length} values, which does not fit its dims [${tensor.dims.join(", ")}]`);
  }
}

/**
 * Returns the number of bytes that a tensor's raw data must have.
 * @throws SelvedgeError `model-invalid` where its dims or its type are impossible.
 */
export function byteCount(tensor: TensorProto, where: string): number {
  const bits = BITS.get(tensor.dataType);
  if (bits === undefined)
    throw new SelvedgeError("model-invalid", `${where} has no elements of a fixed size`, { tensor: tensor.name });
  return Math.ceil((checkedCount(tensor, where) * bits) / 8);
}

function checkedCount(tensor: TensorProto, where: string): number {
  let count = 1;
  for (const dim of tensor.dims) {
    count *= Number(dim);
    if (dim < 0n || !Number.isSafeInteger(count))
      throw new SelvedgeError("model-invalid", `${where} has impossible dims [${tensor.dims.join(", ")}]`, {
        tensor: tensor.name,
      });
  }
  return count;
}

/** Reads a float32 tensor; the array may be a view into the file and must not be written to. */
export function floatsOf(tensor: TensorProto): Float32Array {
  if (tensor.dataType !== TensorProto_DataType.FLOAT) throw wrongType(tensor, "float32");
  const raw = tensor.rawData;
  if (raw.length === 0) return Float32Array.from(tensor.floatData);
  const { buffer, byteOffset, length } = aligned(raw, 4);
  return new Float32Array(buffer, byteOffset, length / 4);
}

/** Reads an int64 or int32 tensor as numbers; for shapes, axes and the like. */
export function integersOf(tensor: TensorProto): number[] {
  if (tensor.dataType === TensorProto_DataType.INT64) {
    if (tensor.rawData.length === 0) return tensor.int64Data.map(Number);
    const { buffer, byteOffset, length } = aligned(tensor.rawData, 8);
    return Array.from(new BigInt64Array(buffer, byteOffset, length / 8), Number);
  }
  if (tensor.dataType !== TensorProto_DataType.INT32) throw wrongType(tensor, "int64 or int32");
  if (tensor.rawData.length === 0) return [...tensor.int32Data];
  const { buffer, byteOffset, length } = aligned(tensor.rawData, 4);
  return Array.from(new Int32Array(buffer, byteOffset, length / 4));
}

/** Makes a float32 tensor that shares the array's bytes. */
export function floatTensor(name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return make(name, TensorProto_DataType.FLOAT, dims, values);
}

/** Makes an int64 tensor; a scalar where `dims` is empty. Values past its range become its bounds (`int64Of`). */
export function int64Tensor(name: string, dims: readonly number[], values: readonly (number | bigint)[]): TensorProto {
  return make(name, TensorProto_DataType.INT64, dims, BigInt64Array.from(values, int64Of));
}

/**
 * Converts an integer to int64; one past the range becomes the nearest bound. INT64_MAX, as the end of an open slice,
 * is 2^63 once it was a number, which would wrap to the smallest.
 */
export function int64Of(value: number | bigint): bigint {
  const [low, high] = [-(2n ** 63n), 2n ** 63n - 1n];
  const whole = BigInt(value);
  return whole > high ? high : whole < low ? low : whole;
}

/** Makes an int32 tensor that shares the array's bytes. */
export function int32Tensor(name: string, dims: readonly number[], values: Int32Array): TensorProto {
  return make(name, TensorProto_DataType.INT32, dims, values);
}

/** Makes an int8 tensor that shares the array's bytes. */
export function int8Tensor(name: string, dims: readonly number[], values: Int8Array): TensorProto {
  return make(name, TensorProto_DataType.INT8, dims, values);
}

/** Makes a uint8 tensor that shares the array's bytes. */
export function uint8Tensor(name: string, dims: readonly number[], values: Uint8Array): TensorProto {
  return make(name, TensorProto_DataType.UINT8, dims, values);
}

/** Makes a float16 tensor from the bits of its values. */
export function float16Tensor(name: string, dims: readonly number[], bits: Uint16Array): TensorProto {
  return make(name, TensorProto_DataType.FLOAT16, dims, bits);
}

/** Makes a tensor of any type from the bytes of its values. */
export function rawTensor(
  name: string,
  dataType: TensorProto_DataType,
  dims: readonly number[],
  bytes: Uint8Array,
): TensorProto {
  return make(name, dataType, dims, bytes);
}

function make(
  name: string,
  dataType: TensorProto_DataType,
  dims: readonly number[],
  values: Float32Array | BigInt64Array | Int32Array | Int8Array | Uint8Array | Uint16Array,
): TensorProto {
  const tensor = create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt) });
  tensor.rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  checkTensor(tensor, `the new tensor "${name}"`);
  return tensor;
}

function aligned(bytes: Uint8Array, size: number): { buffer: ArrayBufferLike; byteOffset: number; length: number } {
  // Not slice(): a Buffer's returns a view.
  return bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
}

function wrongType(tensor: TensorProto, wanted: string): SelvedgeError {
  return new SelvedgeError("model-invalid", `the tensor "${tensor.name}" is not ${wanted}`, {
    tensor: tensor.name,
    type: tensor.dataType,
  });
}
