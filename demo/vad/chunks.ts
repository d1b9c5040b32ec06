// Splits a stream of sound into the model's inputs: 512 samples at 16 kHz, preceded by the last 64 of the previous
// chunk. Sound at another rate is resampled to 16 kHz by linear interpolation.

/** Sample rate of the model. */
export const RATE = 16_000;
/** New samples per chunk: 32 ms. */
export const CHUNK = 512;
const CONTEXT = 64;

/** Splits one stream. */
export class Chunks {
  readonly #step: number;
  readonly #onChunk: (chunk: Float32Array<ArrayBuffer>) => void;
  #chunk: Float32Array<ArrayBuffer> = new Float32Array(CONTEXT + CHUNK);
  #filled = CONTEXT;
  /** Position of the next output sample, relative to the first sample not consumed. */
  #at = 0;
  #last = 0;

  constructor(rate: number, onChunk: (chunk: Float32Array<ArrayBuffer>) => void) {
    this.#step = rate / RATE;
    this.#onChunk = onChunk;
  }

  /** Appends the next samples of the stream. */
  push(samples: Float32Array): void {
    while (this.#at <= samples.length - 1) {
      const low = Math.floor(this.#at);
      const before = low < 0 ? this.#last : (samples[low] ?? 0);
      const after = samples[low + 1] ?? before;
      this.#add(before + (this.#at - low) * (after - before));
      this.#at += this.#step;
    }
    this.#at -= samples.length;
    this.#last = samples.at(-1) ?? this.#last;
  }

  #add(sample: number): void {
    this.#chunk[this.#filled++] = sample;
    if (this.#filled < this.#chunk.length) return;
    const next = new Float32Array(CONTEXT + CHUNK);
    next.set(this.#chunk.subarray(-CONTEXT));
    this.#onChunk(this.#chunk);
    this.#chunk = next;
    this.#filled = CONTEXT;
  }
}
