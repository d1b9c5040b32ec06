// What stands in a store, and what its names mean:
//   chunk-<sha256>-<bytes>      a chunk; its hash is checked at every read, since a flipped bit runs and is wrong
//   part-<sha256>-<offset>      a part of a chunk on its way over a slow line; gone once the chunk is here
//   bundle-<identity>           a manifest's canonical JSON, whose SHA-256 is its identity; written before its chunks
//   source-<address>-<ms>       what an address led to last; the newest counts
//   used-<identity>-<ms>        when a bundle was last used; the newest counts
//   pin-<identity>              kept when room is made
//   releases-<ms>               signed releases that were seen (releases.ts); the newest counts, kept as long as the store
//   rate-<bytes a second>-<ms>  how fast the network was last
//   draft-<address>-head-<ms>   a bare model on its way: which file it is, by its validators
//   draft-<address>-<n>-<sha256>-<bytes>   … and its n-th chunk
// <address> is the SHA-256 of a URL. The names are the whole index: it is read anew where a decision hangs on it, so
// that two tabs agree, and a chunk that no bundle and no draft names is an orphan, the first to go.
import { canonicalJson, sha256Hex } from "../bundle.ts";
import type { BundleChunk } from "../bundle.ts";
import { isSelvedgeError } from "../errors.ts";
import { release } from "../release.ts";
import { allChunks, identityOf, isBare, parseManifest } from "./manifest.ts";
import type { Manifest, ManifestJson } from "./manifest.ts";
import { joinReleases, readReleases, writeReleases } from "./releases.ts";
import type { Releases } from "./releases.ts";
import type { Bytes, Store } from "./store.ts";

/** What an address led to. */
export interface Source {
  readonly url: string;
  readonly identity: string;
  /** How the server tells this file from the next; null for a bundle, whose identity does. */
  readonly validator: Validator | null;
  /** What vouches for a bundle, as it came; null where nobody asked. */
  readonly signature: unknown;
}

/** What a server says of a file, by which a changed one is told. */
export interface Validator {
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** Its size as the server tells it; null where it is compressed on the wire, or not told. */
  readonly bytes: number | null;
}

/** A bundle that is stored, wholly or in part. */
export interface StoredBundle {
  readonly identity: string;
  readonly name: string;
  readonly version: string;
  /** The addresses that lead to it. */
  readonly urls: readonly string[];
  /** Bytes of its chunks that are here; what it shares with another bundle counts for both. */
  readonly bytes: number;
  /** When it was last used, in ms since 1970. */
  readonly usedMs: number;
  readonly isPinned: boolean;
  /** The variants that are here whole; a bare model has one, `model`. */
  readonly variants: readonly string[];
}

/** Keeps chunks and what belongs to them in a store. */
export class Shelf {
  readonly store: Store;
  readonly #now: () => number;

  constructor(store: Store, now: () => number) {
    this.store = store;
    this.#now = now;
  }

  /**
   * Gives a chunk, its hash checked; null where it is not here. A wrong one is removed. It is the store's own blob where
   * that has them: a model in memory would be there twice, beside what the runtime makes of it.
   */
  async chunk({ sha256, bytes }: BundleChunk): Promise<Blob | null> {
    const name = chunkName({ sha256, bytes });
    const { store } = this;
    const blob = store.blob === undefined ? null : await store.blob(name);
    const found = store.blob === undefined ? await store.read(name) : await bytesOf(blob);
    if (found === null) return null;
    try {
      if (found.byteLength === bytes && (await sha256Hex(found)) === sha256) return blob ?? new Blob([found]);
      await store.remove(name);
      return null;
    } finally {
      release(found);
    }
  }

  /** Lists which chunks are here, as `<sha256>-<bytes>`. */
  async chunks(): Promise<Set<string>> {
    return chunksOf(await this.store.names());
  }

