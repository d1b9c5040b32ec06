// Accumulates a score sample by sample. No sample is kept but a few numbers of each, so that any part of the samples can
// be scored afterwards, and a part be drawn again and again for an interval.
import type { MeasuredSample, Tally } from "./metric.ts";

/** Makes a tally whose score follows from sums over the samples; `rowOf` returns a sample's summands. */
export function sumTally<Sample = MeasuredSample>(
  rowOf: (sample: Sample) => ArrayLike<number>,
  scoreOf: (sums: Float64Array) => number,
): { add(sample: Sample): void; value(positions?: readonly number[]): number } {
  const rows: ArrayLike<number>[] = [];
  const sumOf = (picked: readonly ArrayLike<number>[]): Float64Array => {
    const sums = new Float64Array(rows[0]?.length ?? 0);
    for (const row of picked) for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + (row[i] ?? 0);
    return sums;
  };
  return {
    add: (sample) => void rows.push(rowOf(sample)),
    value: (positions) => scoreOf(sumOf(positions === undefined ? rows : positions.map((i) => rows[i] ?? []))),
  };
}

/** Makes a tally whose score is the mean of per-sample scores. */
export function meanTally(score: (sample: MeasuredSample) => number): Tally {
  const scores: number[] = [];
  return {
    scores,
    add: (sample) => void scores.push(score(sample)),
    value(positions) {
      const picked = positions === undefined ? scores : positions.map((i) => scores[i] ?? 0);
      return picked.reduce((a, b) => a + b, 0) / picked.length;
    },
  };
}

/** Restricts a tally to some of its samples. */
export function partOf(tally: Tally, positions: readonly number[]): Tally {
  const { scores } = tally;
  return {
    ...(scores && { scores: positions.map((i) => scores[i] ?? 0) }),
    add: (sample) => {
      tally.add(sample);
    },
    value: (picked) => tally.value(picked === undefined ? positions : picked.map((i) => positions[i] ?? 0)),
  };
}
