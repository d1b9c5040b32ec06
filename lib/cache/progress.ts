// How far a load is: bytes by file and in all, from the store and from the network, how fast, how long still. The rate
// is that of the last seconds, since what a connection did before a tunnel says nothing of now.
import type { FileProgress, Progress } from "./messages.ts";

const WINDOW_MS = 4_000;
const STEP_MS = 50;
/** A rate from less than this is a guess. */
const LEAST_MS = 250;

/** Counts one load. */
export class Meter {
  readonly #now: () => number;
  readonly #tell: (progress: Progress) => void;
  readonly #files: { path: string; loadedBytes: number; totalBytes: number | null }[];
  /** What came from the network lately, in steps of time. */
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

  /** Says how large a file is, once that is known. */
  expect(file: number, totalBytes: number | null): void {
    const entry = this.#files[file];
    if (entry !== undefined) entry.totalBytes = totalBytes;
  }

  /** Counts bytes of a file: negative where they have to come again. */
  add(file: number, bytes: number, from: "store" | "network"): void {
    const entry = this.#files[file];
    if (entry === undefined) return;
    entry.loadedBytes += bytes;
    if (from === "store") this.#cachedBytes += bytes;
    else this.#arrived(bytes);
    this.tell();
  }

  /**
   * Counts a chunk from the network up to its bytes on the wire: a download that was joined may fetch the chunk in another
   * encoding. `fill` counts the rest, once the chunk is here.
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

  /** Gives the rate of the last seconds; null where that can't be told yet. */
  get bytesPerSecond(): number | null {
    const nowMs = this.#now();
    while (this.#arrivals.length > 2 && (this.#arrivals[1]?.atMs ?? nowMs) < nowMs - WINDOW_MS) this.#arrivals.shift();
    const sinceMs = nowMs - (this.#arrivals[0]?.atMs ?? nowMs);
    const recent = this.#arrivals.slice(1).reduce((sum, x) => sum + x.bytes, 0);
    return sinceMs < LEAST_MS || recent <= 0 ? null : (recent / sinceMs) * 1_000;
  }

  /** Tells how far the load is. */
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
