// Downloads of a bundle's files: each chunk from the store or the network (chunk-fetch.ts), its hash checked either way
// before use. Concurrent requests for a chunk are coalesced, across tabs too: the holder of the chunk's lock fetches
// it, the others find it in the store. Runs in a worker (serve.ts), never in the page.
//
// Chunks that can't be stored are still returned: a full disk makes the next load slower, not this one impossible.
// Eviction happens only once a verified chunk has arrived, only where it can suffice for the whole load, and never of a
// model that is loading or in use, in this engine or in another tab. The previous version of an address is evicted only
// when the new one is whole.
import { chunkPath, wireBytesOf } from "../core/bundle.ts";
import type { BundleChunk, BundleFile } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import { freeBuffer } from "../rpc/free-buffer.ts";
import { fetchChunk, partOf } from "./chunk-fetch.ts";
import { fetchFile, isFile } from "./file-download.ts";
import type { BrotliDecoder } from "./expand.ts";
import { SharedDownloads } from "./shared-downloads.ts";
import type { LoadedChunk } from "./shared-downloads.ts";
import type { NetEffects } from "./http.ts";
import { LateNotes } from "./late-notes.ts";
import { isBare } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { LoadProgress } from "./progress.ts";
import type { BundleAddress, Progress } from "./messages.ts";
import { keyOf } from "./names.ts";
import { countStored } from "./room.ts";
import type { Room } from "./room.ts";
import type { ModelStore } from "./model-store.ts";
import type { Releases } from "../core/release-record.ts";
import type { SourceRecord } from "./source.ts";
import { isFull } from "./stores/store.ts";
import type { Bytes } from "./stores/store.ts";
import { TabLocks } from "./tab-locks.ts";
import type { LockEffects } from "./tab-locks.ts";
import { Uses } from "./uses.ts";

/** Effects of a download on the world. */
export interface DownloadEffects extends NetEffects, LockEffects {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Milliseconds since 1970. */
  wallClock(): number;
  /** Whether an address is of the page's own origin. */
  isOwn(url: string): boolean;
  /** The page's own scheme, as `https:` or `chrome-extension:`. */
  readonly ownProtocol?: string;
  /** The browser's facts about the connection: whether the user wants to save data, and its speed where known. */
  connection(): { readonly saveData: boolean; readonly bytesPerSecond: number | null };
  /** The browser's estimate of storage quota and usage; null where it has none. */
  estimate(): Promise<{ readonly quota: number; readonly usage: number } | null>;
  /** Loads the brotli decoder, where the platform has none. */
  loadBrotli(): Promise<BrotliDecoder>;
}

/** Options of a download. */
export interface DownloadOptions {
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** Token for a repository's host; absent for none. */
  readonly token?: string | undefined;
  /** Throws where a bare model of this size does not fit in memory. */
  readonly admit?: ((bytes: number) => void) | undefined;
}

/** Parallel requests of one load: enough to fill a link, few enough not to starve the page's own requests. */
const PARALLEL = 4;
/** Room that is made for a manifest and its records. */
const RECORDS_BYTES = 64 * 1024;
/** Pause of writes after one that did not fit. */
const FULL_MS = 30_000;

/** Fetches, stores and shares the files of models. */
export class Downloader {
  /** The store of this device; null where nothing is stored. */
  readonly modelStore: ModelStore | null;
  /** The downloader's effects on the world. */
  readonly effects: DownloadEffects;
  /** Bundles that are loading or in use, which nothing may evict. */
  readonly uses: Uses;
  /** Records of loads that are not written yet. */
  readonly notes: LateNotes;
  readonly #downloads: SharedDownloads = new SharedDownloads();
  /** Null where no other tab sees the store. */
  readonly #locks: TabLocks | null;
  /** Manifests that had no room: written before the first chunk is. */
  readonly #unwritten: Map<string, () => Promise<void>> = new Map();
  /** The last in the queue of writes that may evict. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Whether ranges of chunks may be requested. */
  readonly #ranges: { areGiven: boolean } = { areGiven: true };

