// Whether a bare ONNX file computes in float16: its comparison with wasm then has a larger bound. Reads the heads of its
// tensors and the attributes of its nodes alone. Imported where a comparison depends on it.

/** Field numbers in onnx.proto. */
const MODEL = { graph: 7 } as const;
const GRAPH = { node: 1, initializer: 5 } as const;
const NODE = { attribute: 5 } as const;
const ATTRIBUTE = { name: 1, i: 3, t: 5, g: 6 } as const;
const TENSOR = { dataType: 2 } as const;
/** The number of float16 among the element types. */
const FLOAT16 = 10;
/** Bytes of a tensor's dims and element type. */
const HEAD = 256;
/** Bytes that are read at once. */
const WINDOW = 4_096;

/** A field of a message: its bytes in the file, or its number. */
interface Field {
  readonly field: number;
  readonly start: number;
  readonly end: number;
  readonly value: number;
}

/**
 * Returns whether a weight of the model is float16, or a constant of its nodes, or whether a node casts to it; false for a
 * file that can't be read.
 */
export async function hasHalfWeights(model: Blob): Promise<boolean> {
  const file = new BlobReader(model);
  try {
    for await (const { field, start, end } of file.fields(0, model.size))
      if (field === MODEL.graph && (await isHalfGraph(file, start, end))) return true;
  } catch {
    // Not whole, or lost by the browser.
  }
  return false;
}

async function isHalfGraph(file: BlobReader, from: number, to: number): Promise<boolean> {
  for await (const { field, start, end } of file.fields(from, to)) {
    if (field === GRAPH.initializer && (await isHalfTensor(file, start, end))) return true;
    if (field !== GRAPH.node) continue;
    for await (const part of file.fields(start, end))
      if (part.field === NODE.attribute && (await isHalfAttribute(file, part.start, part.end))) return true;
  }
  return false;
}

/** Whether an attribute is a tensor of float16, a graph that computes in it, or the type `to` of a Cast to it. */
async function isHalfAttribute(file: BlobReader, from: number, to: number): Promise<boolean> {
  let name = "";
  for await (const { field, start, end, value } of file.fields(from, to)) {
    if (field === ATTRIBUTE.name) name = await file.text(start, end);
    if (field === ATTRIBUTE.i && name === "to" && value === FLOAT16) return true;
    if (field === ATTRIBUTE.t && (await isHalfTensor(file, start, end))) return true;
    if (field === ATTRIBUTE.g && (await isHalfGraph(file, start, end))) return true;
  }
  return false;
}

async function isHalfTensor(file: BlobReader, from: number, to: number): Promise<boolean> {
  for await (const { field, value } of file.fields(from, Math.min(to, from + HEAD)))
    if (field === TENSOR.dataType) return value === FLOAT16;
  return false;
}

/** A file that is read by windows. */
class BlobReader {
  readonly #file: Blob;
  #window: Uint8Array = new Uint8Array();
  #at = 0;

  constructor(file: Blob) {
    this.#file = file;
  }

  async text(start: number, end: number): Promise<string> {
    return this.#file.slice(start, end).text();
  }

  /** Yields the fields of a message. */
  async *fields(start: number, end: number): AsyncGenerator<Field> {
    for (let at = start; at < end;) {
      const head = await this.#read(at, Math.min(at + 20, end));
      const tag = varint(head, 0);
      const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
      const next = wire === 0 || wire === 2 ? varint(head, tag.size) : { value: 0, size: wire === 5 ? 4 : 8 };
      const from = at + tag.size + next.size;
      const to = wire === 2 ? from + next.value : from;
      yield { field, start: from, end: to, value: next.value };
      at = to;
    }
  }

  async #read(start: number, end: number): Promise<Uint8Array> {
    if (start < this.#at || end > this.#at + this.#window.length) {
      this.#at = start;
      this.#window = new Uint8Array(await this.#file.slice(start, start + WINDOW).arrayBuffer());
    }
    return this.#window.subarray(start - this.#at, end - this.#at);
  }
}

function varint(bytes: Uint8Array, start: number): { readonly value: number; readonly size: number } {
  let value = 0;
  for (let i = 0; ; i += 1) {
    const byte = bytes[start + i];
    if (byte === undefined) throw new RangeError("it ends within a number");
    value += (byte & 127) * 128 ** i;
    if (byte < 128) return { value, size: i + 1 };
  }
}
