// Names of a store's entries: composed, parsed, compared. model-store.ts lists their meaning.
import { sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";

/** Returns the key of a chunk: its entry's name without the prefix. */
export function keyOf({ sha256, bytes }: BundleChunk): string {
  return `${sha256}-${bytes}`;
}

/** Returns the name of a chunk's entry. */
export function chunkName(chunk: BundleChunk): string {
  return `chunk-${keyOf(chunk)}`;
}

/** Returns the keys of the chunks among some names. */
export function chunksOf(names: readonly string[]): Set<string> {
  return new Set(names.filter((x) => /^chunk-[0-9a-f]{64}-\d+$/.test(x)).map((x) => x.slice("chunk-".length)));
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
