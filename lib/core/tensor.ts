// The tensor type, and the checks of a caller's tensor before anything is queued.
//
// Not a maths library: nothing here computes on values.

/** The array type of each dtype. float16 takes a Float16Array or its bits in a Uint16Array. */
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

/** An element type, as in ONNX Runtime Web. */
export type Dtype = keyof DtypeArrays;

/** The fields of a tensor of one dtype, with its data in the arrays of a map. */
export interface TensorOf<D extends keyof Arrays, Arrays extends object = DtypeArrays> {
  /** Element type. */
  readonly dtype: D;
  /** Size of each axis, the slowest first. */
  readonly dims: readonly number[];
  /** The elements, row by row; as many as the dims multiply to. */
  readonly data: Arrays[D];
}

/** A dense row-major array with its element type and its dims; a check of `dtype` narrows `data`. */
export type Tensor<D extends Dtype = Dtype> = { [K in D]: TensorOf<K> }[D];

/** One input or output of a model. A string dim is symbolic: any size, the same wherever the name recurs. */
export interface Port {
  /** Name in the model. */
  readonly name: string;
  /** Element type. */
  readonly dtype: Dtype;
  /** Size of each axis, the slowest first; a name where any size is accepted. */
  readonly dims: readonly (number | string)[];
  /** Axis of independent items (the batch axis), or null where the model takes one item at a time. */
  readonly batchAxis: number | null;
}

/** A dtype whose elements have a fixed size: any but string. */
export type NumericDtype = Exclude<Dtype, "string">;

/** The array type of each dtype, except strings. */
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

/** Returns a view of a whole buffer as the array type of a dtype. */
export function arrayOver<D extends NumericDtype>(dtype: D, buffer: ArrayBuffer): DtypeArrays[D] {
  return new ARRAY_TYPES[dtype](buffer);
}

/** Returns a zero-filled array of a dtype. */
export function zeros<D extends NumericDtype>(dtype: D, count: number): DtypeArrays[D] {
  return new ARRAY_TYPES[dtype](count);
}
