// Tokenizes texts by a tokenizer.json as the library in Rust does that `tokenizers` in Python is made of, with the place of
// each token: normalizer, added tokens, pre-tokenizer, model, post-processor and decoder are files beside this one.
import type { AddedTokenPart, FindSections, TextSection } from "./added-tokens.ts";
import { createFinder } from "./added-tokens.ts";
import type { Aligned, TokenSpan } from "./aligned.ts";
import { aligned, slice } from "./aligned.ts";
import type { DecoderPart } from "./decoders.ts";
import { createDecoder } from "./decoders.ts";
import { byteLength } from "./bytes.ts";
import { createModel } from "./create-model.ts";
import type { ModelPart, TextToken } from "./model.ts";
import type { NormalizerPart } from "./normalizers.ts";
import { createNormalizer } from "./normalizers.ts";
import { spansOf, trimSpan } from "./places.ts";
import type { MakeRow, ProcessorPart } from "./rows.ts";
import { createRows, trimmersOf } from "./rows.ts";
import type { SplitterPart } from "./splitters.ts";
import { createSplitter } from "./splitters.ts";

/** A parsed tokenizer.json. */
export interface TokenizerJson {
  readonly added_tokens?: readonly AddedTokenPart[];
  readonly normalizer?: NormalizerPart | null;
  readonly pre_tokenizer?: SplitterPart | null;
  readonly post_processor?: ProcessorPart | null;
  readonly decoder?: DecoderPart | null;
  readonly model?: ModelPart | null;
  readonly padding?: { readonly pad_id?: number } | null;
  readonly truncation?: { readonly direction?: string } | null;
}

/** Tokenizes texts. */
export interface TextTokenizer {
  /** Returns the tokens of a text, without special ones. */
  readonly tokenize: (text: string) => TextToken[];
  /** Adds the special tokens to those of a text or of a pair. */
  readonly makeRow: MakeRow;
  /** Finds the places of a text's tokens. */
  readonly spansOf: (text: string, tokens: readonly TextToken[]) => TokenSpan[];
  /** Returns a token as the vocabulary has it. */
  readonly nameOf: (id: number) => string | null;
  /** The token for what the vocabulary lacks. */
  readonly unknown: string | null;
  /** Joins tokens to a text. */
  readonly join: (tokens: readonly string[]) => string;
}

/**
 * Creates a tokenizer.
 * @throws Error that names a part which is not supported
 */
export function createTokenizer(json: TokenizerJson): TextTokenizer {
  const [normalize, split, model] = [
    createNormalizer(json.normalizer),
    createSplitter(json.pre_tokenizer),
    createModel(json.model),
  ];
  // A token that the model has too keeps the model's id.
  const added = (json.added_tokens ?? []).map((x) => ({ ...x, id: model.ids.get(x.content) ?? x.id }));
  const [findPlain, findNormalized] = findersOf(added, (content) => normalize(aligned(content)).text);
  const tokensOf = (x: Aligned, sections: readonly TextSection[], between: (x: Aligned) => TextToken[]): TextToken[] =>
    sections.flatMap(({ start, end, token }) => {
      const word = slice(x, start, end);
      return token === null ? between(word) : [addedToken(token.id, word)];
    });
  const wordsOf = (x: Aligned): TextToken[] =>
    split(x).flatMap((word) =>
      model.tokenize(word.text).map(({ id, start, end, text }): TextToken => ({ id, start, end, text, word })),
    );
  const normalized = (x: Aligned): TextToken[] => {
    const now = normalize(x);
    return tokensOf(now, findNormalized(now.text), wordsOf);
  };
  const names = new Map(Array.from(model.ids, ([name, id]) => [id, name]));
  for (const x of added) names.set(x.id, x.content);
  const nameOf = (id: number): string | null => names.get(id) ?? null;
  const trimmers = trimmersOf(json.post_processor);
  return {
    tokenize: (text) => tokensOf(aligned(text), findPlain(text), normalized),
    makeRow: createRows(json.post_processor),
    spansOf: (text, tokens) => {
      const spans = spansOf(text, tokens);
      const nameAt = (i: number): string => tokens[i]?.text ?? nameOf(tokens[i]?.id ?? -1) ?? "";
      return trimmers.reduce((now, x) => now.map((span, i) => trimSpan(text, span, nameAt(i), x, i === 0)), spans);
    },
    nameOf,
    unknown: model.unknown,
    join: createDecoder(json.decoder),
  };
}

/** Returns how tokens are found in a text as it is, and in a normalized one. */
function findersOf(
  added: readonly AddedTokenPart[],
  formOf: (content: string) => string,
): readonly [FindSections, FindSections] {
  const isNormalized = (x: AddedTokenPart): boolean => x.normalized ?? x.special !== true;
  // Of tokens with one form the first counts; in Rust it is any of them.
  const own = [...added].reverse();
  return [
    createFinder(new Map(own.filter((x) => !isNormalized(x)).map((x) => [x.content, x]))),
    createFinder(new Map(own.filter(isNormalized).map((x) => [formOf(x.content), x]))),
  ];
}

function addedToken(id: number, word: Aligned): TextToken {
  return { id, word, start: 0, end: byteLength(word.text), text: word.text };
}
