// The contract of models of a tokenizer.json: a model finds the tokens of a word in its vocabulary.
import type { Aligned } from "./aligned.ts";

/** The model of a tokenizer.json. */
export interface ModelPart {
  readonly type?: string;
  /** Ids by token; of a Unigram model a list of tokens with their scores. */
  readonly vocab?: Readonly<Record<string, number>> | readonly (readonly [token: string, score: number])[];
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  /** Of a Unigram model. */
  readonly unk_id?: number | null;
  readonly byte_fallback?: boolean | null;
  readonly fuse_unk?: boolean | null;
  readonly ignore_merges?: boolean | null;
  readonly dropout?: number | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
  readonly max_input_chars_per_word?: number;
}

/** A token of a word: its id, and its place in the word's UTF-8 bytes. */
export interface WordToken {
  /** -1 where the vocabulary lacks the word and has no token for that. */
  readonly id: number;
  readonly start: number;
  readonly end: number;
  /** Its text where it is not called as in the vocabulary. */
  readonly text?: string | undefined;
}

/** A token of a text, with the word that it is in. */
export interface TextToken extends WordToken {
  readonly word: Aligned;
}

/** A model with its vocabulary. */
export interface TokenModel {
  readonly ids: ReadonlyMap<string, number>;
  /** The token for what the vocabulary lacks. */
  readonly unknown: string | null;
  readonly tokenize: (word: string) => readonly WordToken[];
}
