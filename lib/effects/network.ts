// The part of the browser's effects that a client of servers needs. Apart from effects.ts, so that an app which only
// calls servers loads nothing of workers and GPUs; runs in Node too.

/** Effects of a client of servers: network, clock and random numbers. */
export interface NetworkEffects {
  /** Fetches, as the global does. */
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Calls back once after `ms`, never where they are Infinity; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
  /** Returns a random number in [0, 1). */
  random(): number;
  /** Address against which relative URLs are resolved; undefined where there is no page. */
  readonly baseUrl: string | undefined;
}

/** Returns the effects of this browser or of Node. */
export function networkEffects(): NetworkEffects {
  return {
    fetch: (url, init) => fetch(url, init),
    now: () => performance.now(),
    setTimer(callback, ms) {
      if (ms === Infinity) return () => undefined;
      // A timer of more fires at once.
      const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
      return () => {
        clearTimeout(timer);
      };
    },
    random: () => Math.random(),
    baseUrl: "location" in globalThis ? globalThis.location.href : undefined,
  };
}
