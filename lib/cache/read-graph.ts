// Reads the inputs, the outputs and the nodes of an ONNX file without its weights: of a large one a few KiB at a time, so
// that it is not copied into memory.
import { SelvedgeError } from "../core/errors.ts";
import type { GraphNode } from "../core/describe-model.ts";
import type { Dtype, Port } from "../core/tensor.ts";

/** Facts of a graph that need none of its weights. */
export interface GraphFacts {
  /** Inputs without those that have a value in the file. */
  readonly inputs: readonly Port[];
  /** Outputs; one without a declared shape has no dims. */
  readonly outputs: readonly Port[];
  readonly nodes: readonly GraphNode[];
}

/** Field numbers in onnx.proto. */
export const MODEL_GRAPH = 7;
export const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 } as const;
const NODE = { input: 1, output: 2, opType: 4, attribute: 5 } as const;
const ATTRIBUTE_TENSOR = 5;
const TENSOR_NAME = 8;
const TENSOR_EXTERNAL = 13;
const ENTRY = { key: 1, value: 2 } as const;
const VALUE = { name: 1, type: 2 } as const;
const TENSOR_TYPE = 1;
const TYPE = { element: 1, shape: 2 } as const;
const DIM = { value: 1, name: 2 } as const;
/** Element types by their numbers in onnx.proto; others have no JavaScript typed array. */
export const DTYPES: readonly (Dtype | undefined)[] = [
  ...([undefined, "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool"] as const),
  ...(["float16", "float64", "uint32", "uint64"] as const),
];

/** Bytes read at once. */
const WINDOW = 2 ** 14;
/** Size up to which a file is read whole: each read of a Blob is a message to another process, and there is one a tensor. */
const WHOLE_MAX = 2 ** 24;
/** The most bytes of a node's or a port's message that are read; one with a large constant inside is cut. */
export const MESSAGE_MAX: number = 2 ** 20;
const text = new TextDecoder();

/**
 * Reads a graph.
 * @throws SelvedgeError `model-invalid` for a file that is no ONNX model
 */
