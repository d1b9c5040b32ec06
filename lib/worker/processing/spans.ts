// Places of tokens in their text, as the fast tokenizers of transformers give them. The tokenizer here returns none, so
// tokens are matched, in their order, with the text's characters as its normalizer changes them one by one; byte-level
// tokens are matched by their UTF-8 bytes. White space belongs to the token whose "▁" or "Ġ" stands for it, unless the
// tokenizer trims it. An unknown token covers its word, or the text up to the next token.

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

/** How a tokenizer writes its tokens. */
export interface TokenStyle {
  /** Whether tokens are bytes (GPT-2's alphabet). */
  readonly isBytes: boolean;
  /** The mark of a token that continues a word, as `##`; empty for none. */
  readonly prefix: string;
  /** The mark at the end of a word, as `</w>`; empty for none. */
  readonly suffix: string;
  /** Whether "▁" stands for the white space itself; else white space is gone, and words without any get the mark. */
  readonly marksSpace: boolean;
  /** Whether places of byte-level tokens are without spaces: all, all but the first one's, or none. */
  readonly trims: "all" | "later" | "none";
  readonly unknown: string | null;
  /** Whether the unknown token covers a whole word. */
  readonly isUnknownWord: boolean;
  /** Changes a text as the tokenizer does before it splits it. */
  readonly normalize: (text: string) => string;
  /** Texts of several characters that it replaces. */
  readonly replaced: readonly string[];
}

/** A unit that is matched: a changed character, or a byte, with the place of the character that it comes from. */
interface Unit {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** A text to be matched. */
interface Units {
  readonly units: readonly Unit[];
  /** White space that "▁" stands for, by the index of the unit behind it. */
  readonly spaces: ReadonlyMap<number, readonly TokenSpan[]>;
  /** Indexes of units with white space before them. */
  readonly breaks: ReadonlySet<number>;
}

/** A token to be matched: its units, and the numbers of marks of white space around them. */
interface Keys {
  readonly before: number;
  readonly body: readonly string[];
  readonly after: number;
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
    const [token, count] = isWhole
      ? [new TextDecoder(undefined, { ignoreBOM: true }).decode(codes), length]
      : [tokens[i] ?? "", 1];
    found.push({ token, count });
    i += count;
  }
  return found;
}

function alignWords(text: string, tokens: readonly string[], style: TokenStyle): TokenSpan[] {
  const read = style.isBytes ? byteUnits(text, style) : characterUnits(text, style);
  const { units, spaces } = read;
  const keys = tokens.map((x) => keysOf(x, style));
  /** The tokens of the marks before each unit. */
  const marks = new Map<number, number[]>();
  let at = 0;
  const spans = tokens.map((_, i): TokenSpan | null => {
    const mark = (count: number): void => {
      if (count > 0) marks.set(at, [...(marks.get(at) ?? []), ...Array.from({ length: count }, () => i)]);
    };
    const own = keys[i] == null ? null : withoutAdded(keys[i], units[at], style);
    const [from, to] =
      own === null ? [at, endOfUnknown(read, at, keys[i + 1], style.isUnknownWord)] : placeOf(units, own, at);
    if (from === to) {
      mark(own?.before ?? 0);
      return null;
    }
    at = from;
    mark(own?.before ?? 0);
    at = to;
    mark(own?.after ?? 0);
    return spanOf(units, from, to, text.length);
  });
  for (const [index, owners] of marks) {
    const places = spaces.get(index) ?? [];
    // Of several spaces that became one mark, the last has its place; a mark that was added has that of what follows.
    const skipped = Math.max(0, places.length - owners.length);
    for (const [k, i] of owners.entries()) {
      const place = places[skipped + k] ?? spanOf(units, index, index + 1, text.length);
      const span = spans[i] ?? place;
      spans[i] = [Math.min(span[0], place[0]), Math.max(span[1], place[1])];
    }
  }
  let last = 0;
  return spans.map((x, i) => {
    const span = x ?? [last, last];
    last = span[1];
    return style.isBytes ? trimmed(text, tokens[i] ?? "", span, i === 0, style) : span;
  });
}

