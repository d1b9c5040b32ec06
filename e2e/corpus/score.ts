// How reading is scored: exact lines, character error rate, and the paired difference of two readers.
// Spaces and line ends never count for the character error rate; for exact lines, runs of spaces count as one.

/** Brings a line to the form in which it is compared: outer spaces off, inner runs as one. */
export function tidy(text: string): string {
  return text.replace(/\s+/gu, " ").trim();
}

/** Gives text without any white space. */
export function packed(text: string): string {
  return text.replace(/\s+/gu, "");
}

/** Counts the edits (insert, delete, replace one character) that turn one text into the other. */
export function editDistance(from: string, to: string): number {
  const a = [...from];
  const b = [...to];
  let previous = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [row, char] of a.entries()) {
    const current = [row + 1];
    for (const [column, other] of b.entries()) {
      const replaced = (previous[column] ?? 0) + (char === other ? 0 : 1);
      current.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** A page as read, beside its truth, both in reading order. */
export interface Reading {
  readonly truth: readonly string[];
  readonly read: readonly string[];
}

/** Gives the share of lines read exactly, spaces aside. */
export function exactRate(pairs: readonly { readonly truth: string; readonly read: string }[]): number {
  return pairs.filter(({ truth, read }) => isExact(truth, read)).length / pairs.length;
}

/** Tells whether a line was read exactly, spaces aside. */
export function isExact(truth: string, read: string): boolean {
  return packed(truth) === packed(read);
}

/** Gives the character error rate over all pages: edits over characters of the truth, in reading order. */
export function characterErrorRate(readings: readonly Reading[]): number {
  let edits = 0;
  let characters = 0;
  for (const { truth, read } of readings) {
    const wanted = packed(truth.join(""));
    edits += editDistance(wanted, packed(read.join("")));
    characters += wanted.length;
  }
  return edits / characters;
}

/** A mean with its 95 % interval. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

/** Compares two readers on the same items: the mean of a − b and its 95 % interval (normal, paired). */
export function pairedDifference(a: readonly number[], b: readonly number[]): Interval {
  if (a.length !== b.length || a.length < 2) {
    throw new RangeError(
      `pairedDifference: needs two lists of one length of at least 2, got ${a.length} and ${b.length}`,
    );
  }
  const differences = a.map((value, at) => value - (b[at] ?? Number.NaN));
  const n = differences.length;
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = 1.96 * Math.sqrt(variance / n);
  return { mean, low: mean - half, high: mean + half, n };
}
