// The tokens of a text with their places, as decoders read them.
import type { TokenSpan } from "./tokenizer/aligned.ts";

export type { TokenSpan };

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
