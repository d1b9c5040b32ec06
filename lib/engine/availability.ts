// Cost of a model before it is fetched, in the states of the web platform's AI APIs (`unavailable`, `downloadable`,
// `downloading`, `available`), with the numbers behind them. The fetch worker estimates the cost
// (cache/estimate-cost.ts); this file combines its report with the measurements of this device.
import type { CostEstimate } from "../cache/messages.ts";
import type { BackendChoice } from "../core/choose-variant.ts";
import type { LoadHost } from "./load-plan.ts";
import { backend, checkOptions, deadlineMs } from "./check-options.ts";
import type { AvailabilityOptions, SourceOptions } from "./options.ts";
import { keyOf } from "./routes.ts";

/** Cost of a model, and whether it can meet the deadline. */
export interface Availability {
  /** Whether the model can't be used here, must be fetched, is being fetched, or is stored. */
  readonly state: "unavailable" | "downloadable" | "downloading" | "available";
  /** Reason for `unavailable`; else null. */
  readonly why: string | null;
  /** Variants that would be fetched: one, or one per backend where only a measurement decides. */
  readonly variants: readonly string[];
  /** Size of the variants; null where the server does not report it. */
  readonly bytes: number | null;
  /** Bytes of them that are not on the device yet. */
  readonly bytesToFetch: number | null;
  /** Estimated download time at the last observed rate; null where no rate is known. */
  readonly secondsToFetch: number | null;
  /** Free storage as the browser reports it. */
  readonly freeBytes: number | null;
  /**
   * Predicted peak memory of the load and a run, in bytes. The run of a bare model, and of one from a repository, is read
   * from its graph once it is stored here, a text taken for 128 tokens; before that, and where the size of an input is not
   * known, it is that of the load alone (`fitsWhy` says so). Null where the size of the file is not known.
   */
  readonly memoryBytes: number | null;
  /** Whether that fits on this device: `no` is refused by a load, `tight` is uncertain; null where it is not known. */
  readonly fits: "yes" | "tight" | "no" | null;
  /** One sentence with the numbers behind `fits`. */
  readonly fitsWhy: string | null;
  /** Whether the user asks to save data (Save-Data). */
  readonly saveData: boolean;
  /** Time of a typical request on this device, in ms; null where it never ran here. */
  readonly expectedMs: number | null;
  /** Whether that is within the deadline; null where either is not known. */
  readonly canMeetDeadline: boolean | null;
}

/** Checks the options of `engine.availability`. */
export function checkAvailabilityOptions(options: AvailabilityOptions): void {
  checkOptions("availability", options, { deadlineMs, signal: null, backend, variant: null });
}

/** Estimates the cost of a model at an address. */
export async function assess(
  { opener, chooser, executor }: LoadHost,
  from: string,
  options: AvailabilityOptions & SourceOptions,
  signal: AbortSignal,
): Promise<Availability> {
  const estimate = await opener.estimate(from, options, signal);
  const { plan } = estimate;
  const { choice = null, ms = null } = plan === null ? {} : (await chooser.open()).expect(plan);
  const at = plan?.candidates.find((x) => x.backend === choice?.backend);
  const learnt = plan && at && executor.dispatcher.expectedMs(keyOf(plan.identity, at.variant.id, at.backend));
  return combine(estimate, choice, learnt ?? ms, options.deadlineMs);
}

/** Asks the app's `onSaveData` before a model is fetched. Throws an `AbortError` where it declines. */
export async function askOnSaveData(
  host: LoadHost,
  from: string,
  options: SourceOptions,
  signal: AbortSignal,
): Promise<void> {
  const cost = await assess(host, from, options, signal);
  // The load itself reports the error.
  if (cost.bytesToFetch === 0 || cost.state === "unavailable" || Boolean(await options.onSaveData?.(cost))) return;
  throw new DOMException("Save-Data is on and onSaveData declined, so nothing was fetched.", "AbortError");
}

/** Combines the fetch worker's report with measurements; `choice` is null where it must still be measured. */
function combine(
  { plan, costs, failed, unfit, freeBytes, bytesPerSecond, saveData }: CostEstimate,
  choice: BackendChoice | null,
  expectedMs: number | null,
  deadlineMs: number | undefined,
): Availability {
  const wanted = choice === null ? costs : costs.filter((x) => x.backend === choice.backend);
  const sum = (pick: (x: (typeof costs)[number]) => number | null): number | null =>
    wanted.reduce<number | null>((total, x) => {
      const bytes = pick(x);
      return total === null || bytes === null ? null : total + bytes;
    }, 0);
  const bytesToFetch = sum((x) => x.bytesToFetch);
  // Two are both loaded to be measured.
  const fits = unfit === null ? wanted.map((x) => x.fit) : [unfit];
  const sure = fits.filter((x) => x !== null);
  const worst = sure.find((x) => x.fits !== "yes") ?? sure[0] ?? null;
  const isUnderWay = wanted.some((x) => x.isUnderWay);
  const reach = bytesToFetch === 0 ? "available" : isUnderWay ? "downloading" : "downloadable";
  return {
    state: failed !== null ? "unavailable" : reach,
    why: failed,
    variants: (plan?.candidates ?? [])
      .filter((x) => choice === null || x.backend === choice.backend)
      .map((x) => x.variant.id),
    bytes: sum((x) => x.bytes),
    bytesToFetch,
    secondsToFetch:
      bytesToFetch === 0 ? 0 : bytesToFetch === null || bytesPerSecond === null ? null : bytesToFetch / bytesPerSecond,
    freeBytes,
    memoryBytes: sure.length === 0 ? null : sure.reduce((total, x) => total + x.memoryBytes, 0),
    fits: worst?.fits ?? null,
    fitsWhy: worst?.why ?? null,
    saveData,
    expectedMs,
    canMeetDeadline: expectedMs === null || deadlineMs === undefined ? null : expectedMs <= deadlineMs,
  };
}
