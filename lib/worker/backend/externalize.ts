// Rewrites the graph of an ONNX file whose weights lie inside it: large initializers name their ranges of the file as
// external data, and ONNX Runtime reads them from the file's Blob. A file passed as one buffer costs 3 to 5 times its
// size at the peak of a load; a graph of some kB over a Blob 1.1 to 1.4 times (JSPI build) or 2.4 times (wasm build).
//
// Walks protobuf's wire format over slices of the Blob: what is not an initializer's raw data stays as it is, byte for
// byte. Constants in nodes and the initializers of subgraphs stay too: ONNX Runtime refuses external ones there. Returns
// null for all that is odd, and the file is then loaded as one buffer.
import { concatBytes } from "../../core/concat-bytes.ts";
import { message, WIRE } from "./onnx-fields.ts";

/** Files from this size on are rewritten; below, a read per tensor, of about 1 ms, takes longer than one copy of all. */
const FILE_MIN_BYTES = 16 * 2 ** 20;
/** A Blob above this size can't be read at once, nor can ONNX Runtime parse it. */
const FILE_MAX_BYTES = 2 ** 31 - 1;
/** Initializers from this size on become external. */
const TENSOR_MIN_BYTES = 1024;
/** Vectors of integers up to this size do not: ONNX's shape inference refuses external ones. */
const SHAPE_MAX_BYTES = 64 * 1024;
/** Bytes read ahead. */
const WINDOW_BYTES = 256 * 1024;
/** The longest tag and length of a field. */
const HEADER_BYTES = 20;
/** Number of fields looked at beyond which a file is left as it is. */
const FIELDS_MAX = 500_000;

/** Field numbers in onnx.proto. */
const MODEL_GRAPH = 7;
const GRAPH_INITIALIZER = 5;
const TENSOR = { dims: 1, dtype: 2, name: 8, raw: 9, doc: 12, externalData: 13, location: 14 } as const;
const ENTRY = { key: 1, value: 2 } as const;

/** Bits of an element, by TensorProto.DataType. Others stay in the graph. */
const BITS = new Map([
  [1, 32],
  [2, 8],
  [3, 8],
  [4, 16],
  [5, 16],
  [6, 32],
  [7, 64],
  [9, 8],
  [10, 16],
  [11, 64],
  [12, 32],
  [13, 64],
  [16, 16],
  [21, 4],
  [22, 4],
]);
const INTEGERS: readonly number[] = [6, 7];

/** A field of a message, by positions in the file. */
interface Field {
  readonly number: number;
  readonly isMessage: boolean;
  /** Position of its tag. */
  readonly start: number;
  /** Position of its value. */
  readonly body: number;
  readonly end: number;
  /** Value of a varint, else 0. */
  readonly value: number;
}

/**
 * Returns an ONNX file's graph, whose large initializers are external data at `location`: the file itself. Null where
 * that saves less than half of the file, and for a file that is no ONNX model or has something unusual.
 */
export async function externalize(
  file: Blob,
  location: string,
  leastBytes = FILE_MIN_BYTES,
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (file.size < leastBytes || file.size > FILE_MAX_BYTES) return null;
  try {
    const pieces = await new Rewriter(file, location).model();
    return pieces === null ? null : concatBytes(pieces);
  } catch {
    return null; // read as one buffer, the file fails for its own reason
  }
}

class Rewriter {
  readonly #file: Blob;
  readonly #location: Uint8Array;
  #window: Uint8Array = new Uint8Array();
  #windowStart = 0;
  #fields = 0;
  #copied = 0;

  constructor(file: Blob, location: string) {
    this.#file = file;
    this.#location = new TextEncoder().encode(location);
  }

  model(): Promise<Uint8Array[] | null> {
    return this.#rewrite(0, this.#file.size, (x) => (x.number === MODEL_GRAPH ? this.#graph(x) : null));
  }

