// Reads and writes an ONNX file, and is what transforms work on.
//
// Reading costs no copy of the weights: a tensor's raw_data is a view into the bytes given. What this version of the
// schema does not know is kept and written again, so that a model which nothing changed is written byte for byte.
// Reading checks what a runtime would trip over later and less clearly: no graph, names that nothing makes, tensors
// that hold too little, or their values twice.
import { create, fromBinary } from "@bufbuild/protobuf";
import { SelvedgeError, isSelvedgeError } from "../errors.ts";
import { Graph, subgraphs } from "./graph.ts";
import { ModelProtoSchema, OperatorSetIdProtoSchema } from "./onnx.gen.js";
import type { GraphProto, ModelProto, NodeProto } from "./onnx.gen.js";
import { checkTensor } from "./weights.ts";
import { countBytes, joinPieces, modelPieces } from "./wire.ts";

/** Changes a model in place. */
export type Transform = (model: OnnxModel) => void;

/** Domain of the operators that ONNX Runtime adds to ONNX's own. */
export const CONTRIB = "com.microsoft";

/** Bounds the nesting of subgraphs; real models stay below 5. */
const DEPTH_MAX = 32;

/** Holds a model while it is being changed; made by `readModel`. */
export class OnnxModel {
  /** @internal The message itself. */
  readonly proto: ModelProto;
  /** @internal Its main graph. */
  readonly graph: Graph;

  /** @internal Made by `readModel`. */
  constructor(proto: ModelProto) {
    if (proto.graph === undefined) throw invalid("it holds no graph");
    this.proto = proto;
    this.graph = new Graph(proto.graph);
  }

  /** The version of the default operator set. */
  get opset(): number {
    return Number(this.proto.opsetImport.find((x) => x.domain === "" || x.domain === "ai.onnx")?.version ?? 0n);
  }

  /** The bytes that the model takes when written. */
  get byteLength(): number {
    return countBytes(modelPieces(this.proto));
  }

  /** Declares that the model uses ONNX Runtime's own operators. */
  useContribOperators(): void {
    if (this.proto.opsetImport.some((x) => x.domain === CONTRIB)) return;
    this.proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: CONTRIB, version: 1n }));
  }

  /** Applies transforms in order. */
  transform(...transforms: readonly Transform[]): this {
    for (const transform of transforms) transform(this);
    return this;
  }

  /** Writes the model as the bytes of an ONNX file: one copy of the weights. */
  write(): Uint8Array<ArrayBuffer> {
    return joinPieces(modelPieces(this.proto));
  }
}

/**
 * Reads the bytes of an ONNX file; its weights stay views into `bytes`, which must not change afterwards.
 * @throws SelvedgeError `model-invalid` for anything that is no whole ONNX model.
 */
export function readModel(bytes: Uint8Array): OnnxModel {
  const model = decodeModel(bytes);
  checkModel(model);
  return model;
}

/** Reads the bytes of an ONNX file without looking at what they say; `checkModel` does that. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  if (bytes.length === 0) throw invalid("it is empty");
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    const isDeep = error instanceof Error && error.message.includes("recursion depth");
    throw invalid(isDeep ? "its messages are nested too deep" : "it is cut short or no ONNX file", error);
  }
  return new OnnxModel(proto);
}

/**
 * Checks a model: versions, names, order, tensors.
 * @throws SelvedgeError `model-invalid`, naming the place.
 */
export function checkModel({ proto, graph }: OnnxModel): void {
  if (proto.irVersion < 1n) throw invalid("it names no version of the format");
  if (!proto.opsetImport.some((x) => x.version > 0n)) throw invalid("it names no operator set");
  if (graph.proto.output.length === 0) throw invalid("its graph has no output");
  try {
    checkGraph(graph.proto, new Set(), 0);
    for (const each of proto.functions) {
      const known = new Set(each.input);
      checkNodes(each.node, known, 0);
      for (const name of each.output)
        if (!known.has(name)) throw invalid(`the output "${name}" of its function "${each.name}" is made by nothing`);
    }
    checkCalls(proto);
  } catch (error) {
    if (isSelvedgeError(error)) throw error;
    throw invalid("its graph cannot be read", error);
  }
}

