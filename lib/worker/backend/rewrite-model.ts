// Applies the rewrites for WebGPU (webgpu-rewrites.ts) to an ONNX file in a worker, which has no protobuf library: reads
// the nodes of the main graph and the dims of its initializers, and writes changed nodes anew. All other fields are
// copied byte for byte. Values that a subgraph reads count as outputs.
import { concatBytes } from "../../core/concat-bytes.ts";
import { varint } from "../../core/varint.ts";
import { fieldsOf, message, NOTHING, numbersOf, textOf, WIRE } from "./onnx-fields.ts";
import { rewriteGraph, rewritesFor } from "./webgpu-rewrites.ts";
import type { NewNode, RewriteNode } from "./webgpu-rewrites.ts";

/** Field numbers of a model, in onnx.proto. */
export const MODEL = { graph: 7, opsetImport: 8 } as const;
const OPSET = { domain: 1, version: 2 } as const;
/** Field numbers of a graph. */
export const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 } as const;
export const NODE = { input: 1, output: 2, name: 3, opType: 4, attribute: 5, doc: 6, domain: 7 } as const;
const ATTRIBUTE = { name: 1, i: 3, graph: 6, ints: 8, graphs: 11, type: 20 } as const;
const ATTRIBUTE_TYPE = { int: 2, ints: 7 } as const;
const TENSOR = { dims: 1, dtype: 2, name: 8, raw: 9 } as const;
const INT64 = 7;
const VALUE_NAME = 1;

/** A node of a file. */
export interface WireNode extends RewriteNode {
  opType: string;
  /** Its bytes in the file; empty for a new one. */
  readonly whole: Uint8Array;
  /** Inputs and outputs as they were. */
  readonly before: string;
  /** Fields that are written again as they are. */
  readonly kept: readonly Uint8Array[];
}

/**
 * Returns an ONNX file, rewritten for the WebGPU provider of a version of ONNX Runtime; null where nothing changes, and
 * for a file that is no ONNX model or has something unusual.
 */
export function rewriteForWebGpu(file: Uint8Array, version: string): Uint8Array<ArrayBuffer> | null {
  try {
    const fields = [...fieldsOf(file)];
    const opset = fields.filter((x) => x.number === MODEL.opsetImport).map((x) => opsetOf(x.body));
    const graphs = fields.filter((x) => x.number === MODEL.graph);
    const [graph] = graphs;
    if (graph === undefined || graphs.length > 1) return null;
    const changed = rewritten(graph.body, Math.max(0, ...opset), version);
    if (changed === null) return null;
    const pieces = fields.flatMap((x) => (x === graph ? message(MODEL.graph, changed) : [x.whole]));
    return concatBytes(pieces);
  } catch {
    return null; // ONNX Runtime refuses it for its own reason
  }
}

function rewritten(graph: Uint8Array, opset: number, version: string): Uint8Array[] | null {
  const fields = [...fieldsOf(graph)];
  const names = new Set<string>();
  const outputs = new Set<string>();
  const dims = new Map<string, readonly number[]>();
  const nodes: WireNode[] = [];
  for (const { number, body, whole } of fields) {
    if (number === GRAPH.node) nodes.push(nodeOf(whole, body, outputs));
    else if (number === GRAPH.initializer) {
      const tensor = tensorOf(body);
      dims.set(tensor.name, tensor.dims);
      names.add(tensor.name);
    } else if (number === GRAPH.output) outputs.add(textOf(body, VALUE_NAME));
  }
  for (const { input, output } of nodes) for (const name of [...input, ...output]) names.add(name);
  const constants: Uint8Array[] = [];
  const places = rewriteGraph(
    {
      ...{ opset, nodes, outputs, makeNode },
      dimsOf: (name) => dims.get(name),
      freshName: (stem) => {
        let name = stem;
        for (let i = 1; names.has(name); i += 1) name = `${stem}_${i}`;
        names.add(name);
        return name;
      },
      addIntegers: (name, values) => constants.push(...message(GRAPH.initializer, integers(name, values))),
    },
    rewritesFor(version),
  );
  if (Object.keys(places).length === 0) return null;
  const rest = fields.filter((x) => x.number !== GRAPH.node).map((x) => x.whole);
  return [...nodes.flatMap((x) => encoded(x)), ...rest, ...constants];
}

