// Parts of a tokenizer.json that `@huggingface/tokenizers` 0.2 computes otherwise than the library in Rust, which
// repositories are made with; that one's arithmetic is here. Without it, words with letters outside ASCII are split
// ("Whitespace"), separators stay ("Split"), an unknown word is padding ("WordLevel"), a pair loses its second text
// (a GPT-2's post-processor), rare ideographs join their neighbours and a Σ at a word's end has another letter
// (BertNormalizer), and added tokens cut words that they must not ("single_word"). A part that the library does not know
// at all is refused by it.
import type { Tokenizer } from "@huggingface/tokenizers";
import { readCharsmap } from "./charsmap.ts";

/** The parts of a tokenizer.json that are read here. */
export interface TokenizerParts {
  readonly normalizer?: NormalizerPart | null;
  readonly pre_tokenizer?: PreTokenizerPart | null;
  readonly post_processor?: PostProcessorPart | null;
  readonly model?: { readonly type?: string; readonly byte_fallback?: boolean | null } | null;
}

/** A normalizer or a list of them. */
interface NormalizerPart {
  readonly type?: string;
  readonly normalizers?: readonly NormalizerPart[];
  readonly precompiled_charsmap?: string | null;
  readonly clean_text?: boolean;
  readonly handle_chinese_chars?: boolean;
  readonly strip_accents?: boolean | null;
  readonly lowercase?: boolean;
}

/** A pre-tokenizer or a list of them. */
interface PreTokenizerPart {
  readonly type?: string;
  readonly pretokenizers?: readonly PreTokenizerPart[];
  readonly behavior?: string;
  readonly invert?: boolean;
  readonly individual_digits?: boolean;
  readonly length?: number;
}

/** A post-processor or a list of them. */
interface PostProcessorPart {
  readonly type?: string;
  readonly processors?: readonly PostProcessorPart[];
}

/** A text after the special tokens were added; the second text of a pair where no part has joined it. */
interface Processed {
  readonly tokens: readonly string[];
  readonly tokens_pair?: readonly string[] | null;
  readonly token_type_ids?: readonly number[];
}

/** Has a tokenizer compute as the library in Rust does. */
export function useOwnParts(tokenizer: Tokenizer, json: TokenizerParts): void {
  useNormalizers(tokenizer.normalizer, json.normalizer);
  useSingleWords(tokenizer);
  useSplitters(tokenizer.pre_tokenizer, json.pre_tokenizer);
  useBestPath(tokenizer.model);
  useWords(tokenizer.model, json.model?.byte_fallback === true);
  usePairs(tokenizer, json.post_processor);
}

/** Has normalizers change texts as the library in Rust does. */
function useNormalizers(normalizer: unknown, part: NormalizerPart | null | undefined): void {
  if (typeof normalizer !== "function" || part == null) return;
  const normalize = normalizeOf(normalizer, part);
  if (normalize !== null) Object.assign(normalizer, { normalize });
  const inner: unknown = Reflect.get(normalizer, "normalizers");
  if (Array.isArray(inner)) for (const [i, x] of inner.entries()) useNormalizers(x, part.normalizers?.[i]);
}

/** Returns how a part changes a text; null for one that the library computes right. */
function normalizeOf(normalizer: object, part: NormalizerPart): ((text: string) => string) | null {
  switch (part.type) {
    case "Precompiled":
      return typeof part.precompiled_charsmap === "string" ? readCharsmap(part.precompiled_charsmap) : null;
    case "Lowercase":
      return lowercase;
    case "BertNormalizer": {
      const isLower = part.lowercase ?? true;
      const stripsAccents = part.strip_accents ?? isLower;
      // The library's own cleaning is right.
      const clean = (Reflect.get(normalizer, "clean_text") as (text: string) => string).bind(normalizer);
      return (text) => {
        let now = (part.clean_text ?? true) ? clean(text) : text;
        if (part.handle_chinese_chars ?? true) now = now.replace(IDEOGRAPH, " $& ");
        if (stripsAccents) now = now.normalize("NFD").replace(/\p{Mn}/gu, "");
        return isLower ? lowercase(now) : now;
      };
    }
    default:
      return null;
  }
}

/** Ideographs as BertNormalizer knows them: those from U+2B820 to U+2B91F are none to it. */
const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** Returns a text in lower case, letter by letter: a Σ at the end of a word is a σ, as everywhere. */
function lowercase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}

