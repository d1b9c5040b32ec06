// Small ONNX graphs for the tests of the split WebAssembly module and for its profile: built from nodes, constants and
// inputs of any type.
import { create } from "@bufbuild/protobuf";
import { float16Bits } from "../../compress/onnx/float16.ts";
import { makeNode } from "../../compress/onnx/graph.ts";
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import { ModelProtoSchema, TensorProto_DataType as T, TensorProtoSchema } from "../../compress/onnx/onnx.gen.js";
import type { TensorProto } from "../../compress/onnx/onnx.gen.js";
import { CONTRIB, OnnxModel } from "../../compress/onnx/model.ts";

/** The numeric types of tensors, by their names in the engine. */
export const DTYPES = {
  float32: T.FLOAT,
  float64: T.DOUBLE,
  float16: T.FLOAT16,
  int8: T.INT8,
  uint8: T.UINT8,
  int16: T.INT16,
  uint16: T.UINT16,
  int32: T.INT32,
  uint32: T.UINT32,
  int64: T.INT64,
  uint64: T.UINT64,
  bool: T.BOOL,
} as const;
/** Name of a numeric type. */
export type NumericType = keyof typeof DTYPES;

/** A tensor of a type, filled with small numbers unless `values` are given. */
export interface ConstantValues {
  readonly dtype: NumericType;
  readonly dims: readonly number[];
  readonly values?: readonly number[];
}

/** A graph: inputs and constants by name. */
export interface GraphSpec {
  readonly inputs: Readonly<Record<string, ConstantValues>>;
  readonly constants?: Readonly<Record<string, ConstantValues>>;
  readonly outputs: readonly string[];
  readonly nodes: readonly NodeSpec[];
  /** Version of ONNX's operator set. Default 21. */
  readonly opset?: number;
  /** Whether the first dim is free, as that of a batch, of the input of most dims and others of that size. Default false. */
  readonly isFree?: boolean;
  /** Declared dims of inputs, by their names; of others they are those of the values. */
  readonly declared?: Readonly<Record<string, readonly (number | string)[]>>;
}

/** Builds a model; its outputs have no declared types. */
export function modelOf({
  inputs,
  constants = {},
  outputs,
  nodes,
  opset = 21,
  isFree = false,
  declared = {},
}: GraphSpec): OnnxModel {
  const [largest] = Object.values(inputs).sort((a, b) => b.dims.length - a.dims.length);
  const rows = isFree ? largest?.dims[0] : undefined;
  const isRows = (size: number, axis: number): boolean => axis === 0 && size > 1 && size === rows;
  const declaredDims = (name: string, dims: readonly number[]): readonly (number | string)[] =>
    // An input may have the name of a property of objects.
    (Object.hasOwn(declared, name) ? declared[name] : undefined) ?? dims.map((x, axis) => (isRows(x, axis) ? "n" : x));
  const model = new OnnxModel(
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: "", version: BigInt(opset) }],
      graph: {
        name: "main",
        input: Object.entries(inputs).map(([name, { dtype, dims }]) => ({
          name,
          type: {
            value: {
              case: "tensorType" as const,
              value: {
                elemType: DTYPES[dtype],
                shape: {
                  dim: declaredDims(name, dims).map((x) => ({ value: dimOf(x) })),
                },
              },
            },
          },
        })),
        output: outputs.map((name) => ({ name })),
        node: nodes.map(makeNode),
        initializer: Object.entries(constants).map(([name, values]) => tensorOf(name, values)),
      },
    }),
  );
  if (nodes.some(({ domain }) => domain === CONTRIB)) model.useContribOperators();
  return model;
}

function dimOf(size: number | string) {
  if (typeof size === "string") return { case: "dimParam" as const, value: size };
  return { case: "dimValue" as const, value: BigInt(size) };
}

/** Builds a constant. */
export function tensorOf(name: string, values: ConstantValues): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: DTYPES[values.dtype],
    dims: values.dims.map(BigInt),
    rawData: bytesOf(values),
  });
}

/** Returns a tensor's elements as ONNX stores them. */
export function bytesOf({ dtype, dims, values }: ConstantValues): Uint8Array<ArrayBuffer> {
  const count = dims.reduce((a, b) => a * b, 1);
  const isFloat = dtype.startsWith("float");
  const numbers = values ?? Array.from({ length: count }, (_, i) => (isFloat ? Math.sin(i + 1) : (i * 7 + 1) % 5));
  return new Uint8Array(arrayOf(dtype, numbers).buffer);
}

function arrayOf(dtype: NumericType, numbers: readonly number[]): ArrayBufferView<ArrayBuffer> {
  switch (dtype) {
    case "float32":
      return Float32Array.from(numbers);
    case "float64":
      return Float64Array.from(numbers);
    case "float16":
      return Uint16Array.from(numbers, float16Bits);
    case "int8":
      return Int8Array.from(numbers);
    case "uint8":
      return Uint8Array.from(numbers);
    case "int16":
      return Int16Array.from(numbers);
    case "uint16":
      return Uint16Array.from(numbers);
    case "int32":
      return Int32Array.from(numbers);
    case "uint32":
      return Uint32Array.from(numbers);
    case "int64":
      return BigInt64Array.from(numbers, integer);
    case "uint64":
      return BigUint64Array.from(numbers, (x) => integer(Math.abs(x)));
    case "bool":
      return Uint8Array.from(numbers, (x) => (x === 0 ? 0 : 1));
  }
}

/** Truncates a number; what is not finite becomes 0. */
function integer(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}
