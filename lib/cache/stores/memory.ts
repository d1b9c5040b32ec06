// The in-memory store, which lasts as long as the worker: for pages that store nothing, and for tests.
import { outOfSpace } from "./store.ts";
import type { Bytes, Store } from "./store.ts";

/** Default quota: as much as a small phone's tab can spare. */
const MAX_BYTES = 512 * 1024 * 1024;

/** Keeps bytes as blobs, which browsers hold outside the worker's own memory. */
export class MemoryStore implements Store {
  readonly kind = "memory";
  readonly #entries: Map<string, Blob> = new Map();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  names(): Promise<string[]> {
    return Promise.resolve([...this.#entries.keys()]);
  }

  async read(name: string): Promise<Bytes | null> {
    try {
      const blob = this.#entries.get(name);
      return blob === undefined ? null : new Uint8Array(await blob.arrayBuffer());
    } catch {
      await this.remove(name); // the browser has lost it
      return null;
    }
  }

  blob(name: string): Promise<Blob | null> {
    return Promise.resolve(this.#entries.get(name) ?? null);
  }

  write(name: string, bytes: Bytes): Promise<void> {
    if (this.#entries.has(name)) return Promise.resolve();
    if (this.#bytes + bytes.byteLength > this.#maxBytes) return Promise.reject(outOfSpace(name, bytes.byteLength));
    this.#entries.set(name, new Blob([bytes]));
    this.#bytes += bytes.byteLength;
    return Promise.resolve();
  }

  remove(name: string): Promise<void> {
    this.#bytes -= this.#entries.get(name)?.size ?? 0;
    this.#entries.delete(name);
    return Promise.resolve();
  }
}
