// Cuts a stream of sound into what the model takes: 512 samples at 16 kHz, behind the last 64 of the chunk before. Sound
// at another rate is brought to 16 kHz between its samples.

/** Samples per second that the model knows. */
export const RATE = 16_000;
/** New samples per chunk: 32 ms. */
export const CHUNK = 512;
const CONTEXT = 64;

/** Cuts one stream. */
export class Chunks {
  readonly #step: number;
  readonly #onChunk: (chunk: Float32Array<ArrayBuffer>) => void;
  #chunk: Float32Array<ArrayBuffer> = new Float32Array(CONTEXT + CHUNK);
  #filled = CONTEXT;
  /** Where the next sample lies, counted from the first that has not been seen. */
  #at = 0;
  #last = 0;

  constructor(rate: number, onChunk: (chunk: Float32Array<ArrayBuffer>) => void) {
    this.#step = rate / RATE;
    this.#onChunk = onChunk;
  }

  /** Takes the next samples of the stream. */
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