  #graph({ body, end }: Field): Promise<Uint8Array[] | null> {
    return this.#rewrite(body, end, (x) => (x.number === GRAPH_INITIALIZER ? this.#initializer(x) : null));
  }

  /** Returns an initializer without its raw data; null where it stays as it is. */
  async #initializer({ body, end }: Field): Promise<Uint8Array[] | null> {
    const dims: number[] = [];
    let raw: Field | null = null;
    let dtype = 0;
    for (let at = body; at < end;) {
      const field = await this.#field(at, end);
      at = field.end;
      if (field.number === TENSOR.raw && field.isMessage && raw === null) raw = field;
      else if (field.number === TENSOR.dtype && !field.isMessage) dtype = field.value;
      else if (field.number === TENSOR.dims) dims.push(...(await this.#numbers(field)));
      // Segments, values in other fields, or external data already.
      else if (field.number !== TENSOR.name && field.number !== TENSOR.doc) return null;
    }
    if (raw === null) return null;
    const bytes = raw.end - raw.body;
    const elements = dims.reduce((a, b) => a * b, 1);
    const mayBeShape = INTEGERS.includes(dtype) && dims.length <= 1 && bytes <= SHAPE_MAX_BYTES;
    if (bytes < TENSOR_MIN_BYTES || mayBeShape || elements * (BITS.get(dtype) ?? 0) !== bytes * 8) return null;
    return [
      await this.#copy(body, raw.start),
      await this.#copy(raw.end, end),
      ...entry("location", this.#location),
      ...entry("offset", ascii(raw.body)),
      ...entry("length", ascii(bytes)),
      Uint8Array.of(TENSOR.location * 8 + WIRE.varint, 1),
    ];
  }

  /** Rewrites the fields of a message that `change` returns anew; null where it changes none. */
  async #rewrite(
    start: number,
    end: number,
    change: (field: Field) => Promise<Uint8Array[] | null> | null,
  ): Promise<Uint8Array[] | null> {
    const pieces: Uint8Array[] = [];
    let kept = start;
    for (let at = start; at < end;) {
      const field = await this.#field(at, end);
      at = field.end;
      // A shorter one holds no tensor that is large enough.
      const isLong = field.isMessage && field.end - field.body >= TENSOR_MIN_BYTES;
      const changed = isLong ? await change(field) : null;
      if (changed === null) continue;
      pieces.push(await this.#copy(kept, field.start), ...message(field.number, changed));
      kept = field.end;
    }
    if (pieces.length === 0) return null;
    pieces.push(await this.#copy(kept, end));
    return pieces;
  }

  /** Returns a copy of a range that stays as it is. */
  async #copy(start: number, end: number): Promise<Uint8Array> {
    this.#copied += end - start;
    if (this.#copied > this.#file.size / 2) throw new RangeError("most of the file is not initializers");
    const at = start - this.#windowStart;
    if (at >= 0 && end - this.#windowStart <= this.#window.length) return this.#window.slice(at, at + end - start);
    return new Uint8Array(await this.#file.slice(start, end).arrayBuffer());
  }

  /** Returns the numbers of a repeated field, packed or not. */
  async #numbers(field: Field): Promise<number[]> {
    if (!field.isMessage) return [field.value];
    const numbers: number[] = [];
    if (field.end - field.body > WINDOW_BYTES / 2) throw new RangeError("has too many dims");
    await this.#fill(field.body, field.end - field.body);
    for (let at = field.body; at < field.end;) {
      const number = this.#varint(at);
      numbers.push(number.value);
      at = number.end;
    }
    return numbers;
  }

  /** Reads the head of the field at a position. */
  async #field(start: number, limit: number): Promise<Field> {
    this.#fields += 1;
    if (this.#fields > FIELDS_MAX) throw new RangeError("has too many fields");
    if (!this.#holds(start, HEADER_BYTES)) await this.#fill(start, HEADER_BYTES);
    const tag = this.#varint(start);
    const wire = tag.value % 8;
    let [body, end, value] = [tag.end, tag.end, 0];
    if (wire === WIRE.varint || wire === WIRE.message) {
      ({ end, value } = this.#varint(body));
      if (wire === WIRE.message) [body, end] = [end, end + value];
    } else if (wire === WIRE.bytes8) end += 8;
    else if (wire === WIRE.bytes4) end += 4;
    else throw new RangeError(`has wire type ${wire}`);
    if (end > limit) throw new RangeError("a field ends after its message");
    return { number: Math.floor(tag.value / 8), isMessage: wire === WIRE.message, start, body, end, value };
  }

  #varint(start: number): { value: number; end: number } {
    let value = 0;
    for (let at = start, scale = 1; at < start + HEADER_BYTES / 2; at += 1, scale *= 128) {
      const byte = this.#window[at - this.#windowStart];
      if (byte === undefined) break;
      value += (byte & 127) * scale;
      if (byte < 128) return { value, end: at + 1 };
    }
    throw new RangeError("ends within a number");
  }

  #holds(start: number, length: number): boolean {
    const end = Math.min(start + length, this.#file.size);
    return start >= this.#windowStart && end <= this.#windowStart + this.#window.length;
  }

  async #fill(start: number, length: number): Promise<void> {
    if (this.#holds(start, length)) return;
    this.#window = new Uint8Array(await this.#file.slice(start, start + WINDOW_BYTES).arrayBuffer());
    this.#windowStart = start;
  }
}

/** Returns an entry of a tensor's external data. */
function entry(key: string, value: Uint8Array): Uint8Array[] {
  const pair = [...message(ENTRY.key, [ascii(key)]), ...message(ENTRY.value, [value])];
  return message(TENSOR.externalData, pair);
}

function ascii(value: string | number): Uint8Array {
  return new TextEncoder().encode(String(value));
}
