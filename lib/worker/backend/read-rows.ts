// Reads from an ONNX file whether the rows of a batch influence each other (core/mixes-rows.ts), in a worker, which has
// no protobuf library: the nodes with their attributes, the dims of inputs, and small integer constants.
import { CONSTANT_MAX, mixesRows } from "../../core/mixes-rows.ts";
import type { RowNode } from "../../core/mixes-rows.ts";
import { fieldsOf, numbersOf, textOf } from "./onnx-fields.ts";
import type { OnnxField } from "./onnx-fields.ts";

/** Field numbers in onnx.proto. */
const MODEL = { graph: 7, opsetImport: 8, functions: 25 } as const;
const OPSET = { domain: 1, version: 2 } as const;
const GRAPH = { node: 1, initializer: 5, input: 11 } as const;
const FUNCTION = { name: 1, node: 7, domain: 10, overload: 13 } as const;
const NODE = { input: 1, output: 2, opType: 4, attribute: 5, domain: 7, overload: 8 } as const;
const ATTRIBUTE = { name: 1, i: 3, tensor: 5, graph: 6, ints: 8, graphs: 11 } as const;
const TENSOR = { dims: 1, dtype: 2, int32: 5, int64: 7, name: 8, raw: 9 } as const;
const VALUE = { name: 1, type: 2 } as const;
const TYPE_TENSOR = 1;
const TENSOR_SHAPE = 2;
const SHAPE_DIM = 1;
const DIM_VALUE = 1;
const [INT32, INT64] = [6, 7];

interface FileNode extends RowNode {
  /** Function that it would call. */
  readonly callee: string;
  /** Nodes of its subgraphs. */
  readonly inner: readonly FileNode[];
  /** Value of a Constant node. */
  readonly value: readonly number[] | undefined;
}

/** Whether the rows of a batch influence each other; false for a file that is no ONNX model. */
export function rowsMix(file: Uint8Array): boolean {
  try {
    const fields = [...fieldsOf(file)];
    const graph = fields.find((x) => x.number === MODEL.graph)?.body;
    if (graph === undefined) return false;
    const parts = [...fieldsOf(graph)];
    const open = parts.filter((x) => x.number === GRAPH.input && isOpen(x.body)).map((x) => textOf(x.body, VALUE.name));
    if (open.length === 0) return false; // a batch is not possible: its nodes are not read
    const functions = new Map(fields.filter((x) => x.number === MODEL.functions).map((x) => functionOf(x.body)));
    const integers = new Map<string, readonly number[]>();
    const names = new Set<string>();
    const nodes: FileNode[] = [];
    for (const { number, body } of parts) {
      if (number === GRAPH.node) nodes.push(nodeOf(body));
      else if (number === GRAPH.initializer) {
        const name = textOf(body, TENSOR.name);
        names.add(name);
        const values = integersOf(body);
        if (values !== undefined) integers.set(name, values);
      }
    }
    for (const { output, value } of nodes) if (value !== undefined) integers.set(output[0] ?? "", value);
    return mixesRows({
      opset: Math.max(0, ...fields.filter((x) => x.number === MODEL.opsetImport).map((x) => opsetOf(x.body))),
      batched: open.filter((x) => !names.has(x)),
      nodes,
      integersOf: (name) => integers.get(name),
      calledBy: ({ callee }) => functions.get(callee),
      subgraphNodes: ({ inner }) => inner,
    });
  } catch {
    return false; // ONNX Runtime refuses it for its own reason
  }
}

function opsetOf(body: Uint8Array): number {
  const domain = textOf(body, OPSET.domain);
  const version = [...fieldsOf(body)].find((x) => x.number === OPSET.version)?.value ?? 0;
  return domain === "" || domain === "ai.onnx" ? version : 0;
}

function functionOf(body: Uint8Array): [string, readonly FileNode[]] {
  const of = (number: number): string => textOf(body, number);
  return [keyOf(of(FUNCTION.domain), of(FUNCTION.name), of(FUNCTION.overload)), nodesIn(body, FUNCTION.node)];
}

