// Places of tokens in their text. The tokenizer returns none, so tokens are matched with the text in their order: both
// are folded (compatibility decomposition, no marks, lower case, no white space), which is coarser than any normalizer
// in use; byte-level tokens are matched by their UTF-8 bytes. An unknown token covers the text up to the next one.

/** Start and end of a token in its text, in UTF-16 units as `slice` takes them. */
export type TokenSpan = readonly [start: number, end: number];

/** The tokens of a text. */
export interface TextTokens {
  readonly text: string;
  /** Of each token of the row; null for special tokens. */
  readonly spans: readonly (TokenSpan | null)[];
  /** Tokens as the vocabulary has them. */
  readonly words: readonly string[];
  /** Whether the vocabulary marks tokens that continue a word (`##`). */
  readonly marksParts: boolean;
  /** The token for what the vocabulary lacks. */
  readonly unknown: string | null;
  /** Joins tokens to a text. */
  readonly join: (words: readonly string[]) => string;
}

/** How a vocabulary writes its tokens. */
export interface TokenStyle {
  /** Whether tokens are bytes (GPT-2's alphabet). */
  readonly isBytes: boolean;
  /** The mark of a token that continues a word, as `##`; empty for none. */
  readonly prefix: string;
  /** The mark at the end of a word, as `</w>`; empty for none. */
  readonly suffix: string;
  /** Whether the mark of a word's begin, "▁", stands for the white space itself; else it is added to words without any. */
  readonly marksSpace: boolean;
  readonly unknown: string | null;
}