/** The space that some byte-level tokenizers put before a text is not in it. */
function withoutAdded(own: Keys, next: Unit | undefined, { isBytes }: TokenStyle): Keys {
  if (!isBytes || own.body[0] !== SPACE || next?.key === SPACE) return own;
  return { ...own, before: 1, body: own.body.slice(1) };
}

/** Finds the units of a token from `at` on; none where the text lacks them. */
function placeOf(units: readonly Unit[], { body }: Keys, at: number): readonly [from: number, to: number] {
  const found = body.length === 0 ? -1 : find(units, body, at);
  return found === -1 ? [at, at] : [found, found + body.length];
}

/** Leaves out the spaces of a byte-level token at both ends; where it takes none away, those before the first one. */
function trimmed(
  text: string,
  token: string,
  [start, end]: TokenSpan,
  isFirst: boolean,
  { trims }: TokenStyle,
): TokenSpan {
  if (trims === "none") return [start, end];
  // The space that was put before a text has the place of a character.
  const keeps = trims === "later" && (isFirst || start === 0) && token[1] !== SPACE;
  let [from, to] = [start, end];
  if (!keeps)
    for (let i = 0; i < token.length && token[i] === SPACE && from < end; i += 1)
      from += (text.codePointAt(from) ?? 0) > 0xffff ? 2 : 1;
  for (let i = token.length - 1; i >= 0 && token[i] === SPACE && to > from; i -= 1)
    to -= (text.codePointAt(to - 2) ?? 0) > 0xffff ? 2 : 1;
  return [from, to];
}

/** The units of a token; null for the unknown one. */
function keysOf(token: string, style: TokenStyle): Keys | null {
  const { isBytes, prefix, suffix, unknown } = style;
  if (token === unknown) return null;
  if (isBytes) return { before: 0, body: [...token], after: 0 };
  let piece = token;
  if (prefix !== "" && piece.startsWith(prefix)) piece = piece.slice(prefix.length);
  if (suffix !== "" && piece.endsWith(suffix)) piece = piece.slice(0, -suffix.length);
  const keys = [...piece].flatMap((x) => keysOfCharacter(x, style));
  const first = keys.findIndex((x) => x !== GAP);
  if (first === -1) return { before: keys.length, body: [], after: 0 };
  let after = 0;
  while (keys.at(-1 - after) === GAP) after += 1;
  return { before: first, body: keys.filter((x) => x !== GAP), after };
}

/** Finds the units from `from` on. */
function find(units: readonly Unit[], keys: readonly string[], from: number): number {
  for (let at = from; at + keys.length <= units.length; at += 1)
    if (keys.every((x, i) => units[at + i]?.key === x)) return at;
  return -1;
}

/** An unknown token ends with its word, or where the next token begins; one of several in a row is a character. */
function endOfUnknown(
  { units, breaks }: Units,
  at: number,
  next: Keys | null | undefined,
  isUnknownWord: boolean,
): number {
  let end = Math.min(at + 1, units.length);
  const extend = (goesOn: () => boolean): void => {
    while (end < units.length && ((units[end]?.start ?? 0) < (units[end - 1]?.end ?? 0) || goesOn())) end += 1;
  };
  const isAlone = (i: number): boolean => ALONE.test(units[i]?.key ?? "");
  if (isUnknownWord) extend(() => !breaks.has(end) && !isAlone(end - 1) && !isAlone(end));
  else if (next === null) extend(() => false);
  else {
    const known = next === undefined || next.body.length === 0 ? -1 : find(units, next.body, end);
    extend(() => !breaks.has(end) && end !== known);
  }
  return end;
}

function spanOf(units: readonly Unit[], from: number, to: number, length: number): TokenSpan {
  const start = units[from]?.start ?? units.at(-1)?.end ?? length;
  return [start, to > from ? (units[Math.min(to, units.length) - 1]?.end ?? start) : start];
}

/** Characters that a normalizer may change together: a line's end, and a letter with its accents. */
const TOGETHER = ["\\r\\n", "\\P{M}[\\p{M}\\u200d]+", "."];

