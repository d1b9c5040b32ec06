// Newest frame wins: one frame is processed, at most one waits, and a newer one replaces it. Independent of cameras.

/** Counts of the frames so far. */
export interface FrameCounts {
  /** Frames processed. */
  readonly frames: number;
  /** Frames that a newer one replaced. */
  readonly dropped: number;
}

/** Passes frames to `work`, one at a time, always the newest. */
export class Newest<Frame> {
  readonly #work: (frame: Frame) => Promise<void>;
  #waiting: { readonly frame: Frame } | null = null;
  #isBusy = false;
  #frames = 0;
  #dropped = 0;

  constructor(work: (frame: Frame) => Promise<void>) {
    this.#work = work;
  }

  /** Counts of the frames so far. */
  get counts(): FrameCounts {
    return { frames: this.#frames, dropped: this.#dropped };
  }

  /** Takes a frame; resolves when no work is left, and rejects with the first error of `work`. */
  async offer(frame: Frame): Promise<void> {
    if (this.#waiting !== null) this.#dropped += 1;
    this.#waiting = { frame };
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let next = this.#take(); next !== null; next = this.#take()) {
        await this.#work(next.frame);
        this.#frames += 1;
      }
    } finally {
      this.#isBusy = false;
    }
  }

  #take(): { readonly frame: Frame } | null {
    const next = this.#waiting;
    this.#waiting = null;
    return next;
  }
}

/** Returns the rate over the last second from the end times, in ms, and drops older ones. */
export function ratePerSecond(ends: number[], nowMs: number): number {
  while (ends.length > 0 && (ends[0] ?? 0) < nowMs - 1000) ends.shift();
  return ends.length;
}
