// Puts a snapshot of ONNX Runtime (snapshot.ts) into its module: what the memory and the globals begin with is what they were
// when it was taken, and what is exported as the constructors is a function that does nothing.
import { OP } from "./code.ts";
import {
  append,
  bytesOf,
  concat,
  nameOf,
  number,
  Reader,
  readExports,
  readImports,
  readNumbers,
  readSections,
  SECTION,
  signed,
  vector,
  writeExports,
  writeSections,
} from "../worker/backend/sections.ts";
import { REPLACED } from "../worker/backend/link-parts.ts";
import type { Section } from "../worker/backend/sections.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Parts } from "./split.ts";

/** Zeros between two segments that cost no more than a segment. */
const GAP = 16;

/** Puts a snapshot into a module; functions may have changed since, and globals and exports been added. */
export function bakeSnapshot(module: Uint8Array, { memory, globals, start }: Snapshot): Uint8Array<ArrayBuffer> {
  const sections = readSections(module);
  const data = [...emptySegments(sections), ...segmentsOf(memory)];
  const of = (id: number): Uint8Array => bytesOf(sections, id);
  const types = readNumbers(of(SECTION.function));
  const imported = readImports(of(SECTION.import)).functions;
  const exports = readExports(of(SECTION.export));
  const constructors = exports.find(({ name }) => name === start);
  if (constructors === undefined) throw new Error(`WebAssembly: no function is exported as ${start}`);
  const type = types[constructors.index - imported] ?? 0;
  const moved = exports.map((x) => (x === constructors ? { ...x, index: imported + types.length } : x));
  return writeSections(
    sections.map(({ id, bytes }) => {
      if (id === SECTION.data) return { id, bytes: vector(data) };
      if (id === SECTION.dataCount) return { id, bytes: number(data.length) };
      if (id === SECTION.global) return { id, bytes: withValues(bytes, globals) };
      if (id === SECTION.function) return { id, bytes: append(bytes, [number(type)]) };
      if (id === SECTION.export) return { id, bytes: writeExports(moved) };
      if (id === SECTION.code) return { id, bytes: append(bytes, [concat([number(2), Uint8Array.of(0, OP.end)])]) };
      return { id, bytes };
    }),
  );
}

/**
 * Puts a snapshot into the first part of a module that was split so that its constructors are rare, and what it takes the
 * place of into the rest, for `withoutSnapshot`.
 */
export function bakeParts({ first, rest }: Parts, snapshot: Snapshot): Parts {
  const ids: readonly number[] = [SECTION.global, SECTION.export, SECTION.dataCount, SECTION.data];
  const replaced = writeSections(readSections(first).filter(({ id }) => ids.includes(id)));
  const kept = { id: SECTION.custom, bytes: concat([nameOf(REPLACED), replaced]) };
  return { first: bakeSnapshot(first, snapshot), rest: writeSections([...readSections(rest), kept]) };
}

/** Gives segments for those that a module has: instructions name them, which have run and copied what was in them. */
function emptySegments(sections: readonly Section[]): Uint8Array[] {
  const count = new Reader(bytesOf(sections, SECTION.data)).number();
  return Array.from({ length: count }, () => Uint8Array.of(1, 0));
}

/** Gives what is not 0 as segments that are copied when a module is instantiated. */
function segmentsOf(memory: Uint8Array): Uint8Array[] {
  const segments: Uint8Array[] = [];
  let from = -1;
  let to = 0;
  const put = (): void => {
    if (from < 0) return;
    const offset = concat([Uint8Array.of(OP.i32Const), signed(from), Uint8Array.of(OP.end)]);
    segments.push(concat([Uint8Array.of(0), offset, number(to - from), memory.subarray(from, to)]));
  };
  for (let at = 0; at < memory.length; at += 1) {
    if (memory[at] === 0) continue;
    if (from < 0 || at - to > GAP) {
      put();
      from = at;
    }
    to = at + 1;
  }
  put();
  return segments;
}

/** Has globals begin with other values; those after them stay. */
function withValues(section: Uint8Array, values: readonly number[]): Uint8Array {
  const reader = new Reader(section);
  const count = reader.number();
  const globals = values.map((value) => {
    const start = reader.at;
    reader.take(2);
    const type = reader.since(start);
    for (reader.byte(), reader.number(); reader.byte() !== OP.end;);
    return concat([type, Uint8Array.of(OP.i32Const), signed(value), Uint8Array.of(OP.end)]);
  });
  return concat([number(count), ...globals, section.subarray(reader.at)]);
}
