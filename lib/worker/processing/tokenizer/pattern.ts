// Expressions of a tokenizer.json, which are Oniguruma's: `@huggingface/tokenizers` translates them.
import { ReplaceNormalizer } from "@huggingface/tokenizers";

/** A text or an expression. */
export interface PatternPart {
  readonly String?: string;
  readonly Regex?: string;
}

/**
 * Returns a global expression of JavaScript.
 * @throws Error for one that has no counterpart
 */
export function patternOf(part: PatternPart | undefined): RegExp {
  const { pattern } = new ReplaceNormalizer({ type: "Replace", pattern: part ?? {}, content: "" });
  if (pattern === null) throw new Error("a pattern that is neither String nor Regex");
  return pattern;
}
