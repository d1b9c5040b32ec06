// Bytes on their way lie in buffers that are used again. Else a fast line, or a fast disk, leaves as much garbage as the
// model is large before anybody collects it; and phones end pages by what they hold, not by what they need.
import { CHUNK_MAX_BYTES } from "../bundle.ts";
import type { Bytes } from "./store.ts";

/** How much is read at once. */
const PART_BYTES = 256 * 1024;

/** Lends buffers, each as large as a chunk may be. */
export class Buffers {
  readonly #free: Bytes[] = [];
  #lent = 0;

  /** Gives a buffer of so many bytes, whatever lies in it; it has to be given back. */
  take(bytes: number): Bytes {
    this.#lent += 1;
    return (this.#free.pop() ?? new Uint8Array(CHUNK_MAX_BYTES)).subarray(0, bytes);
  }

  /** Takes back what nobody reads or writes any more. Keeps one buffer once all are back. */
  give(buffer: Bytes): void {
    this.#lent -= 1;
    this.#free.push(new Uint8Array(buffer.buffer));
    if (this.#lent === 0) this.#free.length = 1;
  }

  /** Does work with a buffer that is given back after. */
  async lend<T>(bytes: number, work: (buffer: Bytes) => Promise<T>): Promise<T> {
    const buffer = this.take(bytes);
    try {
      return await work(buffer);
    } finally {
      this.give(buffer);
    }
  }
}

/** Reads a stream part by part, null at its end. A part is there until the next one is asked for. */
export function readParts(stream: ReadableStream<Uint8Array>): () => Promise<Uint8Array | null> {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch {
    const plain = stream.getReader(); // not a stream of bytes
    return async () => (await plain.read()).value ?? null;
  }
  let buffer = new ArrayBuffer(PART_BYTES);
  return async () => {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return null;
    ({ buffer } = value);
    return value;
  };
}
