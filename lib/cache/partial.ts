// A chunk in flight. On a slow line its parts are stored as they arrive, so that a page that dies loses little. On a
// fast one they are not: the whole chunk arrives before a part would be written.
import type { BundleChunk } from "../core/bundle.ts";
import type { ModelStore } from "./model-store.ts";
import type { Bytes } from "./stores/store.ts";

/** Size of a part, and the least time between writes that makes one worthwhile. */
const PART_BYTES = 32 * 1024;
const PART_MS = 50;

/** The received bytes of one chunk, from its beginning. */
export class PartialChunk {
  /** As large as the chunk; filled up to `size`. */
  readonly bytes: Bytes;
  /** Number of received bytes. */
  size = 0;
  readonly #chunk: BundleChunk;
  readonly #modelStore: ModelStore | null;
  readonly #now: () => number;
  #keptBytes = 0;
  #keptMs: number;

  /** Creates a partial chunk in a buffer of the chunk's size. */
  constructor(chunk: BundleChunk, bytes: Bytes, modelStore: ModelStore | null, now: () => number) {
    this.bytes = bytes;
    this.#chunk = chunk;
    this.#modelStore = modelStore;
    this.#now = now;
    this.#keptMs = now();
  }

  /** Restores the parts that an earlier page stored; returns the number of bytes. */
  async restore(): Promise<number> {
    for (const part of (await this.#modelStore?.parts(this.#chunk).catch(() => [])) ?? []) {
      this.bytes.set(part, this.size);
      this.size += part.byteLength;
    }
    this.#keptBytes = this.size;
    return this.size;
  }

  /** Appends received bytes; they must fit. */
  async add(part: Uint8Array): Promise<void> {
    this.bytes.set(part, this.size);
    this.size += part.byteLength;
    const isWorthIt = this.size - this.#keptBytes >= PART_BYTES && this.#now() - this.#keptMs >= PART_MS;
    if (this.#modelStore === null || !isWorthIt || this.size === this.bytes.byteLength) return;
    const from = this.#keptBytes;
    this.#keptBytes = this.size;
    // A part that can't be stored is downloaded again.
    await this.#modelStore.keepPart(this.#chunk, from, this.bytes.slice(from, this.size)).catch(() => undefined);
    this.#keptMs = this.#now();
  }

  /** Discards all bytes; returns their number. */
  async reset(): Promise<number> {
    const { size } = this;
    if (size > 0) await this.#modelStore?.dropParts(this.#chunk).catch(() => undefined);
    this.size = 0;
    this.#keptBytes = 0;
    return size;
  }
}
