// Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): ranks are added, so scores of different scales, as a
// cosine and BM25, need no weights.

/** Damps the difference between the first ranks; the paper's value. */
const K = 60;

/** A passage with its rank in each list, from 0, or null where the list lacks it. */
export interface Fused {
  readonly id: number;
  readonly ranks: readonly (number | null)[];
}

/** Merges lists of ids, each the best first, into one; of equal sums the one first seen. */
export function fuse(lists: readonly (readonly number[])[], count: number): Fused[] {
  const ranks = lists.map((list) => new Map(list.map((id, rank) => [id, rank])));
  const all = [...new Set(lists.flat())].map((id) => {
    const own = ranks.map((x) => x.get(id) ?? null);
    return { id, ranks: own, sum: own.reduce((sum: number, x) => sum + (x === null ? 0 : 1 / (K + x + 1)), 0) };
  });
  all.sort((a, b) => b.sum - a.sum);
  return all.slice(0, count).map(({ id, ranks }) => ({ id, ranks }));
}
