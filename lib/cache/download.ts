// A bundle's files: each chunk from the store or the network, its hash checked either way before anybody gets it. One
// that is wrong is fetched once more, past every HTTP cache, then refused. Callers that want the same chunk share one
// flight, and so do tabs: who holds the chunk's lock fetches it, the others find it in the store. Runs in a worker
// (worker.ts), never in the page.
//
// What can't be stored is still given: a full disk makes the next load slower, not this one impossible.
import { chunkPath, sha256Hex } from "../bundle.ts";
import type { BundleChunk, BundleFile } from "../bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../errors.ts";
import { release } from "../release.ts";
import { Flights } from "./flights.ts";
import { readAll, request, retry } from "./http.ts";
import type { NetEffects } from "./http.ts";
import { Meter } from "./meter.ts";
import type { BundleAddress, Progress } from "./protocol.ts";
import { PartialChunk } from "./partial.ts";
import { keyOf } from "./shelf.ts";
import type { Shelf } from "./shelf.ts";
import type { Bytes } from "./store.ts";

/** What a download does to the world. */
export interface DownloadEffects extends NetEffects {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Milliseconds since 1970. */
  wallClock(): number;
  /** Tells whether an address is of the page's own origin. */
  isOwn(url: string): boolean;
  /** Locks that tabs share; null where there are none. */
  readonly locks: Locks | null;
  /** Names the locks that are held, by any tab. */
  heldLocks(): Promise<readonly string[]>;
  /** What the browser says of the connection: whether the user wants to save bytes, and how fast it is, where it says so. */
  connection(): { readonly saveData: boolean; readonly bytesPerSecond: number | null };
  /** How much the browser says that may be stored, and is; null where it does not say. */
  estimate(): Promise<{ readonly quota: number; readonly usage: number } | null>;
}

/** Lets one at a time do its work, among all tabs: as the browser's LockManager. */
export interface Locks {
  /** Does the work once the lock of that name is free; the signal ends the wait for it. */
  request<T>(name: string, options: { readonly signal: AbortSignal }, work: () => Promise<T>): Promise<T>;
}

/** What a download is asked with. */
export interface DownloadOptions {
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** A chunk that is here, and where it came from. */
interface Here {
  readonly blob: Blob;
  readonly from: "store" | "network";
  readonly isStored: boolean;
}

/** How many requests one load has under way: enough to fill a link, few enough not to starve the page's own requests. */
export const PARALLEL = 4;
/** After a write that did not fit, no other is tried for so long. */
const FULL_MS = 30_000;

/** Fetches, stores and shares what models are made of. */
export class Downloader {
  /** What is kept on the device; null where nothing is. */
  readonly shelf: Shelf | null;
  /** What the downloader does to the world. */
  readonly effects: DownloadEffects;
  readonly #flights: Flights<Here> = new Flights();
  #fullUntilMs = Number.NEGATIVE_INFINITY;
  /** Whether parts of chunks may be asked for. */
  #hasRanges = true;
  #period: AbortController = new AbortController();
  #here: Promise<void> = Promise.resolve();
  #comeBack: () => void = () => undefined;

  constructor(effects: DownloadEffects, shelf: Shelf | null) {
    this.effects = effects;
    this.shelf = shelf;
  }