/** A unit that is matched: a folded character, or a byte, with the place of its character. */
interface Unit {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** Finds the place of each token, special ones excluded; those of a character's bytes have the character's place. */
export function alignTokens(text: string, tokens: readonly string[], style: TokenStyle): TokenSpan[] {
  const whole = style.isBytes ? tokens.map((token) => ({ token, count: 1 })) : withCharacters(tokens);
  const words = whole.map((x) => x.token);
  return alignWords(text, words, style).flatMap((span, i) => Array.from({ length: whole[i]?.count ?? 1 }, () => span));
}

/** Returns the places in a text of those in its lower case, which is longer for some letters ("İ"). */
export function spansBeforeLowercase(text: string, spans: readonly TokenSpan[]): TokenSpan[] {
  const [starts, ends]: [number[], number[]] = [[], []];
  let start = 0;
  for (const character of text) {
    const end = start + character.length;
    for (let i = character.toLowerCase().length; i > 0; i -= 1) {
      starts.push(start);
      ends.push(end);
    }
    start = end;
  }
  return spans.map(([from, to]) => {
    const at = starts[from] ?? text.length;
    return [at, to > from ? (ends[to - 1] ?? text.length) : at];
  });
}

/** A byte of a character that the vocabulary lacks. */
const BYTE = /^<0x([0-9A-F]{2})>$/;

/** Puts characters in place of the bytes that some vocabularies write them by, with the number of their tokens. */
function withCharacters(tokens: readonly string[]): { readonly token: string; readonly count: number }[] {
  const found: { token: string; count: number }[] = [];
  for (let i = 0; i < tokens.length;) {
    const byte = Number.parseInt(BYTE.exec(tokens[i] ?? "")?.[1] ?? "0", 16);
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    const bytes = tokens.slice(i, i + length).map((x) => BYTE.exec(x)?.[1]);
    const isWhole = bytes.length === length && bytes.every((x) => x !== undefined);
    const codes = Uint8Array.from(bytes, (x) => Number.parseInt(x ?? "0", 16));
    const [token, count] = isWhole ? [new TextDecoder().decode(codes), length] : [tokens[i] ?? "", 1];
    found.push({ token, count });
    i += count;
  }
  return found;
}

function alignWords(text: string, tokens: readonly string[], style: TokenStyle): TokenSpan[] {
  const units = style.isBytes ? byteUnits(text) : foldedUnits(text);
  const keys = tokens.map((x) => keysOf(x, style));
  let at = 0;
  return tokens.map((_, i): TokenSpan => {
    let own = keys[i] ?? null;
    if (own === null) {
      const end = endOfUnknown(units, at, style.prefix === "" ? keys[i + 1] : undefined);
      const span = spanOf(units, at, end, text.length);
      at = end;
      return span;
    }
    // A mark of a word's begin alone covers nothing of the word where it is the white space before it; one that was added
    // has the place of the character after it.
    if (own.length === 0) {
      const isSpace = style.marksSpace && (units[at - 1]?.end ?? Infinity) < (units[at]?.start ?? 0);
      return spanOf(units, at, isSpace ? at : Math.min(at + 1, units.length), text.length);
    }
    // The space that some tokenizers put before a text is not in it.
    if (style.isBytes && own[0] === SPACE && units[at]?.key !== SPACE) own = own.slice(1);
    const found = find(units, own, at);
    if (found === -1) return spanOf(units, at, at, text.length);
    at = found + own.length;
    const span = spanOf(units, found, at, text.length);
    return style.isBytes ? trimmed(text, span) : span;
  });
}

/** Leaves out spaces at both ends. */
function trimmed(text: string, [start, end]: TokenSpan): TokenSpan {
  let [from, to] = [start, end];
  while (from < to && text[from] === " ") from += 1;
  while (to > from && text[to - 1] === " ") to -= 1;
  return [from, to];
}

/** The units of a token; null for the unknown one. */
function keysOf(token: string, { isBytes, prefix, suffix, unknown }: TokenStyle): string[] | null {
  if (token === unknown) return null;
  if (isBytes) return [...token];
  let piece = token;
  if (prefix !== "" && piece.startsWith(prefix)) piece = piece.slice(prefix.length);
  if (suffix !== "" && piece.endsWith(suffix)) piece = piece.slice(0, -suffix.length);
  return [...fold(piece.replaceAll("\u2581", ""))];
}

/** Finds the units from `from` on; empty ones are there at once. */
function find(units: readonly Unit[], keys: readonly string[], from: number): number {
  for (let at = from; at + keys.length <= units.length; at += 1)
    if (keys.every((x, i) => units[at + i]?.key === x)) return at;
  return -1;
}

/**
 * An unknown token ends with its word, or where the next token begins if that is known. White space, punctuation and
 * ideographs end a word.
 */
function endOfUnknown(units: readonly Unit[], at: number, known: readonly string[] | null | undefined): number {
  let wordEnd = Math.min(at + 1, units.length);
  const isAlone = (x: Unit | undefined): boolean => x === undefined || ALONE.test(x.key);
  const continues = (): boolean =>
    (units[wordEnd]?.start ?? Infinity) < (units[wordEnd - 1]?.end ?? 0) ||
    (units[wordEnd]?.start === units[wordEnd - 1]?.end && !isAlone(units[wordEnd - 1]) && !isAlone(units[wordEnd]));
  while (wordEnd < units.length && continues()) wordEnd += 1;
  if (known == null || known.length === 0) return wordEnd;
  const found = find(units, known, Math.min(at + 1, units.length));
  return found === -1 ? wordEnd : Math.min(found, wordEnd);
}

function spanOf(units: readonly Unit[], from: number, to: number, length: number): TokenSpan {
  const start = units[from]?.start ?? units.at(-1)?.end ?? length;
  return [start, to > from ? (units[to - 1]?.end ?? start) : start];
}

function foldedUnits(text: string): Unit[] {
  const units: Unit[] = [];
  let start = 0;
  for (const character of text) {
    const end = start + character.length;
    for (const key of fold(character)) units.push({ key, start, end });
    start = end;
  }
  return units;
}

function fold(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/[\p{M}\p{Cc}\p{Cf}\s\ufffd]/gu, "")
    .toLowerCase();
}

/** Characters that are words of their own, as BERT splits texts. */
const ALONE = /[\p{P}\p{S}\p{Unified_Ideograph}]/u;

/** The letter of the byte 32 in GPT-2's alphabet: white space is no part of a token's place. */
const SPACE = "\u0120";

/** The text's bytes as letters of GPT-2's alphabet. */
function byteUnits(text: string): Unit[] {
  const units: Unit[] = [];
  const encoder = new TextEncoder();
  let start = 0;
  for (const character of text) {
    const end = start + character.length;
    for (const byte of encoder.encode(character)) units.push({ key: letterOf(byte), start, end });
    start = end;
  }
  return units;
}

/** A byte in GPT-2's alphabet: printable Latin-1 is itself, the others follow from U+0100 on in their order. */
function letterOf(byte: number): string {
  if (isPrintable(byte)) return String.fromCharCode(byte);
  let before = 0;
  for (let x = 0; x < byte; x += 1) if (!isPrintable(x)) before += 1;
  return String.fromCharCode(256 + before);
}

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}
