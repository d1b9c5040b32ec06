// What a tensor is, and the checks that a caller's tensor passes before anything is queued.
// Not a maths library: nothing here computes on values.

/** Holds the array type that carries each dtype. float16 takes a Float16Array or its bits in a Uint16Array. */
export type DtypeArrays = {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
  string: string[];
};

/** Names an element type, as ONNX Runtime Web does. */
export type Dtype = keyof DtypeArrays;

/** Holds a dense row-major array with its element type and its dims. */
export interface Tensor<D extends Dtype = Dtype> {
  /** Element type. */
  readonly dtype: D;
  /** Size of each axis, the slowest first. */
  readonly dims: readonly number[];
  /** The elements, row by row; as many as the dims multiply to. */
  readonly data: DtypeArrays[D];
}

/** Describes one input or output of a model. A string dim is symbolic: any size, the same wherever the name recurs. */
export interface Port {
  /** Name in the model. */
  readonly name: string;
  /** Element type. */
  readonly dtype: Dtype;
  /** Size of each axis, the slowest first; a name where any size will do. */
  readonly dims: readonly (number | string)[];
  /** Which axis counts independent items, or null where the model takes one item at a time. */
  readonly batchAxis: number | null;
}

/** A dtype whose elements have a size: any but string. */
export type NumericDtype = Exclude<Dtype, "string">;

/** The array that carries each dtype, but for strings. */
export const ARRAY_TYPES: {
  readonly [D in NumericDtype]: {
    readonly name: string;
    readonly BYTES_PER_ELEMENT: number;
    new (from: ArrayBuffer | number, byteOffset?: number, length?: number): DtypeArrays[D];
  };
} = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/** Looks at a whole buffer as the array that carries a dtype. */
export function arrayOver<D extends NumericDtype>(dtype: D, buffer: ArrayBuffer): DtypeArrays[D] {
  return new ARRAY_TYPES[dtype](buffer);
}

/** Makes the array that carries a dtype, all zeros. */
export function zeros<D extends NumericDtype>(dtype: D, count: number): DtypeArrays[D] {
  return new ARRAY_TYPES[dtype](count);
}
