// Coalesced downloads: concurrent requests for the same bytes share one download. It goes on as long as one of them
// waits for it.
import { untilAborted } from "../core/abort.ts";

/** A download that requests share. */
interface Download<T> {
  /** Address of the download. */
  readonly url: string;
  readonly result: Promise<T>;
  readonly stop: AbortController;
  readonly listeners: Set<(bytes: number) => void>;
  /** Bytes so far, for requests that join later. */
  bytes: number;
}

/** Downloads in flight, by key. */
export class SharedDownloads<T> {
  readonly #downloads: Map<string, Download<T>> = new Map();

  /** Whether a download is in flight. */
  has(key: string): boolean {
    return this.#downloads.has(key);
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
      const download = this.#downloads.get(key) ?? this.#start(key, url, start);
      if (download.bytes > 0) onBytes(download.bytes);
      download.listeners.add(onBytes);
      try {
        return await untilAborted(download.result, signal);
      } catch (error) {
        if (signal.aborted || download.url === url) throw error;
        onBytes(-download.bytes);
      } finally {
        download.listeners.delete(onBytes);
        if (download.listeners.size === 0) {
          if (this.#downloads.get(key) === download) this.#downloads.delete(key);
          download.stop.abort(signal.reason);
        }
      }
    }
  }

  #start(
    key: string,
    url: string,
    start: (signal: AbortSignal, report: (bytes: number) => void) => Promise<T>,
  ): Download<T> {
    const stop = new AbortController();
    const listeners = new Set<(bytes: number) => void>();
    const report = (bytes: number): void => {
      download.bytes += bytes;
      for (const tell of listeners) tell(bytes);
    };
    const result = Promise.resolve().then(() => start(stop.signal, report));
    const download: Download<T> = { url, result, stop, listeners, bytes: 0 };
    this.#downloads.set(key, download);
    const remove = (): void => {
      if (this.#downloads.get(key) === download) this.#downloads.delete(key);
    };
    result.then(remove, remove);
    return download;
  }
}
