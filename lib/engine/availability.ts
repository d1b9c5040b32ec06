// Cost of a model before it is fetched, in the states of the web platform's AI APIs (`unavailable`, `downloadable`,
// `downloading`, `available`), with the numbers behind them. The fetch worker estimates the cost
// (cache/estimate-cost.ts); this file combines its report with the measurements of this device.
import type { Look } from "../cache/messages.ts";
import type { Placement } from "../core/choose-variant.ts";

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
  /** Whether the user asks to save data (Save-Data). */
  readonly saveData: boolean;
  /** Time of a typical request on this device, in ms; null where it never ran here. */
  readonly expectedMs: number | null;
  /** Whether that is within the deadline; null where either is not known. */
  readonly canMeetDeadline: boolean | null;
}

/** Combines the fetch worker's report with measurements; `placement` is null where it must still be measured. */
export function assess(
  { plan, costs, failed, freeBytes, bytesPerSecond, saveData }: Look,
  placement: Placement | null,
  expectedMs: number | null,
  deadlineMs: number | undefined,
): Availability {
  const wanted = placement === null ? costs : costs.filter((x) => x.backend === placement.backend);
  const sum = (pick: (x: (typeof costs)[number]) => number | null): number | null =>
    wanted.reduce<number | null>((total, x) => {
      const bytes = pick(x);
      return total === null || bytes === null ? null : total + bytes;
    }, 0);
  const bytesToFetch = sum((x) => x.bytesToFetch);
  const isUnderWay = wanted.some((x) => x.isUnderWay);
  const reach = bytesToFetch === 0 ? "available" : isUnderWay ? "downloading" : "downloadable";
  return {
    state: failed !== null ? "unavailable" : reach,
    why: failed,
    variants: (plan?.candidates ?? [])
      .filter((x) => placement === null || x.backend === placement.backend)
      .map((x) => x.variant.id),
    bytes: sum((x) => x.bytes),
    bytesToFetch,
    secondsToFetch:
      bytesToFetch === 0 ? 0 : bytesToFetch === null || bytesPerSecond === null ? null : bytesToFetch / bytesPerSecond,
    freeBytes,
    saveData,
    expectedMs,
    canMeetDeadline: expectedMs === null || deadlineMs === undefined ? null : expectedMs <= deadlineMs,
  };
}
