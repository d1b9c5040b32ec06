// Names the dims of inner values that differ between runs, so that ONNX Runtime sees which of them are equal. Its
// memory planner reuses a buffer for a value of the same shape, and of two unnamed dims it knows only that they may
// differ: a model of free width then keeps each value separate, and is scanned once for each of its values, which is
// half of the load time.
//
// Most operators propagate names, and ONNX Runtime infers that by itself (infer-values.ts). Named here are dims for which it
// infers no name: outputs of windows (convolutions, pools), and Reshape. Two dims get one name only where they are the
// same function of the same named dim. (onnxruntime's symbolic_shape_infer.py does more, in Python; a wrong name fails
// the run.)
import { create } from "@bufbuild/protobuf";
import type { Feed } from "../run/feeds.ts";
import { integerOf, integersAt, textOf } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import { inferValues, withoutWeights } from "../run/infer-values.ts";
import {
  TensorProto_DataType,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from "../onnx/onnx.gen.js";
import type { NodeProto, ValueInfoProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { shapeOf } from "./set-dims.ts";
import { integersOf } from "../onnx/tensor-proto.ts";

type NamedDims = readonly (number | string)[];

/** Element types of values that get names, by ONNX Runtime's name. */
const TYPES: ReadonlyMap<string, TensorProto_DataType> = new Map([
  ["float32", TensorProto_DataType.FLOAT],
  ["float16", TensorProto_DataType.FLOAT16],
  ["int32", TensorProto_DataType.INT32],
  ["int64", TensorProto_DataType.INT64],
  ["uint8", TensorProto_DataType.UINT8],
  ["int8", TensorProto_DataType.INT8],
]);
/** Maximum length of a derived name: longer ones gain nothing, and each is written out. */
const LENGTH_MAX = 64;
const ROUNDS_MAX = 64;

/**
 * Names dims of the main graph's values where possible: the last step of making a model. A model that ONNX Runtime does
 * not load without its weights is left unchanged, and so is one whose feeds contradict its own names: exporters give
 * one name to dims that merely had the same size in the trace.
 */
export async function nameDims(model: OnnxModel, feeds: readonly Feed[] = []): Promise<void> {
  const { graph } = model;
  if (feeds.some((feed) => contradicts(graph, feed))) return;
  const named = new Map(graph.proto.valueInfo.map((x) => [x.name, x]));
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const facts = await inferValues(withoutWeights(model)).catch(() => null);
    if (facts === null) return;
    let isNew = false;
    const known = new Map<string, NamedDims>();
    for (const [name, { dims }] of facts) if (dims !== undefined) known.set(name, dims);
    for (const node of graph.nodes) {
      const [name = ""] = node.output;
      const inferred = known.get(name);
      if (inferred === undefined || inferred.every((x) => x !== "") || node.domain !== "") continue;
      const found = dimsAfter(graph, node, (x) => graph.constant(x)?.dims.map(Number) ?? known.get(x));
      const dims =
        found?.length === inferred.length ? inferred.map((x, i) => (x === "" ? (found[i] ?? "") : x)) : inferred;
      known.set(name, dims);
      const type = TYPES.get(facts.get(name)?.type ?? "");
      if (!makesNames(node) || type === undefined || dims.join() === inferred.join()) continue;
      named.set(name, valueOf(name, type, dims));
      isNew = true;
    }
    if (!isNew) return;
    graph.proto.valueInfo = [...named.values()];
    graph.changed();
  }
}

/** Whether inputs have dims of one name and two sizes. */
function contradicts(graph: Graph, feed: Feed): boolean {
  const sizes = new Map<string, number>();
  for (const { name, type } of graph.proto.input) {
    const dims = type?.value.case === "tensorType" ? (type.value.value.shape?.dim ?? []) : [];
    for (const [axis, { value }] of dims.entries()) {
      const size = feed[name]?.dims[axis];
      if (value.case !== "dimParam" || value.value === "" || size === undefined) continue;
      if ((sizes.get(value.value) ?? size) !== size) return true;
      sizes.set(value.value, size);
    }
  }
  return false;
}

/** Whether ONNX Runtime infers no names for a node's outputs. */
function makesNames({ opType }: NodeProto): boolean {
  return opType === "Reshape" || WINDOWS.has(opType);
}

const WINDOWS: ReadonlySet<string> = new Set("AveragePool Conv ConvInteger MaxPool QLinearConv".split(" "));
/** Operators whose output has the size of their first input: followed here, so that fewer rounds are needed. */
const LIKE_FIRST: ReadonlySet<string> = new Set(
  "BatchNormalization Cast Clip DequantizeLinear Elu HardSigmoid HardSwish Identity LeakyRelu PRelu QuantizeLinear Relu Sigmoid Softmax Sqrt Tanh".split(
    " ",
  ),
);
const BROADCAST: ReadonlySet<string> = new Set("Add Div Mul Sub".split(" "));

/** Returns the dims of a node's output, "" for one without a name; undefined where nothing is known. */
function dimsAfter(
  graph: Graph,
  node: NodeProto,
  dimsOf: (name: string) => NamedDims | undefined,
): NamedDims | undefined {
  const [first, second] = node.input.map(dimsOf);
  if (first === undefined) return undefined;
  if (LIKE_FIRST.has(node.opType)) return first;
  if (BROADCAST.has(node.opType)) return second === undefined ? undefined : broadcast(first, second);
  if (node.opType === "Reshape") return afterReshape(graph, node, first);
  if (!WINDOWS.has(node.opType)) return undefined;
  const at = node.opType === "QLinearConv" ? 3 : 1;
  return afterWindow(node, first, node.opType.endsWith("Pool") ? undefined : dimsOf(node.input[at] ?? ""));
}

function broadcast(a: NamedDims, b: NamedDims): NamedDims {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x === 1 || x === y) return y;
    return y === 1 ? x : "";
  });
}

