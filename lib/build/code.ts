// WebAssembly's instructions as far as it takes to step from one to the next (core specification 3.0, chapter 5.4, and the
// exceptions and threads that came before it and that browsers run): splitting a module changes calls (split.ts).
import { concatBytes } from "../core/concat-bytes.ts";
import { SectionReader } from "../worker/backend/sections.ts";

/** The instructions that splitting reads or writes. */
export const OP = {
  if: 0x04,
  end: 0x0b,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  localGet: 0x20,
  localSet: 0x21,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  eqz: 0x45,
  refFunc: 0xd2,
} as const;

/** Immediate operands of an opcode. */
type Immediates =
  | "" //              nothing
  | "n" //             a number
  | "nn" //            two
  | "block" //         a block's type
  | "catches" //       a block's type and its handlers
  | "labels" //        labels and one more
  | "types" //         value types
  | "memory" //        alignment, offset, and a memory where there is more than one
  | "memory, lane" //  and a byte
  | 1
  | 4
  | 8
  | 16; //             bytes

/** Ranges of opcodes, both ends in them. */
type Ranges = readonly (readonly [first: number, last: number, Immediates])[];

const PLAIN: Ranges = [
  [0x00, 0x01, ""],
  [0x02, 0x04, "block"],
  [0x05, 0x05, ""],
  [0x06, 0x06, "block"],
  [0x07, 0x09, "n"],
  [0x0a, 0x0b, ""],
  [0x0c, 0x0d, "n"],
  [0x0e, 0x0e, "labels"],
  [0x0f, 0x0f, ""],
  [0x10, 0x10, "n"],
  [0x11, 0x11, "nn"],
  [0x12, 0x12, "n"],
  [0x13, 0x13, "nn"],
  [0x14, 0x15, "n"],
  [0x18, 0x18, "n"],
  [0x19, 0x1b, ""],
  [0x1c, 0x1c, "types"],
  [0x1f, 0x1f, "catches"],
  [0x20, 0x26, "n"],
  [0x28, 0x3e, "memory"],
  [0x3f, 0x42, "n"],
  [0x43, 0x43, 4],
  [0x44, 0x44, 8],
  [0x45, 0xc4, ""],
  [0xd0, 0xd0, "n"],
  [0xd1, 0xd1, ""],
  [0xd2, 0xd2, "n"],
  [0xd3, 0xd4, ""],
  [0xd5, 0xd6, "n"],
];
/** Those of two numbers, by the first. */
const PREFIXED: Readonly<Record<number, Ranges>> = {
  0xfc: [
    [0, 7, ""],
    [8, 8, "nn"],
    [9, 9, "n"],
    [10, 10, "nn"],
    [11, 11, "n"],
    [12, 12, "nn"],
    [13, 13, "n"],
    [14, 14, "nn"],
    [15, 17, "n"],
  ],
  0xfd: [
    [0, 11, "memory"],
    [12, 13, 16],
    [14, 20, ""],
    [21, 34, 1],
    [35, 83, ""],
    [84, 91, "memory, lane"],
    [92, 93, "memory"],
    [94, 0x113, ""],
  ],
  0xfe: [
    [0, 2, "memory"],
    [3, 3, 1],
    [16, 78, "memory"],
  ],
};

/**
 * Rewrites a function's body: `change` is called with each instruction's opcode and first immediate (of a call, the callee),
 * and returns the replacement; null keeps the instruction.
 * @throws TypeError where an instruction is not known
 */
export function rewriteBody(
  body: Uint8Array,
  change: (op: number, operand: number, code: Uint8Array) => Uint8Array | null,
): Uint8Array {
  const reader = new SectionReader(body);
  for (let groups = reader.number(); groups > 0; groups -= 1) {
    reader.number();
    valueType(reader);
  }
  const parts: Uint8Array[] = [];
  let kept = 0;
  while (!reader.isAtEnd) {
    const start = reader.at;
    const op = reader.byte();
    const operand = skipImmediates(reader, op);
    const changed = change(op, operand, body.subarray(start, reader.at));
    if (changed === null) continue;
    parts.push(body.subarray(kept, start), changed);
    kept = reader.at;
  }
  return kept === 0 ? body : concatBytes([...parts, body.subarray(kept)]);
}

const PREFIX = 0xfc;
const MEMORY_INIT = 8;
const DATA_DROP = 9;

/** Whether a function's body refers to data segments, which belong to one module. */
export function namesData(body: Uint8Array): boolean {
  if (!body.some((byte, i) => byte === PREFIX && [MEMORY_INIT, DATA_DROP].includes(body[i + 1] ?? 0))) return false;
  let found = false;
  rewriteBody(body, (op, _, code) => {
    found ||= op === PREFIX && [MEMORY_INIT, DATA_DROP].includes(code[1] ?? 0);
    return null;
  });
  return found;
}

/** Returns the first immediate after an opcode; −1 where there is none. */
function skipImmediates(reader: SectionReader, op: number): number {
  const prefixed = PREFIXED[op];
  const code = prefixed === undefined ? op : reader.number();
  const found = (prefixed ?? PLAIN).find(([first, last]) => first <= code && code <= last);
  if (found === undefined) throw new TypeError(`WebAssembly: an instruction that is not known, ${op} ${code}`);
  const [, , immediates] = found;
  switch (immediates) {
    case "":
      return -1;
    case "n":
      return reader.number();
    case "nn": {
      const first = reader.number();
      reader.number();
      return first;
    }
    case "block":
      valueType(reader);
      return -1;
    case "catches":
      valueType(reader);
      for (let left = reader.number(); left > 0; left -= 1) {
        if (reader.byte() < 2) reader.number();
        reader.number();
      }
      return -1;
    case "labels":
      for (let left = reader.number(); left >= 0; left -= 1) reader.number();
      return -1;
    case "types":
      for (let left = reader.number(); left > 0; left -= 1) valueType(reader);
      return -1;
    case "memory":
    case "memory, lane":
      if ((reader.number() & 64) !== 0) reader.number();
      reader.number();
      if (immediates === "memory, lane") reader.byte();
      return -1;
    default:
      reader.take(immediates);
      return -1;
  }
}

/** Skips a value's type, or a block's: a byte, a type's number, or a reference with what it refers to. */
function valueType(reader: SectionReader): void {
  const type = reader.number();
  if (type === 0x63 || type === 0x64) reader.number();
}