  constructor(effects: DownloadEffects, modelStore: ModelStore | null) {
    this.effects = effects;
    this.modelStore = modelStore;
    this.#locks = modelStore === null || modelStore.store.kind === "memory" ? null : new TabLocks(effects);
    this.uses = new Uses(this.#locks);
    this.notes = new LateNotes(effects);
  }

  /** Releases the locks of models in use, since the page may be left soon. */
  leaving(): void {
    this.#locks?.leaving();
  }

  /** Releases all locks, since the page may go into the back/forward cache, which no page with a lock enters. */
  leave(): void {
    this.#locks?.leave();
  }

  /** Resumes after `leaving` and `leave`. */
  back(): void {
    this.#locks?.back();
  }

  /**
   * Returns files of a bundle, each a blob of verified chunks, in the order given. `identity` is the bundle's, which is
   * in use from then on, until `uses.unloaded` is called. With `mustStore` it is not, and the call rejects with
   * `quota-exceeded` where the chunks can't be stored.
   */
  async files(
    { url: bundleUrl, identity, format }: BundleAddress,
    files: readonly BundleFile[],
    { signal, onProgress, token }: DownloadOptions,
    mustStore = false,
  ): Promise<Blob[]> {
    const chunks = new Map<string, { chunk: BundleChunk; file: number }>();
    for (const [file, { chunks: list }] of files.entries())
      for (const chunk of list) if (!chunks.has(keyOf(chunk))) chunks.set(keyOf(chunk), { chunk, file });
    const own = files.map(({ path }, i) => ({ path, bytes: sum([...chunks.values()].filter((x) => x.file === i)) }));
    const progress = new LoadProgress(own, this.effects.now, onProgress ?? (() => undefined));
    progress.tell();
    const end = this.uses.begin(
      identity,
      [...chunks.values()].map((x) => x.chunk),
    );
    let isLoaded = false;
    try {
      const room = await this.room(
        identity,
        bundleUrl,
        [...chunks.values()].map((x) => x.chunk),
      );
      const found = await this.#chunks({ url: bundleUrl, identity, format }, chunks, room, signal, progress, token);
      if (await this.#completes(identity, found)) await this.storeRest([...found.values()], room);
      const { bytesPerSecond } = progress;
      // No caller waits for that.
      if (bytesPerSecond !== null) this.modelStore?.noteRate(bytesPerSecond).catch(() => undefined);
      const missing = [...chunks].filter(([key]) => found.get(key)?.isStored === false);
      const unstored = missing.reduce((total, [, { chunk }]) => total + chunk.bytes, 0);
      if (mustStore && unstored > 0) throw noRoom(unstored);
      isLoaded = !mustStore;
      return files.map((file) => new Blob(file.chunks.map((chunk) => (found.get(keyOf(chunk)) as LoadedChunk).blob)));
    } finally {
      end(isLoaded);
    }
  }

  /** Whether a version can be loaded from these chunks and the stored ones. */
  async #completes(identity: string, found: ReadonlyMap<string, LoadedChunk>): Promise<boolean> {
    if ([...found.values()].every((x) => x.isStored)) return false; // nothing is left to store
    const manifest = (await this.modelStore?.bundle(identity).catch(() => null)) ?? null;
    const here = await this.modelStore?.chunks().catch(() => null);
    if (manifest === null || isBare(manifest) || here == null) return false;
    const isHere = ({ chunks }: BundleFile): boolean => chunks.every((x) => found.has(keyOf(x)) || here.has(keyOf(x)));
    return (manifest.assets ?? []).every(isHere) && manifest.variants.some((x) => x.files.every(isHere));
  }

  /** Fetches chunks, a few in parallel. */
  async #chunks(
    { url: bundleUrl, format }: BundleAddress,
    chunks: ReadonlyMap<string, { readonly chunk: BundleChunk; readonly file: number }>,
    room: Room,
    signal: AbortSignal,
    progress: LoadProgress,
    token?: string,
  ): Promise<Map<string, LoadedChunk>> {
    const found = new Map<string, LoadedChunk>();
    // One failure stops the others: no caller waits for their bytes any more.
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const waiting = chunks.entries();
    const worker = async (): Promise<void> => {
      for (const [key, { chunk, file }] of waiting) {
        const url = chunk.url ?? new URL(chunkPath(format, chunk.sha256), bundleUrl).href;
        const wireBytes = wireBytesOf(chunk);
        const counter = progress.counter(file, wireBytes);
        const here = await this.#chunk(url, chunk, room, both, counter.add, token);
        if (here.from === "store") progress.add(file, wireBytes, "store");
        else counter.fill();
        if (here.isStored) countStored(room, chunk);
        found.set(key, here);
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL }, worker));
      return found;
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  }

  /** Whether a chunk is in flight. */
  isUnderWay(chunk: BundleChunk): boolean {
    return this.#downloads.has(keyOf(chunk));
  }

  /** Computes the space that a load needs from the store. */
  async room(id: string, url: string, chunks: readonly BundleChunk[] | null): Promise<Room> {
    const here = (await this.modelStore?.chunks().catch(() => null)) ?? new Set();
    const missing = chunks?.filter((x) => !here.has(keyOf(x)));
    return {
      id,
      url,
      missing: missing === undefined ? null : new Set(missing.map(keyOf)),
      // Unknown sizes count as infinite, so that nothing is evicted for them before they arrive.
      missingBytes: missing?.reduce((total, x) => total + x.bytes, 0) ?? Infinity,
      slackBytes: 0,
      isTight: null,
      isWhole: false,
      fullUntilMs: Number.NEGATIVE_INFINITY,
    };
  }

  /** Remembers what an address leads to; where a manifest has no room, room is made for it with the first chunk. */
  async remember(manifest: ManifestJson, source: SourceRecord, beside: string | undefined): Promise<void> {
    const { modelStore } = this;
    if (modelStore === null) return;
    const write = (): Promise<void> => modelStore.remember(manifest, source, beside);
    this.#unwritten.delete(source.identity);
    await write().catch((error: unknown) => {
      if (isFull(error)) this.#unwritten.set(source.identity, write);
    }); // a store that fails counts as absent
  }

  /**
   * Adds to the record of signed releases, in one tab at a time; returns the record, or null where it was not written.
   */
  async noteReleases(seen: Releases, noteOf: string | null, signal: AbortSignal): Promise<Releases | null> {
    const { modelStore } = this;
    if (modelStore === null) return null;
    return this.locked("releases", signal, () => modelStore.noteReleases(seen, noteOf), "releases-").catch(() => null);
  }

  /** Remembers a whole model; returns whether there was room for its manifest. */
  async commit(manifest: ManifestJson, source: SourceRecord, room: Room): Promise<boolean> {
    return this.#fit(RECORDS_BYTES, room, async () => this.modelStore?.remember(manifest, source)).then(
      () => true,
      () => false,
    );
  }

  /** Stores a verified chunk where there is room; returns the store's copy, null where it is not stored. */
  async keep(chunk: BundleChunk, bytes: Bytes, room: Room): Promise<Blob | null> {
    const { modelStore } = this;
    if (modelStore === null || this.effects.now() < room.fullUntilMs) return null;
    try {
      this.uses.name(room.id, chunk);
      const manifest = this.#unwritten.get(room.id);
      if (manifest !== undefined) await this.#fit(chunk.bytes, room, manifest);
      this.#unwritten.delete(room.id);
      if (room.isTight !== false) await this.#inTurn(() => this.#prepare(chunk.bytes, room));
      await this.#fit(chunk.bytes, room, () => modelStore.write(chunk, bytes));
      countStored(room, chunk);
      room.slackBytes = Math.max(0, room.slackBytes - chunk.bytes);
      return await modelStore.chunk(chunk);
    } catch (error) {
      if (isFull(error)) room.fullUntilMs = this.effects.now() + FULL_MS;
      return null; // a store that fails counts as absent
    }
  }

  /** Makes room for a chunk where the browser's estimate says that it won't fit. */
  async #prepare(bytes: number, room: Room): Promise<void> {
    const freeBytes = (await this.#freeBytes()) ?? Infinity;
    room.isTight = room.missingBytes > freeBytes;
    if (bytes <= freeBytes) return;
    // Where nothing may be evicted, the write itself shows whether the estimate is right.
    if ((await this.#makeRoom(bytes, room, freeBytes)) === 0) room.isTight = false;
  }

  /** Returns the quota less its usage, negative where the quota shrank below it; null without an estimate. */
  async #freeBytes(): Promise<number | null> {
    const estimate = await this.effects.estimate().catch(() => null);
    return estimate === null ? null : estimate.quota - estimate.usage;
  }

  /** Writes an entry, and evicts where it does not fit: one write at a time, or each would evict for all. */
  async #fit(bytes: number, room: Room, write: () => Promise<void>): Promise<void> {
    try {
      await write();
      return;
    } catch (error) {
      if (!isFull(error)) throw error;
    }
    await this.#inTurn(async () => {
      for (;;)
        try {
          await write();
          return;
        } catch (error) {
          // The write did not fit, so no space is free, whatever the estimate says.
          const freeBytes = Math.min(0, (await this.#freeBytes()) ?? 0);
          if (!isFull(error) || (await this.#makeRoom(bytes, room, freeBytes)) === 0) throw error;
        }
    });
  }

  /** Frees space for `bytes`, where `freeBytes` are free; a negative number is freed as well. */
  async #makeRoom(bytes: number, room: Room, freeBytes: number): Promise<number> {
    const { modelStore } = this;
    if (modelStore === null) return 0;
    const keep = await this.uses.kept();
    if (!room.isWhole) for (const { identity } of await modelStore.sources(room.url)) keep.add(identity);
    const freed = await modelStore.makeRoom(bytes - freeBytes, keep, room.missingBytes - room.slackBytes - freeBytes);
    room.slackBytes = Math.max(0, room.slackBytes + freed + Math.min(0, freeBytes));
    return freed;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Does work in one tab at a time; the number of entries with `prefix` shows the progress of another tab. */
  async locked<T>(
    name: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    prefix: string,
  ): Promise<T> {
    const count = async (): Promise<number> =>
      ((await this.modelStore?.store.names()) ?? []).filter((x) => x.startsWith(prefix)).length;
    return this.#locks === null ? work(signal) : this.#locks.locked(name, signal, work, count);
  }

  /**
   * Stores the chunks that had no room, now that all have arrived and the previous version may be evicted; records them as stored.
   */
  async storeRest(
    found: readonly { readonly chunk: BundleChunk; blob: Blob; isStored: boolean }[],
    room: Room,
  ): Promise<void> {
    room.isWhole = true;
    const rest = found.filter((x) => !x.isStored && !isFile(x.chunk));
    const sources = rest.length === 0 ? [] : ((await this.modelStore?.sources(room.url).catch(() => null)) ?? []);
    if (!sources.some((x) => x.identity !== room.id)) return;
    room.fullUntilMs = Number.NEGATIVE_INFINITY;
    for (const here of rest) {
      const bytes = new Uint8Array(await here.blob.arrayBuffer());
      const kept = await this.keep(here.chunk, bytes, room);
      freeBuffer(bytes);
      if (kept === null) return;
      here.blob = kept;
      here.isStored = true;
    }
  }

  /** Returns a stored chunk, its hash checked; null where it is not stored, or the store fails. */
  async stored(chunk: BundleChunk): Promise<Blob | null> {
    return this.modelStore?.chunk(chunk).catch(() => null) ?? null;
  }

  #chunk(
    url: string,
    chunk: BundleChunk,
    room: Room,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
    token?: string,
  ): Promise<LoadedChunk> {
    return this.#downloads.join(keyOf(chunk), url, signal, onBytes, async (signal, report) => {
      const fromStore = async (): Promise<LoadedChunk | null> => {
        const blob = await this.stored(chunk);
        return blob === null ? null : { chunk, blob, from: "store", isStored: true };
      };
      return (
        (await fromStore()) ??
        this.locked(
          chunk.sha256,
          signal,
          async (signal) => {
            const found = await fromStore();
            if (found !== null) return found;
            const { effects, modelStore } = this;
            if (isFile(chunk)) {
              const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
              const file = await fetchFile(chunk, this, { room, signal, report, headers });
              return { chunk, ...file, from: "network" as const };
            }
            const bytes = await fetchChunk(url, chunk, { effects, modelStore, signal, ranges: this.#ranges, report });
            try {
              const kept = await this.keep(chunk, bytes, room);
              await modelStore?.dropParts(partOf(chunk)).catch(() => undefined);
              return { chunk, blob: kept ?? new Blob([bytes]), from: "network" as const, isStored: kept !== null };
            } finally {
              freeBuffer(bytes);
            }
          },
          `part-${partOf(chunk).sha256}-`,
        )
      );
    });
  }
}

/** Returns the error for chunks that can't be stored, with the missing bytes. */
function noRoom(missingBytes: number): SelvedgeError {
  const message = `This device's storage has no room for ${missingBytes} bytes of the model.`;
  return new SelvedgeError("quota-exceeded", message, { missingBytes });
}

function sum(chunks: readonly { readonly chunk: BundleChunk }[]): number {
  return chunks.reduce((total, { chunk }) => total + wireBytesOf(chunk), 0);
}
