// Brings a model that computes in float16, bfloat16 or float64 up to float32, inputs and outputs included: every form
// is made of float32 weights, browsers compute float16 only where the GPU has it, and float64 hardly anywhere. The
// widened model is the reference of a compression. A few float64 numbers, as exporters use for scales of shapes, stay.
import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { withPlace, writeAll } from "../onnx/durable.ts";
import { dropAttributes, integerOf, subgraphs } from "../onnx/graph.ts";
import { float16Value } from "../onnx/float16.ts";
import { STORED_MIN_BYTES } from "../onnx/light-file.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type {
  AttributeProto,
  GraphProto,
  NodeProto,
  TensorProto,
  TypeProto,
  ValueInfoProto,
} from "../onnx/onnx.gen.js";
import { passingParts, rawLength, rawPiece, setRaw, StoredBytes } from "../onnx/stored-bytes.ts";
import { tensorsIn } from "../onnx/tensors-in.ts";
import { elementCount } from "../onnx/tensor-proto.ts";
import type { Scratch } from "../onnx/written-model.ts";
import { inferValues, withoutWeights } from "../run/infer-values.ts";

/** Float types that become float32. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [TensorProto_DataType.FLOAT16, "float16"],
  [TensorProto_DataType.BFLOAT16, "bfloat16"],
  [TensorProto_DataType.DOUBLE, "float64"],
]);
/** Minimum number of elements of a float64 constant that is a weight. */
const WEIGHT_MIN = 256;
/** Attributes that hold an element type. */
const TYPE_ATTRIBUTES: ReadonlySet<string> = new Set("to dtype output_dtype softmax_precision".split(" "));
const FLOAT_BYTES = 4;
/** Multiple of bytes at which a weight begins: a runtime maps it as it lies. */
const ALIGN_BYTES = 4096;
const FLOAT32_MAX = 3.4028234663852886e38;

/**
 * Widens a model in place, and returns the names of the types that it computed in; an empty list where it is float32
 * already and unchanged. Weights from 64 kB on are widened into a file of `scratch`, one part at a time.
 */
export async function widenFloats(model: OnnxModel, scratch: Scratch): Promise<readonly string[]> {
  const types = new Set(wideTypes(model));
  if (types.size === 0) return [];
  const { proto } = model;
  await widenOntoDisk(
    model.graph.proto.initializer.filter((x) => types.has(x.dataType) && rawLength(x) >= STORED_MIN_BYTES),
    scratch,
  );
  for (const { tensor } of tensorsIn(proto)) if (types.has(tensor.dataType)) widenTensor(tensor);
  if (proto.graph !== undefined) widenGraph(proto.graph, types);
  for (const each of proto.functions) {
    for (const attribute of [...each.attributeProto]) widenAttribute(attribute, types);
    widenValues(each.valueInfo, types);
    widenNodes(each.node, types);
  }
  model.graph.changed();
  await dropCasts(model);
  return [...types].map((x) => NAMES.get(x) ?? "");
}

/** Lists the float types in which a model keeps weights, or that it takes, returns or casts to. */
function wideTypes({ proto, graph }: OnnxModel): number[] {
  const found = new Set<number>();
  for (const { tensor } of tensorsIn(proto))
    if (tensor.dataType !== TensorProto_DataType.DOUBLE || elementCount(tensor) >= WEIGHT_MIN)
      found.add(tensor.dataType);
  for (const { type } of [...graph.proto.input, ...graph.proto.output]) {
    const inner = tensorType(type);
    if (inner !== undefined) found.add(inner.elemType);
  }
  for (const each of graph.all())
    for (const node of each.nodes) {
      const to = node.opType === "Cast" ? integerOf(node, "to", 0) : 0;
      if (to !== TensorProto_DataType.DOUBLE) found.add(to);
    }
  return [...NAMES.keys()].filter((x) => found.has(x));
}

function widenGraph(graph: GraphProto, types: ReadonlySet<number>): void {
  for (const list of [graph.input, graph.output, graph.valueInfo]) widenValues(list, types);
  widenNodes(graph.node, types);
}

function widenNodes(nodes: readonly NodeProto[], types: ReadonlySet<number>): void {
  for (const node of nodes) {
    for (const attribute of node.attribute) widenAttribute(attribute, types);
    for (const inner of subgraphs(node)) widenGraph(inner, types);
  }
}

function widenAttribute(attribute: AttributeProto, types: ReadonlySet<number>): void {
  if (TYPE_ATTRIBUTES.has(attribute.name) && types.has(Number(attribute.i)))
    attribute.i = BigInt(TensorProto_DataType.FLOAT);
}

