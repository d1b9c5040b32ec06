// Type and shape inference by ONNX Runtime: the type and dims of each value of the main graph, and the values of nodes
// that depend on constants alone. It knows every operator; tables of our own would be a second, poorer runtime.
import { create } from "@bufbuild/protobuf";
import { createHash } from "node:crypto";
import { SelvedgeError } from "../../core/errors.ts";
import type { ValueFacts } from "../../core/plan-buffers.ts";
export type { ValueFacts } from "../../core/plan-buffers.ts";
import {
  TensorProto_DataType,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto, ValueInfoProto } from "../onnx/onnx.gen.js";
import { copyMessage, OnnxModel } from "../onnx/model.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { Graph } from "../onnx/graph.ts";
import { subgraphs, uses } from "../onnx/graph.ts";
import { rankOf } from "../onnx/rank.ts";
import { openSession } from "./ort-session.ts";
import type { OrtSession } from "./ort-session.ts";
import { elementCount, floatsOf, integersOf } from "../onnx/tensor-proto.ts";

/** Types of constants that are folded, by ONNX Runtime's name. */
const FOLDED_TYPES: ReadonlyMap<string, TensorProto_DataType> = new Map([
  ["float32", TensorProto_DataType.FLOAT],
  ["int64", TensorProto_DataType.INT64],
  ["int32", TensorProto_DataType.INT32],
  ["bool", TensorProto_DataType.BOOL],
  ["uint8", TensorProto_DataType.UINT8],
]);
/**
 * Nodes that may enlarge their input are folded up to this many elements, or this share of all weights: the file must
 * not grow.
 */
const GROWTH_MAX_ELEMENTS = 1024;
const GROWTH_MAX_SHARE = 0.01;
/** Models from this size on are inferred without their weights. */
const LIGHT_BYTES = 2 ** 24;
/** Minimum size of a weight; constants that define dims are smaller. */
const WEIGHT_MIN = 1024;
const IMPURE: ReadonlySet<string> = new Set(
  "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli Dropout".split(" "),
);

/**
 * Returns the types and dims of the main graph's tensors. The model is loaded once, unoptimized.
 * @throws SelvedgeError `model-invalid` where ONNX Runtime refuses the model, with its reason.
 */
export async function inferValues(model: OnnxModel): Promise<Map<string, ValueFacts>> {
  const { proto } = model.graph;
  const stated = new Set(proto.output.map((x) => x.name));
  const names = proto.node.flatMap((x) => x.output).filter((x) => x !== "" && !stated.has(x));
  // Types and dims do not depend on the values of weights, which need not be read for each inference.
  const isLarge = model.byteLength >= LIGHT_BYTES;
  const light = isLarge ? await openWith(withoutWeights(model), names).catch(() => null) : null;
  const session = light ?? (await openWith(model, names));
  try {
    const facts = new Map<string, ValueFacts>();
    for (const value of [...session.inputMetadata, ...session.outputMetadata])
      if (value.isTensor)
        facts.set(value.name, { type: value.type, dims: dimsOf(model.graph, value.name, value.shape) });
    return facts;
  } finally {
    await session.release();
  }
}

/** Returns the model with its large weights as inputs, which inference does not read. */
export function withoutWeights({ proto, graph }: OnnxModel): OnnxModel {
  const { initializer, input } = graph.proto;
  const isLarge = (x: TensorProto): boolean => elementCount(x) > WEIGHT_MIN && graph.constant(x.name) === x;
  const declared = new Set(input.map((x) => x.name));
  const weights = initializer.filter((x) => isLarge(x) && !declared.has(x.name));
  const inputs = weights.map((x) => typed(x));
  const rest = initializer.filter((x) => !weights.includes(x));
  return new OnnxModel({ ...proto, graph: { ...graph.proto, initializer: rest, input: [...input, ...inputs] } });
}

function typed({ name, dataType, dims }: TensorProto): ValueInfoProto {
  const dim = dims.map((value) => create(TensorShapeProto_DimensionSchema, { value: { case: "dimValue", value } }));
  const shape = create(TensorShapeProtoSchema, { dim });
  const value = create(TypeProto_TensorSchema, { elemType: dataType, shape });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: "tensorType", value } }),
  });
}

/** ONNX Runtime reports no dims both for a scalar and for an unknown rank. */
function dimsOf(graph: Graph, name: string, told: readonly (number | string)[]): ValueFacts["dims"] {
  return told.length > 0 || rankOf(graph, name) === 0 ? told : undefined;
}

/** Folds nodes that depend on constants alone, in branches too, and stores the results in place of those nodes. */
export async function foldConstants(model: OnnxModel): Promise<void> {
  const weights = sum([...model.graph.all()].flatMap((x) => x.proto.initializer.map(elementCount)));
  const most = Math.max(GROWTH_MAX_ELEMENTS, GROWTH_MAX_SHARE * weights);
  // The value of a constant determines the size of what is computed from it.
  const shared: Shared = new Map();
  for (const graph of [...model.graph.all()]) while (await foldOnce(model, graph, most, shared));
  model.graph.changed();
}

