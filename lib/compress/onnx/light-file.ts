// Reads an ONNX file without the raw_data of its large initializers, which are the most of it: their ranges are found by
// walking over the messages around them, and each is read when it is needed.
import { concatBytes } from "../../core/concat-bytes.ts";
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from "./onnx.gen.js";
import { fill, StoredBytes } from "./stored-bytes.ts";
import { varint } from "../../core/varint.ts";

/** Initializers below this size are read with the graph. */
export const STORED_MIN_BYTES: number = 2 ** 16;
/** Bytes that are read at once. */
const WINDOW_BYTES = 2 ** 16;
const LENGTH_DELIMITED = 2;
/** Bytes of a field's value, by wire type, where that does not depend on the value. */
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/** A file without its large weights. */
export interface LightFile {
  /** The model, as bytes of an ONNX file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The raw_data that was left out, by the initializer's index in the main graph. */
  readonly stored: ReadonlyMap<number, StoredBytes>;
}

/** Reads an open file of `size` bytes; null where it is no message of protobuf, which a decoder explains better. */
export function readLight(path: string, file: number, size: number): LightFile | null {
  const walk = new LightReader(path, new SlidingWindow(file, size));
  const parts = walk.model(0, size);
  if (parts === null) return null;
  return { bytes: concatBytes(parts), stored: walk.stored };
}

/** A field of a message: where it, its value and the next field begin. */
interface Field {
  readonly number: number;
  readonly wire: number;
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

class LightReader {
  readonly stored: Map<number, StoredBytes> = new Map();
  readonly #path: string;
  readonly #window: SlidingWindow;
  #initializers = 0;

  constructor(path: string, window: SlidingWindow) {
    this.#path = path;
    this.#window = window;
  }

  model(from: number, to: number): Uint8Array[] | null {
    return this.#message(from, to, numberOf(ModelProtoSchema, "graph"), (x) => this.#graph(x));
  }

  #graph({ value, end }: Field): Uint8Array[] | null {
    return this.#message(value, end, numberOf(GraphProtoSchema, "initializer"), (x) => this.#tensor(x));
  }

  #tensor({ value, end }: Field): Uint8Array[] | null {
    const index = this.#initializers++;
    if (end - value < STORED_MIN_BYTES) return [this.#window.bytes(value, end)];
    return this.#message(value, end, numberOf(TensorProtoSchema, "rawData"), (x) => {
      if (x.end - x.value < STORED_MIN_BYTES) return [this.#window.bytes(x.value, x.end)];
      this.stored.set(index, new StoredBytes(this.#path, x.value, x.end - x.value));
      return [];
    });
  }

  /** Copies a message, with one of its fields written by `replace`. */
  #message(
    from: number,
    to: number,
    replaced: number,
    replace: (field: Field) => Uint8Array[] | null,
  ): Uint8Array[] | null {
    const parts: Uint8Array[] = [];
    for (let at = from; at < to;) {
      const field = this.#field(at, to);
      if (field === null) return null;
      at = field.end;
      if (field.number !== replaced || field.wire !== LENGTH_DELIMITED) {
        parts.push(this.#window.bytes(field.start, field.end));
        continue;
      }
      const inner = replace(field);
      if (inner === null) return null;
      const length = inner.reduce((sum, x) => sum + x.length, 0);
      parts.push(Uint8Array.from([...varint((replaced << 3) | LENGTH_DELIMITED), ...varint(length)]));
      for (const part of inner) parts.push(part);
    }
    return parts;
  }

  #field(start: number, limit: number): Field | null {
    const tag = this.#window.varint(start, limit);
    if (tag === null || tag.value < 8) return null;
    const [number, wire] = [Math.floor(tag.value / 8), tag.value % 8];
    const size = FIXED[wire] ?? 0;
    if (wire === 0 || wire === LENGTH_DELIMITED) {
      const read = this.#window.varint(tag.end, limit);
      if (read === null) return null;
      const end = read.end + (wire === 0 ? 0 : read.value);
      return end > limit ? null : { number, wire, start, value: read.end, end };
    }
    const end = tag.end + size;
    return size === 0 || end > limit ? null : { number, wire, start, value: tag.end, end };
  }
}

/** A part of the file in memory, which moves along. */
class SlidingWindow {
  readonly #file: number;
  readonly #size: number;
  #start = 0;
  #bytes = new Uint8Array();

  constructor(file: number, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Reads a range of the file into memory of its own. */
  bytes(from: number, to: number): Uint8Array<ArrayBuffer> {
    const inside = from - this.#start;
    if (inside >= 0 && to - this.#start <= this.#bytes.length) return this.#bytes.slice(inside, to - this.#start);
    const bytes = new Uint8Array(to - from);
    fill(this.#file, bytes, from);
    return bytes;
  }

  /** Reads a number of variable length; null where it does not end before `limit`, or after ten bytes. */
  varint(at: number, limit: number): { value: number; end: number } | null {
    let value = 0;
    for (let i = 0; i < 10 && at + i < limit; i++) {
      const byte = this.#byte(at + i);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return { value, end: at + i + 1 };
    }
    return null;
  }

  #byte(at: number): number {
    if (at < this.#start || at >= this.#start + this.#bytes.length) {
      this.#bytes = new Uint8Array(Math.min(WINDOW_BYTES, this.#size - at));
      this.#start = at;
      fill(this.#file, this.#bytes, at);
    }
    return this.#bytes[at - this.#start] ?? 0;
  }
}

function numberOf(schema: { readonly fields: readonly { localName: string; number: number }[] }, name: string): number {
  return schema.fields.find((x) => x.localName === name)?.number ?? 0;
}
