// A chunk on its way. On a slow line its parts are kept as they come, so that a page that dies loses little: not on a
// fast one, where a chunk is here before a part would be written.
import type { BundleChunk } from "../core/bundle.ts";
import type { Shelf } from "./model-store.ts";
import type { Bytes } from "./stores/store.ts";

/** How many bytes make a part, and how long they must have taken to be worth a write. */
const PART_BYTES = 32 * 1024;
const PART_MS = 50;

/** The bytes of one chunk, as far as they are here. */
export class PartialChunk {
  /** As large as the chunk; filled up to `size`. */
  readonly bytes: Bytes;
  /** How many bytes are here. */
  size = 0;
  readonly #chunk: BundleChunk;
  readonly #shelf: Shelf | null;
  readonly #now: () => number;
  #keptBytes = 0;
  #keptMs: number;

  /** Makes one in bytes of the chunk's size. */
  constructor(chunk: BundleChunk, bytes: Bytes, shelf: Shelf | null, now: () => number) {
    this.bytes = bytes;
    this.#chunk = chunk;
    this.#shelf = shelf;
    this.#now = now;
    this.#keptMs = now();
  }

  /** Takes up what an earlier page kept; gives how many bytes that are. */
  async restore(): Promise<number> {
    for (const part of (await this.#shelf?.parts(this.#chunk).catch(() => [])) ?? []) {
      this.bytes.set(part, this.size);
      this.size += part.byteLength;
    }
    this.#keptBytes = this.size;
    return this.size;
  }

  /** Takes in what came; it must fit. */
  async add(part: Uint8Array): Promise<void> {
    this.bytes.set(part, this.size);
    this.size += part.byteLength;
    const isWorthIt = this.size - this.#keptBytes >= PART_BYTES && this.#now() - this.#keptMs >= PART_MS;
    if (this.#shelf === null || !isWorthIt || this.size === this.bytes.byteLength) return;
    const from = this.#keptBytes;
    this.#keptBytes = this.size;
    // What can't be kept comes again.
    await this.#shelf.keepPart(this.#chunk, from, this.bytes.slice(from, this.size)).catch(() => undefined);
    this.#keptMs = this.#now();
  }

  /** Forgets all of it; gives how many bytes that were. */
  async reset(): Promise<number> {
    const { size } = this;
    if (size > 0) await this.#shelf?.dropParts(this.#chunk).catch(() => undefined);
    this.size = 0;
    this.#keptBytes = 0;
    return size;
  }
}
