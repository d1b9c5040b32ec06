// Which words weighed: each is left out of the mail, everywhere at once, and what that does to the log odds is its weight.
// Nothing of the model need be known for it, and the variants without a word run as batches.

/** A word and what it weighs, in log odds: above 0 it speaks for spam. */
export interface WeighedWord {
  readonly word: string;
  readonly weight: number;
}

const WORD = /[\p{L}\p{N}$€£%!][\p{L}\p{N}$€£%!'’-]*/gu;

/** Bounds the words that are tried. */
export const WORDS_MAX = 160;

/** Cuts a text into words and what lies between them, in order. */
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

/** Cuts a text into the words that are to be marked and what lies between them: a page takes each as one node. */
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

/** Lists the words of a text, each once, in the order in which they come. */
export function distinctWords(text: string): string[] {
  return [...new Set(pieces(text).flatMap((x) => x.word ?? []))].slice(0, WORDS_MAX);
}

/** Gives a text without a word. */
export function without(text: string, word: string): string {
  return pieces(text)
    .filter((x) => x.word !== word)
    .map((x) => x.text)
    .join("");
}

/** Sorts words by how much they weigh, the heaviest first, and leaves out those that weigh nothing. */
export function heaviest(words: readonly WeighedWord[], count: number): WeighedWord[] {
  const sorted = [...words].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  return sorted.slice(0, count).filter((x) => Math.abs(x.weight) >= 0.01);
}
