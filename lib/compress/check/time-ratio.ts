// Latency of a form relative to float32: interleaved rounds, until the 95 % interval of the ratio is narrow. A ratio that
// does not settle, or that is measured while other work holds the processor, is no figure: it would steer every device
// that loads the bundle.

/** A ratio, or the reason why there is none. */
export type TimeRatio = { readonly ratio: number } | { readonly why: string };

/** Clocks in milliseconds: time that passed, and time that this process spent on a processor. */
export interface Clocks {
  now(): number;
  busy(): number;
}

/** The clocks of this process. */
export const PROCESS_CLOCKS: Clocks = {
  now: () => performance.now(),
  busy: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

/**
 * Where a run of either takes less, they are not compared: the call itself takes most of such a run, not the kernels in
 * which a form differs.
 */
const LEAST_MS = 0.2;
/** A round is long enough for the clocks' resolution. */
const ROUND_MS = 20;
const ROUNDS = { least: 15, most: 200 } as const;
const BUDGET_MS = 15_000;
/** Largest ratio of the interval's ends. */
const NARROW = 1.1;
/** Rounds after which a machine that is busy throughout is given up. */
const GIVEN_UP = 20;
/** Share of a round that this process must hold the processor for: below it, other work disturbs the round. */
const HELD = 0.9;

/** Measures how long `form` takes relative to `reference`; both are run once per call. */
export async function measureRatio(
  form: () => Promise<unknown>,
  reference: () => Promise<unknown>,
  clocks: Clocks = PROCESS_CLOCKS,
): Promise<TimeRatio> {
  const started = clocks.now();
  let disturbed = 0;
  const timed = async (run: () => Promise<unknown>, times: number): Promise<{ ms: number; isHeld: boolean }> => {
    const [start, held] = [clocks.now(), clocks.busy()];
    for (let i = 0; i < times; i++) await run();
    const ms = clocks.now() - start;
    return { ms, isHeld: clocks.busy() - held >= ms * HELD };
  };
  for (const run of [form, reference]) await timed(run, 2);
  const shortest = [Infinity, Infinity];
  for (let i = 0; i < 5; i++)
    for (const [at, run] of [form, reference].entries())
      shortest[at] = Math.min(shortest[at] ?? 0, (await timed(run, 1)).ms);
  const longer = Math.max(...shortest);
  if (longer < LEAST_MS)
    return { why: `under ${LEAST_MS} ms here, and so is float32's: the call itself takes most of both` };
  const times = Math.ceil(ROUND_MS / longer);
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS.most && clocks.now() - started < BUDGET_MS; round++) {
    // The order alternates: the second run finds warmer caches, or a hotter processor.
    const isFirst = round % 2 === 0;
    const a = await timed(isFirst ? form : reference, times);
    const b = await timed(isFirst ? reference : form, times);
    if (a.isHeld && b.isHeld) ratios.push(isFirst ? a.ms / b.ms : b.ms / a.ms);
    else disturbed++;
    if (disturbed >= GIVEN_UP && ratios.length * 4 < disturbed) break;
    const bounds = ratios.length < ROUNDS.least ? null : quantileBounds(ratios);
    if (bounds !== null && bounds.high / bounds.low <= NARROW) return { ratio: bounds.median };
  }
  const rounds = `${ratios.length + disturbed} rounds`;
  if (disturbed >= ratios.length) return { why: `not stable here: other work ran in ${disturbed} of ${rounds}` };
  const bounds = quantileBounds(ratios);
  const range = bounds === null ? "" : `, ${bounds.low.toFixed(2)} to ${bounds.high.toFixed(2)} times float32's`;
  return { why: `not stable here: ${rounds}${range}` };
}
/** A median and its 95 % interval. */
interface RatioInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Returns the median with its interval from order statistics, which assumes no distribution; null below 6 values. */
function quantileBounds(values: readonly number[]): RatioInterval | null {
  const n = values.length;
  if (n < 6) return null;
  const sorted = [...values].sort((a, b) => a - b);
  // Positions around the middle, not core/quantile.ts's ranks: those of the ends depend on the number of values.
  const half = 0.98 * Math.sqrt(n);
  const at = (place: number): number => sorted[Math.max(0, Math.min(n - 1, Math.round(place)))] ?? 0;
  return { median: at((n - 1) / 2), low: at((n - 1) / 2 - half), high: at((n - 1) / 2 + half) };
}
