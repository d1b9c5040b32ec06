// Tokenizes texts by the tokenizer.json of a bundle: the same in a worker, in calibration and in a test.
// `@huggingface/tokenizers` does the tokenization; this file adds the padding of a batch to one length, the attention
// mask, and the bound on the length.
import { Tokenizer } from "@huggingface/tokenizers";
import type { BundleInput, TextSpec } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import { arrayOver } from "../../core/tensor.ts";
import { splitPair } from "../../core/text-pair.ts";
import type { NumericDtype, Tensor } from "../../core/tensor.ts";
import { alignTokens, spansBeforeLowercase } from "./spans.ts";
import type { TokenSpan, TextTokens, TokenStyle } from "./spans.ts";
import { trimSpaces, useOwnParts } from "./tokenizer-parts.ts";
import type { TokenizerParts } from "./tokenizer-parts.ts";

/** Reads the texts of one input. */
export interface TextReader {
  /** Converts texts into one row each of every input that they fill. */
  read(texts: readonly string[]): Record<string, Tensor>;
  /** Finds the tokens of a text's row, and their places in it; null for a pair. */
  tokens(text: string): TextTokens | null;
}

/** Bytes per element of the types of tokens and masks. */
const SIZES: Readonly<Record<string, number>> = { int64: 8, int32: 4, float32: 4 };

/**
 * Creates the readers of a model's text inputs, by input name.
 * @param isByToken - whether an output is read token by token, which takes the first token at place 0
 */
export function createTextReaders(
  inputs: readonly BundleInput[],
  assets: Readonly<Record<string, string>>,
  isByToken: boolean = false,
): Record<string, TextReader> {
  return Object.fromEntries(
    inputs.flatMap((input) =>
      input.text === undefined
        ? []
        : [[input.name, createTextReader(input, input.text, inputs, { assets, isByToken })] as const],
    ),
  );
}

/** Initial number of characters to read per token that is kept: English has some four per token. */
const PIECE_CHARACTERS = 8;

/** A parsed tokenizer.json. */
interface Encoder {
  readonly encode: (text: string) => Encoded;
  readonly tokens: (text: string) => TextTokens | null;
  /** The file's own padding token; undefined where it names none. */
  readonly padId: number | undefined;
  /** Whether the last token is the one that stands for the text. */
  readonly endsWithClass: boolean;
}

/** Tokens of a row. */
interface Encoded {
  readonly ids: readonly number[];
  /** The token type of each: as a rule the text of a pair that it belongs to. */
  readonly types: readonly number[];
}

/** Creates the reader of one input; parses the tokenizer's file with the first text. */
function createTextReader(
  input: BundleInput,
  spec: TextSpec,
  inputs: readonly BundleInput[],
  { assets, isByToken }: { readonly assets: Readonly<Record<string, string>>; readonly isByToken: boolean },
): TextReader {
  let encoder: Encoder | undefined;
  const fills = [
    {
      name: input.name,
      of: ({ ids }: Encoded, at: number) => ids[at] ?? input.pad?.value ?? encoder?.padId ?? spec.padId ?? 0,
    },
    ...(spec.mask === undefined
      ? []
      : [{ name: spec.mask, of: ({ ids }: Encoded, at: number) => Number(ids[at] !== undefined) }]),
    ...(spec.positions === undefined
      ? []
      : [{ name: spec.positions, of: (_: Encoded, at: number) => Math.max(0, at) }]),
    ...(spec.types === undefined ? [] : [{ name: spec.types, of: ({ types }: Encoded, at: number) => types[at] ?? 0 }]),
  ];
  const fixed = input.dims.find((_, axis) => axis !== input.batchAxis);
  // A longer text would lose its last special token.
  const maxLength = typeof fixed === "number" ? Math.min(spec.maxLength, fixed) : spec.maxLength;
  const ready = (): Encoder => (encoder ??= encoderOf(input.name, { ...spec, maxLength }, assets));
  const read = (texts: readonly string[]): Record<string, Tensor> => {
    const { encode, endsWithClass } = ready();
    const isPaddedBefore = endsWithClass && !isByToken;
    const rows = texts.map(encode);
    const longest = rows.reduce((most, x) => Math.max(most, x.ids.length), 1);
    const length = typeof fixed === "number" ? fixed : spec.fill === true ? Math.max(maxLength, longest) : longest;
    return Object.fromEntries(
      fills.map(({ name, of }) => {
        const dtype = (inputs.find((x) => x.name === name) ?? input).dtype as NumericDtype;
        const data = arrayOver(dtype, new ArrayBuffer(rows.length * length * (SIZES[dtype] ?? 0)));
        for (const [row, encoded] of rows.entries())
          for (let at = 0; at < length; at++) {
            const value = of(encoded, isPaddedBefore ? at - length + encoded.ids.length : at);
            (data as Int32Array | BigInt64Array)[row * length + at] = dtype === "int64" ? BigInt(value) : value;
          }
        return [name, { dtype, dims: [rows.length, length], data } as Tensor];
      }),
    );
  };
  return { read, tokens: (text) => ready().tokens(text) };
}