/** Results that branches share, by their content: each in the graph whose weight they were made of. */
type Shared = Map<Graph, Map<string, string>>;

async function foldOnce(model: OnnxModel, graph: Graph, most: number, shared: Shared): Promise<boolean> {
  const folded = new Set<NodeProto>();
  const owners = new Map<string, Graph>();
  const known = new Set<string>();
  const isKnown = (name: string): boolean => name === "" || known.has(name) || graph.constant(name) !== undefined;
  for (const node of graph.nodes) {
    if (node.domain !== "" || IMPURE.has(node.opType) || subgraphs(node).length > 0) continue;
    if (node.output.length !== 1 || node.opType === "DequantizeLinear" || !node.input.every(isKnown)) continue;
    if (node.input.length === 0 && node.opType !== "Constant") continue;
    if (elementsMade(graph, node) > most || isRepeated(graph, node)) continue;
    folded.add(node);
    const [made = ""] = node.output;
    known.add(made);
    const from = new Set(
      node.input.flatMap((x) => owners.get(x) ?? (isLargeConstant(graph, x) ? graph.ownerOf(x) : undefined) ?? []),
    );
    const [owner] = from;
    if (owner !== undefined) owners.set(made, from.size === 1 ? owner : graph);
  }
  // Only results that other nodes use are worth storing.
  const wanted = [...known].filter((name) => graph.isOutput(name) || graph.consumers(name).some((x) => !folded.has(x)));
  const names = wanted.filter((x) => !graph.isOutput(x));
  if (names.length === 0) return false;
  const results = await compute(model, graph, [...folded], names);
  for (const [name, tensor] of results) {
    const node = graph.producer(name);
    if (node === undefined) continue;
    graph.remove(new Set([node]));
    const owner = elementCount(tensor) > GROWTH_MAX_ELEMENTS ? (owners.get(name) ?? graph) : graph;
    if (owner === graph) graph.addInitializer(tensor);
    else share(graph, owner, tensor, shared);
  }
  return results.size > 0;
}

/** Stores a value of a branch in a graph around it, once for all branches in which it is the same. */
function share(graph: Graph, owner: Graph, tensor: TensorProto, shared: Shared): void {
  const { dataType, dims, rawData } = tensor;
  const key = `${dataType} ${dims.join()} ${createHash("sha256").update(rawData).digest("hex")}`;
  const known = shared.get(owner) ?? new Map<string, string>();
  shared.set(owner, known);
  const name =
    known.get(key) ?? owner.addInitializer(Object.assign(copyMessage(tensor), { name: owner.freshName(tensor.name) }));
  known.set(key, name);
  graph.replaceUses(tensor.name, name);
  for (let at = graph.parent; at !== null; at = at.parent) at.changed();
}

/** Returns the number of elements that an enlarging node makes; 0 for any other, Infinity where it is unknown. */
function elementsMade(graph: Graph, node: NodeProto): number {
  const [first, second, third] = node.input.map((x) => graph.constant(x));
  const product = (numbers: readonly number[]): number => numbers.reduce((a, b) => a * b, 1);
  switch (node.opType) {
    case "ConstantOfShape":
      return product(numbersOf(first));
    case "Tile":
      return product(numbersOf(second)) * (first === undefined ? Infinity : elementCount(first));
    case "Expand": {
      const [from, to] = [(first?.dims.map(Number) ?? [Infinity]).reverse(), numbersOf(second).reverse()];
      const longer = from.length > to.length ? from : to;
      return product(longer.map((_, i) => Math.max(from[i] ?? 1, to[i] ?? 1)));
    }
    case "Range": {
      const [start, limit, step] = [first, second, third].map((x) => numbersOf(x)[0] ?? Infinity);
      const count = Math.ceil(((limit ?? 0) - (start ?? 0)) / (step ?? 1));
      return Number.isFinite(count) ? Math.max(0, count) : Infinity;
    }
    case "EyeLike":
    case "OneHot":
    case "Resize":
    case "Upsample":
      return Infinity;
    default:
      return 0;
  }
}

/** Reads a constant's numbers; Infinity stands for those that are not yet known, or of a type that no shape has. */
function numbersOf(tensor: TensorProto | undefined): number[] {
  if (tensor?.dataType === TensorProto_DataType.FLOAT) return [...floatsOf(tensor)];
  const isWhole = tensor?.dataType === TensorProto_DataType.INT64 || tensor?.dataType === TensorProto_DataType.INT32;
  return isWhole ? integersOf(tensor) : [Infinity];
}

/** Whether a node makes another form of a weight that others use too, as other branches: the file would hold both. */
function isRepeated(graph: Graph, node: NodeProto): boolean {
  return node.input.some((name) => {
    const constant = graph.constant(name);
    if (constant === undefined || !isLargeConstant(graph, name)) return false;
    const owner = graph.ownerOf(name);
    if (owner !== graph) return owner === undefined || !isCutUpBelow(owner, constant);
    return graph.consumers(name).length > 1 && !isCutUp(graph, constant);
  });
}

