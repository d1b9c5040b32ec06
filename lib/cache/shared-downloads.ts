// Coalesced downloads: concurrent requests for the same bytes share one download. It goes on as long as one of them
// waits for it.
import { untilAborted } from "../core/abort.ts";
import type { BundleChunk } from "../core/bundle.ts";

/** A loaded chunk, and its origin. */
export interface LoadedChunk {
  readonly chunk: BundleChunk;
  blob: Blob;
  readonly from: "store" | "network";
  isStored: boolean;
}

/** A download that requests share. */
interface Download {
  /** Address of the download. */
  readonly url: string;
  readonly result: Promise<LoadedChunk>;
  readonly stop: AbortController;
  readonly listeners: Set<(bytes: number) => void>;
  /** Bytes so far, for requests that join later. */
  bytes: number;
}

/** Downloads in flight, by key. */
export class SharedDownloads {
  readonly #downloads: Map<string, Download> = new Map();

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
    start: (signal: AbortSignal, report: (bytes: number) => void) => Promise<LoadedChunk>,
  ): Promise<LoadedChunk> {
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
    start: (signal: AbortSignal, report: (bytes: number) => void) => Promise<LoadedChunk>,
  ): Download {
    const stop = new AbortController();
    const listeners = new Set<(bytes: number) => void>();
    const report = (bytes: number): void => {
      download.bytes += bytes;
      for (const tell of listeners) tell(bytes);
    };
    const result = Promise.resolve().then(() => start(stop.signal, report));
    const download: Download = { url, result, stop, listeners, bytes: 0 };
    this.#downloads.set(key, download);
    const remove = (): void => {
      if (this.#downloads.get(key) === download) this.#downloads.delete(key);
    };
    result.then(remove, remove);
    return download;
  }
}