/** Letters of words: Unicode's `\w`. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, "gu");
const WORD_START = new RegExp(`^[${WORD}]`, "u");
const WORD_END = new RegExp(`[${WORD}]$`, "u");
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const NUMBER = /\p{N}/gu;

/** Has pre-tokenizers split texts as their `behavior` says. */
function useSplitters(splitter: unknown, part: PreTokenizerPart | null | undefined): void {
  if (typeof splitter !== "function" || part == null) return;
  const split = splitOf(splitter, part);
  if (split !== null) Object.assign(splitter, { pre_tokenize_text: split });
  const inner: unknown = Reflect.get(splitter, "tokenizers");
  if (Array.isArray(inner)) for (const [i, x] of inner.entries()) useSplitters(x, part.pretokenizers?.[i]);
}

/** Returns how a part splits a text; null for one that the library splits right. */
function splitOf(splitter: object, part: PreTokenizerPart): ((text: string) => string[]) | null {
  const { behavior, invert = false, individual_digits: isSingle = false } = part;
  switch (part.type) {
    case "Whitespace":
      return (text) => text.match(WORDS) ?? [];
    case "Punctuation":
      return (text) => pieces(text, PUNCTUATION, behavior, false);
    case "Digits":
      return (text) => pieces(text, NUMBER, isSingle ? "Isolated" : "Contiguous", false);
    case "FixedLength": {
      const length = Math.max(1, part.length ?? 1);
      return (text) => {
        const characters = Array.from(text);
        const count = Math.ceil(characters.length / length);
        return Array.from({ length: count }, (_, i) => characters.slice(i * length, (i + 1) * length).join(""));
      };
    }
    case "Split": {
      // The library has translated the expression.
      const pattern: unknown = Reflect.get(splitter, "pattern");
      return pattern instanceof RegExp ? (text) => pieces(text, pattern, behavior, invert) : null;
    }
    default:
      return null;
  }
}

/** A part of a text, which a pattern matches or not. */
interface Piece {
  text: string;
  readonly isMatch: boolean;
}

/** Splits a text at matches, or, inverted, at what lies between them. */
function pieces(text: string, pattern: RegExp, behavior = "Isolated", isInverted = false): string[] {
  const found: Piece[] = [];
  const add = (part: string, isMatch: boolean): void => {
    if (part !== "") found.push({ text: part, isMatch: isMatch !== isInverted });
  };
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    add(text.slice(end, match.index), false);
    add(match[0], true);
    end = match.index + match[0].length;
  }
  add(text.slice(end), false);
  switch (behavior) {
    case "Removed":
      return found.filter((x) => !x.isMatch).map((x) => x.text);
    case "Contiguous":
      return joined(found, (x, before) => x.isMatch === before.isMatch);
    case "MergedWithPrevious":
      return joined(found, (x, before) => x.isMatch && !before.isMatch);
    case "MergedWithNext":
      return joined(found, (x, before) => before.isMatch && !x.isMatch);
    default:
      return found.map((x) => x.text);
  }
}

/** Joins pieces with the one before where they belong together. */
function joined(found: readonly Piece[], isSame: (piece: Piece, before: Piece) => boolean): string[] {
  const parts: string[] = [];
  for (const [i, x] of found.entries()) {
    const before = found[i - 1];
    if (before === undefined || !isSame(x, before)) parts.push(x.text);
    else parts.push(`${parts.pop() ?? ""}${x.text}`);
  }
  return parts;
}

/** Has added tokens that are words of their own cut no longer word. One beside another added token is still one. */
function useSingleWords(tokenizer: Tokenizer): void {
  const normalizer = tokenizer.normalizer as unknown as ((text: string) => string) | null;
  const added = Array.from(tokenizer.get_added_tokens_decoder().values());
  const formsOf = ({ content }: { content: string }): string[] => [content, normalizer?.(content) ?? content];
  const words = new Set(added.filter((x) => x.single_word).flatMap(formsOf));
  if (words.size === 0) return;
  const tokens = new Set(added.flatMap(formsOf));
  for (const name of ["splitter_unnormalized", "splitter_normalized"]) {
    const splitter = Reflect.get(tokenizer, name) as { split(text: string): string[] };
    const own = splitter.split.bind(splitter);
    const split = (text: string): string[] => {
      let end = 0;
      const found = own(text).map((section): Piece => {
        const before = text.slice(Math.max(0, end - 2), end);
        end += section.length;
        const after = text.slice(end, end + 2);
        const isInWord = words.has(section) && (WORD_END.test(before) || WORD_START.test(after));
        return { text: section, isMatch: tokens.has(section) && !isInWord };
      });
      return joined(found, (x, before) => !x.isMatch && !before.isMatch);
    };
    Object.assign(splitter, { split });
  }
}

