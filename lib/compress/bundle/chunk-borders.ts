// Cuts a file into chunks so that unchanged content keeps its chunks in the next version, wherever it then lies in the
// file. Each cut depends on nearby content only, never on the number of bytes before it:
//   a large tensor is a chunk of its own, split at multiples of the maximum from its own start where it is larger;
//   small tensors are grouped; a group ends at a border chosen by the bytes after it, at the latest at the maximum.
// A layer that is inserted, or grows, thus changes its own chunk and at most one adjacent chunk; later cuts stay where
// they were. Content-defined chunking (Xia and others, FastCDC, USENIX ATC 2016) achieves the same without knowing
// tensors, at the price of chunks that span two tensors; the benchmark `delivery` compares them.
import { CHUNK_MAX_BYTES } from "../../core/bundle.ts";

/** Tensors of at least this fraction of the maximum get a chunk of their own. */
const LARGE = 1 / 8;
/** Minimum size of a group before a border may end it, as a fraction of the maximum. */
const LEAST = 1 / 64;
/** One border in this many ends a group. */
const ONE_IN = 8;
/** Number of bytes after a border that are hashed. */
const SEEN = 64;

/**
 * Cuts bytes into chunks of at most `max`, at `borders` (offsets at which tensors begin, ascending) where that is
 * possible. The chunks are views.
 */
export function cutChunks(
  bytes: Uint8Array<ArrayBuffer>,
  borders: readonly number[] = [],
  max: number = CHUNK_MAX_BYTES,
): Uint8Array<ArrayBuffer>[] {
  const seen = (from: number, to: number): Uint8Array<ArrayBuffer> => bytes.subarray(from, to);
  return chunkRanges(bytes.length, seen, borders, max).map(([from, to]) => seen(from, to));
}

/** Returns where the chunks of a file of `length` bytes begin and end; `read` reads a part of it. */
export function chunkRanges(
  length: number,
  read: (from: number, to: number) => Uint8Array,
  borders: readonly number[] = [],
  max: number = CHUNK_MAX_BYTES,
): [from: number, to: number][] {
  const starts = [0, ...borders.filter((x, i) => x > 0 && x < length && x !== borders[i - 1])];
  const chunks: [number, number][] = [];
  const cut = (from: number, to: number): void => {
    // Relative to the tensor's own start, so that preceding content does not move its cuts.
    for (let at = from; at < to; at += max) chunks.push([at, Math.min(at + max, to)]);
  };
  let from = 0;
  let wasLarge = false;
  for (const [i, start] of starts.entries()) {
    const end = starts[i + 1] ?? length;
    const isLarge = end - start >= max * LARGE;
    const isEnd =
      isLarge ||
      wasLarge ||
      end - from > max ||
      (start - from >= max * LEAST && fingerprint(read(start, Math.min(start + SEEN, length))) % ONE_IN === 0);
    if (start > from && isEnd) {
      cut(from, start);
      from = start;
    }
    wasLarge = isLarge;
  }
  cut(from, length);
  return chunks;
}

/** Hashes the bytes after a border (FNV-1a). */
function fingerprint(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  // The low bits alone are weakly mixed.
  return (hash ^ (hash >>> 15)) >>> 0;
}
