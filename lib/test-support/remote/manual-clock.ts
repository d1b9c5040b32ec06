// A clock for tests of network code against real servers: short timers (back-off, waits for a server) fire at once and
// move the time on; long ones (timeouts) fire when a test advances the time. So nothing sleeps and nothing depends on
// how fast the machine is.

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock whose time moves by its own short timers and by `advance`. */
export class ManualClock {
  #now = 0;
  readonly #timers = new Set<Timer>();
  readonly #shortMs: number;
  /** Durations of the short timers that fired. */
  readonly waits: number[] = [];

  /** Timers up to `shortMs` fire by themselves. */
  constructor(shortMs = 14_000) {
    this.#shortMs = shortMs;
  }

  now = (): number => this.#now;

  setTimer = (callback: () => void, ms: number): (() => void) => {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    if (ms <= this.#shortMs)
      setImmediate(() => {
        if (!this.#timers.has(timer)) return;
        this.waits.push(ms);
        this.advance(Math.max(0, timer.at - this.#now));
      });
    return () => {
      this.#timers.delete(timer);
    };
  };

  /** Moves the time on and fires the timers that are due, the earliest first. */
  advance(ms: number): void {
    this.#now += ms;
    const due = [...this.#timers].filter((x) => x.at <= this.#now).sort((a, b) => a.at - b.at);
    for (const timer of due) if (this.#timers.delete(timer)) timer.callback();
  }

  /** Number of timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }
}
