// Weights of words by ablation: each is left out of the mail, everywhere at once, and the change of the log odds is its
// weight. That needs no knowledge of the model, and the texts without a word run as batches.

/** A word and its weight in log odds: above 0 it is evidence of spam. */
export interface WeighedWord {
  readonly word: string;
  readonly weight: number;
}

const WORD = /[\p{L}\p{N}$€£%!][\p{L}\p{N}$€£%!'’-]*/gu;

/** Limit on the words that are tried. */
export const WORDS_MAX = 160;

/** Splits a text into words and the text between them, in order. */
export function pieces(text: string): { readonly text: string; readonly word: string | null }[] {
  const found: { text: string; word: string | null }[] = [];
  let at = 0;
  for (const match of text.matchAll(WORD)) {
    if (match.index > at) found.push({ text: text.slice(at, match.index), word: null });
    found.push({ text: match[0], word: match[0].toLowerCase() });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ text: text.slice(at), word: null });
  return found;
}

/** Splits a text into the words to be marked and the text between them: a page takes each as one node. */
export function runs(
  text: string,
  marked: ReadonlySet<string>,
): { readonly text: string; readonly word: string | null }[] {
  const found: { text: string; word: string | null }[] = [];
  let plain = "";
  for (const piece of pieces(text)) {
    if (piece.word === null || !marked.has(piece.word)) {
      plain += piece.text;
      continue;
    }
    if (plain !== "") found.push({ text: plain, word: null });
    plain = "";
    found.push(piece);
  }
  if (plain !== "") found.push({ text: plain, word: null });
  return found;
}

/** Returns the distinct words of a text in order. */
export function distinctWords(text: string): string[] {
  return [...new Set(pieces(text).flatMap((x) => x.word ?? []))].slice(0, WORDS_MAX);
}

/** Returns a text without a word. */
export function without(text: string, word: string): string {
  return pieces(text)
    .filter((x) => x.word !== word)
    .map((x) => x.text)
    .join("");
}

/** Sorts words by descending weight, and leaves out those without any. */
export function heaviest(words: readonly WeighedWord[], count: number): WeighedWord[] {
  const sorted = [...words].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  return sorted.slice(0, count).filter((x) => Math.abs(x.weight) >= 0.01);
}
