// Reads and writes ONNX files; the model that transforms work on.
//
// Reading does not copy the weights: a tensor's raw_data is a view into the given bytes. Fields unknown to this version
// of the schema are kept and written again, so an unchanged model is written byte for byte. Reading checks for faults
// that a runtime would report later and less clearly: no graph, undefined names, tensors with too little data, or with
// their values twice.
import { create, fromBinary } from "@bufbuild/protobuf";
import { SelvedgeError, isSelvedgeError } from "../../core/errors.ts";
import { kindOf } from "./file-kind.ts";
import { Graph, subgraphs } from "./graph.ts";
import { ModelProtoSchema, OperatorSetIdProtoSchema } from "./onnx.gen.js";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "./onnx.gen.js";
import { dropEmptyNames } from "./empty-names.ts";
import { sortNodes } from "./sort-nodes.ts";
import { labelOf, tensorsIn } from "./tensors-in.ts";
import { setRaw, storedOf } from "./stored-bytes.ts";
import { checkTensor } from "./tensor-proto.ts";
import { countBytes, joinPieces, modelPieces } from "./encode.ts";

/** Changes a model in place. */
export type Transform = (model: OnnxModel) => void;

/** Domain of the operators that ONNX Runtime adds to ONNX's own. */
export const CONTRIB = "com.microsoft";

/** Maximum nesting of subgraphs; real models stay below 5. */
const DEPTH_MAX = 32;

/**
 * Maximum number of nodes of a model once its functions are expanded, as ONNX Runtime does before it runs one.
 * Functions that call one another twice each double at every step: 40 of them in 2.6 kB are 2^40 nodes.
 */
const EXPANDED_MAX = 100_000;

/** A fault of a file that is mended as it is read: ONNX Runtime may refuse the file itself, or crash on it. */
export type MendedFault = "node-order" | "empty-names";

/** A model being changed; made by `readModel`. */
export class OnnxModel {
  /** @internal The message itself. */
  readonly proto: ModelProto;
  /** @internal Its main graph. */
  readonly graph: Graph;
  /** @internal Faults that were mended as it was read; where there are any, its file does not run as it does. */
  readonly mended: readonly MendedFault[];

  /** @internal Made by `readModel`. */
  constructor(proto: ModelProto, mended: readonly MendedFault[] = []) {
    if (proto.graph === undefined) throw invalid("it holds no graph");
    this.proto = proto;
    this.graph = new Graph(proto.graph);
    this.mended = mended;
  }

  /** The version of the default operator set. */
  get opset(): number {
    return Number(this.proto.opsetImport.find((x) => x.domain === "" || x.domain === "ai.onnx")?.version ?? 0n);
  }

  /** Size of the model in bytes when written. */
  get byteLength(): number {
    return countBytes(modelPieces(this.proto));
  }

  /** Declares the operator set of ONNX Runtime's own operators. */
  useContribOperators(): void {
    if (this.proto.opsetImport.some((x) => x.domain === CONTRIB)) return;
    this.proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: CONTRIB, version: 1n }));
  }

  /** Applies transforms in order. */
  transform(...transforms: readonly Transform[]): this {
    for (const transform of transforms) transform(this);
    return this;
  }

  /** @internal Copies the model, to be changed apart from this one; both share the weights, which nothing changes in place. */
  copy(): OnnxModel {
    return new OnnxModel(copyMessage(this.proto));
  }

  /** Writes the model as the bytes of an ONNX file: one copy of the weights. */
  write(): Uint8Array<ArrayBuffer> {
    return joinPieces(modelPieces(this.proto));
  }
}

/** @internal Copies a message of the protobuf library, except for bytes: its prototype holds the defaults of unset fields. */
export function copyMessage<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copyMessage) as T;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const copy = Object.create(Object.getPrototypeOf(value) as object) as Record<string, unknown>;
  const stored = storedOf(value);
  const from = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(value))
    if (stored === undefined || key !== "rawData") copy[key] = copyMessage<unknown>(from[key]);
  if (stored !== undefined) setRaw(copy as unknown as TensorProto, stored);
  return copy as T;
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

/** Decodes the bytes of an ONNX file and mends it, without checking the content; `checkModel` does that. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  // Of another realm, as in Jest's, it is no instance of Uint8Array.
  if (!ArrayBuffer.isView(bytes))
    throw new TypeError(`readModel: expected the bytes of a file, got ${typeof bytes}: readModelFile(path) reads one`);
  if (bytes.length === 0) throw invalid("it is empty");
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    const isDeep = error instanceof Error && error.message.includes("recursion depth");
    const other = kindOf(bytes) ?? "it is truncated or not an ONNX file";
    throw invalid(isDeep ? "its messages are nested too deep" : other, error);
  }
  const isModel = proto.graph !== undefined && proto.opsetImport.length > 0;
  const other = isModel ? undefined : kindOf(bytes);
  if (other !== undefined) throw invalid(other);
  const mended: MendedFault[] = sortNodes(proto) ? ["node-order"] : [];
  if (dropEmptyNames(proto)) mended.push("empty-names");
  return new OnnxModel(proto, mended);
}

/**
 * @internal Checks a model: versions, names, order, tensors.
 * @throws SelvedgeError `model-invalid`, naming the place.
 */
