// Verdict on one workload: the scheduler's goodput beside the best policy's and the upper bound.
import { bestPolicy, upperBound } from "./bound.ts";
import { drive } from "./drive.ts";
import { Random } from "../random.ts";
import { goodput } from "./workload.ts";
import type { Family } from "./workloads.ts";

/** Goodput of one workload. */
export interface GoodputResult {
  readonly seed: number;
  /** Requests that count. */
  readonly asked: number;
  /** Number of them that the scheduler answered by their deadline. */
  readonly ours: number;
  /** The same for the best policy that knows the true costs, and its name. */
  readonly best: number;
  readonly policy: string;
  /** Upper bound that no schedule exceeds. */
  readonly upper: number;
}

/** Summary of a family's verdicts. */
export interface Summary {
  readonly name: string;
  readonly workloads: number;
  /** Mean of ours / best policy. */
  readonly mean: number;
  /** Minimum of ours / best policy, and its seed. */
  readonly least: number;
  readonly leastSeed: number;
  /** Mean of ours / upper bound. */
  readonly ofUpper: number;
  /** Mean of ours / requests that count. */
  readonly answered: number;
}

/** Goals for the mean and the minimum of ours / best policy. */
export const GOAL: { readonly mean: number; readonly least: number } = { mean: 0.9, least: 0.6 };

/** Judges one workload of a family. */
export function judge({ draw }: Family, seed: number): GoodputResult {
  const workload = draw(new Random(seed));
  const { policy, goodput: best } = bestPolicy(workload);
  const asked = workload.jobs.filter(({ atMs }) => atMs >= workload.countsFromMs).length;
  const ours = goodput(workload, drive(workload, seed).runs);
  return { seed, asked, ours, best, policy: `${policy.order}, ${policy.admission}`, upper: upperBound(workload) };
}

/** Summarises a family's verdicts. */
export function summarise(name: string, verdicts: readonly GoodputResult[]): Summary {
  const mean = (of: (x: GoodputResult) => number): number =>
    verdicts.reduce((sum, x) => sum + of(x), 0) / verdicts.length;
  // A workload of which no policy answers anything has no ratio.
  const ratio = ({ ours, best }: GoodputResult): number => (best === 0 ? 1 : ours / best);
  let worst = verdicts[0] as GoodputResult;
  for (const x of verdicts) if (ratio(x) < ratio(worst)) worst = x;
  return {
    name,
    workloads: verdicts.length,
    mean: mean(ratio),
    least: ratio(worst),
    leastSeed: worst.seed,
    ofUpper: mean(({ ours, upper }) => (upper === 0 ? 1 : ours / upper)),
    answered: mean(({ ours, asked }) => ours / asked),
  };
}

/** Whether a family reaches the goals. */
export function reaches({ mean, least }: Summary): boolean {
  return mean >= GOAL.mean && least >= GOAL.least;
}
