// How long a call to a worker may take before its watchdog ends it: what is usual, and for a run what was seen.
import type { Feeds, WireImage, WireValue } from "../rpc/messages.ts";

/** For a worker to start. */
export const START_BOUND_MS = 60_000;
/** A healthy worker may take so long to start on a busy device, however short a run may be. */
export const START_BOUND_MIN_MS = 15_000;
/** Loading, and the first run, which compiles shaders: minutes on a software adapter. */
export const FIRST_BOUND_MS = 180_000;
/** For a run, however short they usually are. */
export const RUN_BOUND_MIN_MS = 10_000;
/** For an idle worker to say that it is there; the first thing after a page was frozen may be slow. */
export const CHECK_BOUND_MS = 5_000;
/** A run may take this many times the slowest per element so far. */
const RUN_BOUND_FACTOR = 20;

/** Bounds a run by the slowest so far, in ms an element; 0 where there was none. */
export function runBound(slowestMsPerElement: number, elements: number): number {
  if (slowestMsPerElement === 0) return FIRST_BOUND_MS;
  return Math.max(RUN_BOUND_MIN_MS, RUN_BOUND_FACTOR * slowestMsPerElement * elements);
}

/** Counts what a batch is made of, at least one: numbers, pixels, letters. */
export function countElements(items: readonly Feeds[]): number {
  let total = 1;
  for (const feeds of items)
    for (const name in feeds) {
      const value = feeds[name] as WireValue;
      if (value.kind === "text") total += value.texts.join("").length;
      else total += value.kind === "tensor" ? value.tensor.data.length : pixelCount(value.image);
    }
  return total;
}

function pixelCount(image: WireImage): number {
  if (image instanceof Blob) return image.size; // how many pixels that makes is not known here
  return "displayWidth" in image ? image.displayWidth * image.displayHeight : image.width * image.height;
}
