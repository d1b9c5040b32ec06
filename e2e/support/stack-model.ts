// Large models of random weights for measurements of memory: a stack of square products, written piece by piece, since
// such a model does not fit into the memory of a test several times. Zeros would be milder: kernels rearrange no copies
// of them.
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { GraphProtoSchema, ModelProtoSchema } from "../../lib/compress/onnx/onnx.gen.js";
import { varint } from "../../lib/core/varint.ts";
import { Random } from "../../lib/test-support/random.ts";
import { DTYPES, modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { GraphSpec, NumericType } from "../../lib/test-support/onnx/onnx-graphs.ts";

/** Kinds of weights: float32, int8 behind DequantizeLinear, and int4 of MatMulNBits. */
export const STACK_KINDS = ["f32", "int8", "int4"] as const;
/** Kind of weights. */
export type StackKind = (typeof STACK_KINDS)[number];

/** Rows and columns of a layer. */
export const STACK_WIDTH = 2_048;
const BLOCK = 32;

/** Bytes of a weight; int4 with its share of a block's scale. */
const WEIGHT_BYTES = { f32: 4, int8: 1, int4: 1 / 2 + 4 / BLOCK } as const satisfies Record<StackKind, number>;

/** Returns the number of layers whose weights have about so many bytes. */
export function layersOf(bytes: number, kind: StackKind = "f32"): number {
  return Math.round(bytes / (WEIGHT_BYTES[kind] * STACK_WIDTH ** 2));
}

interface Weights {
  readonly name: string;
  readonly dtype: NumericType;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView<ArrayBuffer>;
}

/** Writes a stack to a file, unless it is there. Its input `x` has `[rows, 2048]`, and so has its output `y`. */
export function writeStack(path: string, kind: StackKind, layers: number, rows: number | "n" = 1): void {
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true });
  const part = `${path}.${process.pid}.part`;
  const file = openSync(part, "w");
  try {
    const { graph, ...head } = modelOf({
      inputs: { x: { dtype: "float32", dims: [rows === "n" ? 2 : rows, STACK_WIDTH] } },
      outputs: ["y"],
      nodes: nodesOf(kind, layers),
      isFree: rows === "n",
    }).proto;
    if (graph === undefined) throw new Error("a model without a graph");
    const nodes = toBinary(GraphProtoSchema, graph);
    let length = nodes.length;
    for (const x of weightsOf(kind, layers, true)) {
      const size = tensorHead(x).length + x.data.byteLength;
      length += field(5, size).length + size;
    }
    writeSync(file, toBinary(ModelProtoSchema, { ...head }));
    writeSync(file, field(7, length));
    writeSync(file, nodes);
    for (const x of weightsOf(kind, layers, false)) {
      const head = tensorHead(x);
      writeSync(file, field(5, head.length + x.data.byteLength));
      writeSync(file, head);
      writeSync(file, new Uint8Array(x.data.buffer));
    }
  } finally {
    closeSync(file);
  }
  renameSync(part, path);
}

function nodesOf(kind: StackKind, layers: number): GraphSpec["nodes"] {
  return Array.from({ length: layers }, (_, i): GraphSpec["nodes"] => {
    const [input, output] = [i === 0 ? "x" : `h${i - 1}`, i === layers - 1 ? "y" : `h${i}`];
    const [w, s, f] = [`w${i}`, `s${i}`, `f${i}`];
    const product = { opType: "MatMul", input: [input, kind === "f32" ? w : f], output: [output] };
    if (kind === "f32") return [product];
    if (kind === "int8")
      return [{ opType: "DequantizeLinear", input: [w, s], output: [f], attributes: { axis: 1 } }, product];
    const attributes = { K: STACK_WIDTH, N: STACK_WIDTH, bits: 4, block_size: BLOCK };
    const domain = "com.microsoft";
    return [{ opType: "MatMulNBits", domain, input: [input, w, s], output: [output], attributes }];
  }).flat();
}

/** Yields the weights of all layers; empty ones of the same sizes where only the sizes are needed. */
function* weightsOf(kind: StackKind, layers: number, isEmpty: boolean): Generator<Weights> {
  const count = STACK_WIDTH ** 2;
  const random = new Random(1);
  const floats = (length: number, least: number, most: number): Float32Array<ArrayBuffer> => {
    const data = new Float32Array(length);
    if (!isEmpty) for (let i = 0; i < length; i += 1) data[i] = random.between(least, most);
    return data;
  };
  const bytes = (length: number): Uint8Array<ArrayBuffer> => {
    const data = new Uint8Array(length);
    if (!isEmpty) for (let i = 0; i < length; i += 1) data[i] = random.below(256);
    return data;
  };
  const square = [STACK_WIDTH, STACK_WIDTH];
  for (let i = 0; i < layers; i += 1) {
    const [w, s] = [`w${i}`, `s${i}`];
    if (kind === "f32") yield { name: w, dtype: "float32", dims: square, data: floats(count, -0.02, 0.02) };
    if (kind === "int8") {
      yield { name: w, dtype: "int8", dims: square, data: bytes(count) };
      yield { name: s, dtype: "float32", dims: [STACK_WIDTH], data: floats(STACK_WIDTH, 1e-4, 2e-4) };
    }
    if (kind === "int4") {
      const dims = [STACK_WIDTH, STACK_WIDTH / BLOCK, BLOCK / 2];
      yield { name: w, dtype: "uint8", dims, data: bytes(count / 2) };
      yield { name: s, dtype: "float32", dims: [count / BLOCK], data: floats(count / BLOCK, 1e-3, 2e-3) };
    }
  }
}

/** Returns a TensorProto up to the bytes of its raw data: dims, data_type, name, raw_data. */
function tensorHead({ dims, dtype, name, data }: Weights): Uint8Array {
  const packed = dims.flatMap((x) => [...varint(x)]);
  const text = new TextEncoder().encode(name);
  return Uint8Array.from([
    ...[...field(1, packed.length), ...packed],
    ...[...varint(2 * 8), ...varint(DTYPES[dtype])],
    ...[...field(8, text.length), ...text],
    ...field(9, data.byteLength),
  ]);
}

/** Returns the tag and the length of a field of protobuf that holds bytes or a message. */
function field(number: number, length: number): Uint8Array {
  return Uint8Array.from([...varint(number * 8 + 2), ...varint(length)]);
}