export function checkModel({ proto, graph }: OnnxModel): void {
  if (proto.irVersion < 1n) throw invalid("it names no version of the format");
  if (!proto.opsetImport.some((x) => x.version > 0n)) throw invalid("it names no operator set");
  if (graph.proto.output.length === 0) throw invalid("its graph has no output");
  try {
    for (const { tensor, where } of tensorsIn(proto)) checkTensor(tensor, where);
    checkGraph(graph.proto, undefined, 0);
    for (const each of proto.functions) {
      const known = new Scope();
      for (const name of each.input) known.add(name);
      checkNodes(each.node, known, 0);
      for (const name of each.output)
        if (!known.has(name))
          throw invalid(`the output "${name}" of its function "${each.name}" is produced by no node`);
    }
    checkCalls(proto);
  } catch (error) {
    if (isSelvedgeError(error)) throw error;
    throw invalid("its graph cannot be read", error);
  }
}

/** Lists the offsets at which the larger tensors of an ONNX file begin, as borders for chunks. */
export function tensorBorders(bytes: Uint8Array): number[] {
  const borders: number[] = [];
  for (const graph of readModel(bytes).graph.all())
    for (const { rawData } of graph.proto.initializer)
      if (rawData.length >= 4096 && rawData.buffer === bytes.buffer)
        borders.push(rawData.byteOffset - bytes.byteOffset);
  return borders.sort((a, b) => a - b);
}

/** The names visible in a graph: its own, and those of the graphs around it. */
class Scope {
  readonly #own = new Set<string>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  add(name: string): void {
    this.#own.add(name);
  }

  has(name: string): boolean {
    return this.#own.has(name) || this.#outer?.has(name) === true;
  }
}

function checkGraph(graph: GraphProto, outer: Scope | undefined, depth: number): void {
  if (depth > DEPTH_MAX) throw invalid(`its graphs are nested deeper than ${DEPTH_MAX}`);
  const known = new Scope(outer);
  for (const { name } of graph.input) known.add(name);
  const stored = new Set<string>();
  for (const { name } of graph.initializer) {
    if (stored.has(name)) throw invalid(`it holds the initializer "${name}" twice`);
    stored.add(name);
    known.add(name);
  }
  for (const { values, indices } of graph.sparseInitializer) {
    if (values === undefined || indices === undefined) throw invalid("a sparse initializer has no values");
    known.add(values.name);
  }
  checkNodes(graph.node, known, depth);
  for (const { name } of graph.output)
    if (!known.has(name)) throw invalid(`its output "${name}" is produced by no node`);
}

/** Checks nodes in their order, and adds their outputs to `known`. */
function checkNodes(nodes: readonly NodeProto[], known: Scope, depth: number): void {
  const made = new Set<string>();
  for (const node of nodes) {
    if (node.opType === "") throw invalid("a node names no operator");
    for (const name of node.input)
      if (name !== "" && !known.has(name))
        throw invalid(`${labelOf(node)} uses "${name}", which no earlier node produces`);
    for (const inner of subgraphs(node)) checkGraph(inner, known, depth + 1);
    for (const name of node.output) {
      if (name === "") continue;
      if (made.has(name)) throw invalid(`${labelOf(node)} produces "${name}", which another node also produces`);
      made.add(name);
      known.add(name);
    }
  }
}

/** Refuses recursive functions, and those that expand to more nodes than a model may have. */
function checkCalls({ graph, functions }: ModelProto): void {
  const keyOf = (domain: string, name: string, overload: string): string => JSON.stringify([domain, name, overload]);
  const byKey = new Map(functions.map((x) => [keyOf(x.domain, x.name, x.overload), x]));
  const sizes = new Map<string, number>();
  const open = new Set<string>();
  const sizeOf = (key: string): number => {
    const each = byKey.get(key);
    if (each === undefined) return 0;
    const known = sizes.get(key);
    if (known !== undefined) return known;
    if (open.has(key)) throw invalid(`its function "${each.name}" calls itself`);
    open.add(key);
    const size = sum(each.node);
    open.delete(key);
    sizes.set(key, size);
    return size;
  };
  const sum = (nodes: readonly NodeProto[]): number => {
    let size = 0;
    for (const node of nodes) {
      size += 1 + sizeOf(keyOf(node.domain, node.opType, node.overload));
      for (const inner of subgraphs(node)) size += sum(inner.node);
    }
    return size;
  };
  for (const key of byKey.keys()) sizeOf(key);
  if (byKey.size > 0 && sum(graph?.node ?? []) > EXPANDED_MAX)
    throw invalid(`its functions expand to more than ${EXPANDED_MAX} nodes`);
}

function invalid(what: string, cause?: unknown): SelvedgeError {
  return new SelvedgeError("model-invalid", `not a valid ONNX model: ${what}`, {}, cause);
}
