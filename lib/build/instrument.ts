// Makes a module tell which of its functions have run: each sets a global of its own, all of which are exported.
import { concatBytes } from "../core/concat-bytes.ts";
import { OP } from "./code.ts";
import {
  append,
  bytesOf,
  nameOf,
  number,
  readBodies,
  SectionReader,
  readSections,
  SECTION,
  signed,
  writeBodies,
  writeSections,
} from "../worker/backend/sections.ts";

/** Names the exported globals, before the function's index; imported functions are not counted. */
export const MARK = "mark:";

/** Adds the marks. */
export function markWasm(module: Uint8Array): Uint8Array<ArrayBuffer> {
  const sections = readSections(module);
  const of = (id: number): Uint8Array => bytesOf(sections, id);
  const first = new SectionReader(of(SECTION.global)).number();
  const bodies = readBodies(of(SECTION.code));
  const marked = bodies.map((body, i) => {
    const reader = new SectionReader(body);
    for (let groups = reader.number(); groups > 0; groups -= 1) {
      reader.number();
      reader.byte();
    }
    const set = concatBytes([Uint8Array.of(OP.i32Const), signed(1), Uint8Array.of(OP.globalSet), number(first + i)]);
    return concatBytes([body.subarray(0, reader.at), set, body.subarray(reader.at)]);
  });
  return writeSections(
    sections.map(({ id, bytes }) => {
      if (id === SECTION.global)
        return {
          id,
          bytes: append(
            bytes,
            bodies.map(() => Uint8Array.of(0x7f, 1, 0x41, 0, 0x0b)),
          ),
        };
      if (id === SECTION.export)
        return {
          id,
          bytes: append(
            bytes,
            bodies.map((_, i) => concatBytes([nameOf(MARK + String(i)), Uint8Array.of(3), number(first + i)])),
          ),
        };
      return { id, bytes: id === SECTION.code ? writeBodies(marked) : bytes };
    }),
  );
}
