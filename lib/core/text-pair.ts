// Pairs of texts, as a cross-encoder reads them, in one string: on the way to the worker a pair is a text like any other,
// so that batches, caches and traces need no second form. The separator is a Unicode noncharacter, which no text to be
// exchanged holds (Unicode 23.7).

const SEPARATOR = "\u{10ffff}";

/** Two texts of one row. */
export interface TextPair {
  /** The first text. */
  readonly text: string;
  /** The second text. */
  readonly pair: string;
}

/** Joins a pair; returns any other value as it is. */
export function joinPair(value: unknown): unknown {
  const { text, pair } = Object(value) as Partial<TextPair>;
  return typeof text === "string" && typeof pair === "string" ? text + SEPARATOR + pair : value;
}

/** Splits a joined pair; the second text is null for a single one. */
export function splitPair(joined: string): readonly [text: string, pair: string | null] {
  const at = joined.indexOf(SEPARATOR);
  return at === -1 ? [joined, null] : [joined.slice(0, at), joined.slice(at + SEPARATOR.length)];
}
