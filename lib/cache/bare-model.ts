// A bare model from an address: a file of unknown hash. It is cut into chunks as it arrives (bare-download.ts), so that
// it is stored, verified and shared like a bundle's. A later load asks the server only whether the file is still the
// same, by its validators (ETag, Last-Modified, size; RFC 9110, 8.8). Where the server states no validator, the stored
// model is used at once; past its HTTP freshness it is then fetched again in the background (update.ts), and a file with
// other hashes is what the next load uses.
import { CHUNK_MAX_BYTES, sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { freeBuffer } from "../rpc/free-buffer.ts";
import { BareDownload } from "./bare-download.ts";
import type { BareModel } from "./bare-download.ts";
import type { Downloader, DownloadOptions } from "./download.ts";
import { request } from "./http.ts";
import { bareManifest, identityOf, isBare } from "./manifest.ts";
import { empty, notModel } from "./known-file.ts";
import { LoadProgress } from "./progress.ts";
import { addressOf, fileNameOf } from "./names.ts";
import { sniff, sniffText } from "../core/sniff.ts";
import type { SourceRecord } from "./source.ts";
import { isSame, validatorOf } from "./validator.ts";

/** Bound on the wait for the server's revalidation before a stored model is used without it. */
const ASK_MS = 5_000;

/** Returns the identity of bytes that the caller has. */
export async function bareBytes(data: Blob): Promise<BareModel> {
  const chunks: BundleChunk[] = [];
  for (let at = 0; at < data.size; at += CHUNK_MAX_BYTES) {
    const bytes = new Uint8Array(await data.slice(at, at + CHUNK_MAX_BYTES).arrayBuffer());
    const found = at === 0 ? (sniff(bytes) ?? sniffText(bytes)) : null;
    if (found !== null) throw notModel("name" in data ? String(data.name) : "The source", found, {});
    chunks.push({ sha256: await sha256Hex(bytes), bytes: bytes.byteLength });
    freeBuffer(bytes);
  }
  // A Blob of a detached buffer is empty.
  if (chunks.length === 0) throw empty(" An ArrayBuffer that was transferred (detached) is empty too.");
  return { identity: await identityOf(bareManifest(chunks)), data };
}

/**
 * Fetches a bare model. Returns the stored one where the server says that it is unchanged, is away, refuses it (except
 * status 410, which withdraws it), or sends something that is not a model, such as a network's login page.
 */
export async function fetchBare(
  url: string,
  downloader: Downloader,
  options: DownloadOptions,
  mustFetch = false,
): Promise<BareModel> {
  const path = fileNameOf(url);
  const { effects } = downloader;
  const progress = new LoadProgress([{ path, bytes: null }], effects.now, options.onProgress ?? (() => undefined));
  const address = await addressOf(url);
  const end = downloader.uses.begin(address);
  const fetchIt = async (signal: AbortSignal): Promise<BareModel> => {
    const stored = await storedManifest(url, downloader);
    // The stored model may be needed in the end, so it stays until the new one is whole, whatever evicts meanwhile.
    const letGo =
      stored === null ? () => undefined : once(downloader.uses.begin(stored.source.identity, stored.chunks));
    const read = (): Promise<BareModel | null> => readStored(stored, downloader, progress, signal);
    try {
      const use = stored === null || mustFetch ? null : await mayUse(url, stored.source, downloader, signal);
      if (use !== null) {
        const found = await read();
        if (found !== null) return { ...found, ...use };
      }
      const room = await downloader.room(address, url, null);
      return await new BareDownload(url, downloader, progress, signal, room, null, options.admit).run(letGo);
    } catch (error) {
      signal.throwIfAborted();
      const found = sendsNoModel(error) ? await read() : null;
      if (found === null) throw error;
      return found;
    } finally {
      letGo();
    }
  };
  try {
    return await downloader.locked(`bare/${url}`, options.signal, fetchIt, `draft-${address}-`);
  } finally {
    end(false);
  }
}

/** Whether a server sent no model at all. */
function sendsNoModel(error: unknown): boolean {
  if (!isSelvedgeError(error)) return false;
  return error.code === "model-invalid" || (error.code === "download-failed" && error.details["status"] !== 410);
}

/** Returns a function that ends a use at its first call. */
function once(end: (isLoaded: boolean) => void): () => void {
  let hasEnded = false;
  return () => {
    if (!hasEnded) end(false);
    hasEnded = true;
  };
}

/** A stored bare model. */
interface StoredBare {
  readonly source: SourceRecord;
  readonly chunks: readonly BundleChunk[];
}

async function storedManifest(url: string, { modelStore }: Downloader): Promise<StoredBare | null> {
  if (modelStore === null) return null;
  try {
    const source = await modelStore.source(url);
    const manifest = source === null ? null : await modelStore.bundle(source.identity);
    return source === null || manifest === null || !isBare(manifest) ? null : { source, chunks: manifest.chunks };
  } catch {
    return null; // a store that fails counts as absent
  }
}

/** Decides whether a stored model is used, and whether it must be checked afterwards; null where it is not used. */
async function mayUse(
  url: string,
  source: SourceRecord,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<Pick<BareModel, "mustCheck"> | null> {
  const { validator } = source;
  const isBlind = validator !== null && validator.etag === null && validator.lastModified === null;
  if (isBlind) return { mustCheck: downloader.effects.wallClock() >= (validator.freshUntilMs ?? 0) };
  return (await isCurrent(url, source, downloader, signal)) ? {} : null;
}

/** Whether a stored model may be used without another request: it is still the newest, or the server is away. */
async function isCurrent(
  url: string,
  source: SourceRecord,
  { effects }: Downloader,
  signal: AbortSignal,
): Promise<boolean> {
  const late = new AbortController();
  const cancel = effects.setTimer(() => {
    late.abort();
  }, ASK_MS);
  try {
    const net = { effects, signal: AbortSignal.any([signal, late.signal]) };
    const { headers } = await request(url, { method: "HEAD", cache: "no-cache" }, net);
    const own = validatorOf(headers);
    // A weak ETag suffices here: no bytes of two answers are combined.
    const isWeakly = own.etag !== null && own.etag === source.validator?.etag && own.bytes === source.validator.bytes;
    return isWeakly || isSame(own, source.validator);
  } catch (error) {
    signal.throwIfAborted();
    // A server that answers but does not know the file, or HEAD, needs a full request; one that is away does not.
    return !isSelvedgeError(error) || error.details["status"] === undefined;
  } finally {
    cancel();
  }
}

async function readStored(
  stored: StoredBare | null,
  downloader: Downloader,
  progress: LoadProgress,
  signal: AbortSignal,
): Promise<BareModel | null> {
  if (stored === null) return null;
  const { source, chunks } = stored;
  progress.expect(
    0,
    chunks.reduce((sum, x) => sum + x.bytes, 0),
  );
  const parts: Blob[] = [];
  for (const chunk of chunks) {
    signal.throwIfAborted();
    const blob = await downloader.stored(chunk);
    if (blob === null) {
      for (const part of parts) progress.add(0, -part.size, "store");
      return null;
    }
    parts.push(blob);
    progress.add(0, blob.size, "store");
  }
  await downloader.modelStore?.touch(source.identity).catch(() => undefined);
  downloader.uses.loaded(source.identity, chunks);
  return { identity: source.identity, data: new Blob(parts) };
}
