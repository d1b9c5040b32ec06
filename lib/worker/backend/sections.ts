// WebAssembly's binary format as far as sections and vectors go (core specification, chapter 5): as needed to
// split modules. Instructions are in build/code.ts.
import { concatBytes } from "../../core/concat-bytes.ts";

/** Sections by name; each is there once at the most, custom ones aside. */
export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;

/** A section: its id and its content. */
export interface Section {
  readonly id: number;
  readonly bytes: Uint8Array;
}

const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Reads numbers, names and parts of the bytes one after the other. */
export class SectionReader {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new RangeError(`WebAssembly: ends within an item, at byte ${this.at}`);
    this.at += 1;
    return byte;
  }

  /** Reads a number in LEB128. */
  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.#bytes.length)
      throw new RangeError(`WebAssembly: ${length} bytes at ${this.at} reach past the end`);
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  /** Reads so many bytes as their length says, which stands before them. */
  part(): Uint8Array {
    return this.take(this.number());
  }

  /** Returns the bytes from a place to where it is now. */
  since(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.at);
  }
}

/** Reads the sections of a module in their order. */
export function readSections(module: Uint8Array): Section[] {
  if (!HEADER.every((byte, i) => module[i] === byte)) throw new TypeError("no WebAssembly module of version 1");
  const reader = new SectionReader(module);
  reader.take(HEADER.length);
  const sections: Section[] = [];
  while (!reader.isAtEnd) sections.push({ id: reader.byte(), bytes: reader.part() });
  return sections;
}

/** Returns the content of a section; an empty vector where the module has none. */
export function bytesOf(sections: readonly Section[], id: number): Uint8Array {
  return sections.find((x) => x.id === id)?.bytes ?? Uint8Array.of(0);
}

/** Writes a module of sections. */
export function writeSections(sections: readonly Section[]): Uint8Array<ArrayBuffer> {
  return concatBytes([
    HEADER,
    ...sections.flatMap(({ id, bytes }) => [Uint8Array.of(id), number(bytes.length), bytes]),
  ]);
}

/** Reads the parts of a code section: the bodies of the functions, each with its locals. */
export function readBodies(code: Uint8Array): Uint8Array[] {
  const reader = new SectionReader(code);
  return Array.from({ length: reader.number() }, () => reader.part());
}

/** Writes a code section. */
export function writeBodies(bodies: readonly Uint8Array[]): Uint8Array {
  return vector(bodies.map((body) => concatBytes([number(body.length), body])));
}

/** Kinds of what is imported and exported. */
export const KIND = { function: 0, table: 1, memory: 2, global: 3, tag: 4 } as const;

/**
 * Reads the imports: how many are functions, and each as it stands there.
 * @throws TypeError where a table, a global or a tag is imported
 */
export function readImports(section: Uint8Array): { functions: number; entries: Uint8Array[] } {
  const reader = new SectionReader(section);
  let functions = 0;
  const entries = Array.from({ length: reader.number() }, () => {
    const start = reader.at;
    reader.part();
    reader.part();
    const kind = reader.byte();
    if (kind === KIND.function) {
      reader.number();
      functions += 1;
    } else if (kind === KIND.memory) limits(reader);
    else throw new TypeError(`WebAssembly: an import of kind ${kind}`);
    return reader.since(start);
  });
  return { functions, entries };
}

/** An export of a module. */
export interface Export {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

/** Reads an export section. */
export function readExports(section: Uint8Array): Export[] {
  const reader = new SectionReader(section);
  return Array.from({ length: reader.number() }, () => {
    const name = new TextDecoder().decode(reader.part());
    return { name, kind: reader.byte(), index: reader.number() };
  });
}

/** Writes an export section. */
export function writeExports(exports: readonly Export[]): Uint8Array {
  return vector(exports.map((x) => concatBytes([nameOf(x.name), Uint8Array.of(x.kind), number(x.index)])));
}

/** Reads a section of numbers, as that of the functions' types is. */
export function readNumbers(section: Uint8Array): number[] {
  const reader = new SectionReader(section);
  return Array.from({ length: reader.number() }, () => reader.number());
}

/** Reads the sizes of a table or a memory. */
export function limits(reader: SectionReader): void {
  const flags = reader.byte();
  reader.number();
  if ((flags & 1) === 1) reader.number();
}

/** Encodes a number as unsigned LEB128. */
export function number(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Uint8Array.from([...bytes, left]);
    bytes.push((left % 128) + 128);
  }
}

/** Encodes a number from 0 as the signed LEB128 that `i32.const` takes. */
export function signed(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 64) return Uint8Array.from([...bytes, left]);
    bytes.push((left % 128) + 128);
  }
}

/** Encodes a text as a name. */
export function nameOf(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  return concatBytes([number(bytes.length), bytes]);
}

/** Adds items to a section that is a vector. */
export function append(section: Uint8Array, items: readonly Uint8Array[]): Uint8Array {
  const reader = new SectionReader(section);
  const count = reader.number();
  return concatBytes([number(count + items.length), section.subarray(reader.at), ...items]);
}

/** Encodes a vector: the count, then the items. */
export function vector(items: readonly Uint8Array[]): Uint8Array {
  return concatBytes([number(items.length), ...items]);
}
