// Timeouts of a worker's calls, after which its watchdog ends it: fixed defaults, and for runs the observed durations.
import type { Feeds, WireImage } from "../rpc/messages.ts";

/** For the start of a worker. */
export const START_BOUND_MS = 60_000;
/** Without a byte of the binary: the page then leaves it to the worker, which reports the cause. */
export const SILENT_BOUND_MS = 10_000;
/**
 * Minimum for the start of a worker, however short runs are: a healthy worker may need it on a busy device, and a script
 * that stalls is named after 25 s (diagnose-worker.ts).
 */
export const START_BOUND_MIN_MS = 30_000;
/** Loading, and the first run, which compiles shaders: minutes on a software adapter. */
export const FIRST_BOUND_MS = 180_000;
/** Minimum for a run, however short runs are. */
export const RUN_BOUND_MIN_MS = 10_000;
/** For an idle worker to answer a check; the first call after a page was frozen may be slow. */
export const CHECK_BOUND_MS = 5_000;
/** Factor on the slowest run per element so far, and on the slowest of all. */
const RUN_BOUND_FACTOR = 20;

/**
 * Returns the timeout of a run from the slowest ones so far, in ms and in ms per element, 0 where there was none: that of a
 * first run at most, or twenty times the slowest, since the cost per element of a tiny run says little of a large one.
 */
export function runBound(slowestMs: number, slowestMsPerElement: number, elements: number): number {
  if (slowestMs === 0) return FIRST_BOUND_MS;
  const mostMs = Math.max(FIRST_BOUND_MS, RUN_BOUND_FACTOR * slowestMs);
  return Math.min(mostMs, Math.max(RUN_BOUND_MIN_MS, RUN_BOUND_FACTOR * slowestMsPerElement * elements));
}

/** Counts the elements of a batch, at least one: numbers, pixels, characters. */
export function countElements(items: readonly Feeds[]): number {
  let total = 1;
  for (const { tensors, others } of items) {
    for (const { data } of Object.values(tensors)) total += data.length;
    for (const value of Object.values(others ?? {}))
      total +=
        value.kind === "text"
          ? value.texts.join("").length
          : value.kind === "image"
            ? pixelCount(value.image)
            : value.samples.length;
  }
  return total;
}

function pixelCount(image: WireImage): number {
  if (image instanceof Blob) return image.size; // its number of pixels is not known yet
  return "displayWidth" in image ? image.displayWidth * image.displayHeight : image.width * image.height;
}
