// A fetch in a worker that is given up once no byte has arrived for long. A slow line is not: each byte restarts the
// bound, and time in which the worker did not run does not count.
import { Watchdog } from "./watchdog.ts";

/** Time without a byte after which a fetch is given up, in ms. */
export const SILENT_MS = 20_000;

const TIMERS = {
  now: (): number => performance.now(),
  setTimer: (callback: () => void, ms: number): (() => void) => {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** One request; `fetch` and the reading of the body reject once it has stalled. */
export class WatchedFetch {
  /** Whether it was given up. */
  isStalled = false;
  readonly #stop: AbortController = new AbortController();
  readonly #watchdog: Watchdog = new Watchdog(TIMERS, SILENT_MS);

  constructor() {
    this.#watchdog.onExpire = () => {
      this.isStalled = true;
      this.#stop.abort();
    };
  }

  /** Fetches. The response is the network's own, whose compiled code browsers cache; a copy of its body is watched. */
  async fetch(url: string): Promise<Response> {
    this.#watchdog.begin();
    const response = await fetch(url, { signal: this.#stop.signal });
    const renew = (): void => {
      this.#watchdog.renew();
    };
    renew();
    // After the last byte the rest is the caller's work.
    void response
      .clone()
      .body?.pipeTo(new WritableStream({ write: renew }))
      .then(
        () => {
          this.#watchdog.stop();
        },
        () => undefined,
      );
    return response;
  }

  /** Ends the watch, and the request with it. */
  end(): void {
    this.#watchdog.stop();
    this.#stop.abort();
  }
}
