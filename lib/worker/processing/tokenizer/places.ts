// Places of tokens in their text, as the library in Rust finds them.
import type { Aligned, TokenSpan } from "./aligned.ts";
import { placeAt } from "./aligned.ts";
import { byteLength } from "./bytes.ts";
import type { TextToken } from "./model.ts";
import type { Trimmer } from "./rows.ts";

/** Finds the places of tokens in the original text. */
export function spansOf(text: string, tokens: readonly TextToken[]): TokenSpan[] {
  let last: Aligned | null = null;
  let places = new Int32Array();
  return tokens.map(({ word, start, end }): TokenSpan => {
    if (word !== last) places = byBytes(word);
    last = word;
    // Bytes of a mark that a model puts at a word's end are not in the word.
    const placeOf = (byte: number): number => places[Math.min(byte, places.length - 1)] ?? 0;
    const [from, to] = [placeOf(start), placeOf(end - 1)];
    return [from < 0 ? ~from : from, to < 0 ? ~to : to + lengthAt(text, to)];
  });
}

function lengthAt(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

/** Returns the places of a word by its UTF-8 bytes. */
function byBytes(word: Aligned): Int32Array<ArrayBuffer> {
  const { text } = word;
  const places = new Int32Array(byteLength(text));
  let at = 0;
  for (let i = 0; i < text.length; i += 1) {
    const end = at + byteLength(text[i] ?? "");
    places.fill(placeAt(word, i), at, end);
    at = end;
  }
  return places;
}

/** White space of byte-level tokens; "Ġ" is the letter of a space. */
const SPACES_BEFORE = /^[\u0120\p{White_Space}]*/u;
const SPACES_AFTER = /[\u0120\p{White_Space}]*$/u;

/** Leaves out the spaces at both ends of a byte-level token; the one that was put before a text has no place of its own. */
export function trimSpan(
  text: string,
  [start, end]: TokenSpan,
  name: string,
  { hasBegin }: Trimmer,
  isFirst: boolean,
): TokenSpan {
  const before = SPACES_BEFORE.exec(name)?.[0].length ?? 0;
  const after = SPACES_AFTER.exec(name)?.[0].length ?? 0;
  const keeps = hasBegin && before === 1 && (isFirst || start === 0);
  let [from, to] = [start, end];
  if (!keeps) for (let i = 0; i < before && from < end; i += 1) from += lengthAt(text, from);
  for (let i = 0; i < after && to > from; i += 1) to -= to > 1 && lengthAt(text, to - 2) > 1 ? 2 : 1;
  return [from, to];
}
