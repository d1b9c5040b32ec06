// Eviction order: chunks that nothing names, parts of chunks, bundles that an older release stored and that were not
// used since, drafts, then bundles by least recent use.
//
// Nothing is evicted in vain: where all evictable entries would not make enough room, all stay. A chunk is removed only
// where every manifest could be read: an unreadable one may name it. A manifest of a newer release, whose hash is right
// but whose schema is unknown here, is not this release's to evict, and the chunks that its text names stay. A damaged
// manifest keeps its chunks until it is evicted or written again: they are most likely right.
import type { BundleChunk } from "../core/bundle.ts";
import { readManifest } from "./manifest.ts";
import { chunksOf, identityIn, keyOf, pieceIn, piecesOf, timeOf, usedMs } from "./names.ts";
import { isSource, readJson } from "./source.ts";
import type { Store } from "./stores/store.ts";

/** A load's demand on the store. */
export interface Room {
  /** Identity of the bundle, or address of the draft. */
  readonly id: string;
  /** Address of the load, whose stored version stays until this one is whole. */
  readonly url: string;
  /** Keys of the chunks that are not stored yet; null where they are unknown before they arrive. */
  readonly missing: Set<string> | null;
  /** Their bytes; Infinity where unknown. */
  missingBytes: number;
  /** Bytes that were freed for it and not written yet. */
  slackBytes: number;
  /** Whether the browser's estimate says that it does not fit; null before the estimate. */
  isTight: boolean | null;
  /** Whether all of it is here and checked. */
  isWhole: boolean;
  /** After a write that did not fit, no other is tried until then. */
  fullUntilMs: number;
}

const DRAFT = /^draft-([0-9a-f]{64})-(?:head-(\d+)|\d+-([0-9a-f]{64})-\d+)$/;

/** A bundle or a draft, which names chunks. */
interface Owner {
  /** A bundle's identity, or the address of a draft. */
  readonly id: string;
  readonly kind: "draft" | "bundle";
  /** SHA-256 of the chunks that it names. */
  readonly hashes: ReadonlySet<string>;
  readonly usedMs: number;
  readonly mayGo: boolean;
  /** Whether an older release stored it, and it was not used since. */
  readonly isOld: boolean;
}

/**
 * Frees `bytes`, or as much as is evictable; returns the bytes freed. Bundles and drafts are removed only where all of
 * them together would free `neededBytes`.
 * @param keep - identities of bundles, addresses of drafts and hashes of chunks that stay
 */
export async function makeRoom(
  store: Store,
  bytes: number,
  keep: ReadonlySet<string>,
  neededBytes: number,
): Promise<number> {
  const names = await store.names();
  const owners = await ownersOf(store, names, keep);
  if (owners === null) return 0;
  let freed = await sweep(store, names, owners, keep);
  if (freed < bytes) freed += await removeParts(store, names, bytes - freed);
  const victims = owners.filter((x) => x.mayGo).sort((a, b) => order(a) - order(b) || a.usedMs - b.usedMs);
  const left = new Set(owners);
  for (const victim of victims) left.delete(victim);
  const stays = withPieces(namedBy(left, keep), names);
  const named = namedBy(victims);
  const possible = sizeOf([...chunksOf(names)].filter((key) => named.has(hashOf(key)) && !stays.has(hashOf(key))));
  if (freed + possible < neededBytes) return freed;
  for (const victim of victims) left.add(victim);
  for (const victim of victims) {
    if (freed >= bytes) break;
    left.delete(victim);
    freed += await evict(store, victim, left, keep);
  }
  return freed;
}

/** Removes a bundle, and the chunks that nothing else names; returns the bytes freed. */
export async function removeBundle(store: Store, identity: string): Promise<number> {
  const names = await store.names();
  const owners = await ownersOf(store, names, new Set());
  const found = owners?.find((x) => x.id === identity && x.kind === "bundle");
  if (owners === null || found === undefined) {
    await removeRecords(store, identity);
    return 0;
  }
  return evict(store, found, new Set(owners.filter((x) => x !== found)), new Set());
}

