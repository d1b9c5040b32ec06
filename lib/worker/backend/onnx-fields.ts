// Reads and writes the fields of a protobuf message in a worker, which has no protobuf library (rewrite-model.ts,
// externalize.ts, read-rows.ts).
import { varint } from "../../core/varint.ts";

/** Wire types of protobuf. */
export const WIRE = { varint: 0, bytes8: 1, message: 2, bytes4: 5 } as const;

/** No bytes. */
export const NOTHING: Uint8Array = new Uint8Array();
const text = new TextDecoder();

/** A field of a message: its whole bytes, and its value as a number or as bytes. */
export interface OnnxField {
  readonly number: number;
  readonly whole: Uint8Array;
  readonly value: number;
  readonly body: Uint8Array;
}

/** Returns the numbers of a repeated field, packed or not. */
export function numbersOf({ body, value }: OnnxField): number[] {
  if (body.length === 0) return [value];
  const numbers: number[] = [];
  for (let at = 0; at < body.length;) {
    const [number, end] = varintAt(body, at);
    numbers.push(number);
    at = end;
  }
  return numbers;
}

/** Returns the text of a field; empty where the message has none. */
export function textOf(body: Uint8Array, number: number): string {
  for (const field of fieldsOf(body)) if (field.number === number) return text.decode(field.body);
  return "";
}

/**
 * Yields the fields of a message.
 * @throws RangeError where one ends after the message, or has another wire type
 */
export function* fieldsOf(all: Uint8Array): Generator<OnnxField> {
  for (let at = 0; at < all.length;) {
    const [tag, start] = varintAt(all, at);
    const wire = tag % 8;
    let [end, value]: [number, number] = [start, 0];
    let body: Uint8Array = NOTHING;
    if (wire === WIRE.varint) [value, end] = varintAt(all, start);
    else if (wire === WIRE.message) {
      const [length, first] = varintAt(all, start);
      end = first + length;
      body = all.subarray(first, end);
    } else if (wire === WIRE.bytes8) end += 8;
    else if (wire === WIRE.bytes4) end += 4;
    else throw new RangeError(`has wire type ${wire}`);
    if (end > all.length) throw new RangeError("a field ends after its message");
    yield { number: Math.floor(tag / 8), whole: all.subarray(at, end), value, body };
    at = end;
  }
}

/** Reads a varint; returns its value, as a signed number of 64 bits, and the position after it. */
function varintAt(all: Uint8Array, start: number): [value: number, end: number] {
  let value = 0;
  for (let at = start, scale = 1; at < start + 10; at += 1, scale *= 128) {
    const byte = all[at];
    if (byte === undefined) break;
    value += (byte & 127) * scale;
    if (byte < 128) return [at - start < 9 ? value : signed(all.subarray(start, at + 1)), at + 1];
  }
  throw new RangeError("ends within a number");
}

/** A number below 0 has ten bytes, more bits than a double holds. */
function signed(bytes: Uint8Array): number {
  return Number(
    BigInt.asIntN(
      64,
      bytes.reduceRight((sum, byte) => sum * 128n + BigInt(byte & 127), 0n),
    ),
  );
}

/** Prefixes a message with its tag and length. */
export function message(field: number, pieces: readonly Uint8Array[]): Uint8Array[] {
  const length = pieces.reduce((sum, x) => sum + x.length, 0);
  return [Uint8Array.from([...varint(field * 8 + WIRE.message), ...varint(length)]), ...pieces];
}
