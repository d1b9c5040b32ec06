// Entries of a store, and the meaning of their names:
//
//   chunk-<sha256>-<bytes>      a chunk; its hash is checked at every read, since a flipped bit runs and is wrong
//   file-<sha256>-<bytes>-<n>-<sha256>-<bytes>   the n-th piece of a repository's file, which is a chunk of any size; written
//                               once the file's own hash matched, so that pieces alone never count as the file
//   part-<sha256>-<offset>      a part of a chunk in flight over a slow line; removed once the chunk is stored
//   bundle-<identity>           a manifest's canonical JSON, whose SHA-256 is its identity; written before its chunks
//   source-<address>-<ms>       target of an address; beside the newest stands the one before, until the newest is
//                               stored whole (versions.ts)
//   used-<identity>-<ms>        last use of a bundle; the newest counts
//   pin-<identity>              exempts a bundle from eviction
//   releases-<ms>               signed releases that were seen (releases.ts); all are merged; never evicted
//   release-<address>-<n>       newest signed release of an address, by release 0.1.0; moves to releases-<ms> when read
//   rate-<bytes a second>-<ms>  last network rate
//   draft-<address>-head-<ms>   a bare model in flight: its file's validators
//   draft-<address>-<n>-<sha256>-<bytes>   … and its n-th chunk
//
// <address> is the SHA-256 of a URL. The names are the whole index: it is read anew for each decision that depends on
// it, so that two tabs agree, and a chunk that no bundle and no draft names is an orphan, the first to be evicted.
import { canonicalJson, sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { joinReleases, NO_RELEASES, readReleases, writeReleases } from "../core/release-record.ts";
import type { Releases } from "../core/release-record.ts";
import { freeBuffer } from "../rpc/free-buffer.ts";
import { allChunks, isBare, readManifest } from "./manifest.ts";
import type { Manifest, ManifestJson } from "./manifest.ts";
import { addressOf, chunkName, chunksOf, identityIn, keyOf, newest, seriesOf, timeOf, usedMs } from "./names.ts";
import { fileNameOf, pieceIn, pieceName, piecesOf, storedKeys } from "./names.ts";
import { removeBundle, makeRoom } from "./room.ts";
import { isSource, isValidator, readJson } from "./source.ts";
import type { SourceRecord, Validator } from "./source.ts";
import { isFull } from "./stores/store.ts";
import type { Bytes, Store } from "./stores/store.ts";

/** A bundle that is stored, wholly or in part. */
export interface StoredBundle {
  /** SHA-256 of its canonical JSON in hex; of the list of its chunks for a bare model. */
  readonly identity: string;
  /** Name of the model, as `bundle.json` has it; the file's for a bare model. */
  readonly name: string;
  /** Version of the model, as `bundle.json` has it. */
  readonly version: string;
  /** The addresses that lead to it. */
  readonly urls: readonly string[];
  /** Bytes of its stored chunks; chunks that it shares with another bundle count for both. */
  readonly bytes: number;
  /** Time of the last use, in ms since 1970. */
  readonly usedMs: number;
  /** Whether it is exempt from eviction. */
  readonly isPinned: boolean;
  /** The variants that are stored whole; a bare model has one, `model`. */
  readonly variants: readonly string[];
}

/** Keeps chunks and their records in a store. */
export class ModelStore {
  readonly store: Store;
  readonly #now: () => number;
  /** The last in the queue of changes of the record of signed releases. */
  #noting: Promise<unknown> = Promise.resolve();

  constructor(store: Store, now: () => number) {
    this.store = store;
    this.#now = now;
  }

  /**
   * Returns a chunk, its hash checked; null where it is not stored. A wrong one is removed. Returns the store's own
   * blob where the store has them: a copy of a model in memory would be added to the runtime's.
   */
  async chunk({ sha256, bytes, url }: BundleChunk): Promise<Blob | null> {
    if (url !== undefined) return this.#file({ sha256, bytes });
    const name = chunkName({ sha256, bytes });
    const { store } = this;
    const blob = store.blob === undefined ? null : await store.blob(name);
    const found = store.blob === undefined ? await store.read(name) : await bytesOf(blob);
    if (found === null) return null;
    try {
      if (found.byteLength === bytes && (await sha256Hex(found)) === sha256) {
        if (store.adopt === undefined) return blob ?? new Blob([found]);
        await store.adopt(name, found).catch(() => undefined); // no room: it stays where it is
        return (await store.blob?.(name)) ?? blob ?? new Blob([found]);
      }
      await store.remove(name);
      return null;
    } finally {
      freeBuffer(found);
    }
  }

  /**
   * Returns chunks, or a repository's file, as they lie in the store, unchecked: for estimates. Null where one is missing,
   * and where the store would copy them.
   */
  async peek(chunks: readonly BundleChunk[]): Promise<Blob | null> {
    const { store } = this;
    const files = piecesOf(await store.names());
    const blobs: Blob[] = [];
    for (const chunk of chunks.flatMap((x) => files.get(keyOf(x)) ?? [x])) {
      const blob = (await store.blob?.(chunkName(chunk))) ?? null;
      if (blob === null) return null;
      blobs.push(blob);
    }
    return blobs.length === 0 ? null : new Blob(blobs);
  }

  /** Lists stored chunks, and files that are stored whole, as `<sha256>-<bytes>`. */
  async chunks(): Promise<Set<string>> {
    return storedKeys(await this.store.names());
  }

  /** Returns the bytes of all stored chunks. */
  async bytes(): Promise<number> {
    return [...chunksOf(await this.store.names())].reduce((sum, key) => sum + timeOf(key), 0);
  }

  /** Lists the recorded pieces of a repository's file, in their order; none where it is not recorded. */
  async pieces(file: BundleChunk): Promise<readonly BundleChunk[]> {
    return piecesOf(await this.store.names()).get(keyOf(file)) ?? [];
  }

  /** Records the pieces of a file whose hash matched. */
  async recordFile(file: BundleChunk, pieces: readonly BundleChunk[]): Promise<void> {
    for (const [index, piece] of pieces.entries())
      await this.store.write(pieceName(file, index, piece), new Uint8Array(0));
  }

  /** Removes the record of a file; its pieces stay. */
  async dropFile(file: BundleChunk): Promise<void> {
    const key = keyOf(file);
    for (const name of await this.store.names()) if (pieceIn(name)?.file === key) await this.store.remove(name);
  }

  /** Returns a repository's file from its pieces, each of which is checked; null where one is missing. */
  async #file(file: BundleChunk): Promise<Blob | null> {
    const names = await this.store.names();
    if (!storedKeys(names).has(keyOf(file))) return null;
    const blobs: Blob[] = [];
    for (const piece of piecesOf(names).get(keyOf(file)) ?? []) {
      const blob = await this.chunk(piece);
      if (blob === null) return null;
      blobs.push(blob);
    }
    return new Blob(blobs);
  }

  /**
   * Stores a chunk whose hash was checked. Where there is no room, the least recently used bundles are evicted, except
   * pinned ones and those in `keep`.
   * @throws SelvedgeError `quota-exceeded` where that does not suffice.
   */
  async keep(chunk: BundleChunk, bytes: Bytes, keep: ReadonlySet<string>): Promise<void> {
    for (;;)
      try {
        await this.write(chunk, bytes);
        return;
      } catch (error) {
        if (!isFull(error) || (await this.makeRoom(bytes.byteLength, keep)) === 0) throw error;
      }
  }

  /** Stores a chunk whose hash was checked, where there is room. */
  async write(chunk: BundleChunk, bytes: Bytes): Promise<void> {
    await this.store.write(chunkName(chunk), bytes);
  }

  /** Returns the stored parts of a chunk in flight, contiguous from its beginning; only the whole can be verified. */
  async parts({ sha256, bytes }: BundleChunk): Promise<Bytes[]> {
    const offsets = new Map<number, string>();
    for (const name of await this.store.names())
      if (name.startsWith(`part-${sha256}-`)) offsets.set(timeOf(name), name);
    const parts: Bytes[] = [];
    for (let at = 0; ;) {
      const name = offsets.get(at);
      const part = name === undefined ? null : await this.store.read(name);
      if (part === null || part.byteLength === 0 || at + part.byteLength >= bytes) return parts;
      parts.push(part);
      at += part.byteLength;
    }
  }

  /** Stores a part of a chunk in flight. */
  async keepPart({ sha256 }: BundleChunk, offset: number, bytes: Bytes): Promise<void> {
    await this.store.write(`part-${sha256}-${offset}`, bytes);
  }

  /** Removes the parts of a chunk. */
  async dropParts({ sha256 }: BundleChunk): Promise<void> {
    for (const name of await this.store.names()) if (name.startsWith(`part-${sha256}-`)) await this.store.remove(name);
  }

  /**
   * Stores a manifest, before its chunks arrive, and that an address leads to it. Of the address's earlier versions
   * only `beside` is kept: the version that is used until this one is stored whole. A record without a signature keeps
   * the one that another app of this origin, with trusted keys, stored for the same version.
   */
  async remember(manifest: ManifestJson, asked: SourceRecord, beside?: string): Promise<void> {
    const name = `bundle-${asked.identity}`;
    // A damaged one is written again.
    if ((await readManifest(this.store, asked.identity).catch(() => null))?.state === "damaged")
      await this.store.remove(name);
    const names = await this.store.names();
    if (!names.includes(name)) await this.store.write(name, new TextEncoder().encode(canonicalJson(manifest)));
    const series = await this.#series(names, asked.url);
    const last = series[0];
    const signed = series.find((x) => x.source?.identity === asked.identity && x.source.signature !== null);
    const source = { ...asked, signature: asked.signature ?? signed?.source?.signature ?? null };
    if (last?.source != null && canonicalJson(last.source) === canonicalJson(source)) series.shift();
    else {
      const prefix = `source-${await addressOf(source.url)}`;
      const text = new TextEncoder().encode(canonicalJson(source));
      await this.store.write(`${prefix}-${Math.max(this.#now(), timeOf(last?.name ?? null) + 1)}`, text);
    }
    for (const old of series) {
      const isBeside = old.source !== null && old.source.identity === beside && beside !== source.identity;
      if (!isBeside) await this.#drop(old);
    }
    await this.touch(source.identity);
  }

  /** Makes an address lead to one of its versions alone, now that it is stored whole. */
  async settle(url: string, identity: string): Promise<void> {
    const series = await this.#series(await this.store.names(), url);
    if (!series.some((x) => x.source?.identity === identity)) return;
    for (const old of series) if (old.source?.identity !== identity) await this.#drop(old);
  }

  /** Records a use of a bundle now. */
  async touch(identity: string): Promise<void> {
    await this.#adopt(identity).catch(() => undefined);
    await this.#replace(await this.store.names(), `used-${identity}`, new Uint8Array(0));
  }

  /**
   * Returns a bundle by its identity, which is checked; null where it is not stored, damaged, or of a schema that this
   * release does not know. Rejects where it could not be read.
   */
  async bundle(identity: string): Promise<Manifest | null> {
    return (await readManifest(this.store, identity))?.manifest ?? null;
  }

  /** Returns the newest version that an address leads to; null where none is known. */
  async source(url: string): Promise<SourceRecord | null> {
    return (await this.sources(url))[0] ?? null;
  }

  /** Lists the versions that an address leads to: the newest, and the one before until the newest is whole. */
  async sources(url: string): Promise<SourceRecord[]> {
    const series = await this.#series(await this.store.names(), url);
    return series.map((x) => x.source).filter((x) => x !== null);
  }

  /** Pins or unpins a bundle: a pinned one is not evicted. */
  async pin(identity: string, isPinned: boolean): Promise<void> {
    if (isPinned) await this.store.write(`pin-${identity}`, new Uint8Array(0));
    else await this.store.remove(`pin-${identity}`);
  }

  /** Lists stored bundles, the most recently used first. */
  async bundles(): Promise<StoredBundle[]> {
    const names = await this.store.names();
    const here = storedKeys(names);
    const urls = new Map<string, string[]>();
    for (const name of names) {
      if (!/^source-[0-9a-f]{64}-\d+$/.test(name)) continue;
      const source = await readJson(this.store, name);
      if (isSource(source)) urls.set(source.identity, [...new Set([...(urls.get(source.identity) ?? []), source.url])]);
    }
    const found: StoredBundle[] = [];
    for (const name of names) {
      const identity = identityIn(name);
      const bundle = identity === undefined ? null : await this.bundle(identity).catch(() => null);
      if (identity === undefined || bundle === null) continue;
      const isHere = (chunk: BundleChunk): boolean => here.has(keyOf(chunk));
      const own = new Map(allChunks(bundle).map((chunk) => [keyOf(chunk), chunk.bytes] as const));
      found.push({
        identity,
        name: isBare(bundle) ? fileName(urls.get(identity)?.[0]) : bundle.model.name,
        version: isBare(bundle) ? "" : bundle.model.version,
        urls: urls.get(identity) ?? [],
        bytes: [...own].reduce((sum, [key, bytes]) => sum + (here.has(key) ? bytes : 0), 0),
        usedMs: usedMs(names, identity),
        isPinned: names.includes(`pin-${identity}`),
        variants: wholeVariants(bundle, isHere),
      });
    }
    return found.sort((a, b) => b.usedMs - a.usedMs);
  }

  /** Removes a bundle, and the chunks that nothing else names; returns the bytes freed. */
  remove(identity: string): Promise<number> {
    return removeBundle(this.store, identity);
  }

  /**
   * Frees `bytes`, or as much as may be evicted; returns the bytes freed. Bundles are evicted only where that can free
   * `neededBytes` in all.
   * @param keep - identities of bundles, addresses of drafts and hashes of chunks that stay
   */
  makeRoom(bytes: number, keep: ReadonlySet<string>, neededBytes: number = bytes): Promise<number> {
    return makeRoom(this.store, bytes, keep, neededBytes);
  }

  /** Returns the signed releases that this device has seen (releases.ts); damaged entries count as empty. */
  async releases(): Promise<Releases> {
    return this.#releases(await this.store.names());
  }

  /**
   * Adds to the record of signed releases, one call at a time, and returns the record; removes the note of an older
   * package release on `noteOf`, now included. Other tabs are kept out by the caller's lock.
   */
  noteReleases(seen: Releases, noteOf: string | null = null): Promise<Releases> {
    const noted = this.#noting.then(async () => {
      const names = await this.store.names();
      const known = await this.#releases(names);
      const joined = joinReleases(known, seen);
      const text = writeReleases(joined);
      if (text !== writeReleases(known)) await this.#replace(names, "releases", new TextEncoder().encode(text));
      if (noteOf !== null)
        for (const old of seriesOf(names, `release-${await addressOf(noteOf)}`)) await this.store.remove(old);
      return joined;
    });
    this.#noting = noted.catch(() => undefined);
    return noted;
  }

  /** Merges the record's entries: more than one where two tabs wrote at once, or one died before the removal. */
  async #releases(names: readonly string[]): Promise<Releases> {
    let joined = NO_RELEASES;
    for (const name of seriesOf(names, "releases").reverse()) {
      const bytes = await this.store.read(name);
      if (bytes !== null) joined = joinReleases(joined, readReleases(new TextDecoder().decode(bytes)));
    }
    return joined;
  }

  /** Returns the newest signed release of an address that an older release of this package recorded; null for none. */
  async releaseNote(url: string): Promise<number | null> {
    const name = newest(await this.store.names(), `release-${await addressOf(url)}`);
    return name === null ? null : timeOf(name);
  }

  /** Returns the last network rate, in bytes a second; null where none was measured. */
  async rate(): Promise<number | null> {
    const rates = (await this.store.names()).filter((x) => /^rate-\d+-\d+$/.test(x));
    const last = rates.reduce<string | null>((a, b) => (a === null || timeOf(b) > timeOf(a) ? b : a), null);
    return last === null ? null : Number(last.split("-")[1]);
  }

  /** Records the network rate. */
  async noteRate(bytesPerSecond: number): Promise<void> {
    const names = await this.store.names();
    const name = `rate-${Math.round(bytesPerSecond)}-${this.#now()}`;
    await this.store.write(name, new Uint8Array(0));
    for (const old of names) if (old.startsWith("rate-") && old !== name) await this.store.remove(old);
  }

  /** Returns the draft of a bare model: its validators, and its stored chunks by index. */
  async draft(url: string): Promise<{ validator: Validator; chunks: Map<number, BundleChunk> } | null> {
    const address = await addressOf(url);
    const names = await this.store.names();
    const head = newest(names, `draft-${address}-head`);
    const validator = head === null ? null : await readJson(this.store, head);
    if (!isValidator(validator)) return null;
    const chunks = new Map<number, BundleChunk>();
    for (const name of names) {
      const [, owner, n, sha256, bytes] = /^draft-([0-9a-f]{64})-(\d+)-([0-9a-f]{64})-(\d+)$/.exec(name) ?? [];
      if (owner === address && sha256 !== undefined) chunks.set(Number(n), { sha256, bytes: Number(bytes) });
    }
    return { validator, chunks };
  }

  /** Begins a draft in place of an older one. */
  async beginDraft(url: string, validator: Validator): Promise<void> {
    await this.endDraft(url);
    const text = new TextEncoder().encode(canonicalJson(validator));
    await this.store.write(`draft-${await addressOf(url)}-head-${this.#now()}`, text);
  }

  /** Records the n-th chunk of a draft, before the chunk is stored. */
  async noteDraft(url: string, n: number, chunk: BundleChunk): Promise<void> {
    await this.store.write(`draft-${await addressOf(url)}-${n}-${keyOf(chunk)}`, new Uint8Array(0));
  }

  /** Ends a draft: the model is whole, or the file has changed. */
  async endDraft(url: string): Promise<void> {
    const prefix = `draft-${await addressOf(url)}-`;
    for (const name of await this.store.names()) if (name.startsWith(prefix)) await this.store.remove(name);
  }

  /** Removes the record of a bundle or an address, unless that is a newer release's. */
  async #drop({ name, source }: { readonly name: string; readonly source: SourceRecord | null }): Promise<void> {
    const manifest = source === null ? null : await readManifest(this.store, source.identity).catch(() => null);
    if (manifest?.state !== "newer") await this.store.remove(name);
  }

  /** Moves the records of a bundle from the place of an older release. */
  async #adopt(identity: string): Promise<void> {
    for (const name of (await this.store.oldNames?.()) ?? []) {
      const source = name.startsWith("source-") ? await readJson(this.store, name) : null;
      const isOwn = name === `bundle-${identity}` || name === `pin-${identity}`;
      if (!isOwn && !(isSource(source) && source.identity === identity)) continue;
      const bytes = await this.store.read(name);
      if (bytes !== null) await this.store.adopt?.(name, bytes);
    }
  }

  /**
   * Removes everything, of older and newer releases too, except the record of signed releases. Returns the bytes of
   * chunks.
   */
  async clear(): Promise<number> {
    const names = await this.store.names();
    for (const name of names) if (!/^releases?-/.test(name)) await this.store.remove(name);
    return [...chunksOf(names)].reduce((sum, key) => sum + timeOf(key), 0);
  }

  /** Lists the versions of an address, the newest first; null for a damaged record. */
  async #series(names: readonly string[], url: string): Promise<{ name: string; source: SourceRecord | null }[]> {
    const found: { name: string; source: SourceRecord | null }[] = [];
    for (const name of seriesOf(names, `source-${await addressOf(url)}`)) {
      const source = await readJson(this.store, name).catch(() => null);
      found.push({ name, source: isSource(source) && source.url === url ? source : null });
    }
    return found;
  }

  /** Writes the newest of a series of entries, then removes the others. */
  async #replace(names: readonly string[], prefix: string, bytes: Bytes): Promise<void> {
    const name = `${prefix}-${Math.max(this.#now(), timeOf(newest(names, prefix)) + 1)}`;
    await this.store.write(name, bytes);
    for (const old of names) if (old.startsWith(`${prefix}-`) && old !== name) await this.store.remove(old);
  }
}

/** Returns the bytes of a store's blob; null where it was removed meanwhile. */
async function bytesOf(blob: Blob | null): Promise<Bytes | null> {
  return blob === null
    ? null
    : blob.arrayBuffer().then(
        (buffer) => new Uint8Array(buffer),
        () => null,
      );
}

function wholeVariants(manifest: Manifest, isHere: (chunk: BundleChunk) => boolean): string[] {
  if (isBare(manifest)) return manifest.chunks.every(isHere) ? ["model"] : [];
  return manifest.variants.filter((x) => x.files.every((y) => y.chunks.every(isHere))).map((x) => x.id);
}

function fileName(url: string | undefined): string {
  return url === undefined ? "model" : fileNameOf(url);
}
