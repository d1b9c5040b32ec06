// The normalizers of a tokenizer.json, as the library in Rust computes them. Its tables are of an older Unicode than a
// browser's: characters that are new since then may have another case, form or class here.
import type { Aligned, CharacterChange } from "./aligned.ts";
import { mapCharacters, prepend, replaceMatches, slice, transform } from "./aligned.ts";
import { readCharsmap } from "./charsmap.ts";
import { lettersOf } from "./bytes.ts";
import { patternOf } from "./pattern.ts";
import type { PatternPart } from "./pattern.ts";
import { spacesAfter, spacesBefore } from "./spaces.ts";

/** A normalizer of a tokenizer.json, or a list of them. */
export interface NormalizerPart {
  readonly type?: string;
  readonly normalizers?: readonly NormalizerPart[];
  readonly precompiled_charsmap?: string | null;
  readonly clean_text?: boolean;
  readonly handle_chinese_chars?: boolean;
  readonly strip_accents?: boolean | null;
  readonly lowercase?: boolean;
  readonly strip_left?: boolean;
  readonly strip_right?: boolean;
  readonly prepend?: string;
  readonly content?: string;
  readonly pattern?: PatternPart;
}

/** Changes a text before it is split. */
export type Normalize = (text: Aligned) => Aligned;

/**
 * Creates a normalizer.
 * @throws Error for a type that is not known
 */
export function createNormalizer(part: NormalizerPart | null | undefined): Normalize {
  if (part == null) return (x) => x;
  switch (part.type) {
    case "Sequence": {
      const steps = (part.normalizers ?? []).map(createNormalizer);
      return (x) => steps.reduce((now, step) => step(now), x);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return toForm(part.type);
    case "Lowercase":
      return lowercase;
    case "Strip":
      return stripOf(part);
    case "StripAccents":
      return without(/\p{M}/gu);
    case "Replace":
      return replaceOf(part);
    case "Prepend": {
      const text = part.prepend ?? "";
      return (x) => prepend(x, text);
    }
    case "Precompiled":
      return charsmapOf(part.precompiled_charsmap);
    case "BertNormalizer":
      return bertOf(part);
    case "Nmt":
      return nmt;
    case "ByteLevel":
      return toBytes;
    default:
      throw new Error(`Unknown Normalizer type: ${String(part.type)}`);
  }
}

function charsmapOf(map: string | null | undefined): Normalize {
  const normalize = readCharsmap(map ?? "");
  if (normalize === null) throw new Error("precompiled_charsmap of a Precompiled normalizer");
  return normalize;
}

/** Plain characters, which no form of Unicode changes. */
const PLAIN = /^[\0-\x7f]*$/;

/** Has a normalizer leave texts of plain characters as they are. */
function unlessPlain(normalize: Normalize): Normalize {
  return (x) => (PLAIN.test(x.text) ? x : normalize(x));
}

/** Removes the characters that an expression matches. */
function without(pattern: RegExp): Normalize {
  return unlessPlain((x) => mapCharacters(x, pattern, () => ""));
}

/** Changes letters to lower case one by one: a Σ at the end of a word is a σ, as everywhere. */
function lowercase(x: Aligned): Aligned {
  if (PLAIN.test(x.text)) return { ...x, text: x.text.toLowerCase() };
  return mapCharacters(x, /\p{Changes_When_Lowercased}/gu, (c) => c.toLowerCase());
}

function stripOf({ strip_left: left = true, strip_right: right = true }: NormalizerPart): Normalize {
  return (x) => {
    const end = right ? x.text.length - spacesAfter(x.text) : x.text.length;
    return slice(x, left ? Math.min(end, spacesBefore(x.text)) : 0, end);
  };
}

function replaceOf({ pattern: part, content = "" }: NormalizerPart): Normalize {
  const pattern = patternOf(part);
  return (x) => replaceMatches(x, pattern, content);
}

/** Characters that a text of BERT has not, and others in whose place it has spaces. */
const BERT_REMOVED = /[\0\ufffd\p{Cf}\p{Co}\p{Cs}]|(?![\t\n\r])\p{Cc}/u;
const BERT_CLEANED = /[\0\ufffd\p{Cc}\p{Cf}\p{Co}\p{Cs}]|(?! )\p{White_Space}/gu;
/** Ideographs as BertNormalizer knows them: those from U+2B820 to U+2B91F are none to it. */
const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

function bertOf(part: NormalizerPart): Normalize {
  const { clean_text: cleans = true, handle_chinese_chars: parts = true, lowercase: isLower = true } = part;
  const [decompose, strip] = [toForm("NFD"), without(/\p{Mn}/gu)];
  return (x) => {
    let now = cleans ? mapCharacters(x, BERT_CLEANED, (c) => (BERT_REMOVED.test(c) ? "" : " ")) : x;
    if (parts) now = mapCharacters(now, IDEOGRAPH, (c) => ` ${c} `);
    if (part.strip_accents ?? isLower) now = strip(decompose(now));
    return isLower ? lowercase(now) : now;
  };
}

const NMT_REMOVED = /[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/;
const NMT_CLEANED = /[\u0001-\u001f\u007f\u008f\u009f\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** Removes control characters, and makes spaces of characters that stand for white space (that of SentencePiece's `nmt`). */
function nmt(x: Aligned): Aligned {
  return mapCharacters(x, NMT_CLEANED, (c) => (NMT_REMOVED.test(c) ? "" : " "));
}

/** Bytes that are not their own letters. */
const OTHER_BYTES = /[^!-~]/gu;

/** Writes a text as the letters of its UTF-8 bytes. */
export function toBytes(x: Aligned): Aligned {
  return mapCharacters(x, OTHER_BYTES, lettersOf);
}

/** A character of a decomposition; `change` is 1 where it is not the first one of its own. */
interface Decomposed {
  readonly character: string;
  readonly change: number;
  isUsed: boolean;
}

/**
 * Returns the normalizer to a form of Unicode. The places are those of the library in Rust, which counts: a character takes
 * the next place of the original, one more in a decomposition stays there, and each one that is composed skips one.
 */
function toForm(form: "NFC" | "NFD" | "NFKC" | "NFKD"): Normalize {
  const decomposition = form === "NFC" || form === "NFD" ? "NFD" : "NFKD";
  const composes = form === "NFC" || form === "NFKC";
  return unlessPlain((x) => {
    const text = x.text.normalize(form);
    if (text === x.text) return x;
    const list = decomposed(x.text, decomposition);
    let first = 0;
    const take = (character: string): number => {
      let i = first;
      while (i < list.length && (list[i]?.isUsed !== false || list[i]?.character !== character)) i += 1;
      const found = list[i];
      if (found === undefined) return 0;
      found.isUsed = true;
      while (list[first]?.isUsed === true) first += 1;
      return found.change;
    };
    const changes = Array.from(text, (character): CharacterChange => {
      const parts = composes ? Array.from(character.normalize("NFD")) : [character];
      return [character, parts.reduce((sum, part) => sum + take(part), 1 - parts.length)];
    });
    return transform(x, changes);
  });
}

function decomposed(text: string, form: "NFD" | "NFKD"): Decomposed[] {
  return Array.from(text).flatMap((whole) =>
    Array.from(whole.normalize(form), (character, i) => ({ character, change: Number(i > 0), isUsed: false })),
  );
}