  /**
   * Keeps a chunk whose hash was checked. Where there is no room, bundles that were not used for the longest time go
   * first, but for pinned ones and those in `keep`.
   * @throws SelvedgeError `quota-exceeded` where that does not suffice.
   */
  async keep(chunk: BundleChunk, bytes: Bytes, keep: ReadonlySet<string>): Promise<void> {
    for (;;)
      try {
        await this.store.write(chunkName(chunk), bytes);
        return;
      } catch (error) {
        if (!isSelvedgeError(error) || error.code !== "quota-exceeded") throw error;
        if ((await this.makeRoom(bytes.byteLength, keep)) === 0) throw error;
      }
  }

  /** Gives what is here of a chunk on its way, from its beginning on; whether it is right only the whole tells. */
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

  /** Keeps a part of a chunk on its way. */
  async keepPart({ sha256 }: BundleChunk, offset: number, bytes: Bytes): Promise<void> {
    await this.store.write(`part-${sha256}-${offset}`, bytes);
  }

  /** Removes the parts of a chunk. */
  async dropParts({ sha256 }: BundleChunk): Promise<void> {
    for (const name of await this.store.names()) if (name.startsWith(`part-${sha256}-`)) await this.store.remove(name);
  }

  /** Remembers a bundle before its chunks come, and what led to it. */
  async remember(json: ManifestJson, source: Source): Promise<void> {
    const names = await this.store.names();
    const text = new TextEncoder().encode(canonicalJson(json));
    if (!names.includes(`bundle-${source.identity}`)) await this.store.write(`bundle-${source.identity}`, text);
    const address = await addressOf(source.url);
    const known = await this.source(source.url);
    if (known === null || canonicalJson(known) !== canonicalJson(source))
      await this.#replace(names, `source-${address}`, new TextEncoder().encode(canonicalJson(source)));
    await this.touch(source.identity);
  }

  /** Notes that a bundle was used just now. */
  async touch(identity: string): Promise<void> {
    await this.#replace(await this.store.names(), `used-${identity}`, new Uint8Array(0));
  }

  /** Gives a bundle by its identity, which is checked; null where it is not here. */
  async bundle(identity: string): Promise<Manifest | null> {
    const bytes = await this.store.read(`bundle-${identity}`);
    if (bytes === null) return null;
    try {
      const json = JSON.parse(new TextDecoder().decode(bytes)) as ManifestJson;
      const manifest = parseManifest(json);
      if ((await identityOf(json)) === identity) return manifest;
    } catch {
      // damaged: gone, as below
    }
    await this.store.remove(`bundle-${identity}`);
    return null;
  }

  /** Gives what an address led to last; null where it is not known. */
  async source(url: string): Promise<Source | null> {
    const name = newest(await this.store.names(), `source-${await addressOf(url)}`);
    const text = name === null ? null : await this.#json(name);
    return isSource(text) && text.url === url ? text : null;
  }

  /** Pins or unpins a bundle: a pinned one stays when room is made. */
  async pin(identity: string, isPinned: boolean): Promise<void> {
    if (isPinned) await this.store.write(`pin-${identity}`, new Uint8Array(0));
    else await this.store.remove(`pin-${identity}`);
  }