function widenValues(values: readonly ValueInfoProto[], types: ReadonlySet<number>): void {
  for (const { type } of values) {
    const inner = tensorType(type);
    if (inner !== undefined && types.has(inner.elemType)) inner.elemType = TensorProto_DataType.FLOAT;
  }
}

/** Returns the tensor type of a value; for a sequence or an optional that of its element. */
function tensorType(type: TypeProto | undefined): { elemType: number } | undefined {
  const value = type?.value;
  switch (value?.case) {
    case "tensorType":
    case "sparseTensorType":
      return value.value;
    case "sequenceType":
    case "optionalType":
      return tensorType(value.value.elemType);
    default:
      return undefined;
  }
}

/** Writes the widened values of weights to one file, and has the weights read them there. */
async function widenOntoDisk(tensors: readonly TensorProto[], scratch: Scratch): Promise<void> {
  if (tensors.length === 0) return;
  const path = join(scratch.folder(), `${randomUUID()}.data`);
  const file = await open(path, "wx");
  // One array for all parts: those of a large model would lie in memory until they are collected.
  let shared = new Float32Array();
  try {
    let at = 0;
    for (const tensor of tensors) {
      const start = at;
      for (const part of passingParts([rawPiece(tensor)])) {
        const count = part.length / sizeOf(tensor.dataType);
        if (shared.length < count) shared = new Float32Array(count);
        const bytes = asBytes(wideRaw(tensor.dataType, part, shared.subarray(0, count)));
        await writeAll(file, bytes).catch((error: unknown) => {
          const rest = tensors.reduce((sum, x) => sum + (FLOAT_BYTES * rawLength(x)) / sizeOf(x.dataType), 0);
          throw withPlace(error, path, [{ length: rest }]);
        });
        at += bytes.length;
      }
      tensor.dataType = TensorProto_DataType.FLOAT;
      setRaw(tensor, new StoredBytes(path, start, at - start));
      const gap = (ALIGN_BYTES - (at % ALIGN_BYTES)) % ALIGN_BYTES;
      await writeAll(file, new Uint8Array(gap));
      at += gap;
    }
  } finally {
    await file.close();
  }
}

function widenTensor(tensor: TensorProto): void {
  const { dataType, rawData, int32Data, doubleData } = tensor;
  const isWide = dataType === TensorProto_DataType.DOUBLE;
  const raw =
    rawData.length > 0 ? rawData : asBytes(isWide ? Float64Array.from(doubleData) : Uint16Array.from(int32Data));
  tensor.rawData = asBytes(wideRaw(dataType, raw));
  tensor.dataType = TensorProto_DataType.FLOAT;
  tensor.int32Data = [];
  tensor.doubleData = [];
}

function asBytes({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function sizeOf(dataType: number): number {
  return dataType === TensorProto_DataType.DOUBLE ? 8 : 2;
}

/** Reads raw values of a float type as float32, into `values`; finite ones past its range become the largest. */
function wideRaw(
  dataType: number,
  raw: Uint8Array,
  values: Float32Array<ArrayBuffer> = new Float32Array(raw.length / sizeOf(dataType)),
): Float32Array<ArrayBuffer> {
  const size = sizeOf(dataType);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < values.length; i++) {
    if (dataType === TensorProto_DataType.DOUBLE) {
      const value = view.getFloat64(i * size, true);
      values[i] = Number.isFinite(value) ? Math.max(-FLOAT32_MAX, Math.min(FLOAT32_MAX, value)) : value;
      continue;
    }
    const half = view.getUint16(i * size, true);
    if (dataType === TensorProto_DataType.BFLOAT16) bits[i] = half << 16;
    else values[i] = float16Value(half);
  }
  return values;
}

/** Turns Casts of float32 to float32 into Identity, so that later passes see through them. */
async function dropCasts(model: OnnxModel): Promise<void> {
  const facts = await inferValues(withoutWeights(model)).catch(() => null);
  for (const node of model.graph.nodes) {
    if (node.opType !== "Cast" || node.domain !== "" || integerOf(node, "to", 0) !== TensorProto_DataType.FLOAT)
      continue;
    const [name = ""] = node.input;
    const isFloat =
      model.graph.constant(name)?.dataType === TensorProto_DataType.FLOAT || facts?.get(name)?.type === "float32";
    if (!isFloat) continue;
    node.opType = "Identity";
    dropAttributes(node, "to", "saturate");
  }
  model.graph.changed();
}
