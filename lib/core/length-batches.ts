// Runs of texts in batches of similar length, which are padded to their longest text.
import { eitherOf } from "./abort.ts";
import type { TextSpec } from "./bundle.ts";
import type { Port } from "./tensor.ts";

/** Bounds on a batch. */
export interface BatchBounds {
  /** Default 32. */
  readonly rowsMax?: number | undefined;
  /** Characters with the padding, of a batch of several rows. Default `CHARACTERS_MAX`. */
  readonly charactersMax?: number | undefined;
}

/** How texts are run. */
export interface TextRuns {
  /** Whether a run may have several texts. */
  readonly isShared: boolean;
  /** As of a batch. */
  readonly charactersMax?: number | undefined;
  /** Runs at once. */
  readonly inFlight: number;
  /** Deadline of all texts together. */
  readonly deadlineMs?: number | undefined;
  /** Ends the runs. */
  readonly signal?: AbortSignal | undefined;
  /** The time in ms. */
  readonly now: () => number;
}

/** Limits of one run. */
export interface TextRunLimits {
  /** Aborted by the caller's signal, and by the first run that failed. */
  readonly signal: AbortSignal;
  /** The time that is left. */
  readonly deadlineMs: number | undefined;
}

/** Bound on characters. */
export const CHARACTERS_MAX = 16_384;

/**
 * Bound on characters for ONNX Runtime's wasm, where larger batches gain nothing and the last ones are too large to be
 * shared among the lanes. Texts of 40 and 120 characters ran fastest at 160 to 500 a batch in three encoders (2 to 6
 * layers, 128 to 768 wide; one run, on a busy machine), and at 0.5 to 0.7 of that rate at 1,300 to 3,800; of 400
 * characters no size was clearly best.
 */
export const CHARACTERS_ON_WASM = 512;

/**
 * Runs texts in batches, the longest texts first, several batches at once. The first error aborts the other runs.
 * @param run - runs the texts of these indices
 */
export async function runByLength(
  texts: readonly string[],
  { isShared, charactersMax, inFlight, deadlineMs, now, signal: own }: TextRuns,
  run: (rows: readonly number[], limits: TextRunLimits) => Promise<void>,
): Promise<void> {
  const waiting = batchesOf(texts, { rowsMax: isShared ? undefined : 1, charactersMax }).values();
  const stop = new AbortController();
  const signal = eitherOf(own, stop.signal);
  const dueMs = now() + (deadlineMs as number);
  const work = async (): Promise<void> => {
    for (const rows of waiting) {
      stop.signal.throwIfAborted();
      // A wrong deadline is left for the run to refuse.
      const leftMs = typeof deadlineMs === "number" ? Math.min(deadlineMs, Math.max(1, dueMs - now())) : deadlineMs;
      await run(rows, { signal, deadlineMs: leftMs });
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, work));
  } catch (error) {
    stop.abort(error);
    throw error;
  }
}

/** Returns the indices of the texts by batch, the longest texts first. */
export function batchesOf(
  texts: readonly string[],
  { rowsMax = 32, charactersMax = CHARACTERS_MAX }: BatchBounds = {},
): number[][] {
  const lengthOf = (i: number): number => (texts[i] ?? "").length;
  const order = texts.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a));
  const batches: number[][] = [];
  for (const i of order) {
    const last = batches.at(-1);
    // The first of a batch is its longest, to which the others are padded.
    const isFull =
      last === undefined || last.length >= rowsMax || (last.length + 1) * lengthOf(last[0] ?? i) > charactersMax;
    if (isFull) batches.push([i]);
    else last.push(i);
  }
  return batches;
}

/**
 * Whether padding leaves the answers of an input's texts as they are: a mask excludes it, or every text is padded to one
 * length.
 */
export function isPaddingHarmless({
  text,
  dims,
  batchAxis,
}: Partial<Pick<Port, "dims" | "batchAxis">> & { readonly text?: Partial<TextSpec> | undefined }): boolean {
  const isFixed = dims?.every((dim, axis) => axis === batchAxis || typeof dim === "number");
  return text?.mask !== undefined || isFixed === true;
}