/** Returns the key of a function. */
function keyOf(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

/** Reads the nodes of a graph or a function. */
function nodesIn(holder: Uint8Array, number: number): FileNode[] {
  return [...fieldsOf(holder)].flatMap((x) => (x.number === number ? [nodeOf(x.body)] : []));
}

function nodeOf(body: Uint8Array): FileNode {
  const [input, output]: [string[], string[]] = [[], []];
  const attribute: { name: string; i: bigint; ints: readonly bigint[] }[] = [];
  const inner: FileNode[] = [];
  let value: readonly number[] | undefined;
  let [opType, domain, overload] = ["", "", ""];
  for (const field of fieldsOf(body)) {
    if (field.number === NODE.input) input.push(text.decode(field.body));
    else if (field.number === NODE.output) output.push(text.decode(field.body));
    else if (field.number === NODE.opType) opType = text.decode(field.body);
    else if (field.number === NODE.domain) domain = text.decode(field.body);
    else if (field.number === NODE.overload) overload = text.decode(field.body);
    else if (field.number === NODE.attribute) {
      const { tensor, graphs, ...read } = attributeOf(field.body);
      attribute.push(read);
      inner.push(...graphs);
      if (read.name === "value_ints") value = read.ints.map(Number);
      else if (read.name === "value_int") value = [Number(read.i)];
      else if (read.name === "value" && tensor !== undefined) value = integersOf(tensor);
    }
  }
  return {
    ...{ opType, domain, input, output, attribute, inner },
    callee: keyOf(domain, opType, overload),
    value: opType === "Constant" ? value : undefined,
  };
}

/** An attribute, as far as it is read. */
interface FileAttribute {
  readonly name: string;
  readonly i: bigint;
  readonly ints: readonly bigint[];
  readonly tensor: Uint8Array | undefined;
  readonly graphs: readonly FileNode[];
}

function attributeOf(body: Uint8Array): FileAttribute {
  let [name, i] = ["", 0n];
  let tensor: Uint8Array | undefined;
  const ints: bigint[] = [];
  const graphs: FileNode[] = [];
  for (const field of fieldsOf(body))
    if (field.number === ATTRIBUTE.name) name = text.decode(field.body);
    else if (field.number === ATTRIBUTE.i) i = BigInt(field.value);
    else if (field.number === ATTRIBUTE.ints) ints.push(...numbersOf(field).map(BigInt));
    else if (field.number === ATTRIBUTE.tensor) tensor = field.body;
    else if (field.number === ATTRIBUTE.graph || field.number === ATTRIBUTE.graphs)
      graphs.push(...nodesIn(field.body, GRAPH.node));
  return { name, i, ints, tensor, graphs };
}

/** Reads a short integer tensor; undefined for another one. */
function integersOf(body: Uint8Array): readonly number[] | undefined {
  const dims: number[] = [];
  const values: number[] = [];
  let dtype = 0;
  let raw: Uint8Array | undefined;
  for (const field of fieldsOf(body))
    if (field.number === TENSOR.dtype) dtype = field.value;
    else if (field.number === TENSOR.dims) dims.push(...numbersOf(field));
    else if (field.number === TENSOR.int32 || field.number === TENSOR.int64) values.push(...shortOf(field));
    else if (field.number === TENSOR.raw) raw = field.body;
  const count = dims.reduce((product, x) => product * x, 1);
  if ((dtype !== INT32 && dtype !== INT64) || count > CONSTANT_MAX) return undefined;
  if (raw === undefined) return values;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Array.from({ length: count }, (_, i) =>
    dtype === INT64 ? Number(view.getBigInt64(i * 8, true)) : view.getInt32(i * 4, true),
  );
}

/** A long list is not read: its tensor is not either. */
function shortOf(field: OnnxField): number[] {
  return field.body.length > CONSTANT_MAX * 10 ? [] : numbersOf(field);
}

/** Whether the first dim of an input has no size. */
function isOpen(value: Uint8Array): boolean {
  const shape = bodyOf(bodyOf(bodyOf(value, VALUE.type), TYPE_TENSOR), TENSOR_SHAPE);
  const [dim] = shape === undefined ? [] : [...fieldsOf(shape)].filter((x) => x.number === SHAPE_DIM);
  if (dim === undefined) return false;
  return !(([...fieldsOf(dim.body)].find((x) => x.number === DIM_VALUE)?.value ?? 0) > 0);
}

function bodyOf(holder: Uint8Array | undefined, number: number): Uint8Array | undefined {
  return holder === undefined ? undefined : [...fieldsOf(holder)].find((x) => x.number === number)?.body;
}

const text = new TextDecoder();
