// The part of the browser's effects that a client of servers needs. Apart from effects.ts, so that an app which only
// calls servers loads nothing of workers and GPUs; runs in Node too.
import { withoutCredentials } from "../core/credentials.ts";

/** An HTTP request that has ended. */
export interface Exchanged {
  /** Bytes of its body. */
  readonly sentBytes: number;
  /** Bytes of the reply's body that were read, expanded. */
  readonly receivedBytes: number;
  /** Time from its start to the end of the reply, in milliseconds. */
  readonly ms: number;
}

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
  /** Called at the end of each HTTP request of the client, whatever its outcome. Default: none. */
  readonly onExchange?: ((exchange: Exchanged) => void) | undefined;
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
    baseUrl: "location" in globalThis ? withoutCredentials(globalThis.location.href) : undefined,
  };
}