export async function readGraph(model: Blob): Promise<GraphFacts> {
  const window = new FileWindow(model);
  const found = { inputs: [] as Port[], outputs: [] as Port[], nodes: [] as GraphNode[] };
  const initializers: FileSpan[] = [];
  let hasGraph = false;
  try {
    for await (const part of fields(window, { start: 0, end: model.size })) {
      if (part.field !== MODEL_GRAPH) continue;
      hasGraph = true;
      for await (const each of fields(window, part)) {
        if (each.field === GRAPH.initializer) initializers.push(each);
        if (each.field !== GRAPH.node && each.field !== GRAPH.input && each.field !== GRAPH.output) continue;
        const bytes = await window.bytes(each.start, Math.min(each.end - each.start, MESSAGE_MAX));
        if (each.field === GRAPH.node) found.nodes.push(nodeOf(bytes));
        else (each.field === GRAPH.input ? found.inputs : found.outputs).push(...portOf(bytes));
      }
    }
    if (!hasGraph) throw new RangeError("it has no graph");
    if (found.inputs.length < 2) return found;
    const stored = new Set<string>();
    for (const each of initializers) stored.add(await nameOf(window, each));
    return { ...found, inputs: found.inputs.filter((x) => !stored.has(x.name)) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SelvedgeError(
      "model-invalid",
      `The model's inputs and outputs could not be read, which image and labels need: not a whole ONNX file (${error.message}).`,
      {},
      error,
    );
  }
}

/** Bound on a node whose constant may be external data: one with its values inside is larger, or holds little. */
const CONSTANT_MAX = 2 ** 12;

/**
 * Lists the files of external data that a graph's weights and constants name, as paths relative to the graph's folder, each
 * once.
 * @throws SelvedgeError `model-invalid` for a path that leaves the folder
 */
export async function readLocations(model: Blob): Promise<string[]> {
  const window = new FileWindow(model);
  const found = new Set<string>();
  try {
    for await (const part of fields(window, { start: 0, end: model.size })) {
      if (part.field !== MODEL_GRAPH) continue;
      for await (const tensor of fields(window, part)) {
        if (tensor.field === GRAPH.node && tensor.end - tensor.start <= CONSTANT_MAX)
          constantLocations(await window.bytes(tensor.start, tensor.end - tensor.start)).forEach((x) => found.add(x));
        if (tensor.field !== GRAPH.initializer) continue;
        for await (const { field, start, end } of fields(window, tensor))
          if (field === TENSOR_EXTERNAL) {
            const [key, value] = entryOf(await window.bytes(start, Math.min(end - start, MESSAGE_MAX)));
            if (key === "location") found.add(value);
          }
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return []; // not a whole ONNX file: ONNX Runtime reports it
  }
  for (const path of found)
    if (/^[/\\]|^[a-z]+:|[?#]/i.test(path) || path.split(/[/\\]/).some((x) => x === ".." || x === ""))
      throw new SelvedgeError(
        "model-invalid",
        `The model keeps weights in "${path}", which is outside of its folder: save it again with its data beside it.`,
        { path, reason: "external-path" },
      );
  return [...found].map((x) => x.replace(/^(?:\.\/)+/, ""));
}

/** Returns the locations of a node's tensors, as torch's exporter writes those of a constant: `Constant_7_attr__value`. */
function constantLocations(node: Uint8Array): string[] {
  const found: string[] = [];
  const inside = (bytes: Uint8Array, wanted: number, take: (value: Uint8Array) => void): void => {
    each(bytes, (field, value) => {
      if (field === wanted && typeof value !== "number") take(value);
    });
  };
  inside(node, NODE.attribute, (attribute) => {
    inside(attribute, ATTRIBUTE_TENSOR, (tensor) => {
      inside(tensor, TENSOR_EXTERNAL, (entry) => {
        const [key, value] = entryOf(entry);
        if (key === "location") found.push(value);
      });
    });
  });
  return found;
}

function entryOf(bytes: Uint8Array): [string, string] {
  const entry: [string, string] = ["", ""];
  each(bytes, (field, value) => {
    if (typeof value === "number") return;
    if (field === ENTRY.key) entry[0] = text.decode(value);
    if (field === ENTRY.value) entry[1] = text.decode(value);
  });
  return entry;
}

/** A part of the file. */
export interface FileSpan {
  readonly start: number;
  readonly end: number;
}

/** Reads a file at any place, a window at a time. */
export class FileWindow {
  readonly #file: Blob;
  #bytes: Uint8Array = new Uint8Array();
  #start = 0;

  constructor(file: Blob) {
    this.#file = file;
  }

  /** Returns bytes of the file, fewer at its end; valid until the next call. */
  async bytes(start: number, size: number): Promise<Uint8Array> {
    const end = Math.min(start + size, this.#file.size);
    if (start < this.#start || end > this.#start + this.#bytes.length) {
      const { size: all } = this.#file;
      const isWhole = all <= WHOLE_MAX;
      const until = isWhole ? all : Math.min(Math.max(end, start + WINDOW), all);
      this.#start = isWhole ? 0 : start;
      this.#bytes = new Uint8Array(await this.#file.slice(this.#start, until).arrayBuffer());
    }
    return this.#bytes.subarray(start - this.#start, end - this.#start);
  }
}

/** Yields the length-delimited fields of a message, by their places. */
export async function* fields(
  window: FileWindow,
  { start, end }: FileSpan,
): AsyncGenerator<FileSpan & { readonly field: number }> {
  for (let at = start; at < end;) {
    const head = await window.bytes(at, Math.min(20, end - at));
    const { field, from, to } = header(head, 0);
    if (at + to > end) throw new RangeError("it ends within a field");
    if (from >= 0) yield { field, start: at + from, end: at + to };
    at += to;
  }
}

/** Reads a field's tag: where its bytes begin (−1 for a number), where it ends, and its number. */
function header(bytes: Uint8Array, at: number): { field: number; from: number; to: number; value: number } {
  const tag = varint(bytes, at);
  const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
  if (wire === 0) {
    const { value, at: to } = varint(bytes, tag.at);
    return { field, from: -1, to, value };
  }
  if (wire === 1 || wire === 5) return { field, from: -1, to: tag.at + (wire === 1 ? 8 : 4), value: 0 };
  if (wire !== 2) throw new RangeError(`it has wire type ${wire}`);
  const size = varint(bytes, tag.at);
  return { field, from: size.at, to: size.at + size.value, value: 0 };
}

/** Reads a number, signed: one below 0 has ten bytes, more bits than a double holds. */
export function varint(bytes: Uint8Array, start: number): { value: number; at: number } {
  let value = 0;
  for (let at = start, scale = 1; ; at += 1, scale *= 128) {
    const byte = bytes[at];
    if (byte === undefined || at - start > 9) throw new RangeError("it ends within a number");
    value += (byte & 127) * scale;
    if (byte < 128) return { value: at - start < 9 ? value : negative(bytes.subarray(start, at)), at: at + 1 };
  }
}

function negative(bytes: Uint8Array): number {
  return -bytes.reduceRight((sum, byte) => sum * 128 + (127 - (byte & 127)), 0) - 1;
}

/**
 * Calls `take` for each field of a message in memory: a number, or bytes. Ends before a field that was cut, or with what is
 * there of it.
 */
export function each(
  bytes: Uint8Array,
  take: (field: number, value: number | Uint8Array) => void,
  takesCut = false,
): void {
  for (let at = 0; at < bytes.length;) {
    const { field, from, to, value } = header(bytes, at);
    if (to > bytes.length && !takesCut) return;
    take(field, from < 0 ? value : bytes.subarray(from, to));
    at = to;
  }
}

function nodeOf(bytes: Uint8Array): GraphNode {
  const [input, output]: [string[], string[]] = [[], []];
  let opType = "";
  each(bytes, (field, value) => {
    if (typeof value === "number") return;
    if (field === NODE.input) input.push(text.decode(value));
    if (field === NODE.output) output.push(text.decode(value));
    if (field === NODE.opType) opType = text.decode(value);
  });
  return { opType, input, output };
}

/** Returns the port that a value describes; none for a sequence, a map, or a type without a typed array. */
export function portOf(bytes: Uint8Array): Port[] {
  let name = "";
  let element = 0;
  let hasType = false;
  const dims: (number | string)[] = [];
  const readDim = (dim: Uint8Array): void => {
    let size: number | string = "";
    each(dim, (field, value) => {
      if (field === DIM.value && typeof value === "number") size = value;
      if (field === DIM.name && typeof value !== "number") size = text.decode(value);
    });
    dims.push(size);
  };
  each(bytes, (field, value) => {
    if (typeof value === "number") return;
    if (field === VALUE.name) name = text.decode(value);
    if (field !== VALUE.type) return;
    hasType = true;
    each(value, (kind, type) => {
      if (kind !== TENSOR_TYPE || typeof type === "number") return;
      each(type, (part, inner) => {
        if (part === TYPE.element && typeof inner === "number") element = inner;
        if (part === TYPE.shape && typeof inner !== "number")
          each(inner, (_, dim) => {
            if (typeof dim !== "number") readDim(dim);
          });
      });
    });
  });
  // ONNX Runtime infers the type and the dims of an output that declares none.
  const dtype = hasType ? DTYPES[element] : "float32";
  if (dtype === undefined) return [];
  // As ONNX Runtime's metadata is read: a dim without a size or a name gets one.
  const named = dims.map((x, i) =>
    x === "" || (typeof x === "number" && !(x > 0 && x < 2 ** 31)) ? `${name}_${i}` : x,
  );
  return [{ name, dtype, dims: named, batchAxis: typeof named[0] === "string" ? 0 : null }];
}

async function nameOf(window: FileWindow, tensor: FileSpan): Promise<string> {
  for await (const { field, start, end } of fields(window, tensor))
    if (field === TENSOR_NAME) return text.decode(await window.bytes(start, Math.min(end - start, MESSAGE_MAX)));
  return "";
}