/**
 * Returns the function that encodes a text into at most `maxLength` tokens; special tokens at its begin and end are
 * kept.
 */
function encoderOf(
  name: string,
  { tokenizer: asset, maxLength, keeps, lowercase = false, trim = false }: TextSpec,
  assets: Readonly<Record<string, string>>,
): Encoder {
  const file = assets[asset];
  if (file === undefined) throw broken(name, asset, "is missing");
  let tokenizer: Tokenizer;
  let json: TokenizerJson;
  try {
    json = JSON.parse(file) as TokenizerJson;
    // Of a model of whole words the library reads the unknown token here.
    tokenizer = new Tokenizer(json, { unk_token: json.model?.unk_token });
    useOwnParts(tokenizer, json);
  } catch (error) {
    const why = error instanceof Error ? ` (${error.message})` : "";
    throw broken(name, asset, `is not a tokenizer.json that this release reads${why}`, error);
  }
  const style = styleOf(json, (text) => tokenizer.normalizer?.normalize(text) ?? text);
  const end = keeps ?? (json.truncation?.direction === "Left" ? "end" : "begin");
  const cased = (text: string): string => (lowercase ? text.toLowerCase() : text);
  const trimmed = <T extends string | null>(text: T): T | string => (trim && text !== null ? trimSpaces(text) : text);
  const encode = (row: string): Encoded => {
    const [text, pair] = splitPair(cased(row)).map(trimmed) as [string, string | null];
    if (pair !== null) return encodePair(tokenizer, text, pair, { maxLength, end });
    const read = partOf(tokenizer, text, { maxLength, end });
    if (read.ids.length <= maxLength) return read;
    const { ids, before, after } = splitMarks(tokenizer, read);
    const kept = Math.max(0, maxLength - before - after);
    const tokens = ids.length - before - after;
    const pick = (list: readonly number[]): number[] =>
      [
        ...list.slice(0, before),
        ...(end === "begin" ? list.slice(before, before + kept) : list.slice(before + tokens - kept, before + tokens)),
        ...list.slice(before + tokens),
      ].slice(0, maxLength);
    return { ids: pick(ids), types: pick(read.types) };
  };
  return {
    encode: (row) => {
      const encoded = encode(row);
      if (!encoded.ids.every(isId)) throw broken(name, asset, "has no token for what it does not know (unk_token)");
      return encoded;
    },
    tokens: (row) => {
      const [original, pair] = splitPair(row);
      if (pair !== null) return null;
      const untrimmed = cased(original);
      const whole = trimmed(untrimmed);
      const read = partOf(tokenizer, whole, { maxLength, end });
      const { text, before, after } = splitMarks(tokenizer, read);
      const all = tokenizer.tokenize(text);
      const from = end === "begin" ? 0 : Math.max(0, all.length - Math.max(0, maxLength - after - before));
      const to = from + Math.max(0, maxLength - after - before);
      const words = all.slice(from, to).map((x) => (tokenizer.token_to_id(x) === undefined ? (style.unknown ?? x) : x));
      const empty = (count: number): null[] => Array.from({ length: count }, () => null);
      const cut = untrimmed.indexOf(whole) + (end === "begin" ? 0 : whole.length - text.length);
      const spans = alignTokens(text, all, style).map(([a, b]): TokenSpan => [a + cut, b + cut]);
      return {
        text: original,
        spans: [
          ...empty(before),
          ...(lowercase ? spansBeforeLowercase(original, spans) : spans).slice(from, to),
          ...empty(after),
        ],
        words: [...empty(before).map(() => ""), ...words],
        marksParts: style.prefix !== "",
        unknown: style.unknown,
        join: (words) => joinWords(tokenizer, words),
      };
    },
    padId: isId(json.padding?.pad_id) ? json.padding?.pad_id : undefined,
    endsWithClass: endsWithClass(json),
  };
}