  /** Lists the bundles that are here, the last used first. */
  async bundles(): Promise<StoredBundle[]> {
    const names = await this.store.names();
    const here = chunksOf(names);
    const urls = new Map<string, string[]>();
    for (const name of newestOf(names, /^(source-[0-9a-f]{64})-\d+$/)) {
      const source = await this.#json(name);
      if (isSource(source)) urls.set(source.identity, [...(urls.get(source.identity) ?? []), source.url]);
    }
    const found: StoredBundle[] = [];
    for (const name of names) {
      const identity = /^bundle-([0-9a-f]{64})$/.exec(name)?.[1];
      const bundle = identity === undefined ? null : await this.bundle(identity);
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

  /** Removes a bundle, and the chunks that no other one names. Gives the bytes that this freed. */
  async forget(identity: string): Promise<number> {
    const bundle = await this.bundle(identity);
    for (const name of await this.store.names()) {
      const isOwn = name === `bundle-${identity}` || name === `pin-${identity}` || name.startsWith(`used-${identity}-`);
      if (isOwn) await this.store.remove(name);
      else if (/^source-/.test(name)) {
        const source = await this.#json(name);
        if (isSource(source) && source.identity === identity) await this.store.remove(name);
      }
    }
    return this.#sweep(new Set(bundle === null ? [] : allChunks(bundle).map(keyOf)));
  }

  /**
   * Makes room: orphans first, then drafts, then bundles that were not used for the longest time. Gives the bytes that
   * this freed, 0 where nothing was left to remove.
   */
  async makeRoom(bytes: number, keep: ReadonlySet<string>): Promise<number> {
    let freed = await this.#sweep(null);
    for (const name of await this.store.names())
      if (name.startsWith("part-")) {
        freed += (await this.store.read(name))?.byteLength ?? 0;
        await this.store.remove(name);
      }
    const victims = (await this.bundles()).filter((x) => !x.isPinned && !keep.has(x.identity)).reverse();
    for (const { identity } of victims) {
      if (freed >= bytes) break;
      freed += await this.forget(identity);
    }
    if (freed === 0) {
      for (const name of await this.store.names()) if (name.startsWith("draft-")) await this.store.remove(name);
      freed = await this.#sweep(null);
    }
    return freed;
  }

  /** Returns the signed releases that this device has seen (releases.ts); none where the entry is damaged. */
  async releases(): Promise<Releases> {
    const name = newest(await this.store.names(), "releases");
    const bytes = name === null ? null : await this.store.read(name);
    return readReleases(bytes === null ? null : new TextDecoder().decode(bytes));
  }

  /** Adds to the signed releases that this device has seen. */
  async noteReleases(seen: Releases): Promise<void> {
    const known = await this.releases();
    const text = writeReleases(joinReleases(known, seen));
    if (text !== writeReleases(known))
      await this.#replace(await this.store.names(), "releases", new TextEncoder().encode(text));
  }

  /** Gives how fast the network was last, in bytes a second; null where that was not seen. */
  async rate(): Promise<number | null> {
    const rates = (await this.store.names()).filter((x) => /^rate-\d+-\d+$/.test(x));
    const last = rates.reduce<string | null>((a, b) => (a === null || timeOf(b) > timeOf(a) ? b : a), null);
    return last === null ? null : Number(last.split("-")[1]);
  }

  /** Notes how fast the network was. */
  async noteRate(bytesPerSecond: number): Promise<void> {
    const names = await this.store.names();
    const name = `rate-${Math.round(bytesPerSecond)}-${this.#now()}`;
    await this.store.write(name, new Uint8Array(0));
    for (const old of names) if (old.startsWith("rate-") && old !== name) await this.store.remove(old);
  }

  /** Gives the draft of a bare model: which file it is, and its chunks that are here, by their places. */
  async draft(url: string): Promise<{ validator: Validator; chunks: Map<number, BundleChunk> } | null> {
    const address = await addressOf(url);
    const names = await this.store.names();
    const head = newest(names, `draft-${address}-head`);
    const validator = head === null ? null : await this.#json(head);
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

  /** Notes the n-th chunk of a draft; the chunk itself is kept before. */
  async noteDraft(url: string, n: number, chunk: BundleChunk): Promise<void> {
    await this.store.write(`draft-${await addressOf(url)}-${n}-${keyOf(chunk)}`, new Uint8Array(0));
  }

  /** Ends a draft: the model is here, or is another one now. */
  async endDraft(url: string): Promise<void> {
    const prefix = `draft-${await addressOf(url)}-`;
    for (const name of await this.store.names()) if (name.startsWith(prefix)) await this.store.remove(name);
  }

  /** Removes chunks that no bundle and no draft names: of those in `only` where given. */
  async #sweep(only: ReadonlySet<string> | null): Promise<number> {
    const names = await this.store.names();
    const needed = new Set<string>();
    for (const name of names) {
      const identity = /^bundle-([0-9a-f]{64})$/.exec(name)?.[1];
      const bundle = identity === undefined ? null : await this.bundle(identity);
      for (const chunk of bundle === null ? [] : allChunks(bundle)) needed.add(keyOf(chunk));
      const part = /^draft-[0-9a-f]{64}-\d+-([0-9a-f]{64}-\d+)$/.exec(name)?.[1];
      if (part !== undefined) needed.add(part);
    }
    let freed = 0;
    for (const key of chunksOf(names)) {
      if (needed.has(key) || only?.has(key) === false) continue;
      await this.store.remove(`chunk-${key}`);
      freed += Number(key.split("-")[1]);
    }
    return freed;
  }

  /** Writes the newest of a series of entries, then removes the others. */
  async #replace(names: readonly string[], prefix: string, bytes: Bytes): Promise<void> {
    const name = `${prefix}-${Math.max(this.#now(), timeOf(newest(names, prefix)) + 1)}`;
    await this.store.write(name, bytes);
    for (const old of names) if (old.startsWith(`${prefix}-`) && old !== name) await this.store.remove(old);
  }

  async #json(name: string): Promise<unknown> {
    const bytes = await this.store.read(name);
    if (bytes === null) return null;
    try {
      return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
    } catch {
      return null; // damaged: as if it were not here
    }
  }
}

