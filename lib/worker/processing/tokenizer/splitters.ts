// The pre-tokenizers of a tokenizer.json, as the library in Rust computes them: a text becomes words.
import type { Aligned } from "./aligned.ts";
import { matchesOf, placeAt, prepend, replaceMatches, slice } from "./aligned.ts";
import { toBytes } from "./normalizers.ts";
import { patternOf } from "./pattern.ts";
import type { PatternPart } from "./pattern.ts";
import { splitAtScripts } from "./scripts.ts";

/** A pre-tokenizer of a tokenizer.json, or a list of them. */
export interface SplitterPart {
  readonly type?: string;
  readonly pretokenizers?: readonly SplitterPart[];
  readonly pattern?: PatternPart;
  readonly behavior?: string;
  readonly invert?: boolean;
  readonly individual_digits?: boolean;
  readonly length?: number;
  readonly delimiter?: string;
  readonly replacement?: string;
  readonly add_prefix_space?: boolean;
  readonly prepend_scheme?: string;
  readonly split?: boolean;
  readonly use_regex?: boolean;
}

/** Splits a text, none of whose parts is empty. */
export type SplitText = (text: Aligned) => readonly Aligned[];

/**
 * Creates a pre-tokenizer.
 * @throws Error for a type that is not known
 */
export function createSplitter(part: SplitterPart | null | undefined): SplitText {
  if (part == null) return wholeOf;
  if (part.type === "Sequence") {
    const steps = (part.pretokenizers ?? []).map(createSplitter);
    return (x) => steps.reduce<readonly Aligned[]>((parts, step) => parts.flatMap(step), wholeOf(x));
  }
  return splitOf(part);
}

function wholeOf(x: Aligned): readonly Aligned[] {
  return x.text === "" ? [] : [x];
}

/** Letters of words: Unicode's `\w`. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, "gu");
const NO_SPACES = /\P{White_Space}+/gu;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const BERT_WORDS = /[\p{P}!-/:-@[-`{-~]|[^\p{White_Space}\p{P}!-/:-@[-`{-~]+/gu;
const NUMBER = /\p{N}/gu;
/** How GPT-2 splits a text. */
const BYTE_WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function splitOf(part: SplitterPart): SplitText {
  const { behavior } = part;
  switch (part.type) {
    case "WhitespaceSplit":
      return (x) => wordsOf(x, NO_SPACES);
    case "BertPreTokenizer":
      return (x) => wordsOf(x, BERT_WORDS);
    case "Whitespace":
      return (x) => wordsOf(x, WORDS);
    case "Punctuation":
      return (x) => splitAt(x, PUNCTUATION, behavior);
    case "Digits":
      return (x) => splitAt(x, NUMBER, part.individual_digits === true ? "Isolated" : "Contiguous");
    case "UnicodeScripts":
      return splitAtScripts;
    case "CharDelimiterSplit": {
      if (Array.from(part.delimiter ?? "").length !== 1) throw new Error("delimiter of CharDelimiterSplit");
      const pattern = patternOf({ String: part.delimiter ?? "" });
      return (x) => splitAt(x, pattern, "Removed");
    }
    case "Split": {
      const pattern = patternOf(part.pattern);
      return (x) => splitAt(x, pattern, behavior, part.invert);
    }
    case "FixedLength": {
      const pattern = new RegExp(`[^]{1,${String(Math.max(1, part.length ?? 5))}}`, "gu");
      return (x) => wordsOf(x, pattern);
    }
    case "ByteLevel":
      return byteLevelOf(part);
    case "Metaspace":
      return metaspaceOf(part);
    default:
      throw new Error(`Unknown PreTokenizer type: ${String(part.type)}`);
  }
}

function byteLevelOf({ add_prefix_space: adds, use_regex: splits = true }: SplitterPart): SplitText {
  return (x) => {
    const begun = adds === true && !x.text.startsWith(" ") ? prepend(x, " ") : x;
    return (splits ? wordsOf(begun, BYTE_WORDS) : wholeOf(begun)).map(toBytes);
  };
}

function metaspaceOf({ replacement: mark = "\u2581", split: splits = true, ...part }: SplitterPart): SplitText {
  const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
  const marks = patternOf({ String: mark });
  return (x) => {
    const marked = replaceMatches(x, / /g, mark);
    const first = placeAt(x, 0);
    const isBegun = scheme === "always" || (scheme === "first" && (first === 0 || first === ~0));
    const whole = isBegun && !marked.text.startsWith(mark) ? prepend(marked, mark) : marked;
    return splits ? splitAt(whole, marks, "MergedWithNext") : wholeOf(whole);
  };
}

/** Splits a text into the matches of an expression, none of which is empty. */
function wordsOf(x: Aligned, pattern: RegExp): Aligned[] {
  return matchesOf(x.text, pattern).map(([start, end]) => slice(x, start, end));
}

/** A part of a text, which a pattern matches or not. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly isMatch: boolean;
}

/** Splits a text at matches, or, inverted, at what lies between them. */
function splitAt(x: Aligned, pattern: RegExp, behavior = "Isolated", isInverted = false): Aligned[] {
  const found: Piece[] = [];
  let last = 0;
  for (const [start, end] of matchesOf(x.text, pattern)) {
    if (last < start) found.push({ start: last, end: start, isMatch: isInverted });
    found.push({ start, end, isMatch: !isInverted });
    last = end;
  }
  if (last < x.text.length) found.push({ start: last, end: x.text.length, isMatch: isInverted });
  return piecesOf(found, behavior)
    .filter(({ start, end }) => start < end)
    .map(({ start, end }) => slice(x, start, end));
}

function piecesOf(found: readonly Piece[], behavior: string): readonly Piece[] {
  switch (behavior) {
    case "Removed":
      return found.filter((x) => !x.isMatch);
    case "Contiguous":
      return joined(found, (x, before) => x.isMatch === before.isMatch);
    case "MergedWithPrevious":
      return joined(found, (x, before) => x.isMatch && !before.isMatch);
    case "MergedWithNext":
      return joined(found, (x, before) => before.isMatch && !x.isMatch);
    default:
      return found;
  }
}

/** Joins pieces with the one before where they belong together. */
function joined(found: readonly Piece[], isSame: (piece: Piece, before: Piece) => boolean): Piece[] {
  const parts: Piece[] = [];
  for (const [i, x] of found.entries()) {
    const before = found[i - 1];
    const part = before !== undefined && isSame(x, before) ? parts.pop() : undefined;
    parts.push(part === undefined ? x : { ...x, start: part.start });
  }
  return parts;
}