/** Lists bundles and drafts; null where a manifest could not be read, so that the needed chunks are unknown. */
async function ownersOf(store: Store, names: readonly string[], keep: ReadonlySet<string>): Promise<Owner[] | null> {
  const owners: Owner[] = [];
  const old = new Set(await store.oldNames?.());
  const drafts = new Map<string, { hashes: Set<string>; usedMs: number; isOld: boolean }>();
  for (const name of names) {
    const [, address, begun, sha256] = DRAFT.exec(name) ?? [];
    if (address !== undefined) {
      const draft = drafts.get(address) ?? { hashes: new Set(), usedMs: 0, isOld: old.has(name) };
      drafts.set(address, draft);
      if (sha256 !== undefined) draft.hashes.add(sha256);
      if (begun !== undefined) draft.usedMs = Number(begun);
    }
    const identity = identityIn(name);
    if (identity === undefined) continue;
    const stored = await readManifest(store, identity).catch(() => undefined);
    if (stored === undefined) return null;
    if (stored === null) continue; // removed meanwhile
    const mayGo = stored.state !== "newer" && !keep.has(identity) && !names.includes(`pin-${identity}`);
    const hashes = withPieces(stored.hashes, names);
    owners.push({ id: identity, kind: "bundle", hashes, usedMs: usedMs(names, identity), mayGo, isOld: old.has(name) });
  }
  for (const [id, draft] of drafts) owners.push({ id, kind: "draft", ...draft, mayGo: !keep.has(id) });
  return owners;
}

/** Removes chunks that nothing names. */
async function sweep(
  store: Store,
  names: readonly string[],
  owners: Iterable<Owner>,
  keep: ReadonlySet<string>,
): Promise<number> {
  const needed = withPieces(namedBy(owners, keep), names);
  for (const name of names) {
    const found = pieceIn(name);
    if (found !== null && !needed.has(hashOf(found.file))) await store.remove(name);
  }
  return removeChunks(
    store,
    [...chunksOf(names)].filter((key) => !needed.has(hashOf(key))),
  );
}

async function evict(
  store: Store,
  { id, kind, hashes }: Owner,
  others: Iterable<Owner>,
  keep: ReadonlySet<string>,
): Promise<number> {
  if (kind === "bundle") await removeRecords(store, id);
  const names = await store.names();
  for (const name of names) if (kind === "draft" && name.startsWith(`draft-${id}-`)) await store.remove(name);
  const needed = withPieces(namedBy(others, keep), names);
  for (const name of names) {
    const file = hashOf(pieceIn(name)?.file ?? "-");
    if (hashes.has(file) && !needed.has(file)) await store.remove(name);
  }
  return removeChunks(
    store,
    [...chunksOf(names)].filter((key) => hashes.has(hashOf(key)) && !needed.has(hashOf(key))),
  );
}

/** Removes all records of a bundle. */
async function removeRecords(store: Store, identity: string): Promise<void> {
  for (const name of await store.names()) {
    const isOwn = name === `bundle-${identity}` || name === `pin-${identity}` || name.startsWith(`used-${identity}-`);
    if (isOwn) await store.remove(name);
    else if (name.startsWith("source-")) {
      const source = await readJson(store, name).catch(() => null);
      if (isSource(source) && source.identity === identity) await store.remove(name);
    }
  }
}

/** Removes parts of chunks, until `bytes` are free; returns the bytes of those that are gone then. */
async function removeParts(store: Store, names: readonly string[], bytes: number): Promise<number> {
  const sizes = new Map<string, number>();
  let size = 0;
  for (const name of names) {
    if (size >= bytes) break;
    if (!name.startsWith("part-")) continue;
    sizes.set(name, (await store.read(name).catch(() => null))?.byteLength ?? 0);
    size += sizes.get(name) ?? 0;
    await store.remove(name);
  }
  if (sizes.size > 0) for (const name of await store.names()) size -= sizes.get(name) ?? 0;
  return size;
}

/** Removes chunks; returns the bytes of those that are gone then: writers try again for as long as there are any. */
async function removeChunks(store: Store, keys: readonly string[]): Promise<number> {
  if (keys.length === 0) return 0;
  for (const key of keys) await store.remove(`chunk-${key}`);
  const left = chunksOf(await store.names());
  return sizeOf(keys.filter((key) => !left.has(key)));
}

function namedBy(owners: Iterable<Owner>, more: Iterable<string> = []): Set<string> {
  const hashes = new Set(more);
  for (const owner of owners) for (const hash of owner.hashes) hashes.add(hash);
  return hashes;
}

/** Adds the hashes of the pieces of repositories' files. */
function withPieces(hashes: ReadonlySet<string>, names: readonly string[]): Set<string> {
  const all = new Set(hashes);
  for (const [file, pieces] of piecesOf(names))
    if (hashes.has(hashOf(file))) for (const piece of pieces) all.add(piece.sha256);
  return all;
}

/** Bundles of an older release come first, then drafts, then bundles. */
function order({ kind, isOld }: Owner): number {
  return isOld ? 0 : kind === "draft" ? 1 : 2;
}

function hashOf(key: string): string {
  return key.slice(0, key.indexOf("-"));
}

function sizeOf(keys: readonly string[]): number {
  return keys.reduce((sum, key) => sum + timeOf(key), 0);
}

/** Counts a newly stored chunk once. */
export function countStored(room: Room, chunk: BundleChunk): void {
  if (room.missing === null || room.missing.delete(keyOf(chunk))) room.missingBytes -= chunk.bytes;
}
