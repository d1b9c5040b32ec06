// Protocol between a page and the worker that signals arrivals of requests.

/** Times on the clock that all threads share, in ms. */
export interface Arrivals {
  readonly timesMs: readonly number[];
  /** Indexed by `STOP`, `SEEN` and `SENT`. */
  readonly shared: Int32Array<SharedArrayBuffer>;
}

/** Non-zero ends it. */
export const STOP = 0;
/** Number of arrivals that the page has seen. */
export const SEEN = 1;
/** 1 while a message is in flight. */
export const SENT = 2;