/** The library's Unigram model, as far as it is used here. */
interface Unigram {
  readonly trie: { common_prefix_search(characters: readonly string[], start: number): Iterable<string> };
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly scores: readonly number[];
  readonly unk_score: number;
}

/**
 * Has a Unigram model find the best tokens with two numbers a character (A. Viterbi, 1967). The library finds the same ones,
 * and makes objects for each character and token: some 0.1 ms a character, in which a server answers nobody.
 */
function useBestPath(model: Tokenizer["model"]): void {
  if (model === null || !("trie" in model && "unk_score" in model)) return;
  const { trie, tokens_to_ids: ids, scores, unk_score: unknown } = model as unknown as Unigram;
  const tokenize = (text: string): string[] => {
    const characters = Array.from(text);
    const best = new Float64Array(characters.length + 1).fill(-Infinity, 1);
    const starts = new Int32Array(characters.length + 1);
    const reach = (start: number, end: number, score: number): void => {
      const sum = (best[start] ?? 0) + score;
      if (sum <= (best[end] ?? 0)) return;
      best[end] = sum;
      starts[end] = start;
    };
    for (let start = 0; start < characters.length; start += 1) {
      let isKnown = false;
      for (const token of trie.common_prefix_search(characters, start)) {
        const length = Array.from(token).length;
        isKnown ||= length === 1;
        reach(start, start + length, scores[ids.get(token) ?? -1] ?? unknown);
      }
      if (!isKnown) reach(start, start + 1, unknown);
    }
    const tokens: string[] = [];
    for (let end = characters.length; end > 0; end = starts[end] ?? 0)
      tokens.push(characters.slice(starts[end], end).join(""));
    return tokens.reverse();
  };
  Object.assign(model, { tokenize });
}

/** Has a model join unknown characters within a word alone, and a Unigram model write them as bytes where it says so. */
function useWords(model: Tokenizer["model"], isBytes: boolean): void {
  if (model === null) return;
  const known = model.tokens_to_ids;
  // The library joins them one by one, and looks each longer text up.
  const isJoined = model.fuse_unk;
  model.fuse_unk = false;
  const own = model._call.bind(model);
  const unknown = model.unk_token_id;
  const isUnknown = (token: string): boolean => (known.get(token) ?? unknown) === unknown;
  const encode = (words: readonly string[]): string[] =>
    words.flatMap((word) => (isJoined ? joinUnknown(own([word]), isUnknown, known) : own([word])));
  const bytesOf = (token: string): string[] => {
    const bytes = Array.from(new TextEncoder().encode(token), (x) => `<0x${hex(x)}>`);
    return bytes.every((x) => known.has(x)) ? bytes : [token];
  };
  const call = (words: readonly string[]): string[] =>
    isBytes ? encode(words).flatMap((x) => (known.has(x) ? [x] : bytesOf(x))) : encode(words);
  Object.assign(model, { _call: call });
}

/** Joins unknown tokens that follow one another; those after the token for unknown ones are a part of it. */
function joinUnknown(
  tokens: readonly string[],
  isUnknown: (token: string) => boolean,
  known: ReadonlyMap<string, number>,
): string[] {
  const found: string[] = [];
  let run: string[] = [];
  const end = (): void => {
    const [first] = run;
    if (first !== undefined) found.push(known.has(first) ? first : run.join(""));
    run = [];
  };
  for (const token of tokens) {
    if (isUnknown(token)) {
      run.push(token);
      continue;
    }
    end();
    found.push(token);
  }
  end();
  return found;
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

/** Has a tokenizer keep the second text of a pair, with its token types, where no part of the file joins them. */
function usePairs(tokenizer: Tokenizer, part: PostProcessorPart | null | undefined): void {
  const own = tokenizer.post_processor as unknown as typeof process | null;
  const last = part?.type === "Sequence" ? part.processors?.at(-1) : part;
  const process = (tokens: readonly string[], pair: readonly string[] | null, isMarked?: boolean): Processed => {
    const made = own === null ? { tokens, tokens_pair: pair } : own(tokens, pair, isMarked);
    const second = made.tokens_pair ?? [];
    const all = [...made.tokens, ...second];
    // RoBERTa has one type.
    if (last?.type === "RobertaProcessing") return { tokens: all, token_type_ids: all.map(() => 0) };
    const types = made.token_type_ids ?? all.map((_, i) => Number(i >= made.tokens.length));
    return { tokens: all, token_type_ids: types };
  };
  Object.assign(tokenizer, { post_processor: process });
}
