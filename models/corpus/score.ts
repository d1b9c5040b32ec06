// Scores of readings: exact lines, character error rate, and the paired difference of two readers. Spaces and line ends
// never count for the character error rate; for exact lines, runs of spaces count as one.

/** Normalises a line for comparison: trims it, and collapses runs of spaces. */
export function tidy(text: string): string {
  return text.replace(/\s+/gu, " ").trim();
}

/** Returns text without any white space. */
export function packed(text: string): string {
  return text.replace(/\s+/gu, "");
}

/** Returns the edit distance of two texts (insert, delete, replace one character). */
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

/** A page's lines as read, and its truth, both in reading order. */
export interface Reading {
  readonly truth: readonly string[];
  readonly read: readonly string[];
}

/** Returns the share of lines read exactly, spaces aside. */
export function exactRate(pairs: readonly { readonly truth: string; readonly read: string }[]): number {
  return pairs.filter(({ truth, read }) => isExact(truth, read)).length / pairs.length;
}

/** Whether a line was read exactly, spaces aside. */
export function isExact(truth: string, read: string): boolean {
  return packed(truth) === packed(read);
}

/** Returns the character error rate over all pages: edits per character of the truth, in reading order. */
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
