// Reads and writes an ONNX file, and is what transforms work on.
//
// Reading costs no copy of the weights: a tensor's raw_data is a view into the bytes given. What this version of the
// schema does not know is kept and written again, so that a model which nothing changed is written byte for byte.
// Reading checks what a runtime would trip over later and less clearly: no graph, names that nothing makes, tensors
// that hold too little, or their values twice.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { SelvedgeError, isSelvedgeError } from "../errors.ts";
import { Graph, subgraphs } from "./graph.ts";
import { ModelProtoSchema } from "./onnx.gen.js";
import type { GraphProto, ModelProto } from "./onnx.gen.js";
import { checkTensor } from "./weights.ts";

/** Changes a model in place. */
export type Transform = (model: OnnxModel) => void;

/** Bounds the nesting of subgraphs; real models stay below 5. */
const DEPTH_MAX = 32;

/** Holds a model while it is being changed; made by `readModel`. */
export class OnnxModel {
  readonly proto: ModelProto;
  readonly graph: Graph;

  constructor(proto: ModelProto) {
    if (proto.graph === undefined) throw invalid("it holds no graph");
    this.proto = proto;
    this.graph = new Graph(proto.graph);
  }

  /** The version of the default operator set. */
  get opset(): number {
    return Number(this.proto.opsetImport.find((x) => x.domain === "" || x.domain === "ai.onnx")?.version ?? 0n);
  }

  /** Applies transforms in order. */
  transform(...transforms: readonly Transform[]): this {
    for (const transform of transforms) transform(this);
    return this;
  }

  /** Writes the model as the bytes of an ONNX file. */
  write(): Uint8Array<ArrayBuffer> {
    return toBinary(ModelProtoSchema, this.proto);
  }
}

/**
 * Reads the bytes of an ONNX file; its weights stay views into `bytes`, which must not change afterwards.
 * @throws SelvedgeError `model-invalid` for anything that is no whole ONNX model.
 */
export function readModel(bytes: Uint8Array): OnnxModel {
  if (bytes.length === 0) throw invalid("it is empty");
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw invalid("it is cut short or no ONNX file", error);
  }
  if (proto.irVersion < 1n) throw invalid("it names no version of the format");
  const model = new OnnxModel(proto);
  if (model.opset < 1) throw invalid("it names no operator set");
  if (model.graph.proto.output.length === 0) throw invalid("its graph has no output");
  try {
    checkGraph(model.graph.proto, new Set(), 0);
  } catch (error) {
    if (isSelvedgeError(error)) throw error;
    throw invalid("its graph cannot be read", error);
  }
  return model;
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
  for (const tensor of graph.initializer) {
    checkTensor(tensor, `the initializer "${tensor.name}"`);
    known.add(tensor.name);
  }
  for (const { values } of graph.sparseInitializer) if (values !== undefined) known.add(values.name);
  const made = new Set<string>();
  for (const node of graph.node) {
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
  for (const { name } of graph.output) if (!known.has(name)) throw invalid(`its output "${name}" is made by nothing`);
}

function invalid(what: string, cause?: unknown): SelvedgeError {
  return new SelvedgeError("model-invalid", `not a valid ONNX model: ${what}`, {}, cause);
}
