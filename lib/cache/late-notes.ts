// Records of a load in the store: a use, or that the server had nothing newer. They are written once the load no longer
// reads from the store, and before anything is deleted: written after that, they would bring back a part of it.
import type { NetEffects } from "./http.ts";

/** Time after which a note is written, in ms. */
const NOTE_MS = 1_000;

/** Notes of loads; failures are ignored. */
export class LateNotes {
  readonly #setTimer: NetEffects["setTimer"];
  /** Writes of the notes that are not written yet: each writes its own once. */
  readonly #open: Set<() => Promise<void>> = new Set();

  constructor({ setTimer }: Pick<NetEffects, "setTimer">) {
    this.#setTimer = setTimer;
  }

  /** Writes a note after a while. */
  add(note: () => Promise<void>): void {
    let writing: Promise<void> | null = null;
    const write = (): Promise<void> => {
      stop();
      writing ??= note()
        .catch(() => undefined)
        .finally(() => this.#open.delete(write));
      return writing;
    };
    const stop = this.#setTimer(() => void write(), NOTE_MS);
    this.#open.add(write);
  }

  /** Writes all notes now, and waits for those that are being written. */
  async flush(): Promise<void> {
    await Promise.all([...this.#open].map((write) => write()));
  }
}
