// Parts of a tokenizer.json that `@huggingface/tokenizers` 0.2 computes otherwise than the library in Rust, which
// repositories are made with; that one's arithmetic is here. Without it, words with letters outside ASCII are split
// ("Whitespace"), separators stay ("Split"), an unknown word is padding ("WordLevel"), a pair loses its second text
// (a GPT-2's post-processor), rare ideographs join their neighbours and a Σ at a word's end has another letter
// (BertNormalizer), added tokens cut words that they must not ("single_word") and are found in a model's words, words are
// not split at the mark of a space ("Metaspace") or begin with it after white space that was stripped, unknown characters
// part what is merged (a BPE model without an unknown token), and a byte order mark is white space. A part that the library
// does not know at all is refused by it.
import type { Tokenizer } from "@huggingface/tokenizers";
import { readCharsmap } from "./charsmap.ts";

/** The parts of a tokenizer.json that are read here. */
export interface TokenizerParts {
  readonly normalizer?: NormalizerPart | null;
  readonly pre_tokenizer?: PreTokenizerPart | null;
  readonly post_processor?: PostProcessorPart | null;
  readonly model?: {
    readonly type?: string;
    readonly byte_fallback?: boolean | null;
    readonly continuing_subword_prefix?: string | null;
    /** Ids by token; of a Unigram model a list. */
    readonly vocab?: object;
  } | null;
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
  readonly strip_left?: boolean;
  readonly strip_right?: boolean;
  readonly content?: string;
  readonly pattern?: { readonly String?: string };
}

/** A pre-tokenizer or a list of them. */
interface PreTokenizerPart {
  readonly type?: string;
  readonly pretokenizers?: readonly PreTokenizerPart[];
  readonly behavior?: string;
  readonly invert?: boolean;
  readonly individual_digits?: boolean;
  readonly length?: number;
  readonly replacement?: string;
  readonly prepend_scheme?: string;
  readonly split?: boolean;
}

/** A post-processor or a list of them. */
interface PostProcessorPart {
  readonly type?: string;
  readonly processors?: readonly PostProcessorPart[];
  readonly trim_offsets?: boolean;
  readonly add_prefix_space?: boolean;
  /** Parts of a single text, of a template. */
  readonly single?: readonly { readonly SpecialToken?: { readonly type_id?: number } }[];
}

/** A text after the special tokens were added; the second text of a pair where no part has joined it. */
interface Processed {
  readonly tokens: readonly string[];
  readonly tokens_pair?: readonly string[] | null;
  readonly token_type_ids?: readonly number[];
}

/**
 * Has a tokenizer compute as the library in Rust does.
 * @throws Error for a part that neither computes
 */
