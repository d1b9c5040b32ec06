// Files without validators: the host sends neither a hash nor an ETag nor a Last-Modified date, so that a change of the
// same size shows in the content alone. They are used at once, and compared once a load is over: fetched again, within
// HTTP freshness from the browser's own cache, and hashed piece by piece. A changed file gets another name, so it is
// another version to the store.
import { CHUNK_MAX_BYTES, filesOf, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleFile } from "../core/bundle.ts";
import type { Downloader } from "./download.ts";
import { isFile } from "./file-download.ts";
import type { FileChunk } from "./file-download.ts";
import { request } from "./http.ts";
import type { NetOptions } from "./http.ts";
import type { LoadCriteria } from "./messages.ts";
import { keyOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";

/** Lists the files of a repository that have no validators. */
export function unvalidatedIn(bundle: Bundle): FileChunk[] {
  return filesOf(bundle).flatMap(({ chunks }) => chunks.filter(isFile).filter((x) => x.isBlind === true));
}

/**
 * Returns a stored version in which each file without validators that has changed has another name; those that are not
 * stored keep theirs.
 * @throws SelvedgeError `download-failed`
 */
export async function renameChanged(
  stored: OpenedBundle,
  { token }: LoadCriteria,
  { modelStore, effects }: Downloader,
  signal: AbortSignal,
): Promise<OpenedBundle> {
  const files = new Map(unvalidatedIn(stored.bundle).map((x) => [keyOf(x), x]));
  const names = new Map<string, string>();
  for (const [key, file] of files) {
    const pieces = (await modelStore?.pieces(file).catch(() => [])) ?? [];
    if (pieces.length === 0) continue;
    const headers: HeadersInit = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const found = await hashesOf(file.url, headers, { effects, signal });
    if (found.join() !== pieces.map((x) => x.sha256).join())
      names.set(key, await sha256Hex(new TextEncoder().encode(`${file.url} ${found.join()}`)));
  }
  const { bundle } = stored;
  const renamed = (list: readonly BundleFile[]): BundleFile[] =>
    list.map((file) => ({
      ...file,
      chunks: file.chunks.map((x) => ({ ...x, sha256: names.get(keyOf(x)) ?? x.sha256 })),
    }));
  const variants = bundle.variants.map((x) => ({ ...x, files: renamed(x.files) }));
  return { ...stored, bundle: { ...bundle, variants, assets: renamed(bundle.assets ?? []) } };
}

/** Returns the SHA-256 of each piece of a file, cut as a download is. */
async function hashesOf(url: string, headers: HeadersInit, net: NetOptions): Promise<string[]> {
  const body = await request(url, { headers }, net);
  const piece = new Uint8Array(CHUNK_MAX_BYTES);
  const hashes: string[] = [];
  let size = 0;
  for (let part = await body.read(); part !== null; part = await body.read())
    for (let at = 0; at < part.length;) {
      const taken = part.subarray(at, at + piece.length - size);
      piece.set(taken, size);
      size += taken.length;
      at += taken.length;
      if (size < piece.length) continue;
      hashes.push(await sha256Hex(piece));
      size = 0;
    }
  if (size > 0) hashes.push(await sha256Hex(piece.subarray(0, size)));
  return hashes;
}
