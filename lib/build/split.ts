// Splits a WebAssembly module in two, so that rarely used functions are neither fetched nor compiled before they run: the
// first part holds the usual functions, the second part all others. Calls from the first part into the second go through
// stubs; the first such call fetches and links the second part (link-parts.ts).
//
// There are seven rare functions for each usual one, and nearly all of them are in the function table, so that any code may
// call them. A stub for each took a third of the first part's compile time in Firefox. So the table has one stub per type:
// an indirect call first stores its slot in a global, where the stub reads it. Only functions that are called directly have
// a stub of their own.
//
// The second part keeps the whole module's indices of functions, types, globals, tables and memories, so that no body
// changes; it imports what the first part defines. (Binaryen's wasm-split has a stub for each function, and a toolchain
// that npm does not have.)
import { concatBytes } from "../core/concat-bytes.ts";
import { namesData, OP, rewriteBody } from "./code.ts";
import { LINKED, PART, RARE, SHARED } from "../worker/backend/link-parts.ts";
import {
  append,
  KIND,
  nameOf,
  number,
  SECTION,
  signed,
  vector,
  writeBodies,
  writeExports,
  writeSections,
} from "../worker/backend/sections.ts";
import type { Export, Section } from "../worker/backend/sections.ts";
import { readWhole } from "./read-module.ts";
import type { Elements, Whole } from "./read-module.ts";

const FUNCREF = 0x70;
const I32 = 0x7f;
const VOID = 0x40;
const USUAL = "usual";

