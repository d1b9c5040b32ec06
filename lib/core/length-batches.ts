// Batches of texts of similar length, for runs that are padded to their longest text.
import type { TextSpec } from "./bundle.ts";
import type { Port } from "./tensor.ts";

/** Bounds on a batch: rows, and characters with the padding. */
const ROWS_MAX = 32;
const CHARACTERS_MAX = 16_384;
/** Characters below which a run takes as long with fewer: it mostly reads the weights. */
const CHARACTERS_MIN = 512;

/**
 * Returns the indices of the texts by batch, the longest texts first.
 * @param rowsMax - the most rows of a batch, default 32
 * @param parts - number of batches of long texts at least, so that each lane has one; default 1
 */
export function batchesOf(texts: readonly string[], rowsMax: number = ROWS_MAX, parts = 1): number[][] {
  const all = texts.reduce((sum, x) => sum + x.length, 0);
  const charactersMax = parts <= 1 ? CHARACTERS_MAX : Math.min(CHARACTERS_MAX, Math.max(CHARACTERS_MIN, all / parts));
  const lengthOf = (i: number): number => (texts[i] ?? "").length;
  const order = texts.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a));
  const batches: number[][] = [];
  for (const i of order) {
    const last = batches.at(-1);
    const [longest] = last ?? [];
    // The first of a batch is its longest, to which the others are padded.
    const isFull =
      last === undefined || last.length >= rowsMax || (last.length + 1) * lengthOf(longest ?? i) > charactersMax;
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
