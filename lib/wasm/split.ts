// Splits a WebAssembly module in two, so that what hardly ever runs is neither fetched nor compiled before it does: the
// first part is the module with stubs for the rare functions, the rest is the same with stubs for all others. Stubs of
// the first part call through a table that the rest fills; at the first such call it is fetched and linked (parts.ts).
//
// There are seven stubs to a function that runs, and what they take to compile is a fourth of all: so they hold no more than
// a call of what links, which is one function for all of them, and the call through the table.
//
// What makes it short: both parts number functions, types, globals, tables and memories as the whole did, so that no body
// changes and no instruction is read. The rest imports what the first part defines. (Binaryen's wasm-split does the same on
// the level of instructions, with a toolchain that npm does not have.)
import {
  append,
  concat,
  KIND,
  limits,
  nameOf,
  number,
  readBodies,
  Reader,
  readImports,
  readSections,
  SECTION,
  signed,
  vector,
  writeBodies,
  writeSections,
} from "./sections.ts";
import { LINKED, PART, RARE } from "./parts.ts";
import type { Section } from "./sections.ts";

const FUNCREF = 0x70;
const I32 = 0x7f;
const OP = {
  if: 0x04,
  end: 0x0b,
  call: 0x10,
  callIndirect: 0x11,
  localGet: 0x20,
  globalGet: 0x23,
  eqz: 0x45,
  i32Const: 0x41,
};
const VOID = 0x40;

