// Coalesced downloads: concurrent requests for the same bytes share one download. It goes on as long as one of them
// waits for it.
import { untilAborted } from "../core/abort.ts";

/** A request's share in a download. */
interface Flight<T> {
  /** Address of the download. */
  readonly url: string;
  readonly result: Promise<T>;
  readonly stop: AbortController;
  readonly listeners: Set<(bytes: number) => void>;
  /** Bytes so far, for requests that join later. */
  bytes: number;
}

/** Downloads in flight, by key. */
export class Flights<T> {
  readonly #flights: Map<string, Flight<T>> = new Map();

  /** Whether a download is in flight. */
  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /**
   * Starts a download, or joins one. `onBytes` is called with each number of received bytes (negative where they are
   * discarded). If a joined download from another address fails, it is retried once from this address. Rejects with the
   * signal's reason for a caller that cancels; the others go on.
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
