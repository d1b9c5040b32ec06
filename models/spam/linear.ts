// Logistic regression over feature counts of texts: TF-IDF weights, 1 + log(count) times the smoothed inverse
// frequency, each text scaled to length 1. It is fitted by stochastic dual coordinate ascent (Yu, Huang and Lin 2011),
// which needs no learning rate.
import { EARLIER_MULTIPLIER, SeededRandom } from "../../lib/compress/run/seeded-random.ts";

/** Number of occurrences of each feature in a text. */
export type Counts<K> = ReadonlyMap<K, number>;

/** A fitted regression. */
export interface Linear<K> {
  /** Returns the log odds for a text's counts. */
  score(counts: Counts<K>): number;
  /** Returns a feature's weight and inverse frequency; undefined for one that fewer than two texts contained. */
  feature(key: K): { readonly weight: number; readonly inverse: number } | undefined;
  readonly bias: number;
}

interface Row {
  readonly at: Int32Array;
  readonly value: Float64Array;
}

const ROUNDS = 40;
/** Squared length of a row with the 1 of its bias. */
const SIZE = 2;

/** Fits a regression. `cost` weighs errors against small weights. */
export function fitLinear<K>(texts: readonly Counts<K>[], isTrue: readonly boolean[], cost = 100): Linear<K> {
  const frequency = new Map<K, number>();
  for (const counts of texts) for (const key of counts.keys()) frequency.set(key, (frequency.get(key) ?? 0) + 1);
  const index = new Map([...frequency].filter(([, n]) => n >= 2).map(([key], i) => [key, i]));
  const inverse = new Float64Array(index.size);
  for (const [key, i] of index) inverse[i] = Math.log((1 + texts.length) / (1 + (frequency.get(key) ?? 0))) + 1;
  const rowOf = (counts: Counts<K>): Row => {
    const known: (readonly [number, number])[] = [];
    for (const [key, n] of counts) {
      const i = index.get(key);
      if (i !== undefined) known.push([i, (1 + Math.log(n)) * (inverse[i] ?? 0)]);
    }
    const length = Math.sqrt(known.reduce((sum, [, x]) => sum + x * x, 0)) || 1;
    return { at: Int32Array.from(known, (x) => x[0]), value: Float64Array.from(known, (x) => x[1] / length) };
  };
  const rows = texts.map(rowOf);
  const weights = new Float64Array(index.size);
  let bias = 0;
  const score = ({ at, value }: Row): number => {
    let sum = bias;
    for (let i = 0; i < at.length; i++) sum += (weights[at[i] ?? 0] ?? 0) * (value[i] ?? 0);
    return sum;
  };
  const move = ({ at, value }: Row, by: number): void => {
    for (let i = 0; i < at.length; i++) {
      const k = at[i] ?? 0;
      weights[k] = (weights[k] ?? 0) + by * (value[i] ?? 0);
    }
    bias += by;
  };
  const dual = new Float64Array(texts.length).fill(cost * 1e-3);
  const signs = isTrue.map((x) => (x ? 1 : -1));
  for (const [i, row] of rows.entries()) move(row, (dual[i] ?? 0) * (signs[i] ?? 0));
  const random = new SeededRandom(1, EARLIER_MULTIPLIER);
  for (let step = 0; step < ROUNDS * texts.length; step++) {
    const i = random.integer() % texts.length;
    const [row, sign, now] = [rows[i], signs[i] ?? 0, dual[i] ?? 0];
    if (row === undefined) continue;
    const next = bestDual(now, sign * score(row), cost);
    dual[i] = next;
    move(row, (next - now) * sign);
  }
  return {
    score: (counts) => score(rowOf(counts)),
    feature: (key) => {
      const i = index.get(key);
      return i === undefined ? undefined : { weight: weights[i] ?? 0, inverse: inverse[i] ?? 0 };
    },
    bias,
  };
}

/** Minimises the dual over one text's coordinate, by Newton's steps kept inside 0…cost. */
function bestDual(now: number, margin: number, cost: number): number {
  let next = now;
  for (let i = 0; i < 8; i++) {
    const gradient = SIZE * (next - now) + margin + Math.log(next / (cost - next));
    const wanted = next - gradient / (SIZE + cost / (next * (cost - next)));
    if (wanted <= 0) next /= 10;
    else next = wanted >= cost ? cost - (cost - next) / 10 : wanted;
  }
  return next;
}