function opsetOf(body: Uint8Array): number {
  let [domain, version] = ["", 0];
  for (const field of fieldsOf(body))
    if (field.number === OPSET.domain) domain = text.decode(field.body);
    else if (field.number === OPSET.version) version = field.value;
  return domain === "" || domain === "ai.onnx" ? version : 0;
}

/** Reads a node; adds the names that its subgraphs read to a set. */
export function nodeOf(whole: Uint8Array, body: Uint8Array, captured: Set<string>): WireNode {
  const [input, output, kept]: [string[], string[], Uint8Array[]] = [[], [], []];
  const attribute: { name: string; i: bigint; ints: readonly bigint[] }[] = [];
  let [opType, domain] = ["", ""];
  for (const field of fieldsOf(body)) {
    if (field.number === NODE.input) input.push(text.decode(field.body));
    else if (field.number === NODE.output) output.push(text.decode(field.body));
    else {
      kept.push(field.whole);
      if (field.number === NODE.opType) opType = text.decode(field.body);
      else if (field.number === NODE.domain) domain = text.decode(field.body);
      else if (field.number === NODE.attribute) attribute.push(attributeOf(field.body, captured));
    }
  }
  return { opType, domain, input, output, attribute, whole, kept, before: JSON.stringify([input, output]) };
}

function attributeOf(body: Uint8Array, captured: Set<string>): { name: string; i: bigint; ints: readonly bigint[] } {
  let [name, i] = ["", 0n];
  const ints: bigint[] = [];
  for (const field of fieldsOf(body))
    if (field.number === ATTRIBUTE.name) name = text.decode(field.body);
    else if (field.number === ATTRIBUTE.i) i = BigInt(field.value);
    else if (field.number === ATTRIBUTE.ints) ints.push(...numbersOf(field).map(BigInt));
    else if (field.number === ATTRIBUTE.graph || field.number === ATTRIBUTE.graphs) addReads(field.body, captured);
  return { name, i, ints };
}

/** Adds the names that the nodes of a subgraph read, and those that it returns. */
function addReads(graph: Uint8Array, names: Set<string>): void {
  for (const { number, body, whole } of fieldsOf(graph))
    if (number === GRAPH.node) for (const name of nodeOf(whole, body, names).input) names.add(name);
    else if (number === GRAPH.output) names.add(textOf(body, VALUE_NAME));
}

/** Reads the name and the dims of an initializer. */
export function tensorOf(body: Uint8Array): { readonly name: string; readonly dims: readonly number[] } {
  const dims: number[] = [];
  let name = "";
  for (const field of fieldsOf(body))
    if (field.number === TENSOR.name) name = text.decode(field.body);
    else if (field.number === TENSOR.dims) dims.push(...numbersOf(field));
  return { name, dims };
}

function makeNode({ opType, input, output, attributes = {} }: NewNode): WireNode {
  const list = Object.entries(attributes).flatMap(([name, value]) => {
    const isOne = typeof value === "number";
    const type = isOne ? ATTRIBUTE_TYPE.int : ATTRIBUTE_TYPE.ints;
    const values = (isOne ? [value] : value).map((x) => number(isOne ? ATTRIBUTE.i : ATTRIBUTE.ints, x));
    return message(NODE.attribute, [
      ...message(ATTRIBUTE.name, [bytes(name)]),
      ...values,
      number(ATTRIBUTE.type, type),
    ]);
  });
  const kept = [concatBytes(message(NODE.opType, [bytes(opType)])), ...list];
  return {
    opType,
    domain: "",
    input: [...input],
    output: [...output],
    attribute: [],
    whole: NOTHING,
    kept,
    before: "",
  };
}

function encoded({ input, output, kept, whole, before }: WireNode): Uint8Array[] {
  if (before === JSON.stringify([input, output])) return [whole];
  const names = (field: number, list: readonly string[]): Uint8Array[] =>
    list.flatMap((name) => message(field, [bytes(name)]));
  return message(GRAPH.node, [...names(NODE.input, input), ...names(NODE.output, output), ...kept]);
}

function integers(name: string, values: readonly number[]): Uint8Array[] {
  const raw = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return [
    number(TENSOR.dims, values.length),
    number(TENSOR.dtype, INT64),
    ...message(TENSOR.name, [bytes(name)]),
    ...message(TENSOR.raw, [raw]),
  ];
}

const text = new TextDecoder();
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A field that holds a whole number from 0. */
function number(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field * 8 + WIRE.varint), ...varint(value)]);
}
