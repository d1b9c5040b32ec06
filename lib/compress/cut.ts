// Where a file is cut into chunks: so that what did not change keeps its chunks in the next version, wherever in the file
// it lies then. Every cut is decided by what is near it, never by how much stands before it:
//   a large tensor is a chunk of its own, split at multiples of the bound from its own beginning where it is larger;
//   small tensors are grouped; a group ends at a border that the bytes behind it choose, at the bound at the latest.
// A layer that is inserted, or grows, thus changes its own chunk and at most one beside it; the cuts after it fall where
// they fell before. Content-defined cutting (Xia and others, FastCDC, USENIX ATC 2016) does the same without knowing
// tensors, at the price of chunks that two tensors share; the benchmark `delivery` compares them.
import { CHUNK_MAX_BYTES } from "../bundle.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A tensor of this part of the bound stands alone. */
const LARGE = 1 / 8;
/** A group holds at least this part of the bound before its end may be chosen. */
const LEAST = 1 / 64;
/** One border in so many ends a group. */
const ONE_IN = 8;
/** How many bytes behind a border choose it. */
const SEEN = 64;

/**
 * Cuts bytes into chunks of at most `max`, at `borders` (offsets at which tensors begin, ascending) where that is
 * possible. The chunks are views.
 */
export function cutChunks(bytes: Bytes, borders: readonly number[] = [], max: number = CHUNK_MAX_BYTES): Bytes[] {
  const starts = [0, ...borders.filter((x, i) => x > 0 && x < bytes.length && x !== borders[i - 1])];
  const chunks: Bytes[] = [];
  const cut = (from: number, to: number): void => {
    // From its own beginning on, so that what stands before a tensor does not move its cuts.
    for (let at = from; at < to; at += max) chunks.push(bytes.subarray(at, Math.min(at + max, to)));
  };
  let from = 0;
  let wasLarge = false;
  for (const [i, start] of starts.entries()) {
    const end = starts[i + 1] ?? bytes.length;
    const isLarge = end - start >= max * LARGE;
    const isEnd =
      isLarge ||
      wasLarge ||
      end - from > max ||
      (start - from >= max * LEAST && fingerprint(bytes, start) % ONE_IN === 0);
    if (start > from && isEnd) {
      cut(from, start);
      from = start;
    }
    wasLarge = isLarge;
  }
  cut(from, bytes.length);
  return chunks;
}

/** Hashes the bytes behind a border (FNV-1a). */
function fingerprint(bytes: Bytes, at: number): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes.subarray(at, at + SEEN)) hash = Math.imul(hash ^ byte, 0x01000193);
  // The low bits alone are weak.
  return (hash ^ (hash >>> 15)) >>> 0;
}