function isLargeConstant(graph: Graph, name: string): boolean {
  const constant = graph.constant(name);
  return constant !== undefined && elementCount(constant) > GROWTH_MAX_ELEMENTS;
}

/** Whether each branch that reads a weight of a graph around it cuts it up; the results are the same in most models. */
function isCutUpBelow(owner: Graph, constant: TensorProto): boolean {
  const readers = owner.readers(constant.name) ?? [];
  const graphs = new Map(readers.map((x) => [x.graph.proto, x.graph]));
  return graphs.size > 0 && [...graphs.values()].every((graph) => isCutUp(graph, constant));
}

/** Whether all that reads a weight is slices along one axis, no longer together than it: gates of an LSTM in another order. */
function isCutUp(graph: Graph, { name, dims }: TensorProto): boolean {
  const cuts = graph.consumers(name).map(({ opType, input }) => {
    const [start, end, axis, step] = input.slice(1).map((x) => numbersOf(graph.constant(x)));
    if (opType !== "Slice" || input[0] !== name || start?.length !== 1 || axis?.length !== 1) return null;
    if (step !== undefined && step[0] !== 1) return null;
    const at = axis[0] ?? Infinity;
    const size = Number(dims.at(at) ?? Number.NaN);
    const place = (x = Infinity): number => Math.min(size, Math.max(0, x < 0 ? x + size : x));
    return { axis: at, size, length: place(end?.[0]) - place(start[0]) };
  });
  const [first] = cuts;
  if (first == null || !cuts.every((x) => x?.axis === first.axis && x.length >= 0)) return false;
  return sum(cuts.map((x) => x?.length ?? Infinity)) <= first.size;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

/** Runs nodes that need no input and returns their results as constants. */
async function compute(
  { proto }: OnnxModel,
  graph: Graph,
  nodes: readonly NodeProto[],
  names: readonly string[],
): Promise<Map<string, TensorProto>> {
  const made = new Set(nodes.flatMap((x) => x.output));
  const needed = new Set(nodes.flatMap((x) => [...uses(x)]).filter((x) => !made.has(x)));
  const initializer = [...needed].flatMap((name) => {
    const tensor = graph.constant(name);
    if (tensor === undefined) return [];
    // That of a Constant node has no name.
    return tensor.name === name ? [tensor] : [Object.assign(copyMessage(tensor), { name })];
  });
  const part = new OnnxModel({
    ...proto,
    functions: [],
    graph: {
      ...graph.proto,
      node: [...nodes],
      input: [],
      output: names.map(untyped),
      initializer,
      sparseInitializer: [],
      valueInfo: [],
    },
  });
  const results = new Map<string, TensorProto>();
  let session: OrtSession | undefined;
  try {
    session = await openWith(part, []);
    for (const [name, value] of Object.entries(await session.run({}))) {
      const dataType = FOLDED_TYPES.get(value.dtype);
      if (dataType === undefined || !ArrayBuffer.isView(value.data)) continue;
      const { buffer, byteOffset, byteLength } = value.data;
      const rawData = new Uint8Array(buffer, byteOffset, byteLength).slice();
      results.set(name, create(TensorProtoSchema, { name, dataType, dims: value.dims.map(BigInt), rawData }));
    }
  } catch {
    // A node that ONNX Runtime can't compute now it can't compute later either; the check reports it, with its reason.
    return new Map();
  } finally {
    await session?.release();
  }
  return results;
}

/** @internal Opens a model, unoptimized, with more of its values as outputs. */
export async function openWith(model: OnnxModel, names: readonly string[]): Promise<OrtSession> {
  const { proto } = model.graph;
  const outputs = proto.output;
  const options = { graphOptimizationLevel: "disabled", logSeverityLevel: 4 } as const;
  proto.output = [...outputs, ...names.map(untyped)];
  const scratch = new Scratch();
  try {
    const { source } = await writeModel(model, scratch);
    const session = await openSession(source, "cpu", options);
    return {
      ...session,
      async release() {
        await session.release();
        await scratch.close();
      },
    };
  } catch (error) {
    await scratch.close();
    const reason = error instanceof Error ? error.message : String(error);
    throw new SelvedgeError("model-invalid", `ONNX Runtime does not load the model: ${explained(reason)}`, {}, error);
  } finally {
    proto.output = outputs;
  }
}

function untyped(name: string): ValueInfoProto {
  return create(ValueInfoProtoSchema, { name });
}

/** Adds the way out where a model has an operator of a library of its own. */
function explained(reason: string): string {
  const operator = /(\S+?)\(-?\d*\) is not a registered function\/op/.exec(reason)?.[1];
  const fused = /Could not find an implementation for (\w+)\(\d+\) node/.exec(reason)?.[1];
  if (fused !== undefined)
    return `ONNX Runtime's CPU has no kernel for ${fused}: give the model as it was exported, before it was optimized for one provider, or export it with an older operator set`;
  if (operator === undefined) return reason;
  return `it has no operator ${operator}: export the model with operators of ONNX in place of it, or as a local function`;
}
