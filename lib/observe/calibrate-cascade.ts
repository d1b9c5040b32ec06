// Calibration of a cascade (`remote.models[…].cascade`): which confidence of this device's model sends a request to the
// larger one. Pure functions of held-out samples that both models have answered; exported by `selvedge/offload`.

/** A held-out sample that both models have answered. */
export interface CascadeSample {
  /** Probability of the first class in the answer of this device's model, 0 to 1. */
  readonly confidence: number;
  /** Whether the answer of this device's model is right. */
  readonly isLocalRight: boolean;
  /** Whether the answer of the larger model is right. */
  readonly isRemoteRight: boolean;
}

/**
 * Aim of a calibration: at most a share of the requests is sent; or at least a share of the answers is as right as the
 * larger model's. Each 0 to 1.
 */
export type CascadeTarget = { readonly share: number } | { readonly agreement: number };

/** A share of samples, with its 95 % interval by Wilson's score. */
export interface SampleShare {
  /** Share of the samples, 0 to 1. */
  readonly value: number;
  /** Lower end of the interval. */
  readonly low: number;
  /** Upper end of the interval. */
  readonly high: number;
}

/** Effect of a threshold on samples. */
export interface CascadeEffect {
  /** The threshold, for the option `escalateBelow`. */
  readonly escalateBelow: number;
  /** Number of samples. */
  readonly count: number;
  /** Samples that are sent to the larger model. */
  readonly share: SampleShare;
  /** Samples whose answer is as right as the larger model's: those that are sent, and those where both are right or wrong. */
  readonly agreement: SampleShare;
  /** Samples whose answer is right. */
  readonly accuracy: SampleShare;
}

/** Quantile of the normal distribution for 95 % on both sides. */
const Z = 1.959964;

/**
 * Chooses the threshold of a cascade on held-out samples: for `share` the highest that sends no more, for `agreement` the
 * lowest that reaches it, and 1 where none does. Samples of one confidence are sent together. Read the effect on other
 * samples than these with `measureCascade`.
 * @throws RangeError without samples, and for a confidence or a target outside 0 to 1
 * @example
 * const samples = [
 *   { confidence: 0.41, isLocalRight: false, isRemoteRight: true },
 *   { confidence: 0.97, isLocalRight: true, isRemoteRight: true },
 * ];
 * show(calibrateCascade(samples, { share: 0.5 }).escalateBelow);
 */
export function calibrateCascade(samples: readonly CascadeSample[], target: CascadeTarget): CascadeEffect {
  const [name, wanted] =
    "share" in target ? (["share", target.share] as const) : (["agreement", target.agreement] as const);
  if (!(wanted >= 0 && wanted <= 1)) throw new RangeError(`${name}: expected a number from 0 to 1, got ${wanted}`);
  check(samples);
  const sorted = [...samples].sort((a, b) => a.confidence - b.confidence);
  const count = sorted.length;
  let agreeing = sorted.filter((x) => x.isLocalRight === x.isRemoteRight).length;
  let escalateBelow = 0;
  for (let sent = 0; sent < count && (name === "share" || agreeing / count < wanted);) {
    const { confidence } = sorted[sent] as CascadeSample;
    let next = sent;
    for (; sorted[next]?.confidence === confidence; next += 1)
      if (sorted[next]?.isLocalRight !== sorted[next]?.isRemoteRight) agreeing += 1;
    // No threshold sends a certain answer.
    if (confidence === 1 || (name === "share" && next / count > wanted)) break;
    sent = next;
    escalateBelow = sorted[sent]?.confidence ?? 1;
  }
  return measureCascade(sorted, escalateBelow);
}

/**
 * Computes the effect of a threshold on samples.
 * @throws as calibrateCascade
 */
export function measureCascade(samples: readonly CascadeSample[], escalateBelow: number): CascadeEffect {
  if (!(escalateBelow >= 0 && escalateBelow <= 1))
    throw new RangeError(`escalateBelow: expected a number from 0 to 1, got ${escalateBelow}`);
  check(samples);
  const shareOf = (isCounted: (sample: CascadeSample, isSent: boolean) => boolean): SampleShare =>
    wilson(samples.filter((x) => isCounted(x, x.confidence < escalateBelow)).length, samples.length);
  return {
    escalateBelow,
    count: samples.length,
    share: shareOf((_, isSent) => isSent),
    agreement: shareOf((x, isSent) => isSent || x.isLocalRight === x.isRemoteRight),
    accuracy: shareOf((x, isSent) => (isSent ? x.isRemoteRight : x.isLocalRight)),
  };
}

function check(samples: readonly CascadeSample[]): void {
  if (samples.length === 0) throw new RangeError("samples: expected at least one");
  for (const { confidence } of samples)
    if (!(confidence >= 0 && confidence <= 1))
      throw new RangeError(`samples: expected confidences from 0 to 1, got ${confidence}`);
}

/** Returns a share with its interval: E. B. Wilson, "Probable inference", J. Am. Stat. Assoc. 22 (1927). */
function wilson(found: number, count: number): SampleShare {
  const value = found / count;
  const spread = Z * Math.sqrt((value * (1 - value)) / count + (Z / (2 * count)) ** 2);
  const centre = value + Z ** 2 / (2 * count);
  const scale = 1 + Z ** 2 / count;
  return { value, low: Math.max(0, (centre - spread) / scale), high: Math.min(1, (centre + spread) / scale) };
}
