// Download of a repository's file, which is one chunk of any size: cut into pieces as it arrives (bare-download.ts), its
// hash computed in the order of the bytes. Pieces are stored as a draft; the record that makes them the file is written
// only once the hash matched. So an interrupted download goes on, and nothing unverified is ever used.
//
// WebCrypto has no hash of a stream: SHA-256 of the whole is computed in JavaScript, that of each piece by the browser. In
// Node 130 MB of a core's second, hash-wasm 240: beside a network of less than 1 Gbit/s neither delays a download.
// Pieces of an earlier page, and those after them, are read again from where they were kept.
import { sha256 } from "@noble/hashes/sha2.js";
import type { BundleChunk } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import { BareDownload } from "./bare-download.ts";
import type { BareChunk, DownloadProgress } from "./bare-download.ts";
import type { Downloader } from "./download.ts";
import { addressOf, keyOf } from "./names.ts";
import type { Room } from "./room.ts";
import { HEAD_BYTES, sniff } from "../core/sniff.ts";
import type { Bytes } from "./stores/store.ts";

/** A chunk that has an address. */
export type FileChunk = BundleChunk & { readonly url: string };

/** Attempts at a file whose bytes have another hash. */
const ATTEMPTS = 2;

/** Whether a chunk is a repository's file. */
export function isFile(chunk: BundleChunk): chunk is FileChunk {
  return chunk.url !== undefined;
}

/** Options of a file's download. */
export interface FileOptions {
  readonly room: Room;
  readonly signal: AbortSignal;
  /** Called with the number of bytes that arrived; negative where they are discarded. */
  readonly report: (bytes: number) => void;
  /** Headers of each request. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A downloaded file, and whether all of it is stored. */
export interface DownloadedFile {
  readonly blob: Blob;
  readonly isStored: boolean;
}

/**
 * Fetches a file whose hash, or whose place, is known; resumes an earlier download.
 * @throws SelvedgeError `integrity-failed` where the bytes have another hash than the host states
 */
export async function fetchFile(
  chunk: FileChunk,
  downloader: Downloader,
  { room, signal, report, headers }: FileOptions,
): Promise<DownloadedFile> {
  const { modelStore, uses } = downloader;
  const draft = `sha256:${chunk.sha256}`;
  const endUse = uses.begin(await addressOf(draft));
  room.missing?.delete(keyOf(chunk)); // its pieces are counted one by one
  try {
    for (let attempt = 1; ; attempt += 1) {
      const hash = new OrderedHash();
      const pieces = (await modelStore?.pieces(chunk).catch(() => [])) ?? [];
      const known = {
        draft,
        bytes: chunk.bytes,
        isHashed: chunk.isUnverified !== true,
        isGraph: new URL(chunk.url).pathname.endsWith(".onnx"),
        headers,
        onPiece: hash.take.bind(hash),
        pieces,
      };
      const found = await new BareDownload(chunk.url, downloader, meterOf(report), signal, room, known).pieces();
      const wrong = chunk.isUnverified === true ? wrongSize(chunk, found) : await wrongHash(chunk, found, hash);
      if (wrong === null) return await record(chunk, draft, found, downloader);
      report(-found.reduce((sum, x) => sum + x.blob.size, 0));
      await modelStore?.endDraft(draft).catch(() => undefined);
      await modelStore?.dropFile(chunk).catch(() => undefined);
      if (attempt === ATTEMPTS) throw wrong;
    }
  } finally {
    endUse(false);
  }
}

/** Records the pieces as the file, now that its hash matched. */
async function record(
  chunk: FileChunk,
  draft: string,
  found: readonly BareChunk[],
  { modelStore }: Downloader,
): Promise<DownloadedFile> {
  const blob = new Blob(found.map((x) => x.blob));
  if (modelStore === null || found.some((x) => !x.isStored)) return { blob, isStored: false };
  try {
    await modelStore.recordFile(
      chunk,
      found.map((x) => x.chunk),
    );
    await modelStore.endDraft(draft);
    return { blob, isStored: true };
  } catch {
    return { blob, isStored: false }; // a store that fails counts as absent
  }
}

async function wrongHash(
  chunk: FileChunk,
  found: readonly BareChunk[],
  hash: OrderedHash,
): Promise<SelvedgeError | null> {
  const own = await hash.finish(found.map((x) => x.blob));
  if (own === chunk.sha256) return null;
  const head = new Uint8Array((await found[0]?.blob.slice(0, HEAD_BYTES).arrayBuffer()) ?? new ArrayBuffer(0));
  const other = sniff(head);
  const what = other === null ? "" : ` It is ${other.what}. ${other.fix}`;
  const message = `${chunk.url} has the SHA-256 ${own}, but its host states ${chunk.sha256}: it was damaged on the way, or replaced.${what}`;
  return new SelvedgeError("integrity-failed", message, { url: chunk.url, hash: own, reason: "hash" });
}

function wrongSize({ url, bytes }: FileChunk, found: readonly BareChunk[]): SelvedgeError | null {
  const size = found.reduce((sum, x) => sum + x.blob.size, 0);
  if (size === bytes) return null;
  const message = `${url} has ${size} bytes instead of ${bytes}.`;
  return new SelvedgeError("integrity-failed", message, { url, reason: "hash" });
}

function meterOf(report: (bytes: number) => void): DownloadProgress {
  return {
    add: (_, bytes) => {
      report(bytes);
    },
    expect: () => undefined,
    tell: () => undefined,
  };
}

/** SHA-256 of pieces that arrive in any order. */
class OrderedHash {
  #hash = sha256.create();
  #next = 0;

  /** Hashes a piece where it is the next one; begins again with `null`. */
  take(piece: { readonly index: number; readonly bytes: Bytes } | null): void {
    if (piece === null) {
      this.#hash = sha256.create();
      this.#next = 0;
    } else if (piece.index === this.#next) {
      this.#hash.update(piece.bytes);
      this.#next += 1;
    }
  }

  /** Hashes the remaining pieces; returns 64 hex digits. */
  async finish(pieces: readonly Blob[]): Promise<string> {
    for (; this.#next < pieces.length; this.#next += 1)
      this.#hash.update(new Uint8Array(await (pieces[this.#next] as Blob).arrayBuffer()));
    return Array.from(this.#hash.digest(), (x) => x.toString(16).padStart(2, "0")).join("");
  }
}
