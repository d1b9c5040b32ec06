// The memory of a run of a model that states none, a bare file or one of a repository: read from its graph, of which the
// heads of its tensors and small messages are read alone.
import { bytesOfRun } from "../core/plan-buffers.ts";
import type { RunBytes } from "../core/plan-buffers.ts";
import type { Port } from "../core/tensor.ts";
import { inferDims } from "./shape-inference.ts";
import { VALUES_MAX } from "./node-view.ts";
import type { Attribute, Constant, SizedNode } from "./node-view.ts";
import type { FileSpan } from "./read-graph.ts";
import { DTYPES, each, fields, GRAPH, MESSAGE_MAX, MODEL_GRAPH, portOf, varint, FileWindow } from "./read-graph.ts";

/** Field numbers in onnx.proto. */
const NODE = { input: 1, output: 2, opType: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { name: 1, f: 2, i: 3, s: 4, t: 5, g: 6, ints: 8, graphs: 11 } as const;
const TENSOR = { dims: 1, dtype: 2, floats: 4, int32s: 5, int64s: 7, name: 8, raw: 9 } as const;
/** Element types that no typed array holds, by their numbers. */
const OTHER_TYPES: Readonly<Record<number, string>> = { 16: "bfloat16", 21: "uint4", 22: "int4" };
/** Bytes of a tensor that have its dims, its name and the elements of a small one. */
const HEAD = 1_024;
/** Number of elements, and bytes of packed ones, up to which a tensor's are read. */
const ELEMENTS_MAX = 8 * VALUES_MAX;
/** Tokens of a text where the model takes any number. */
const TOKENS = 128;
const text = new TextDecoder();

/** Parts of a graph. */
interface SizedGraph {
  readonly nodes: readonly SizedNode[];
  readonly constants: ReadonlyMap<string, Constant>;
  readonly inputs: readonly Port[];
  readonly outputs: readonly string[];
}

/**
 * Estimates the bytes of a run for one item; null where the size of an input is not known, where the sizes exceed all
 * numbers, and for a file that can't be read. An open number of tokens is taken for 128.
 * @param sizes - dims of inputs that are known otherwise, by their names
 */
export async function runBytesOf(model: Blob, sizes: ReadonlyMap<string, readonly number[]>): Promise<RunBytes | null> {
  try {
    const { nodes, constants, inputs, outputs } = await readRun(model);
    const given = new Map(
      inputs.map((port) => [port.name, { type: port.dtype, dims: sizes.get(port.name) ?? sizeOf(port) }]),
    );
    if ([...given.values()].some(({ dims }) => dims.some(Number.isNaN))) return null;
    const facts = inferDims(nodes, constants, given, typeOf);
    const dims = new Map([...constants].map(([name, constant]) => [name, constant.dims]));
    const graph = { nodes, inputs: inputs.map((x) => x.name), outputs, constants: dims, facts };
    const run = bytesOfRun(graph, { webgpu: false, wasm: false });
    return Number.isFinite(run.webgpu + run.wasm) ? run : null;
  } catch (error) {
    if (error instanceof RangeError) return null; // not whole, or of another form
    throw error;
  }
}

/** Returns likely dims of an input: one row, and of tokens a text; NaN for an open one of floats. */
function sizeOf({ dtype, dims, batchAxis }: Port): number[] {
  const isText = dtype.includes("int") && dims.length === 2;
  return dims.map((x, axis) => (typeof x === "number" ? x : axis === batchAxis ? 1 : isText ? TOKENS : Number.NaN));
}

function typeOf(number: number): string {
  return DTYPES[number] ?? OTHER_TYPES[number] ?? "float32";
}

async function readRun(model: Blob): Promise<SizedGraph> {
  const window = new FileWindow(model);
  const [nodes, inputs, outputs]: [SizedNode[], Port[], string[]] = [[], [], []];
  const constants = new Map<string, Constant>();
  for await (const part of fields(window, { start: 0, end: model.size })) {
    if (part.field !== MODEL_GRAPH) continue;
    for await (const { field, start, end } of fields(window, part)) {
      const read = (most: number): Promise<Uint8Array> => window.bytes(start, Math.min(end - start, most));
      if (field === GRAPH.node) nodes.push(nodeOf(await read(MESSAGE_MAX)));
      else if (field === GRAPH.input) inputs.push(...portOf(await read(MESSAGE_MAX)));
      else if (field === GRAPH.output) outputs.push(...portOf(await read(MESSAGE_MAX)).map((x) => x.name));
      else if (field === GRAPH.initializer) {
        const { name, ...constant } = tensorOf(await read(HEAD));
        constants.set(name ?? (await nameOf(window, { start, end })), constant);
      }
    }
  }
  return { nodes, constants, inputs: inputs.filter((x) => !constants.has(x.name)), outputs };
}

/** Returns the name of a tensor whose elements come before it. */
async function nameOf(window: FileWindow, tensor: FileSpan): Promise<string> {
  for await (const { field, start, end } of fields(window, tensor))
    if (field === TENSOR.name) return text.decode(await window.bytes(start, Math.min(end - start, MESSAGE_MAX)));
  return "";
}

function nodeOf(bytes: Uint8Array): SizedNode {
  const [input, output, reads]: [string[], string[], Set<string>] = [[], [], new Set()];
  const attributes = new Map<string, Attribute>();
  let [opType, domain] = ["", ""];
  let tensor: Constant | undefined;
  const take = (field: number, value: number | Uint8Array): void => {
    if (typeof value === "number") return;
    if (field === NODE.attribute) {
      const found = attributeOf(value, reads);
      if (found.value !== undefined) attributes.set(found.name, found.value);
      tensor ??= found.tensor;
    } else if (field === NODE.input) input.push(text.decode(value));
    else if (field === NODE.output) output.push(text.decode(value));
    else if (field === NODE.opType) opType = text.decode(value);
    else if (field === NODE.domain) domain = text.decode(value);
  };
  each(bytes, take, true);
  for (const name of input) reads.add(name);
  const own = constantOf(attributes);
  return { opType, domain, input, output, reads, attributes, tensor: tensor ?? own };
}

/** Returns the constant of a node that has its elements as attributes. */
function constantOf(attributes: ReadonlyMap<string, Attribute>): Constant | undefined {
  for (const [name, isList] of [
    ["value_int", false],
    ["value_ints", true],
  ] as const) {
    const values = attributes.get(name);
    if (typeof values === "object") return { type: "int64", dims: isList ? [values.length] : [], values };
  }
  return undefined;
}

/** Reads an attribute; adds the names that its subgraphs read to a set. */
function attributeOf(
  bytes: Uint8Array,
  reads: Set<string>,
): { readonly name: string; readonly value?: Attribute; readonly tensor?: Constant } {
  let name = "";
  let value: Attribute | undefined;
  let tensor: Constant | undefined;
  const integers: number[] = [];
  const take = (field: number, found: number | Uint8Array): void => {
    if (field === ATTRIBUTE.i && typeof found === "number") value = [found];
    else if (field === ATTRIBUTE.ints) integers.push(...(typeof found === "number" ? [found] : numbersIn(found)));
    else if (typeof found === "number") return;
    else if (field === ATTRIBUTE.name) name = text.decode(found);
    else if (field === ATTRIBUTE.s) value = text.decode(found);
    else if (field === ATTRIBUTE.t) tensor = tensorOf(found);
    else if (field === ATTRIBUTE.g || field === ATTRIBUTE.graphs) addReads(found, reads);
  };
  each(bytes, take, true);
  if (integers.length > 0) value = integers;
  return { name, ...(value !== undefined && { value }), ...(tensor !== undefined && { tensor }) };
}

/** Adds the names that a subgraph reads. */
function addReads(graph: Uint8Array, names: Set<string>): void {
  each(graph, (field, value) => {
    if (field === GRAPH.node && typeof value !== "number") for (const name of nodeOf(value).reads) names.add(name);
  });
}

/** Reads a tensor from its first bytes: no name where its elements come before that. */
function tensorOf(bytes: Uint8Array): Constant & { readonly name?: string } {
  const dims: number[] = [];
  let [dtype, name]: [number, string | undefined] = [1, undefined];
  let values: number[] = [];
  each(bytes, (field, value) => {
    if (field === TENSOR.dtype && typeof value === "number") dtype = value;
    else if (field === TENSOR.dims) dims.push(...(typeof value === "number" ? [value] : numbersIn(value)));
    else if (typeof value === "number") {
      if ((field === TENSOR.int32s || field === TENSOR.int64s) && values.length <= ELEMENTS_MAX) values.push(value);
    } else if (field === TENSOR.name) name = text.decode(value);
    else if (value.length > ELEMENTS_MAX) return;
    else if (field === TENSOR.int32s || field === TENSOR.int64s) values = numbersIn(value);
    else if (field === TENSOR.floats) values = elementsOf(value, "float32");
    else if (field === TENSOR.raw) values = elementsOf(value, typeOf(dtype));
  });
  const isKnown = values.length > 0 && values.length === dims.reduce((product, x) => product * x, 1);
  return { type: typeOf(dtype), dims, ...(name !== undefined && { name }), ...(isKnown && { values }) };
}

/** Returns the numbers of a packed field. */
function numbersIn(bytes: Uint8Array): number[] {
  const numbers: number[] = [];
  for (let start = 0; start < bytes.length;) {
    const { value, at } = varint(bytes, start);
    numbers.push(value);
    start = at;
  }
  return numbers;
}

/** Reads little-endian elements; none of a type that no dims are made of. */
function elementsOf(bytes: Uint8Array, type: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = (size: number, read: (offset: number) => number): number[] =>
    Array.from({ length: Math.floor(bytes.byteLength / size) }, (_, i) => read(i * size));
  if (type === "int64") return at(8, (x) => Number(view.getBigInt64(x, true)));
  if (type === "int32") return at(4, (x) => view.getInt32(x, true));
  if (type === "float32") return at(4, (x) => view.getFloat32(x, true));
  return type === "bool" ? at(1, (x) => view.getUint8(x)) : [];
}