/** A module in two parts. */
export interface ModuleParts {
  readonly first: Uint8Array<ArrayBuffer>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** Placement of functions and imports in the two parts. Functions are numbered as in the whole, but for those that only the first part has. */
interface SplitPlan {
  readonly whole: Whole;
  /** Those of the first part, by their slots in the table by which the rest calls them. */
  readonly usual: readonly number[];
  /** Those of the rest that the first part calls by their names, by their slots in its table, less one. */
  readonly called: readonly number[];
  /** The types of those of the rest that stand in the table of the whole. */
  readonly shared: readonly number[];
  /** Whether a function is in the rest. */
  readonly isAway: (index: number) => boolean;
  readonly typeOf: (index: number) => number;
  /** The number of a function in the first part; of one that is away, its stub's. */
  readonly moved: (index: number) => number;
  /** The number in the first part of the stub that stands in the table for all of a type. */
  readonly sharedStub: (type: number) => number;
  /** The number in the first part of what links. */
  readonly link: number;
  /** The type without parameters and results, and the type section with it. */
  readonly plainType: number;
  readonly typeSection: Uint8Array;
}

/**
 * Splits a module. `isUsual` says which of its own functions (imports not counted) usually run; those that
 * copy data segments to memory stay in the first part in any case, and so does the start function. `id` names this very
 * module: parts of different ones do not link.
 * @throws TypeError where the module has what is not foreseen (read-module.ts, code.ts)
 */
export function splitWasm(module: Uint8Array, id: string, isUsual: (index: number) => boolean): ModuleParts {
  const plan = planOf(readWhole(module), isUsual);
  // The names hold the id, so that parts of two modules do not link.
  const as = (name: string): string => `${PART} ${id} ${name}`;
  return { first: firstPart(plan, as), rest: restPart(plan, as) };
}

function planOf(whole: Whole, isUsual: (index: number) => boolean): SplitPlan {
  const { imported, bodies, typesOf, types, elements, exports, start } = whole;
  const isRare = bodies.map((body, i) => !isUsual(i) && imported + i !== start && !namesData(body));
  const isAway = (index: number): boolean => isRare[index - imported] === true;
  const typeOf = (index: number): number => typesOf[index - imported] ?? 0;
  const usual = isRare.flatMap((rare, i) => (rare ? [] : [imported + i]));
  const named = new Set(exports.flatMap((x) => (x.kind === KIND.function ? [x.index] : [])));
  for (const index of usual)
    rewriteBody(bodies[index - imported] ?? Uint8Array.of(), (op, operand) => {
      if (isNamed(op)) named.add(operand);
      return null;
    });
  const called = [...named].filter(isAway).sort((a, b) => a - b);
  const shared = [...new Set(elements.flatMap((x) => x.functions.filter(isAway)).map(typeOf))];
  // The first part's own functions: the usual ones, a stub for each that is called, one for each type, and what links.
  const stubs = [...usual, ...called];
  const places = new Map(stubs.map((index, i) => [index, imported + i]));
  const sharedPlaces = new Map(shared.map((type, i) => [type, imported + stubs.length + i]));
  const plain = types.findIndex(({ bytes }) => bytes.length === 3 && bytes[1] === 0 && bytes[2] === 0);
  const withPlain = plain < 0 ? [...types.map((x) => x.bytes), Uint8Array.of(0x60, 0, 0)] : types.map((x) => x.bytes);
  return {
    whole,
    usual,
    called,
    shared,
    isAway,
    typeOf,
    moved: (index) => places.get(index) ?? index,
    sharedStub: (type) => sharedPlaces.get(type) ?? 0,
    link: imported + stubs.length + shared.length,
    plainType: plain < 0 ? types.length : plain,
    typeSection: vector(withPlain),
  };
}

/** The tables and globals that the first part has beyond those of the whole. */
function addedTo({ tables, globals }: Whole): Record<"rareTable" | "usualTable" | "linked" | "calledSlot", number> {
  const [table, global] = [tables.length, globals.length];
  return { rareTable: table, usualTable: table + 1, linked: global, calledSlot: global + 1 };
}

function firstPart(plan: SplitPlan, as: (name: string) => string): Uint8Array<ArrayBuffer> {
  const { whole, usual, called, shared, isAway, typeOf, moved, sharedStub, plainType, typeSection } = plan;
  const { imported, sections, tables, globals, tags } = whole;
  const { rareTable, usualTable, linked } = addedTo(whole);
  const added: Export[] = [
    { name: as(RARE), kind: KIND.table, index: rareTable },
    { name: as(USUAL), kind: KIND.table, index: usualTable },
    { name: as(LINKED), kind: KIND.global, index: linked },
    ...tables.map((_, i) => ({ name: as(`table ${i}`), kind: KIND.table, index: i })),
    ...globals.map((_, i) => ({ name: as(`global ${i}`), kind: KIND.global, index: i })),
    ...tags.map((_, i) => ({ name: as(`tag ${i}`), kind: KIND.tag, index: i })),
    ...shared.map((type) => ({ name: as(`${SHARED} ${type}`), kind: KIND.function, index: sharedStub(type) })),
  ];
  const exports = whole.exports.map((x) => (x.kind === KIND.function ? { ...x, index: moved(x.index) } : x));
  const elements = whole.elements.map(({ at, functions }) =>
    fill(0, { at, functions: functions.map((x) => (isAway(x) ? sharedStub(typeOf(x)) : moved(x))) }),
  );
  const types = [...[...usual, ...called].map(typeOf), ...shared, plainType];
  const zero = Uint8Array.of(I32, 1, OP.i32Const, 0, OP.end);
  return writeSections(
    sections.map(({ id, bytes }): Section => {
      switch (id) {
        case SECTION.type:
          return { id, bytes: typeSection };
        case SECTION.function:
          return { id, bytes: vector(types.map(number)) };
        case SECTION.table:
          return { id, bytes: append(bytes, [tableOf(1 + called.length), tableOf(usual.length)]) };
        case SECTION.global:
          return { id, bytes: append(bytes, [zero, zero]) };
        case SECTION.export:
          return { id, bytes: writeExports([...exports, ...added]) };
        case SECTION.start:
          return { id, bytes: number(moved(whole.start ?? 0)) };
        case SECTION.element: {
          const byRest = fill(usualTable, { at: 0, functions: usual.map((_, i) => imported + i) });
          return { id, bytes: vector([...elements, byRest]) };
        }
        case SECTION.code:
          return { id, bytes: writeBodies(firstBodies(plan)) };
        default:
          return { id, bytes };
      }
    }),
  );
}

function firstBodies({ whole, usual, called, shared, typeOf, moved, link, plainType }: SplitPlan): Uint8Array[] {
  const { rareTable, linked, calledSlot } = addedTo(whole);
  const noteSlot = concatBytes([byte(OP.globalSet), number(calledSlot), byte(OP.globalGet), number(calledSlot)]);
  const callLink = concatBytes([byte(OP.call), number(link)]);
  const bodies = usual.map((index) =>
    rewriteBody(whole.bodies[index - whole.imported] ?? Uint8Array.of(), (op, operand, code) => {
      if (isNamed(op)) return concatBytes([byte(op), number(moved(operand))]);
      return op === OP.callIndirect || op === OP.returnCallIndirect ? concatBytes([noteSlot, code]) : null;
    }),
  );
  const calledStubs = called.map((index, i) =>
    bodyOf([callLink, handOn(whole, typeOf(index), rareTable, constant(1 + i))]),
  );
  // The slot is the one that the caller noted. Once the rest is linked another function stands there.
  const sharedStubs = shared.map((type) => {
    const local = number(whole.types[type]?.params ?? 0);
    const keep = concatBytes([byte(OP.globalGet), number(calledSlot), byte(OP.localSet), local]);
    const code = [keep, callLink, handOn(whole, type, 0, concatBytes([byte(OP.localGet), local])), byte(OP.end)];
    return concatBytes([Uint8Array.of(1, 1, I32), ...code]);
  });
  const isLinked = concatBytes([byte(OP.globalGet), number(linked), Uint8Array.of(OP.eqz, OP.if, VOID)]);
  const linkBody = bodyOf([isLinked, handOn(whole, plainType, rareTable, constant(0)), byte(OP.end)]);
  return [...bodies, ...calledStubs, ...sharedStubs, linkBody];
}

function restPart(plan: SplitPlan, as: (name: string) => string): Uint8Array<ArrayBuffer> {
  const { whole, usual, called, isAway, typeOf, typeSection } = plan;
  const { imported, tables, globals, tags } = whole;
  const { rareTable, usualTable } = addedTo(whole);
  // In the order of the first part's index spaces: imports come before what a module defines, and it defines none of these.
  const fromFirst = (name: string, kind: number, description: Uint8Array): Uint8Array =>
    concatBytes([nameOf(PART), nameOf(as(name)), byte(kind), description]);
  const imports = [
    ...whole.imports,
    ...tables.map((bytes, i) => fromFirst(`table ${i}`, KIND.table, bytes)),
    fromFirst(RARE, KIND.table, tableOf(1 + called.length)),
    fromFirst(USUAL, KIND.table, tableOf(usual.length)),
    ...globals.map((bytes, i) => fromFirst(`global ${i}`, KIND.global, bytes)),
    ...tags.map((bytes, i) => fromFirst(`tag ${i}`, KIND.tag, bytes)),
  ];
  const slots = new Map(usual.map((index, slot) => [index, slot]));
  const bodies = whole.bodies.map((body, i) => {
    const slot = slots.get(imported + i);
    if (slot === undefined) return body;
    return bodyOf([handOn(whole, typeOf(imported + i), usualTable, constant(slot))]);
  });
  const away = whole.elements.flatMap((x) => runsOf(x, isAway)).map((run) => fill(0, run));
  return writeSections([
    { id: SECTION.type, bytes: typeSection },
    { id: SECTION.import, bytes: vector(imports) },
    { id: SECTION.function, bytes: vector(whole.typesOf.map(number)) },
    { id: SECTION.element, bytes: vector([fill(rareTable, { at: 1, functions: called }), ...away]) },
    { id: SECTION.code, bytes: writeBodies(bodies) },
  ]);
}

/** Whether an instruction refers to a function. */
function isNamed(op: number): boolean {
  return op === OP.call || op === OP.returnCall || op === OP.refFunc;
}

/** Hands a call of a type on to a slot of a table, which `slot` computes. */
function handOn({ types }: Whole, type: number, table: number, slot: Uint8Array): Uint8Array {
  const values = Array.from({ length: types[type]?.params ?? 0 }, (_, i) =>
    concatBytes([byte(OP.localGet), number(i)]),
  );
  return concatBytes([...values, slot, byte(OP.callIndirect), number(type), number(table)]);
}

/** A body without locals. */
function bodyOf(code: readonly Uint8Array[]): Uint8Array {
  return concatBytes([number(0), ...code, byte(OP.end)]);
}

function constant(value: number): Uint8Array {
  return concatBytes([byte(OP.i32Const), signed(value)]);
}

function tableOf(count: number): Uint8Array {
  return concatBytes([byte(FUNCREF), byte(0), number(count)]);
}

/** An active element segment. */
function fill(table: number, { at, functions }: Elements): Uint8Array {
  return concatBytes([number(2), number(table), constant(at), byte(OP.end), byte(0), vector(functions.map(number))]);
}

/** Picks functions, in runs of those that stand together. */
function runsOf({ at, functions }: Elements, isPicked: (index: number) => boolean): Elements[] {
  const runs: { at: number; functions: number[] }[] = [];
  for (const [i, index] of functions.entries()) {
    if (!isPicked(index)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.at + last.functions.length === at + i) last.functions.push(index);
    else runs.push({ at: at + i, functions: [index] });
  }
  return runs;
}

function byte(value: number): Uint8Array {
  return Uint8Array.of(value);
}
