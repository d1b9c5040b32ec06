// Reads a whole module for splitting (split.ts), and refuses what that does not foresee.
import { OP } from "./code.ts";
import {
  bytesOf,
  limits,
  readBodies,
  SectionReader,
  readExports,
  readImports,
  readNumbers,
  readSections,
  SECTION,
} from "../worker/backend/sections.ts";
import type { Export, Section } from "../worker/backend/sections.ts";

const FUNCREF = 0x70;
const FUNCTION = 0x60;

/** A function type: its bytes, and how many values it takes. A value's type is one byte, as all but typed references are. */
export interface FunctionType {
  readonly bytes: Uint8Array;
  readonly params: number;
}

/** Functions that stand in the table one after the other, from a slot on. */
export interface Elements {
  readonly at: number;
  readonly functions: readonly number[];
}

/** A module. Functions are numbered with the imported ones first, as in WebAssembly. */
export interface Whole {
  /** In their order, without custom ones. */
  readonly sections: readonly Section[];
  readonly types: readonly FunctionType[];
  /** How many functions are imported. */
  readonly imported: number;
  readonly imports: readonly Uint8Array[];
  /** Type index and body of each function that the module defines. */
  readonly typesOf: readonly number[];
  readonly bodies: readonly Uint8Array[];
  /** Types, as an import has them. */
  readonly tables: readonly Uint8Array[];
  readonly globals: readonly Uint8Array[];
  readonly tags: readonly Uint8Array[];
  readonly elements: readonly Elements[];
  readonly exports: readonly Export[];
  /** The function that runs first; null where there is none. */
  readonly start: number | null;
}

/**
 * Reads a module.
 * @throws TypeError where it has types but functions', imports of globals, tables or tags, more than one table, elements but
 *   active ones, or globals that start as more than a constant
 */
export function readWhole(module: Uint8Array): Whole {
  const sections = readSections(module).filter((x) => x.id !== SECTION.custom);
  const of = (id: number): Uint8Array => bytesOf(sections, id);
  const { functions: imported, entries: imports } = readImports(of(SECTION.import));
  const tables = readTables(of(SECTION.table));
  if (tables.length > 1) throw new TypeError("WebAssembly: more than one table");
  return {
    sections,
    types: readTypes(of(SECTION.type)),
    imported,
    imports,
    typesOf: readNumbers(of(SECTION.function)),
    bodies: readBodies(of(SECTION.code)),
    tables,
    globals: readGlobals(of(SECTION.global)),
    tags: readTags(of(SECTION.tag)),
    elements: readElements(of(SECTION.element)),
    exports: readExports(of(SECTION.export)),
    start: sections.some((x) => x.id === SECTION.start) ? new SectionReader(of(SECTION.start)).number() : null,
  };
}

function readTypes(section: Uint8Array): FunctionType[] {
  return read(section, (reader) => {
    const start = reader.at;
    if (reader.byte() !== FUNCTION) throw new TypeError("WebAssembly: a type that is no function's");
    const params = reader.part().length;
    reader.part();
    return { bytes: reader.since(start), params };
  });
}

function readTables(section: Uint8Array): Uint8Array[] {
  return read(section, (reader) => {
    const start = reader.at;
    if (reader.byte() !== FUNCREF) throw new TypeError("WebAssembly: a table that is not of functions");
    limits(reader);
    return reader.since(start);
  });
}

function readGlobals(section: Uint8Array): Uint8Array[] {
  return read(section, (reader) => {
    const start = reader.at;
    reader.take(2);
    const type = reader.since(start);
    if (reader.byte() !== OP.i32Const)
      throw new TypeError("WebAssembly: a global that does not start as a constant of 32 bits");
    reader.number();
    if (reader.byte() !== OP.end) throw new TypeError("WebAssembly: a global that starts as more than a constant");
    return type;
  });
}

function readTags(section: Uint8Array): Uint8Array[] {
  return read(section, (reader) => {
    const start = reader.at;
    reader.byte();
    reader.number();
    return reader.since(start);
  });
}

function readElements(section: Uint8Array): Elements[] {
  return read(section, (reader) => {
    if (reader.number() !== 0 || reader.byte() !== OP.i32Const)
      throw new TypeError("WebAssembly: elements that do not stand in the table from the start");
    const at = reader.number();
    if (reader.byte() !== OP.end) throw new TypeError("WebAssembly: elements whose place is more than a constant");
    return { at, functions: Array.from({ length: reader.number() }, () => reader.number()) };
  });
}

function read<T>(section: Uint8Array, item: (reader: SectionReader) => T): T[] {
  const reader = new SectionReader(section);
  return Array.from({ length: reader.number() }, () => item(reader));
}