/** Whether texts end with a token of a third type, as XLNet's do: a model reads the class of a text there. */
function endsWithClass({ post_processor: post }: TokenizerJson): boolean {
  return [post, ...(post?.processors ?? [])].some((x) => (x?.single?.at(-1)?.SpecialToken?.type_id ?? 0) > 1);
}

/** The fields of a tokenizer.json that are read here. */
interface TokenizerJson extends TokenizerParts {
  readonly padding?: { readonly pad_id?: number } | null;
  readonly truncation?: { readonly direction?: string } | null;
  readonly decoder?: JsonPart | null;
  readonly model?: {
    readonly type?: string;
    readonly byte_fallback?: boolean | null;
    readonly continuing_subword_prefix?: string | null;
    readonly end_of_word_suffix?: string | null;
    readonly unk_token?: string | null;
    /** Of a Unigram model, whose vocabulary is a list. */
    readonly unk_id?: number | null;
    readonly vocab?: Readonly<Record<number, readonly [string, number] | undefined>>;
  } | null;
}

/** A decoder or a list of them. */
interface JsonPart {
  readonly type?: string;
  readonly decoders?: readonly JsonPart[];
}

/** Whether a value is a token's id. */
function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Splitters that take white space out of a text, or mark it. */
const SPACERS: ReadonlySet<string | undefined> = new Set([
  "Metaspace",
  "WhitespaceSplit",
  "Whitespace",
  "BertPreTokenizer",
]);

/** Post-processors that take spaces out of the places of byte-level tokens. */
const TRIMMERS: ReadonlySet<string | undefined> = new Set(["ByteLevel", "RobertaProcessing"]);

/** Reads how a tokenizer writes its tokens. */
function styleOf(json: TokenizerJson, normalize: (text: string) => string): TokenStyle {
  const { decoder, model, normalizer, pre_tokenizer: splitter, post_processor: post } = json;
  const prefix = model?.continuing_subword_prefix ?? "";
  const spacer = [splitter, ...(splitter?.pretokenizers ?? [])].find((x) => SPACERS.has(x?.type))?.type;
  const trimmer = [post, ...(post?.processors ?? [])].find((x) => TRIMMERS.has(x?.type) && x?.trim_offsets !== false);
  return {
    isBytes: [decoder, ...(decoder?.decoders ?? [])].some((x) => x?.type === "ByteLevel"),
    prefix,
    suffix: model?.end_of_word_suffix ?? "",
    // Behind "WhitespaceSplit" the white space is gone.
    marksSpace: spacer === undefined || spacer === "Metaspace",
    trims: trimmer == null ? "none" : trimmer.add_prefix_space === false ? "all" : "later",
    unknown: model?.unk_token ?? model?.vocab?.[model.unk_id ?? -1]?.[0] ?? null,
    isUnknownWord: prefix !== "" || model?.type === "WordLevel",
    normalize,
    replaced: [normalizer, ...(normalizer?.normalizers ?? [])].flatMap((x) =>
      x?.type === "Replace" && (x.pattern?.String?.length ?? 0) > 1 ? [x.pattern?.String ?? ""] : [],
    ),
  };
}

/** Joins tokens as the tokenizer's own decoder does; without one, by spaces. */
function joinWords(tokenizer: Tokenizer, words: readonly string[]): string {
  return tokenizer.decoder === null ? words.join(" ") : tokenizer.decoder.decode([...words]);
}

/** The part of a text that was read, with its tokens. */
interface ReadText extends Encoded {
  readonly text: string;
}

