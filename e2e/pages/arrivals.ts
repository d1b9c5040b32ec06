// What a page and the worker that says when requests arrive tell each other.

/** Times on the clock that all threads share, in ms. */
export interface Arrivals {
  readonly timesMs: readonly number[];
  /** By `STOP`, `SEEN` and `SENT`. */
  readonly shared: Int32Array<SharedArrayBuffer>;
}

/** Anything but 0 ends it. */
export const STOP = 0;
/** How many of the times the page has seen. */
export const SEEN = 1;
/** 1 while a message is on its way. */
export const SENT = 2;