export function useOwnParts(tokenizer: Tokenizer, json: TokenizerParts): void {
  if (json.model?.type === "BPE" && (json.model.continuing_subword_prefix ?? "") !== "")
    throw new Error("continuing_subword_prefix of a BPE model");
  useNormalizers(tokenizer.normalizer, json.normalizer);
  useAddedTokens(tokenizer, json.model?.vocab);
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
    case "Strip": {
      const { strip_left: left = true, strip_right: right = true } = part;
      return (text) => trimSpaces(text, left, right);
    }
    case "Replace": {
      const pattern: unknown = Reflect.get(normalizer, "pattern");
      // The content is none with references to groups.
      return pattern instanceof RegExp ? (text) => text.replaceAll(pattern, () => part.content ?? "") : null;
    }
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

/** White space: Unicode's, of which `\s` has U+FEFF more and U+0085 less. */
const SPACE = /\p{White_Space}/u;
const NO_SPACES = /\P{White_Space}+/gu;

/** Returns a text without the white space at its ends. */
export function trimSpaces(text: string, left = true, right = true): string {
  const to = right ? text.length - spacesAfter(text) : text.length;
  return text.slice(left ? Math.min(to, spacesBefore(text)) : 0, to);
}

/** Counts the white space that a text begins with. */
function spacesBefore(text: string): number {
  const first = text.search(/\P{White_Space}/u);
  return first === -1 ? text.length : first;
}

/** Counts the white space that a text ends with. */
function spacesAfter(text: string): number {
  let count = 0;
  while (count < text.length && SPACE.test(text[text.length - 1 - count] ?? "")) count += 1;
  return count;
}

/** Returns an expression whose white space is Unicode's. */
function withSpaces({ source, flags }: RegExp): RegExp {
  return new RegExp(source.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}"), flags);
}

/** Letters of words: Unicode's `\w`. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, "gu");
const WORD_START = new RegExp(`^[${WORD}]`, "u");
const WORD_END = new RegExp(`[${WORD}]$`, "u");
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const NUMBER = /\p{N}/gu;

/** Splits a text; `section_index` is 0 where it begins the whole text. */
type Split = (text: string, place?: { readonly section_index?: number }) => string[];

/** Has pre-tokenizers split texts as their `behavior` says. */
function useSplitters(splitter: unknown, part: PreTokenizerPart | null | undefined): void {
  if (typeof splitter !== "function" || part == null) return;
  const { pattern } = splitter as { pattern?: unknown };
  if (part.type === "ByteLevel" && pattern instanceof RegExp) Object.assign(splitter, { pattern: withSpaces(pattern) });
  const inner: unknown = Reflect.get(splitter, "tokenizers");
  const steps = Array.isArray(inner) ? (inner as { readonly pre_tokenize_text: Split }[]) : [];
  for (const [i, x] of steps.entries()) useSplitters(x, part.pretokenizers?.[i]);
  const split = part.type === "Sequence" ? sequence(steps) : splitOf(splitter, part);
  if (split !== null) Object.assign(splitter, { pre_tokenize_text: split });
}

/** Splits by one pre-tokenizer after the other; only the first part may begin the whole text. */
function sequence(steps: readonly { readonly pre_tokenize_text: Split }[]): Split {
  return (text, place) => {
    let begins = place?.section_index === 0;
    let parts = [text];
    for (const step of steps) {
      const [before = ""] = parts;
      parts = parts.flatMap((x, i) => step.pre_tokenize_text(x, { section_index: begins && i === 0 ? 0 : 1 }));
      begins &&= parts[0]?.[0] === before[0];
    }
    return parts;
  };
}

/** Returns how a part splits a text; null for one that the library splits right. */
function splitOf(splitter: object, part: PreTokenizerPart): Split | null {
  const { behavior, invert = false, individual_digits: isSingle = false } = part;
  switch (part.type) {
    case "WhitespaceSplit":
      return (text) => text.match(NO_SPACES) ?? [];
    case "BertPreTokenizer": {
      const words = withSpaces(Reflect.get(splitter, "pattern") as RegExp);
      return (text) => text.match(words) ?? [];
    }
    case "Metaspace": {
      const { replacement: mark = "\u2581", prepend_scheme: scheme = "always", split: isSplit = true } = part;
      const marks = new RegExp(mark.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "gu");
      return (text, place) => {
        const marked = text.replaceAll(" ", mark);
        const isBegun = scheme === "always" || (scheme === "first" && place?.section_index === 0);
        const whole = isBegun && !marked.startsWith(mark) ? `${mark}${marked}` : marked;
        return isSplit ? pieces(whole, marks, "MergedWithNext") : [whole];
      };
    }
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

/** A token of the file's `added_tokens`, as the library has it. */
type AddedToken = ReturnType<Tokenizer["get_added_tokens_decoder"]> extends Map<number, infer Token> ? Token : never;

/** A part of a text: an added token, or what lies between two. */
interface Section {
  readonly text: string;
  readonly token: AddedToken | null;
  /** Whether it begins the text. */
  readonly isFirst: boolean;
}

/** Finds the added tokens of a text, the longest at each place. */
type FindSections = (text: string) => Section[];

/**
 * Has added tokens found as the library in Rust finds them: those without `normalized` in the text as it is, the others in
 * the normalized one; a word of its own is not found in a longer word, and the white space that `lstrip` and `rstrip` name is
 * a part of the token. The model's own words are those of its vocabulary alone.
 */
function useAddedTokens(tokenizer: Tokenizer, vocab: object | undefined): void {
  const normalizer = tokenizer.normalizer as unknown as ((text: string) => string) | null;
  const splitter = tokenizer.pre_tokenizer as unknown as
    ((text: string, place: { readonly section_index: number }) => string[]) | null;
  const added = Array.from(tokenizer.get_added_tokens_decoder().values());
  const normalize = (text: string): string => normalizer?.(text) ?? text;
  const Splitter = (Reflect.get(tokenizer, "splitter_normalized") as object).constructor as Dictionary;
  const findOf = (isNormalized: boolean): FindSections => {
    const own = added.filter((x) => x.normalized === isNormalized);
    return finderOf(Splitter, new Map(own.map((x) => [isNormalized ? normalize(x.content) : x.content, x])));
  };
  const [findPlain, findNormalized] = [findOf(false), findOf(true)];
  const encode = (text: string | null): string[] | null =>
    text === null
      ? null
      : findPlain(text).flatMap((plain) => {
          if (plain.token !== null) return [plain.token.content];
          const isBegin = plain.isFirst && keepsBegin(plain.text, normalize);
          return findNormalized(normalize(plain.text)).flatMap((x) => {
            if (x.token !== null) return [x.token.content];
            const place = { section_index: isBegin && x.isFirst ? 0 : 1 };
            return wordsOf(splitter?.(x.text, place) ?? [x.text]).map(asOwn);
          });
        });
  const ids = new Map(added.map((x) => [x.content, x.id]));
  const known = tokenizer.model?.tokens_to_ids;
  const wordsOf = tokenizer.model as unknown as (words: string[]) => string[];
  const unknown = tokenizer.model?.unk_token;
  // A word that only an added token has is unknown to the model.
  const asOwn = (word: string): string => (ids.has(word) && known?.has(word) === false ? (unknown ?? word) : word);
  if (known !== undefined && !Array.isArray(vocab))
    for (const content of ids.keys()) if (!Object.hasOwn(vocab ?? {}, content)) known.delete(content);
  Object.assign(tokenizer, {
    encode_text: encode,
    added_tokens_map: new Map(added.map((x) => [x.content, x])),
    token_to_id: (token: string) => ids.get(token) ?? known?.get(token),
  });
}

/** Whether a normalizer keeps the first character of a text: the next one does not begin it. */
function keepsBegin(text: string, normalize: (text: string) => string): boolean {
  const [first = ""] = text;
  return normalize(`${first}a`) !== normalize("a");
}

/** The library's splitter, which returns all of a text, the tokens apart. */
type Dictionary = new (tokens: readonly string[]) => { split(text: string): string[] };

/** Returns the function that finds tokens by their forms in a text. */
function finderOf(Splitter: Dictionary, tokens: ReadonlyMap<string, AddedToken>): FindSections {
  if (tokens.size === 0) return (text) => (text === "" ? [] : [{ text, token: null, isFirst: true }]);
  const splitter = new Splitter([...tokens.keys()].filter((x) => x !== ""));
  return (text) => {
    const sections: Section[] = [];
    let from = 0; // the end of the last token
    let at = 0;
    const addUpTo = (end: number): void => {
      if (from < end) sections.push({ text: text.slice(from, end), token: null, isFirst: from === 0 });
    };
    for (const part of splitter.split(text)) {
      let [start, end] = [at, at + part.length];
      at = end;
      const token = tokens.get(part);
      if (token === undefined) continue;
      const isInWord = WORD_END.test(text.slice(Math.max(0, start - 2), start)) || WORD_START.test(text.slice(end));
      if (token.single_word && isInWord) continue;
      if (token.lstrip) start = Math.max(from, start - spacesAfter(text.slice(from, start)));
      if (token.rstrip) end += spacesBefore(text.slice(end));
      addUpTo(start);
      sections.push({ text: part, token, isFirst: start === 0 });
      from = end;
    }
    addUpTo(text.length);
    return sections;
  };
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
  const tokenize = model._call.bind(model);
  const omits = "bpe_ranks" in model && model.unk_token == null && !isBytes;
  const own = (word: string): string[] => tokenize([omits ? withoutUnknown(word, known) : word]);
  const unknown = model.unk_token_id;
  const isUnknown = (token: string): boolean => (known.get(token) ?? unknown) === unknown;
  const encode = (words: readonly string[]): string[] =>
    words.flatMap((word) => (isJoined ? joinUnknown(own(word), isUnknown, known) : own(word)));
  const bytesOf = (token: string): string[] => {
    const bytes = Array.from(new TextEncoder().encode(token), (x) => `<0x${hex(x)}>`);
    return bytes.every((x) => known.has(x)) ? bytes : [token];
  };
  const call = (words: readonly string[]): string[] =>
    isBytes ? encode(words).flatMap((x) => (known.has(x) ? [x] : bytesOf(x))) : encode(words);
  Object.assign(model, { _call: call });
}

/**
 * Returns a word without its unknown characters, over which a BPE model without an unknown token merges. The last one, which
 * may be known with the ending of a word alone, is left to the library.
 */
function withoutUnknown(word: string, known: ReadonlyMap<string, number>): string {
  const characters = Array.from(word);
  return characters.filter((x, i) => known.has(x) || i === characters.length - 1).join("");
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