/** Gives what a store's blob holds; null where it has gone meanwhile. */
async function bytesOf(blob: Blob | null): Promise<Bytes | null> {
  return blob === null
    ? null
    : blob.arrayBuffer().then(
        (buffer) => new Uint8Array(buffer),
        () => null,
      );
}

/** Gives the name of a chunk without its prefix. */
export function keyOf({ sha256, bytes }: BundleChunk): string {
  return `${sha256}-${bytes}`;
}

function wholeVariants(manifest: Manifest, isHere: (chunk: BundleChunk) => boolean): string[] {
  if (isBare(manifest)) return manifest.chunks.every(isHere) ? ["model"] : [];
  return manifest.variants.filter((x) => x.files.every((y) => y.chunks.every(isHere))).map((x) => x.id);
}

function fileName(url: string | undefined): string {
  return url === undefined ? "model" : (new URL(url).pathname.split("/").pop() ?? "model");
}

function chunkName(chunk: BundleChunk): string {
  return `chunk-${keyOf(chunk)}`;
}

function chunksOf(names: readonly string[]): Set<string> {
  return new Set(names.filter((x) => /^chunk-[0-9a-f]{64}-\d+$/.test(x)).map((x) => x.slice("chunk-".length)));
}

function addressOf(url: string): Promise<string> {
  return sha256Hex(new TextEncoder().encode(url));
}

/** Gives the newest of the entries `<prefix>-<ms>`. */
function newest(names: readonly string[], prefix: string): string | null {
  const series = names.filter((x) => x.startsWith(`${prefix}-`) && /^\d+$/.test(x.slice(prefix.length + 1)));
  return series.reduce<string | null>((a, b) => (a === null || timeOf(b) > timeOf(a) ? b : a), null);
}

/** Gives the newest entry of each series; the expression's first group names the series. */
function newestOf(names: readonly string[], series: RegExp): string[] {
  const prefixes = new Set(names.map((x) => series.exec(x)?.[1]).filter((x) => x !== undefined));
  return [...prefixes].map((x) => newest(names, x)).filter((x) => x !== null);
}

function timeOf(name: string | null): number {
  return name === null ? 0 : Number(name.slice(name.lastIndexOf("-") + 1));
}

function usedMs(names: readonly string[], identity: string): number {
  return timeOf(newest(names, `used-${identity}`));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isValidator(value: unknown): value is Validator {
  const isText = (x: unknown): boolean => x === null || typeof x === "string";
  return (
    isRecord(value) &&
    (value["bytes"] === null || typeof value["bytes"] === "number") &&
    isText(value["etag"]) &&
    isText(value["lastModified"])
  );
}

function isSource(value: unknown): value is Source {
  if (!isRecord(value) || typeof value["url"] !== "string" || !/^[0-9a-f]{64}$/.test(String(value["identity"])))
    return false;
  return value["validator"] === null || isValidator(value["validator"]);
}