/** Lists the offsets at which the larger tensors of an ONNX file begin, for chunks to be cut at. */
export function tensorBorders(bytes: Uint8Array): number[] {
  const borders: number[] = [];
  for (const graph of readModel(bytes).graph.all())
    for (const { rawData } of graph.proto.initializer)
      if (rawData.length >= 4096 && rawData.buffer === bytes.buffer)
        borders.push(rawData.byteOffset - bytes.byteOffset);
  return borders.sort((a, b) => a - b);
}

function checkGraph(graph: GraphProto, outer: ReadonlySet<string>, depth: number): void {
  if (depth > DEPTH_MAX) throw invalid(`its graphs are nested deeper than ${DEPTH_MAX}`);
  const known = new Set(outer);
  for (const { name } of graph.input) known.add(name);
  const stored = new Set<string>();
  for (const tensor of graph.initializer) {
    checkTensor(tensor, `the initializer "${tensor.name}"`);
    if (stored.has(tensor.name)) throw invalid(`it holds the initializer "${tensor.name}" twice`);
    stored.add(tensor.name);
    known.add(tensor.name);
  }
  for (const { values, indices } of graph.sparseInitializer) {
    if (values === undefined || indices === undefined) throw invalid("a sparse initializer has no values");
    for (const tensor of [values, indices]) checkTensor(tensor, `the sparse initializer "${values.name}"`);
    known.add(values.name);
  }
  checkNodes(graph.node, known, depth);
  for (const { name } of graph.output) if (!known.has(name)) throw invalid(`its output "${name}" is made by nothing`);
}

/** Checks nodes in their order, and adds to `known` what they make. */
function checkNodes(nodes: readonly NodeProto[], known: Set<string>, depth: number): void {
  const made = new Set<string>();
  for (const node of nodes) {
    const label = `the ${node.opType} node "${node.name === "" ? (node.output[0] ?? "") : node.name}"`;
    if (node.opType === "") throw invalid("a node names no operator");
    for (const name of node.input)
      if (name !== "" && !known.has(name)) throw invalid(`${label} uses "${name}", which nothing before it makes`);
    for (const attribute of node.attribute)
      for (const tensor of attribute.t === undefined ? attribute.tensors : [attribute.t, ...attribute.tensors])
        checkTensor(tensor, `the attribute "${attribute.name}" of ${label}`);
    for (const inner of subgraphs(node)) checkGraph(inner, known, depth + 1);
    for (const name of node.output) {
      if (name === "") continue;
      if (made.has(name)) throw invalid(`${label} makes "${name}", which another node makes too`);
      made.add(name);
      known.add(name);
    }
  }
}

/** Refuses functions that call one another in a circle: a runtime that expands them would never end. */
function checkCalls({ functions }: ModelProto): void {
  const keyOf = (domain: string, name: string): string => `${domain}:${name}`;
  const byKey = new Map(functions.map((x) => [keyOf(x.domain, x.name), x]));
  const done = new Set<string>();
  const visit = (key: string, way: readonly string[]): void => {
    const each = byKey.get(key);
    if (each === undefined || done.has(key)) return;
    if (way.includes(key)) throw invalid(`its function "${each.name}" calls itself`);
    for (const node of each.node) visit(keyOf(node.domain, node.opType), [...way, key]);
    done.add(key);
  };
  for (const key of byKey.keys()) visit(key, []);
}

function invalid(what: string, cause?: unknown): SelvedgeError {
  return new SelvedgeError("model-invalid", `not a valid ONNX model: ${what}`, {}, cause);
}
