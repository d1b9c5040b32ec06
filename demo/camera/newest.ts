// Newest frame wins: one frame is worked on, at most one waits, and a newer one takes its place. Knows no camera.

/** What became of the frames so far. */
export interface FrameCounts {
  /** Frames answered. */
  readonly frames: number;
  /** Frames whose place a newer one took. */
  readonly dropped: number;
}

/** Hands frames to `work`, one at a time, always the newest. */
export class Newest<Frame> {
  readonly #work: (frame: Frame) => Promise<void>;
  #waiting: { readonly frame: Frame } | null = null;
  #isBusy = false;
  #frames = 0;
  #dropped = 0;

  constructor(work: (frame: Frame) => Promise<void>) {
    this.#work = work;
  }

  /** Counts what became of the frames. */
  get counts(): FrameCounts {
    return { frames: this.#frames, dropped: this.#dropped };
  }

  /** Takes a frame; resolves once nothing is left to do, and rejects with the first error of `work`. */
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

/** Gives the rate of the last second from the times at which things ended, in ms, and forgets older ones. */
export function ratePerSecond(ends: number[], nowMs: number): number {
  while (ends.length > 0 && (ends[0] ?? 0) < nowMs - 1000) ends.shift();
  return ends.length;
}
