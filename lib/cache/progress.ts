// Progress of a load: bytes by file and in total, from the store and from the network, the rate, the remaining time.
// The rate is that of the last seconds, since the rate before a tunnel does not predict the one after it.
import type { FileProgress, Progress } from "./messages.ts";

const WINDOW_MS = 4_000;
const STEP_MS = 50;
/** Least time for an estimate of the rate. */
const LEAST_MS = 250;

/** Least time between reports to the page. */
const EVERY_MS = 50;

/**
 * Reports a load's progress, at most every 50 ms: the first one at once, as the last one, and else the newest, so that
 * a download that stalls shows all that has arrived.
 */
export class PacedProgress {
  readonly #setTimer: (callback: () => void, ms: number) => () => void;
  readonly #tell: (progress: Progress) => void;
  #pending: Progress | null = null;
  /** Ends the pause after a report; null where there is none. */
  #pause: (() => void) | null = null;

  constructor(setTimer: (callback: () => void, ms: number) => () => void, tell: (progress: Progress) => void) {
    this.#setTimer = setTimer;
    this.#tell = tell;
  }

  /** Reports progress, now or after the pause. */
  report(progress: Progress): void {
    this.#pending = progress;
    if (this.#pause === null || progress.loadedBytes === progress.totalBytes) this.#flush();
  }

  /** Reports the pending progress: the load has ended. */
  end(): void {
    this.#pause?.();
    this.#pause = null;
    if (this.#pending !== null) this.#tell(this.#pending);
    this.#pending = null;
  }

  #flush(): void {
    const isNew = this.#pending !== null;
    this.end();
    if (!isNew) return;
    this.#pause = this.#setTimer(() => {
      this.#flush();
    }, EVERY_MS);
  }
}

/** Counts the bytes of one load. */
export class LoadProgress {
  readonly #now: () => number;
  readonly #tell: (progress: Progress) => void;
  readonly #files: { path: string; loadedBytes: number; totalBytes: number | null }[];
  /** Bytes recently received from the network, by time. */
  readonly #arrivals: { atMs: number; bytes: number }[] = [];
  #cachedBytes = 0;

  constructor(
    files: readonly { readonly path: string; readonly bytes: number | null }[],
    now: () => number,
    tell: (progress: Progress) => void,
  ) {
    this.#now = now;
    this.#tell = tell;
    this.#files = files.map(({ path, bytes }) => ({ path, loadedBytes: 0, totalBytes: bytes }));
    this.#arrivals.push({ atMs: now(), bytes: 0 });
  }

  /** Sets the size of a file, once it is known. */
  expect(file: number, totalBytes: number | null): void {
    const entry = this.#files[file];
    if (entry !== undefined) entry.totalBytes = totalBytes;
  }

  /** Counts bytes of a file: negative where they have to be downloaded again. */
  add(file: number, bytes: number, from: "store" | "network"): void {
    const entry = this.#files[file];
    if (entry === undefined) return;
    entry.loadedBytes += bytes;
    if (from === "store") this.#cachedBytes += bytes;
    else this.#arrived(bytes);
    this.tell();
  }

  /**
   * Counts a chunk from the network up to its bytes on the wire: a download that was joined may fetch the chunk in
   * another encoding. `fill` counts the rest, once the chunk has arrived.
   */
  counter(file: number, wireBytes: number): { readonly add: (bytes: number) => void; readonly fill: () => void } {
    let [cameBytes, countedBytes] = [0, 0];
    const count = (bytes: number): void => {
      if (bytes !== countedBytes) this.add(file, bytes - countedBytes, "network");
      countedBytes = bytes;
    };
    return {
      add: (bytes) => {
        cameBytes += bytes;
        count(Math.min(wireBytes, cameBytes));
      },
      fill: () => {
        count(wireBytes);
      },
    };
  }

  /** Returns the rate of the last seconds; null without an estimate. */
  get bytesPerSecond(): number | null {
    const nowMs = this.#now();
    while (this.#arrivals.length > 2 && (this.#arrivals[1]?.atMs ?? nowMs) < nowMs - WINDOW_MS) this.#arrivals.shift();
    const sinceMs = nowMs - (this.#arrivals[0]?.atMs ?? nowMs);
    const recent = this.#arrivals.slice(1).reduce((sum, x) => sum + x.bytes, 0);
    return sinceMs < LEAST_MS || recent <= 0 ? null : (recent / sinceMs) * 1_000;
  }

  /** Reports the progress. */
  tell(): void {
    const { bytesPerSecond } = this;
    const loadedBytes = this.#files.reduce((sum, x) => sum + x.loadedBytes, 0);
    const totalBytes = this.#files.reduce<number | null>(
      (sum, x) => (sum === null || x.totalBytes === null ? null : sum + x.totalBytes),
      0,
    );
    const left = totalBytes === null ? null : totalBytes - loadedBytes;
    this.#tell({
      loadedBytes,
      totalBytes,
      cachedBytes: this.#cachedBytes,
      bytesPerSecond,
      secondsLeft: left === 0 ? 0 : left === null || bytesPerSecond === null ? null : left / bytesPerSecond,
      files: this.#files.map((x): FileProgress => ({ ...x })),
    });
  }

  #arrived(bytes: number): void {
    const nowMs = this.#now();
    const last = this.#arrivals.at(-1);
    if (this.#arrivals.length > 1 && last !== undefined && nowMs - last.atMs < STEP_MS) last.bytes += bytes;
    else this.#arrivals.push({ atMs: nowMs, bytes });
  }
}