/** A module in two parts. */
export interface Parts {
  readonly first: Uint8Array<ArrayBuffer>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** A function type: its bytes, and how many values it takes. A value's type is one byte, as all but typed references are. */
interface FunctionType {
  readonly bytes: Uint8Array;
  readonly params: number;
}

/**
 * Splits a module. Which of its own functions (imported ones not counted) run usually is told by `isUsual`; the start
 * function, which copies the data segments to memory, stays in the first part in any case. `id` names this very module:
 * parts of different ones do not link.
 * @throws TypeError where the module has what is not foreseen: types but functions', imports of globals, tables or tags
 */
export function splitWasm(module: Uint8Array, id: string, isUsual: (index: number) => boolean): Parts {
  const sections = readSections(module).filter((x) => x.id !== SECTION.custom);
  const of = (id: number): Uint8Array => sections.find((x) => x.id === id)?.bytes ?? Uint8Array.of(0);
  const types = readTypes(of(SECTION.type));
  const imports = readImports(of(SECTION.import));
  const functions = readNumbers(of(SECTION.function));
  const bodies = readBodies(of(SECTION.code));
  const tables = readTables(of(SECTION.table));
  const globals = readGlobals(of(SECTION.global));
  const tags = readTags(of(SECTION.tag));
  const start = sections.some((x) => x.id === SECTION.start) ? new Reader(of(SECTION.start)).number() : -1;
  const isRare = bodies.map((_, i) => !isUsual(i) && imports.functions + i !== start);

  const plain = types.findIndex(({ bytes }) => bytes.length === 3 && bytes[1] === 0 && bytes[2] === 0);
  const plainType = plain < 0 ? types.length : plain;
  const typeSection = plain < 0 ? vector([...types.map((x) => x.bytes), Uint8Array.of(0x60, 0, 0)]) : of(SECTION.type);
  const rareTable = tables.length;
  const usualTable = tables.length + 1;
  const linked = globals.length;
  const rareOnes = indexesOf(isRare, true);
  const usualOnes = indexesOf(isRare, false);
  const slots = slotsOf(isRare);

  /** Hands a call on to a slot of a table. */
  const handOn = (index: number, table: number, slot: number): Uint8Array => {
    const type = functions[index] ?? 0;
    const values = Array.from({ length: types[type]?.params ?? 0 }, (_, i) => concat([byte(OP.localGet), number(i)]));
    return concat([...values, byte(OP.i32Const), signed(slot), byte(OP.callIndirect), number(type), number(table)]);
  };
  const stub = (code: Uint8Array): Uint8Array => concat([number(0), code, byte(OP.end)]);
  /** Comes after all functions of the whole. */
  const link = stub(
    concat([
      concat([byte(OP.globalGet), number(linked), Uint8Array.of(OP.eqz, OP.if, VOID)]),
      concat([byte(OP.i32Const), signed(0), byte(OP.callIndirect), number(plainType), number(rareTable), byte(OP.end)]),
    ]),
  );
  const callLink = concat([byte(OP.call), number(imports.functions + bodies.length)]);
  const firstBodies = bodies.map((body, i) =>
    isRare[i] === true ? stub(concat([callLink, handOn(i, rareTable, 1 + (slots[i] ?? 0))])) : body,
  );
  const restBodies = bodies.map((body, i) => (isRare[i] === true ? body : stub(handOn(i, usualTable, slots[i] ?? 0))));

  const tableOf = (count: number): Uint8Array => concat([byte(FUNCREF), byte(0), number(count)]);
  // The names hold the id, so that parts of two modules do not link.
  const as = (name: string): string => `${PART} ${id} ${name}`;
  const added = [
    { as: as(RARE), kind: KIND.table, index: rareTable },
    { as: as("usual"), kind: KIND.table, index: usualTable },
    { as: as(LINKED), kind: KIND.global, index: linked },
    ...tables.map((_, i) => ({ as: as(`table ${i}`), kind: KIND.table, index: i })),
    ...globals.map((_, i) => ({ as: as(`global ${i}`), kind: KIND.global, index: i })),
    ...tags.map((_, i) => ({ as: as(`tag ${i}`), kind: KIND.tag, index: i })),
  ];
  const exported = added.map((x) => concat([nameOf(x.as), byte(x.kind), number(x.index)]));
  const firstSections = sections.map((section): Section => {
    switch (section.id) {
      case SECTION.type:
        return { id: section.id, bytes: typeSection };
      case SECTION.function:
        return { id: section.id, bytes: append(section.bytes, [number(plainType)]) };
      case SECTION.table:
        return {
          id: section.id,
          bytes: append(section.bytes, [tableOf(1 + rareOnes.length), tableOf(usualOnes.length)]),
        };
      case SECTION.global:
        return { id: section.id, bytes: append(section.bytes, [Uint8Array.of(I32, 1, OP.i32Const, 0, OP.end)]) };
      case SECTION.export:
        return { id: section.id, bytes: append(section.bytes, exported) };
      case SECTION.element:
        return { id: section.id, bytes: append(section.bytes, [fill(usualTable, 0, usualOnes, imports.functions)]) };
      case SECTION.code:
        return { id: section.id, bytes: writeBodies([...firstBodies, link]) };
      default:
        return section;
    }
  });

  // In the order of the first part's index spaces: imports come before what a module defines, and it defines none of these.
  const fromFirst = (name: string, kind: number, description: Uint8Array): Uint8Array =>
    concat([nameOf(PART), nameOf(as(name)), byte(kind), description]);
  const restImports = [
    ...imports.entries,
    ...tables.map((bytes, i) => fromFirst(`table ${i}`, KIND.table, bytes)),
    fromFirst(RARE, KIND.table, tableOf(1 + rareOnes.length)),
    fromFirst("usual", KIND.table, tableOf(usualOnes.length)),
    ...globals.map((bytes, i) => fromFirst(`global ${i}`, KIND.global, bytes)),
    ...tags.map((bytes, i) => fromFirst(`tag ${i}`, KIND.tag, bytes)),
  ];
  const restSections: Section[] = [
    { id: SECTION.type, bytes: typeSection },
    { id: SECTION.import, bytes: vector(restImports) },
    { id: SECTION.function, bytes: of(SECTION.function) },
    { id: SECTION.element, bytes: vector([fill(rareTable, 1, rareOnes, imports.functions)]) },
    { id: SECTION.code, bytes: writeBodies(restBodies) },
  ];
  return { first: writeSections(firstSections), rest: writeSections(restSections) };
}

function byte(value: number): Uint8Array {
  return Uint8Array.of(value);
}

/** An active element segment that puts functions into a table from a slot on. */
function fill(table: number, from: number, indexes: readonly number[], imported: number): Uint8Array {
  const offset = concat([byte(OP.i32Const), signed(from), byte(OP.end)]);
  return concat([number(2), number(table), offset, byte(0), vector(indexes.map((i) => number(imported + i)))]);
}

function indexesOf(flags: readonly boolean[], flag: boolean): number[] {
  return flags.flatMap((x, i) => (x === flag ? [i] : []));
}

/** Numbers the functions within their own side. */
function slotsOf(isRare: readonly boolean[]): number[] {
  const next = { rare: 0, usual: 0 };
  return isRare.map((rare) => next[rare ? "rare" : "usual"]++);
}

function readTypes(section: Uint8Array): FunctionType[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.number() }, () => {
    const start = reader.at;
    if (reader.byte() !== 0x60) throw new TypeError("WebAssembly: a type that is no function's");
    const params = reader.part().length;
    reader.part();
    return { bytes: reader.since(start), params };
  });
}

function readNumbers(section: Uint8Array): number[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.number() }, () => reader.number());
}

function readTables(section: Uint8Array): Uint8Array[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.number() }, () => {
    const start = reader.at;
    if (reader.byte() !== FUNCREF) throw new TypeError("WebAssembly: a table that is not of functions");
    limits(reader);
    return reader.since(start);
  });
}

/** Gives the types of the globals, as an import has them. */
function readGlobals(section: Uint8Array): Uint8Array[] {
  const reader = new Reader(section);
  return Array.from({ length: reader.number() }, () => {
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
  const reader = new Reader(section);
  return Array.from({ length: reader.number() }, () => {
    const start = reader.at;
    reader.byte();
    reader.number();
    return reader.since(start);
  });
}