  /** Lets go of all locks, since the page may go into the back/forward cache, which no page with a lock gets into. */
  leave(): void {
    this.#period.abort();
    this.#here = new Promise((resolve) => {
      this.#comeBack = resolve;
    });
  }

  /** Goes on with what `leave` interrupted. */
  back(): void {
    this.#period = new AbortController();
    this.#comeBack();
  }

  /** Fetches and parses JSON; whether it is what it should be is for the caller to check. */
  async json(url: string, maxBytes: number, signal: AbortSignal, attempts?: () => Promise<number>): Promise<unknown> {
    const net = { effects: this.effects, signal };
    const bytes = await retry(
      net,
      async () => {
        // The browser asks the server whether its own copy is still right: one small request where it is.
        const body = await request(url, { cache: "no-cache" }, net);
        return readAll(url, body, maxBytes, null, () => undefined);
      },
      attempts,
    );
    const text = new TextDecoder().decode(bytes);
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      const shown = text.trimStart().startsWith("<") ? " It looks like an HTML page: is the path right?" : "";
      throw new SelvedgeError("bundle-invalid", `${url} is not JSON.${shown}`, { url }, error);
    }
  }

  /**
   * Gives files of a bundle, each a blob of verified chunks, in the order given. Its chunks stay when
   * room is made for it. With `mustStore` it rejects with `quota-exceeded` where they can't be kept.
   */
  async files(
    { url: bundleUrl, identity, format }: BundleAddress,
    files: readonly BundleFile[],
    { signal, onProgress }: DownloadOptions,
    mustStore = false,
  ): Promise<Blob[]> {
    const chunks = new Map<string, { chunk: BundleChunk; file: number }>();
    for (const [file, { chunks: list }] of files.entries())
      for (const chunk of list) if (!chunks.has(keyOf(chunk))) chunks.set(keyOf(chunk), { chunk, file });
    const own = files.map(({ path }, i) => ({ path, bytes: sum([...chunks.values()].filter((x) => x.file === i)) }));
    const meter = new Meter(own, this.effects.now, onProgress ?? (() => undefined));
    meter.tell();
    await this.prepareRoom(
      [...chunks.values()].map((x) => x.chunk),
      identity,
    );
    const found = new Map<string, Here>();
    // One failure stops the others: nobody waits for their bytes any more.
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const waiting = chunks.entries();
    const worker = async (): Promise<void> => {
      for (const [key, { chunk, file }] of waiting) {
        const url = new URL(chunkPath(format, chunk.sha256), bundleUrl).href;
        const here = await this.#chunk(url, chunk, identity, both, (bytes) => {
          meter.add(file, bytes, "network");
        });
        if (here.from === "store") meter.add(file, chunk.bytes, "store");
        found.set(key, here);
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL }, worker));
    } catch (error) {
      stop.abort(error);
      throw error;
    }
    const { bytesPerSecond } = meter;
    // Nobody waits for that.
    if (bytesPerSecond !== null) this.shelf?.noteRate(bytesPerSecond).catch(() => undefined);
    const unstored = sum([...chunks].filter(([key]) => found.get(key)?.isStored === false).map(([, x]) => x));
    if (mustStore && unstored > 0) throw noRoom(unstored);
    return files.map((file) => new Blob(file.chunks.map((chunk) => (found.get(keyOf(chunk)) as Here).blob)));
  }

  /** Tells whether a chunk is on its way. */
  isUnderWay(chunk: BundleChunk): boolean {
    return this.#flights.has(keyOf(chunk));
  }

  /** Keeps a verified chunk where there is a store and room in it; gives it as it is there, null where it is not kept. */
  async keep(chunk: BundleChunk, bytes: Bytes, identity: string): Promise<Blob | null> {
    if (this.shelf === null || this.effects.now() < this.#fullUntilMs) return null;
    try {
      await this.shelf.keep(chunk, bytes, new Set([identity]));
      return await this.shelf.chunk(chunk);
    } catch (error) {
      if (isSelvedgeError(error) && error.code === "quota-exceeded") this.#fullUntilMs = this.effects.now() + FULL_MS;
      return null; // a store that fails is a store that is not there
    }
  }

  /** Removes what was not used for long where the browser says that these chunks won't fit. */
  async prepareRoom(chunks: readonly BundleChunk[], identity: string): Promise<void> {
    if (this.shelf === null) return;
    try {
      const here = await this.shelf.chunks();
      const missing = chunks.filter((x) => !here.has(keyOf(x))).reduce((total, x) => total + x.bytes, 0);
      const estimate = missing === 0 ? null : await this.effects.estimate();
      if (estimate === null) return;
      const lacking = missing - (estimate.quota - estimate.usage);
      if (lacking > 0) await this.shelf.makeRoom(lacking, new Set([identity]));
    } catch {
      // Room is made again where a write fails; a store that can't be read is met there, too.
    }
  }

  /** Does work that one tab at a time may do; gives the lock back while the page is left, and begins anew after. */
  async locked<T>(name: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { locks } = this.effects;
    if (locks === null || this.shelf === null || this.shelf.store.kind === "memory") return work(signal);
    for (;;) {
      await this.#here;
      signal.throwIfAborted();
      const period = this.#period.signal;
      const both = AbortSignal.any([signal, period]);
      try {
        return await locks.request(`selvedge/${name}`, { signal: both }, () => work(both));
      } catch (error) {
        signal.throwIfAborted();
        if (!period.aborted) throw error;
      }
    }
  }

  /** Gives a chunk that is stored, its hash checked; null where it is not, or the store fails. */
  async stored(chunk: BundleChunk): Promise<Blob | null> {
    return this.shelf?.chunk(chunk).catch(() => null) ?? null;
  }

  #chunk(
    url: string,
    chunk: BundleChunk,
    identity: string,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<Here> {
    return this.#flights.join(keyOf(chunk), signal, onBytes, async (signal, report) => {
      const fromStore = async (): Promise<Here | null> => {
        const blob = await this.stored(chunk);
        return blob === null ? null : { blob, from: "store", isStored: true };
      };
      return (
        (await fromStore()) ??
        this.locked(chunk.sha256, signal, async (signal) => {
          const found = await fromStore();
          if (found !== null) return found;
          const bytes = new Uint8Array(chunk.bytes);
          try {
            await this.#fetch(url, chunk, bytes, signal, report);
            const kept = await this.keep(chunk, bytes, identity);
            await this.shelf?.dropParts(chunk).catch(() => undefined);
            return { blob: kept ?? new Blob([bytes]), from: "network" as const, isStored: kept !== null };
          } finally {
            release(bytes);
          }
        })
      );
    });
  }

  /** Fetches a chunk into bytes of its size. */
  async #fetch(
    url: string,
    chunk: BundleChunk,
    bytes: Bytes,
    signal: AbortSignal,
    report: (bytes: number) => void,
  ): Promise<void> {
    const net = { effects: this.effects, signal };
    const partial = new PartialChunk(chunk, bytes, this.shelf, this.effects.now);
    let isWrong = false;
    // With a range browsers ask for what is not compressed, and refuse what is, as hosts send that have nothing else: no
    // answer comes then. So after one that was not answered the whole is asked for, and after that a part again.
    let asksForPart = this.#hasRanges;
    let wasRefused = false;
    report(await partial.restore());
    await retry(net, async () => {
      const isPartial = partial.size > 0 && asksForPart;
      try {
        // What goes into the store need not lie in the browser's own cache as well; what was wrong may come from there.
        const cache = isWrong ? "reload" : this.shelf === null ? "default" : "no-store";
        const { size } = partial;
        const headers: Record<string, string> = isPartial ? { range: `bytes=${size}-` } : {};
        const body = await request(url, { cache, headers }, net, isPartial ? [200, 206, 416] : [200]);
        if (wasRefused && !isPartial) this.#hasRanges = false;
        // The name of a chunk is its hash: whatever part comes, the whole tells whether it is right.
        // A part of a compressed body is no part of the chunk.
        const isPart = body.status === 206 && body.headers.get("content-encoding") === null;
        const goesOn = isPart && (body.headers.get("content-range") ?? "").startsWith(`bytes ${size}-`);
        if (!goesOn) report(-(await partial.reset()));
        if (body.status !== 200 && !goesOn) {
          body.cancel();
          throw new SelvedgeError("download-failed", `${url} does not go on where it broke.`, { url });
        }
        for (let part = await body.read(); part !== null; part = await body.read()) {
          if (partial.size + part.byteLength > chunk.bytes) {
            body.cancel();
            throw wrongSize(url, chunk, `more than ${chunk.bytes}`);
          }
          await partial.add(part);
          report(part.byteLength);
        }
        if (partial.size !== chunk.bytes) throw wrongSize(url, chunk, String(partial.size));
        const hash = await sha256Hex(partial.bytes);
        if (hash === chunk.sha256) return;
        throw new SelvedgeError("integrity-failed", `${url} holds other bytes than its name says.`, { url, hash });
      } catch (error) {
        if (isSelvedgeError(error) && error.details["size"] === 0) {
          wasRefused = isPartial;
          asksForPart = !asksForPart && this.#hasRanges;
        }
        if (isSelvedgeError(error) && error.code === "integrity-failed") {
          report(-(await partial.reset()));
          isWrong = true;
        }
        throw error;
      }
    });
  }
}

function wrongSize(url: string, chunk: BundleChunk, got: string): SelvedgeError {
  const message = `${url} does not hold its ${chunk.bytes} bytes: got ${got} bytes.`;
  return new SelvedgeError("integrity-failed", message, { url });
}

/** Makes the error for what can't be kept, with the bytes that are missing. */
function noRoom(missingBytes: number): SelvedgeError {
  const message = `This device's storage has no room for ${missingBytes} bytes of the model.`;
  return new SelvedgeError("quota-exceeded", message, { missingBytes });
}

function sum(chunks: readonly { readonly chunk: BundleChunk }[]): number {
  return chunks.reduce((total, { chunk }) => total + chunk.bytes, 0);
}
