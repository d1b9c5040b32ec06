// One flight per thing: callers that want the same bytes at the same time share one download. It goes on as long as one
// of them wants it.
import { untilAborted } from "../core/abort.ts";

/** A share in something that is under way. */
interface Flight<T> {
  /** Where it comes from. */
  readonly url: string;
  readonly result: Promise<T>;
  readonly stop: AbortController;
  readonly listeners: Set<(bytes: number) => void>;
  /** Bytes so far, for those who join later. */
  bytes: number;
}

/** What is under way, by key. */
export class Flights<T> {
  readonly #flights: Map<string, Flight<T>> = new Map();

  /** Tells whether something is under way. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /**
   * Starts something, or joins it. `onBytes` is told each number of bytes that came (negative where they count for
   * nothing after all). One that was joined, fails and came from another address is tried once more from this one. Rejects
   * with the signal's reason for a caller that cancels; the others go on.
   */
  async join(
    key: string,
    url: string,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
    start: (signal: AbortSignal, report: (bytes: number) => void) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const flight = this.#flights.get(key) ?? this.#start(key, url, start);
      if (flight.bytes > 0) onBytes(flight.bytes);
      flight.listeners.add(onBytes);
      try {
        return await untilAborted(flight.result, signal);
      } catch (error) {
        if (signal.aborted || flight.url === url) throw error;
        onBytes(-flight.bytes);
      } finally {
        flight.listeners.delete(onBytes);
        if (flight.listeners.size === 0) {
          if (this.#flights.get(key) === flight) this.#flights.delete(key);
          flight.stop.abort(signal.reason);
        }
      }
    }
  }

  #start(
    key: string,
    url: string,
    start: (signal: AbortSignal, report: (bytes: number) => void) => Promise<T>,
  ): Flight<T> {
    const stop = new AbortController();
    const listeners = new Set<(bytes: number) => void>();
    const report = (bytes: number): void => {
      flight.bytes += bytes;
      for (const tell of listeners) tell(bytes);
    };
    const result = Promise.resolve().then(() => start(stop.signal, report));
    const flight: Flight<T> = { url, result, stop, listeners, bytes: 0 };
    this.#flights.set(key, flight);
    const forget = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    result.then(forget, forget);
    return flight;
  }
}
