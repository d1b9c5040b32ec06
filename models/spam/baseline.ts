// Baseline for the classifier: TF-IDF of words and word pairs with logistic regression. Words are runs of letters,
// digits, currency signs and exclamation marks.
import { fitLinear } from "./linear.ts";

/** Fits the baseline; returns a function from a text to its log odds of spam. */
export function fitBaseline(texts: readonly string[], isSpam: readonly boolean[]): (text: string) => number {
  const { score } = fitLinear(texts.map(count), isSpam);
  return (text) => score(count(text));
}

/** Counts the words and word pairs of a text. */
function count(text: string): Map<string, number> {
  const words = text.toLowerCase().match(/[\p{L}\p{N}$!%']+/gu) ?? [];
  const counts = new Map<string, number>();
  const add = (key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const [i, word] of words.entries()) {
    add(word);
    const next = words[i + 1];
    if (next !== undefined) add(`${word} ${next}`);
  }
  return counts;
}