/** Names the dims after the kernel of a window operator, by all that they depend on. */
function afterWindow(
  node: NodeProto,
  [batch = "", channels = "", ...sizes]: NamedDims,
  weight: NamedDims | undefined,
): NamedDims {
  const at = (name: string, axis: number, usual: number): number => integersAt(node, name)?.[axis] ?? usual;
  const pad = textOf(node, "auto_pad", "NOTSET");
  const isCeil = integerOf(node, "ceil_mode", 0) === 1;
  const left = sizes.map((size, i): number | string => {
    const kernel = integersAt(node, "kernel_shape")?.[i] ?? weight?.[2 + i];
    if (typeof size === "number" || size === "" || typeof kernel !== "number") return "";
    const stride = at("strides", i, 1);
    const pads = at("pads", i, 0) + at("pads", i + sizes.length, 0);
    const more = pads - at("dilations", i, 1) * (kernel - 1) - 1 + stride;
    const isSame = pad.startsWith("SAME") && stride === 1;
    // With rounding up, a last window that would begin past the end is left out: so it depends on each of these.
    if (isCeil) return short(`(${size} ${[kernel, stride, pads, at("pads", i, 0), at("dilations", i, 1)].join()} up)`);
    if (isSame || (stride === 1 && more === 0 && pad === "NOTSET")) return size;
    return short(`(${size}${more < 0 ? "" : "+"}${more})/${stride}${pad === "NOTSET" ? "" : ` ${pad}`}`);
  });
  return [batch, weight === undefined ? channels : (weight[0] ?? ""), ...left];
}

/** Names the inferred dim of a Reshape: its input's size divided by the product of the other dims. */
function afterReshape(graph: Graph, node: NodeProto, from: NamedDims): NamedDims | undefined {
  const target = graph.constant(node.input[1] ?? "");
  if (target === undefined || from.includes("")) return undefined;
  const keepsZero = integerOf(node, "allowzero", 0) === 1;
  const to = integersOf(target).map((x, i) => (x === 0 && !keepsZero ? (from[i] ?? "") : x));
  const rest = divide(
    from,
    to.filter((x) => x !== -1),
  );
  return to.map((x) => (x === -1 ? rest : x));
}

/** Divides two products of dims; "" where the quotient is no dim. */
function divide(from: NamedDims, by: NamedDims): number | string {
  const names = from.filter((x) => typeof x === "string");
  const numbers = (dims: NamedDims): number => dims.reduce<number>((a, x) => (typeof x === "number" ? a * x : a), 1);
  for (const name of by.filter((x) => typeof x === "string")) {
    const at = names.indexOf(name);
    if (at < 0) return "";
    names.splice(at, 1);
  }
  const factor = numbers(from) / numbers(by);
  if (names.length === 0) return Number.isInteger(factor) ? factor : "";
  if (!Number.isInteger(factor)) return "";
  return short([...(factor === 1 ? [] : [factor]), ...names.sort()].join("*"));
}

function short(name: string): string {
  return name.length > LENGTH_MAX ? "" : name;
}

function valueOf(name: string, elemType: number, dims: NamedDims): ValueInfoProto {
  const shape = shapeOf(dims);
  const type = create(TypeProtoSchema, {
    value: { case: "tensorType", value: create(TypeProto_TensorSchema, { elemType, shape }) },
  });
  return create(ValueInfoProtoSchema, { name, type });
}
