// The element types of the Open Inference Protocol, and the conversion of the one that has no array type.
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { Dtype } from "../core/tensor.ts";

/** Element type by its name in the Open Inference Protocol, version 2. */
export type Datatype =
  | "BOOL"
  | "INT8"
  | "INT16"
  | "INT32"
  | "INT64"
  | "UINT8"
  | "UINT16"
  | "UINT32"
  | "UINT64"
  | "FP16"
  | "BF16"
  | "FP32"
  | "FP64"
  | "BYTES";

/** The dtype of each datatype. BF16 has no JavaScript array: its tensors are float32, rounded on the way out. */
export const DTYPE_OF: Readonly<Record<Datatype, Dtype>> = {
  BOOL: "bool",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  FP16: "float16",
  BF16: "float32",
  FP32: "float32",
  FP64: "float64",
  BYTES: "string",
};

/** Whether a value names a datatype. */
export function isDatatype(value: unknown): value is Datatype {
  return typeof value === "string" && Object.hasOwn(DTYPE_OF, value);
}

/** Returns the datatype of a dtype whose server declares none. */
export function datatypeOf(dtype: Dtype): Datatype {
  const [found] = Object.entries(DTYPE_OF).find(([name, x]) => x === dtype && name !== "BF16") ?? [];
  return found as Datatype;
}

/** Returns the bytes of one element; BYTES has no fixed size. */
export function elementBytes(datatype: Exclude<Datatype, "BYTES">): number {
  return datatype === "BF16" ? 2 : ARRAY_TYPES[DTYPE_OF[datatype] as "float32"].BYTES_PER_ELEMENT;
}

/** Converts float32 values to bfloat16, ties to even. */
export function toBfloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (x) =>
    (x & 0x7fff_ffff) > 0x7f80_0000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16,
  );
}

/** Converts bfloat16 bits to float32, without loss. */
export function fromBfloat16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  return new Float32Array(Uint32Array.from(bits, (x) => x << 16).buffer);
}