/** Which tokens of a text that is too long are kept, and how many there may be. */
interface Cut {
  readonly maxLength: number;
  readonly end: "begin" | "end";
}

/** Counts the special tokens before and after a text's own. */
function splitMarks(
  tokenizer: Tokenizer,
  { text, ids }: Pick<ReadText, "text" | "ids">,
): { readonly text: string; readonly ids: readonly number[]; readonly before: number; readonly after: number } {
  const bare = tokenizer.encode(text, { add_special_tokens: false }).ids;
  const marks = ids.length - bare.length;
  let before = 0;
  while (before < marks && bare.some((id, i) => id !== ids[before + i])) before += 1;
  return { text, ids, before, after: marks - before };
}

/** A text in place of an empty one, whose tokens are left out. */
const PLACEHOLDER = "a";

/**
 * Encodes a pair into at most `maxLength` tokens; of the longer text tokens are left out first, special tokens are kept
 * ("longest_first" of transformers).
 */
function encodePair(tokenizer: Tokenizer, whole: string, wholePair: string, { maxLength, end }: Cut): Encoded {
  const cut = (x: string): string => partOf(tokenizer, x, { maxLength, end }).text;
  const isEmpty = wholePair === "";
  // The tokenizer takes an empty text for none, and leaves out the marks of a pair.
  const [text, pair] = [cut(whole), isEmpty ? PLACEHOLDER : cut(wholePair)];
  const { ids, token_type_ids: types } = tokenizer.encode(text, { text_pair: pair, return_token_type_ids: true });
  if (ids.length <= maxLength && !isEmpty) return { ids, types };
  const [a, b] = [text, pair].map((x) => tokenizer.encode(x, { add_special_tokens: false }).ids.length) as [
    number,
    number,
  ];
  // The order is marks, text, marks, pair, marks; the first marks and the last ones are as many as in a single text.
  // Behind a text that is a mark itself, another token tells them apart.
  const single = text + PLACEHOLDER;
  const { before, after } = splitMarks(tokenizer, { text: single, ids: tokenizer.encode(single).ids });
  const secondAt = ids.length - b - after;
  let [keepA, keepB] = [a, isEmpty ? 0 : b];
  for (let over = ids.length - b + keepB - maxLength; over > 0 && keepA + keepB > 0; over -= 1)
    if (keepA > keepB || (keepA === keepB && a <= b)) keepA -= 1;
    else keepB -= 1;
  const kept = (list: readonly number[], from: number, count: number, keep: number): readonly number[] =>
    end === "begin" ? list.slice(from, from + keep) : list.slice(from + count - keep, from + count);
  const pick = (list: readonly number[]): number[] => [
    ...list.slice(0, before),
    ...kept(list, before, a, keepA),
    ...list.slice(before + a, secondAt),
    ...kept(list, secondAt, b, keepB),
    ...list.slice(secondAt + b),
  ];
  return { ids: pick(ids), types: pick(types) };
}

/**
 * Encodes as much of a text as `maxLength` tokens need: of a long one its begin, or its end, which grows until it has
 * twice as many, so that no token that is kept lies near the cut.
 */
function partOf(tokenizer: Tokenizer, whole: string, { maxLength, end }: Cut): ReadText {
  for (let characters = PIECE_CHARACTERS * maxLength + 1_000; ; characters *= 4) {
    const isWhole = characters >= whole.length;
    const begun = end === "begin" ? whole.slice(0, characters) : whole.slice(-characters);
    // Half of a surrogate pair is no character.
    const text = isWhole ? whole : begun.replace(end === "begin" ? /[\ud800-\udbff]$/ : /^[\udc00-\udfff]/, "");
    const { ids, token_type_ids: types } = tokenizer.encode(text, { return_token_type_ids: true });
    if (isWhole || ids.length > 2 * maxLength) return { text, ids, types };
  }
}

function broken(name: string, asset: string, what: string, cause?: unknown): SelvedgeError {
  return new SelvedgeError(
    "bundle-invalid",
    `Input "${name}" reads texts by "${asset}", which ${what}.`,
    { asset },
    cause,
  );
}
