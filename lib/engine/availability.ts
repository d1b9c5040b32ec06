// What a model would cost before it is paid for, as the platform's own words say it (`unavailable`, `downloadable`,
// `downloading`, `available`), with the numbers behind them. Looking is done by the worker that fetches models
// (cache/estimate-cost.ts); here what it saw is put together with what this device has measured.
import type { Look } from "../cache/messages.ts";
import type { Placement } from "../core/choose-variant.ts";

/** What it takes to have a model, and whether it will do. */
export interface Availability {
  /** Whether it can be had: not at all, by fetching it, is on its way, is here. */
  readonly state: "unavailable" | "downloadable" | "downloading" | "available";
  /** Why it can't be had; null where it can. */
  readonly why: string | null;
  /** Which variants would be fetched: one, or one for each backend where only measuring tells. */
  readonly variants: readonly string[];
  /** Their size; null where the server does not tell. */
  readonly bytes: number | null;
  /** What of it is not on the device yet. */
  readonly bytesToFetch: number | null;
  /** How long that takes at the rate last seen; null where no rate is known. */
  readonly secondsToFetch: number | null;
  /** How much the browser says that may still be stored. */
  readonly freeBytes: number | null;
  /** Whether the user asks to save bytes (Save-Data). */
  readonly saveData: boolean;
  /** How long a usual request takes on this device, in ms; null where it never ran here. */
  readonly expectedMs: number | null;
  /** Whether that is within the deadline; null where either is not known. */
  readonly canMeetDeadline: boolean | null;
}

/** Puts together what was seen and what was measured; `placement` null where it must still be measured. */
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
