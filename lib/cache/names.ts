// Names of a store's entries: composed, parsed, compared. model-store.ts lists their meaning.
import { sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";

/** Returns the key of a chunk: its entry's name without the prefix. */
export function keyOf({ sha256, bytes }: BundleChunk): string {
  return `${sha256}-${bytes}`;
}

/** Returns the name of the file at an address, for messages; a data: URL is one without a name. */
export function fileNameOf(url: string): string {
  const { protocol, pathname } = new URL(url);
  return protocol === "data:" ? "model" : (pathname.split("/").pop() ?? "");
}

/** Returns the name of a chunk's entry. */
export function chunkName(chunk: BundleChunk): string {
  return `chunk-${keyOf(chunk)}`;
}

/** Returns the keys of the chunks among some names. */
export function chunksOf(names: readonly string[]): Set<string> {
  return new Set(names.filter((x) => /^chunk-[0-9a-f]{64}-\d+$/.test(x)).map((x) => x.slice("chunk-".length)));
}

/** A piece of a repository's file, by the record of it. */
export interface FilePiece {
  /** Key of the file, as of a chunk. */
  readonly file: string;
  /** Number of the piece in its file. */
  readonly index: number;
  readonly piece: BundleChunk;
}

/** Returns the name of the record of a file's piece. */
export function pieceName(file: BundleChunk, index: number, piece: BundleChunk): string {
  return `file-${keyOf(file)}-${index}-${keyOf(piece)}`;
}

/** Reads the name of the record of a file's piece; null for another entry. */
export function pieceIn(name: string): FilePiece | null {
  const [, file, index, sha256, bytes] = /^file-([0-9a-f]{64}-\d+)-(\d+)-([0-9a-f]{64})-(\d+)$/.exec(name) ?? [];
  if (file === undefined || sha256 === undefined) return null;
  return { file, index: Number(index), piece: { sha256, bytes: Number(bytes) } };
}

/** Lists the recorded pieces of each file by its key, in their order. */
export function piecesOf(names: readonly string[]): Map<string, BundleChunk[]> {
  const files = new Map<string, BundleChunk[]>();
  for (const name of names) {
    const found = pieceIn(name);
    if (found === null) continue;
    const pieces = files.get(found.file) ?? [];
    pieces[found.index] = found.piece;
    files.set(found.file, pieces);
  }
  return files;
}

/** Returns the keys of what is stored whole: chunks, and files all of whose pieces are stored. */
export function storedKeys(names: readonly string[]): Set<string> {
  const keys = chunksOf(names);
  for (const [file, pieces] of piecesOf(names)) if (isWholeFile(file, pieces, keys)) keys.add(file);
  return keys;
}

function isWholeFile(file: string, pieces: readonly (BundleChunk | undefined)[], keys: ReadonlySet<string>): boolean {
  let bytes = 0;
  for (const piece of pieces) {
    if (piece === undefined || !keys.has(keyOf(piece))) return false;
    bytes += piece.bytes;
  }
  return bytes === timeOf(file);
}

/** Returns the identity in the name of a manifest's entry; undefined for other entries. */
export function identityIn(name: string): string | undefined {
  return /^bundle-([0-9a-f]{64})$/.exec(name)?.[1];
}

/** Returns the SHA-256 of a URL, by which names refer to it. */
export function addressOf(url: string): Promise<string> {
  return sha256Hex(new TextEncoder().encode(url));
}

/** Returns the entries `<prefix>-<ms>`, the newest first. */
export function seriesOf(names: readonly string[], prefix: string): string[] {
  const series = names.filter((x) => x.startsWith(`${prefix}-`) && /^\d+$/.test(x.slice(prefix.length + 1)));
  return series.sort((a, b) => timeOf(b) - timeOf(a));
}

/** Returns the newest of the entries `<prefix>-<ms>`; null where there is none. */
export function newest(names: readonly string[], prefix: string): string | null {
  return seriesOf(names, prefix)[0] ?? null;
}

/** Returns the number at the end of a name; 0 for null. */
export function timeOf(name: string | null): number {
  return name === null ? 0 : Number(name.slice(name.lastIndexOf("-") + 1));
}

/** Returns when a bundle was last used; 0 where no entry says so. */
export function usedMs(names: readonly string[], identity: string): number {
  return timeOf(newest(names, `used-${identity}`));
}
