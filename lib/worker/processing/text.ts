// Tokenizes texts by the tokenizer.json of a bundle: the same in a worker, in calibration and in a test. This file adds the
// padding of a batch to one length, the attention mask, and the bound on the length.
import type { BundleInput, TextSpec } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import { arrayOver } from "../../core/tensor.ts";
import { splitPair } from "../../core/text-pair.ts";
import type { NumericDtype, Tensor } from "../../core/tensor.ts";
import { spansBeforeLowercase } from "./spans.ts";
import type { TokenSpan, TextTokens } from "./spans.ts";
import { trimSpaces } from "./tokenizer/spaces.ts";
import type { RowToken } from "./tokenizer/rows.ts";
import { createTokenizer } from "./tokenizer/tokenizer.ts";
import type { TextToken } from "./tokenizer/model.ts";
import type { TextTokenizer, TokenizerJson } from "./tokenizer/tokenizer.ts";

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
  readonly encode: (text: string) => readonly RowToken[];
  readonly tokens: (text: string) => TextTokens | null;
  /** The file's own padding token; undefined where it names none. */
  readonly padId: number | undefined;
  /** Whether the last token is the one that stands for the text. */
  readonly endsWithClass: boolean;
}

/** The tokens of a row. */
type Row = readonly RowToken[];

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
      of: (row: Row, at: number) => row[at]?.id ?? input.pad?.value ?? encoder?.padId ?? spec.padId ?? 0,
    },
    ...(spec.mask === undefined
      ? []
      : [{ name: spec.mask, of: (row: Row, at: number) => Number(row[at] !== undefined) }]),
    ...(spec.positions === undefined ? [] : [{ name: spec.positions, of: (_: Row, at: number) => Math.max(0, at) }]),
    ...(spec.types === undefined ? [] : [{ name: spec.types, of: (row: Row, at: number) => row[at]?.type ?? 0 }]),
  ];
  const fixed = input.dims.find((_, axis) => axis !== input.batchAxis);
  // A longer text would lose its last special token.
  const maxLength = typeof fixed === "number" ? Math.min(spec.maxLength, fixed) : spec.maxLength;
  const ready = (): Encoder => (encoder ??= encoderOf(input.name, { ...spec, maxLength }, assets));
  const read = (texts: readonly string[]): Record<string, Tensor> => {
    const { encode, endsWithClass } = ready();
    const isPaddedBefore = endsWithClass && !isByToken;
    const rows = texts.map(encode);
    const longest = rows.reduce((most, x) => Math.max(most, x.length), 1);
    const length = typeof fixed === "number" ? fixed : spec.fill === true ? Math.max(maxLength, longest) : longest;
    return Object.fromEntries(
      fills.map(({ name, of }) => {
        const dtype = (inputs.find((x) => x.name === name) ?? input).dtype as NumericDtype;
        const data = arrayOver(dtype, new ArrayBuffer(rows.length * length * (SIZES[dtype] ?? 0)));
        for (const [row, encoded] of rows.entries())
          for (let at = 0; at < length; at++) {
            const value = of(encoded, isPaddedBefore ? at - length + encoded.length : at);
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
function encoderOf(name: string, spec: TextSpec, assets: Readonly<Record<string, string>>): Encoder {
  const { tokenizer: asset, lowercase = false, trim = false } = spec;
  const { tokenizer, json } = readTokenizer(name, asset, assets);
  const cut: Cut = {
    maxLength: spec.maxLength,
    end: spec.keeps ?? (json.truncation?.direction === "Left" ? "end" : "begin"),
  };
  const cased = (text: string): string => (lowercase ? text.toLowerCase() : text);
  const trimmed = (text: string): string => (trim ? trimSpaces(text) : text);
  const encode = (row: string): Row => {
    const [text, pair] = splitPair(cased(row));
    const foundIn = (x: string): readonly TextToken[] => partOf(tokenizer, trimmed(x), cut).found;
    const encoded = cutRow(tokenizer, foundIn(text), pair === null ? null : foundIn(pair), cut);
    if (!encoded.every((x) => isId(x.id)))
      throw broken(name, asset, "has no token for what it does not know (unk_token)");
    return encoded;
  };
  const tokens = (row: string): TextTokens | null => {
    const [original, pair] = splitPair(row);
    if (pair !== null) return null;
    const untrimmed = cased(original);
    const whole = trimmed(untrimmed);
    const { text, found } = partOf(tokenizer, whole, cut);
    const encoded = cutRow(tokenizer, found, null, cut);
    const offset = untrimmed.indexOf(whole) + (cut.end === "begin" ? 0 : whole.length - text.length);
    const all = tokenizer.spansOf(text, found).map(([a, b]): TokenSpan => [a + offset, b + offset]);
    const spans = lowercase ? spansBeforeLowercase(original, all) : all;
    const byToken = new Map(found.map((x, i) => [x, spans[i] ?? null]));
    return {
      text: original,
      spans: encoded.map((x) => (x.token === null ? null : (byToken.get(x.token) ?? null))),
      words: encoded.map((x) => (x.token === null ? "" : (tokenizer.nameOf(x.id) ?? ""))),
      marksParts: (json.model?.continuing_subword_prefix ?? "") !== "",
      unknown: tokenizer.unknown,
      join: tokenizer.join,
    };
  };
  return {
    encode,
    tokens,
    padId: isId(json.padding?.pad_id) ? json.padding?.pad_id : undefined,
    endsWithClass: endsWithClass(json),
  };
}

/** Reads the tokenizer of an input. */
function readTokenizer(
  name: string,
  asset: string,
  assets: Readonly<Record<string, string>>,
): { readonly tokenizer: TextTokenizer; readonly json: TokenizerJson } {
  const file = assets[asset];
  if (file === undefined) throw broken(name, asset, "is missing");
  try {
    const json = JSON.parse(file) as TokenizerJson;
    return { tokenizer: createTokenizer(json), json };
  } catch (error) {
    const why = error instanceof Error ? ` (${error.message})` : "";
    throw broken(name, asset, `is not a tokenizer.json that this release reads${why}`, error);
  }
}

/** Whether texts end with a token of a third type, as XLNet's do: a model reads the class of a text there. */
function endsWithClass({ post_processor: post }: TokenizerJson): boolean {
  return [post, ...(post?.processors ?? [])].some((x) => (x?.single?.at(-1)?.SpecialToken?.type_id ?? 0) > 1);
}

/** Whether a value is a token's id. */
function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Which tokens of a text that is too long are kept, and how many there may be. */
interface Cut {
  readonly maxLength: number;
  readonly end: "begin" | "end";
}

/**
 * Makes a row of at most `maxLength` tokens; of the longer text of a pair tokens are left out first, special tokens are
 * kept ("longest_first" of transformers).
 */
function cutRow(tokenizer: TextTokenizer, a: readonly TextToken[], b: readonly TextToken[] | null, cut: Cut): Row {
  const marks = tokenizer.makeRow([], b === null ? null : []).length;
  let [keepA, keepB] = [a.length, b?.length ?? 0];
  for (let over = keepA + keepB + marks - cut.maxLength; over > 0 && keepA + keepB > 0; over -= 1)
    if (keepA > keepB || (keepA === keepB && a.length <= (b?.length ?? 0))) keepA -= 1;
    else keepB -= 1;
  const kept = (tokens: readonly TextToken[], keep: number): readonly TextToken[] =>
    cut.end === "begin" ? tokens.slice(0, keep) : tokens.slice(tokens.length - keep);
  return tokenizer.makeRow(kept(a, keepA), b === null ? null : kept(b, keepB)).slice(0, cut.maxLength);
}

/**
 * Tokenizes as much of a text as `maxLength` tokens need: of a long one its begin, or its end, which grows until it has
 * twice as many, so that no token that is kept lies near the cut.
 */
function partOf(
  tokenizer: TextTokenizer,
  whole: string,
  { maxLength, end }: Cut,
): { readonly text: string; readonly found: readonly TextToken[] } {
  for (let characters = PIECE_CHARACTERS * maxLength + 1_000; ; characters *= 4) {
    const isWhole = characters >= whole.length;
    const begun = end === "begin" ? whole.slice(0, characters) : whole.slice(-characters);
    // Half of a surrogate pair is no character.
    const text = isWhole ? whole : begun.replace(end === "begin" ? /[\ud800-\udbff]$/ : /^[\udc00-\udfff]/, "");
    const found = tokenizer.tokenize(text);
    if (isWhole || found.length > 2 * maxLength) return { text, found };
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
