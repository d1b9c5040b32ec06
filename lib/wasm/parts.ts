// What both parts of a split module are called by (split.ts), and how they come together again, in a worker.
import {
  nameOf,
  readBodies,
  Reader,
  readImports,
  readSections,
  SECTION,
  writeBodies,
  writeSections,
} from "./sections.ts";
import type { Section } from "./sections.ts";

/** Names what the rest imports the first part's tables, globals and tags from; their names begin with it as well. */
export const PART = "part";
/** Ends the name of the table that the rest puts its functions in; in its slot 0 is what links the rest. */
export const RARE = "rare";
/** Ends the name of the global that is 1 once the rest is linked. */
export const LINKED = "linked";
const WHOLE = "whole";
/** Names the section of the rest that keeps what a snapshot took the place of in the first part (bake.ts). */
export const REPLACED = "replaced";

/** A function that imports nothing but one other, and calls it: only functions of WebAssembly go into tables. */
const CALLER = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x66, 1, 0x66, 0, 0],
  ...[3, 2, 1, 0, 7, 5, 1, 1, 0x67, 0, 1, 10, 6, 1, 4, 0, 0x10, 0, 0x0b],
);

/**
 * Has the rest of a module linked when a function of it is first called: `load` compiles it then, at once, since its caller
 * waits. Does nothing for a module that was not split.
 */
export function linkWhenCalled(
  { exports }: WebAssembly.Instance,
  imports: WebAssembly.Imports,
  load: () => WebAssembly.Module,
): void {
  const find = (name: string): WebAssembly.ExportValue | undefined =>
    Object.entries(exports).find(([key]) => key.startsWith(`${PART} `) && key.endsWith(` ${name}`))?.[1];
  const [rare, linked] = [find(RARE), find(LINKED)];
  if (!(rare instanceof WebAssembly.Table) || !(linked instanceof WebAssembly.Global)) return;
  const link = (): void => {
    new WebAssembly.Instance(load(), { ...imports, [PART]: exports });
    linked.value = 1;
  };
  const caller = new WebAssembly.Instance(new WebAssembly.Module(CALLER), { f: { f: link } });
  rare.set(0, caller.exports["g"]);
}

/**
 * Puts the parts together, without stubs and snapshot: for threads, each of which has an instance of its own, and no way to
 * link, and with which the runtime starts otherwise.
 */
export function joinParts(first: Uint8Array, rest: Uint8Array): Uint8Array<ArrayBuffer> {
  const sections = readSections(first);
  const others = readSections(rest);
  const partOf = (all: readonly Section[], id: number): Uint8Array =>
    all.find((x) => x.id === id)?.bytes ?? Uint8Array.of(0);
  const imported = readImports(partOf(sections, SECTION.import)).functions;
  const rare = readBodies(partOf(others, SECTION.code));
  // What the first part has beyond the rest is its way to link.
  const bodies = readBodies(partOf(sections, SECTION.code)).slice(0, rare.length);
  for (const index of filledIn(partOf(others, SECTION.element)))
    bodies[index - imported] = rare[index - imported] as Uint8Array;
  const replaced = replacedIn(others);
  return writeSections([
    ...sections.map(({ id, bytes }) => {
      const before = replaced.find((x) => x.id === id);
      if (before !== undefined) return before;
      if (id === SECTION.function) return { id, bytes: partOf(others, id) };
      return { id, bytes: id === SECTION.code ? writeBodies(bodies) : bytes };
    }),
    { id: SECTION.custom, bytes: nameOf(WHOLE) },
  ]);
}

function replacedIn(rest: readonly Section[]): Section[] {
  for (const { id, bytes } of rest) {
    if (id !== SECTION.custom) continue;
    const reader = new Reader(bytes);
    if (new TextDecoder().decode(reader.part()) === REPLACED) return readSections(bytes.subarray(reader.at));
  }
  return [];
}

/** Lists the functions that the rest's one element segment puts into a table: after its flags, table, offset and kind. */
function filledIn(section: Uint8Array): number[] {
  const reader = new Reader(section);
  for (let i = 0; i < 4; i += 1) reader.number(); // count, flags, table, i32.const
  reader.number();
  reader.take(2); // end, kind
  return Array.from({ length: reader.number() }, () => reader.number());
}

/** Whether a compiled module needs no rest. */
export function isWhole(module: WebAssembly.Module): boolean {
  return WebAssembly.Module.customSections(module, WHOLE).length > 0;
}