/** The characters of a text as the tokenizer changes them, with their places. */
function charactersOf(text: string, { normalize, replaced }: TokenStyle): Unit[] {
  const literals = replaced.map((x) => x.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  const changed = new Map<string, string>();
  const found = [...text.matchAll(new RegExp([...literals, ...TOGETHER].join("|"), "gsu"))].flatMap((match) => {
    const [whole] = match;
    const now = changed.get(whole) ?? normalizedInside(whole, normalize);
    changed.set(whole, now);
    return placed([...whole], [...now], match.index, replaced.includes(whole));
  });
  const isStripped = !/^[\u2581\p{White_Space}]/u.test(normalize(text));
  const first = isStripped ? found.findIndex((x) => !isSpace(x.key)) : 0;
  return first === -1 ? [] : found.slice(first);
}

/** Returns changed characters with the places of those that they come from; what is replaced has the last one's. */
function placed(before: readonly string[], now: readonly string[], index: number, isReplaced: boolean): Unit[] {
  let at = index;
  const places = before.map((x): TokenSpan => [at, (at += x.length)]);
  let kept = 0;
  while (kept < before.length && now.at(-1 - kept) === before.at(-1 - kept)) kept += 1;
  const last = Math.max(0, before.length - kept - 1);
  return now.map((key, i): Unit => {
    const own = isReplaced ? last : Math.min(i, last);
    const [start, end] = places[i < now.length - kept ? own : i + before.length - now.length] ?? [at, at];
    return { key, start, end };
  });
}

/** Normalizes characters as within a text: at its ends spaces may be taken away or added. */
function normalizedInside(text: string, normalize: (text: string) => string): string {
  const around = normalize(`a${text}a`);
  const [from, to] = [around.indexOf("a"), around.lastIndexOf("a")];
  return from < to ? around.slice(from + 1, to) : text;
}

function characterUnits(text: string, style: TokenStyle): Units {
  const { marksSpace, normalize } = style;
  const units: Unit[] = [];
  const spaces = new Map<number, TokenSpan[]>();
  const breaks = new Set<number>();
  for (const { key: character, start, end } of charactersOf(text, style)) {
    const keys = keysOfCharacter(character, style);
    if (keys[0] === GAP || (isSpace(character) && !marksSpace)) breaks.add(units.length);
    if (keys[0] !== GAP) units.push(...keys.map((key) => ({ key, start, end })));
    else if (marksSpace) spaces.set(units.length, [...(spaces.get(units.length) ?? []), [start, end]]);
  }
  const found = spaces.get(0) ?? [];
  const marks = /^[\u2581 ]*/.exec(normalize(text))?.[0].length ?? 0;
  // A mark may be put before the white space.
  const added = Array.from({ length: marks - found.length }, () => found[0] ?? spanOf(units, 0, 1, text.length));
  if (marksSpace) spaces.set(0, [...added, ...found]);
  return { units, spaces, breaks };
}

function isSpace(character: string): boolean {
  return /^\p{White_Space}$/u.test(character);
}

/** The key of a mark of white space. */
const GAP = " ";

/** Returns the keys of a character; accents have keys of their own. */
function keysOfCharacter(character: string, { prefix, marksSpace }: TokenStyle): readonly string[] {
  if (character === " " || (character === MARK && prefix === "")) return [GAP];
  if (isSpace(character)) return marksSpace ? [character] : [];
  return [...character.normalize("NFD")];
}

/** The mark of white space in vocabularies of SentencePiece. */
const MARK = "\u2581";

/** Characters that are words of their own, as BERT splits texts. */
const ALONE = /[\p{P}$+<=>^`|~\p{Unified_Ideograph}]/u;

/** The letter of the byte 32 in GPT-2's alphabet. */
const SPACE = "\u0120";

/** The text's bytes as letters of GPT-2's alphabet. */
function byteUnits(text: string, style: TokenStyle): Units {
  const encoder = new TextEncoder();
  const units = charactersOf(text, style).flatMap(({ key, start, end }) =>
    Array.from(encoder.encode(key), (byte) => ({ key: letterOf(byte), start, end })),
  );
  return { units, spaces: new Map(), breaks: new Set() };
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
