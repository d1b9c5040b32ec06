// Brings a model that computes in float16, bfloat16 or float64 up to float32, inputs and outputs included: every form
// is made of float32 weights, browsers compute float16 only where the GPU has it, and float64 hardly anywhere. The
// widened model is the reference of a compression. A few float64 numbers, as exporters use for scales of shapes, stay.
import { dropAttributes, integerOf, subgraphs } from "../onnx/graph.ts";
import { float16Value } from "../onnx/float16.ts";
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
import { tensorsIn } from "../onnx/tensors-in.ts";
import { elementCount } from "../onnx/tensor-proto.ts";
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
const FLOAT32_MAX = 3.4028234663852886e38;

/**
 * Widens a model in place, and returns the names of the types that it computed in; an empty list where it is float32
 * already and unchanged.
 */
export async function widenFloats(model: OnnxModel): Promise<readonly string[]> {
  const types = new Set(wideTypes(model));
  if (types.size === 0) return [];
  const { proto } = model;
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

function widenTensor(tensor: TensorProto): void {
  const values = wideValues(tensor);
  tensor.dataType = TensorProto_DataType.FLOAT;
  tensor.rawData = new Uint8Array(values.buffer);
  tensor.int32Data = [];
  tensor.doubleData = [];
}

/** Reads a tensor's values as float32; finite ones past its range become the largest. */
function wideValues({ dataType, rawData, int32Data, doubleData }: TensorProto): Float32Array<ArrayBuffer> {
  const isWide = dataType === TensorProto_DataType.DOUBLE;
  const size = isWide ? 8 : 2;
  const isRaw = rawData.length > 0;
  const values = new Float32Array(isRaw ? rawData.length / size : isWide ? doubleData.length : int32Data.length);
  const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < values.length; i++) {
    if (isWide) {
      const value = isRaw ? view.getFloat64(i * size, true) : (doubleData[i] ?? 0);
      values[i] = Number.isFinite(value) ? Math.max(-FLOAT32_MAX, Math.min(FLOAT32_MAX, value)) : value;
      continue;
    }
    const half = isRaw ? view.getUint16(i * size, true) : (int32Data[i] ?? 0);
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
