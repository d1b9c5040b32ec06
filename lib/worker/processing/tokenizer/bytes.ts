// GPT-2's alphabet of bytes: printable Latin-1 is itself, the others follow from U+0100 on in their order.
const LETTERS = alphabet();
const BYTES: ReadonlyMap<string, number> = new Map(LETTERS.map((letter, byte) => [letter, byte]));

const encoder = new TextEncoder();

/** Writes a text as the letters of its UTF-8 bytes. */
export function lettersOf(text: string): string {
  return text === " " ? "\u0120" : Array.from(encoder.encode(text), (byte) => LETTERS[byte]).join("");
}

/** Returns the byte of a letter; undefined for another character. */
export function byteOf(letter: string): number | undefined {
  return BYTES.get(letter);
}

function alphabet(): readonly string[] {
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + others++));
}

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/** Returns the function that writes a text by a vocabulary's tokens of its bytes, as `<0xE4>`; null where it lacks one. */
export function byteTokensOf(ids: ReadonlyMap<string, number>): (text: string) => number[] | null {
  const known = Array.from({ length: 256 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  return (text) => {
    const found = Array.from(encoder.encode(text), (byte) => known[byte]);
    return found.every((x) => x !== undefined) ? found : null;
  };
}

/** Counts a text's bytes in UTF-8. */
export function byteLength(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    // Each half of a surrogate pair is two of four bytes.
    count += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  return count;
}
