// The download of a bare model, cut into chunks as it arrives. A connection that breaks is resumed where it broke, by a
// range where the server has them; after a reload at most one chunk is lost. All parts must be of one file, by the
// server's validators; a file that changed during the download is fetched again from the start. A repository's file is
// downloaded the same way (file-download.ts): its size, and mostly its hash, are known before. One stream fetches it:
// four were slower over HTTP/2, and faster only over HTTP/1.1 on a line that loses packets (`npm run bench -- streams`).
import { CHUNK_MAX_BYTES, sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { freeBuffer } from "../rpc/free-buffer.ts";
import type { Downloader, DownloadEffects } from "./download.ts";
import { request, retry } from "./http.ts";
import type { ResponseBody } from "./http.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import { empty, notModel, validatorFor } from "./known-file.ts";
import type { KnownFile } from "./known-file.ts";
import type { LoadProgress } from "./progress.ts";
import type { Room } from "./room.ts";
import { HEAD_BYTES, sniff, sniffText } from "../core/sniff.ts";
import type { Validator } from "./source.ts";
import type { Bytes } from "./stores/store.ts";
import { keyOf } from "./names.ts";
import { canTell, continues, freshUntilOf, isSame, strong } from "./validator.ts";

/** A downloaded bare model. */
export interface BareModel {
  readonly identity: string;
  readonly data: Blob;
  /** Whether the stored one was used although its server can't be asked whether it changed. */
  readonly mustCheck?: boolean | undefined;
}

/** Progress of a download (progress.ts). */
export type DownloadProgress = Pick<LoadProgress, "add" | "expect" | "tell">;

const MODEL_MAX_BYTES = 4 * 1024 ** 3;

/** A chunk in flight: bytes of the file from `index` chunks on, filled up to `size`. */
interface Piece {
  readonly index: number;
  readonly bytes: Bytes;
  size: number;
}

/** A downloaded chunk. */
export interface BareChunk {
  readonly chunk: BundleChunk;
  readonly blob: Blob;
  readonly isStored: boolean;
}

/** One download, over as many connections as it takes one after another. */
export class BareDownload {
  readonly #url: string;
  readonly #downloader: Downloader;
  readonly #progress: DownloadProgress;
  readonly #signal: AbortSignal;
  readonly #room: Room;
  readonly #admit: ((bytes: number) => void) | undefined;
  /** Null for a bare model. */
  readonly #known: KnownFile | null;
  /** Validators of the file that is downloaded. */
  #file: Validator | null = null;
  /** Downloaded chunks, by index. */
  readonly #here: Map<number, BareChunk> = new Map();
  /** Time until which the answer is fresh, in ms since 1970. */
  #freshUntilMs = 0;
  #fetchedBytes = 0;
  #storedBytes = 0;
  /** Whether nothing speaks against the ranges that the server serves. */
  #hasRanges = true;
  /** Replacement of an earlier page's draft by this download's; null until a chunk of a model has arrived. */
  #draft: Promise<void> | null = null;

  constructor(
    url: string,
    downloader: Downloader,
    progress: DownloadProgress,
    signal: AbortSignal,
    room: Room,
    known: KnownFile | null = null,
    admit?: (bytes: number) => void,
  ) {
    this.#url = url;
    this.#known = known;
    this.#admit = admit;
    this.#room = room;
    this.#downloader = downloader;
    this.#progress = progress;
    this.#signal = signal;
  }

  /** Downloads a repository's file; returns its pieces in their order. */
  async pieces(): Promise<readonly BareChunk[]> {
    await this.#resume();
    await retry(this.#net, () => this.#attempt());
    return this.#pieces.map(([, x]) => x);
  }

  /** Downloads the model; `onWhole` is called once all bytes have arrived, before the rest of them is stored. */
  async run(onWhole: () => void): Promise<BareModel> {
    await this.#resume();
    await retry(this.#net, () => this.#attempt());
    onWhole();
    await this.#keepRest();
    const here = this.#pieces.map(([, x]) => x);
    const manifest = bareManifest(here.map((x) => x.chunk));
    const identity = await identityOf(manifest);
    const { modelStore, uses } = this.#downloader;
    const validator = this.#file;
    let isRemembered = false;
    if (modelStore !== null && here.every((x) => x.isStored) && validator !== null) {
      const fresh = canTell(validator) ? {} : { freshUntilMs: this.#freshUntilMs };
      const source = { url: this.#url, identity, validator: { ...validator, ...fresh }, signature: null };
      isRemembered = await this.#downloader.commit(manifest, source, this.#room); // else the next load fetches it again
    }
    uses.loaded(identity, manifest.chunks, isRemembered ? null : this.#room.id);
    if (isRemembered) await modelStore?.endDraft(this.#url).catch(() => undefined);
    return { identity, data: new Blob(here.map((x) => x.blob)) };
  }

  get #pieces(): [number, BareChunk][] {
    return [...this.#here].sort(([a], [b]) => a - b);
  }

  /** Stores the chunks that had no room, now that all are here and the previous version may be evicted. */
  async #keepRest(): Promise<void> {
    const pieces = this.#pieces;
    const rest = pieces.map(([index, { chunk, blob, isStored }]) => ({ index, chunk, blob, isStored }));
    await this.#downloader.storeRest(rest, this.#room);
    for (const { index, ...here } of rest) this.#here.set(index, here);
  }

  /** Restores the draft of an earlier page. */
  async #resume(): Promise<void> {
    const known = this.#known;
    const draft = await this.#downloader.modelStore?.draft(this.#draftKey).catch(() => null);
    const recorded = known?.pieces ?? [];
    const bytes = known?.bytes ?? draft?.validator.bytes ?? null;
    if ((draft == null && recorded.length === 0) || bytes === null || bytes > this.#maxBytes) return;
    if (known !== null && !known.isHashed && recorded.length === 0 && draft?.validator.bytes !== bytes) return;
    this.#file = known?.isHashed === true || draft == null ? this.#validator(null) : draft.validator;
    if (draft != null) this.#draft = Promise.resolve(); // it goes on
    const chunks = new Map([...(draft?.chunks ?? []), ...recorded.entries()]);
    for (const [index, chunk] of chunks) {
      // The last part is requested in any case, so that the server can say whether the file is still the same.
      const isLast = known === null && this.#here.size + 1 === countOf(bytes);
      if (chunk.bytes !== sizeAt(index, bytes) || isLast) continue;
      const blob = await this.#downloader.stored(chunk);
      if (blob === null) continue;
      this.#here.set(index, { chunk, blob, isStored: true });
      this.#storedBytes += blob.size;
    }
    this.#progress.expect(0, bytes);
    if (known === null) this.#room.missingBytes = bytes - this.#storedBytes;
    else this.#room.missingBytes -= this.#storedBytes;
    if (this.#storedBytes > 0) this.#progress.add(0, this.#storedBytes, "store");
  }

  /** Fetches the missing bytes; after an error that is not final, the download starts again from the beginning. */
  async #attempt(): Promise<void> {
    try {
      if (this.#here.size === 0 || !this.#mayAskForParts) {
        this.#reset();
        await this.#lead(await retry(this.#net, () => this.#begin()));
      } else await this.#follow(); // a server that lost its ranges is detected
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!isSelvedgeError(error)) throw error;
      // Transient errors were retried: the remaining ones restart the download, or are final.
      const { anew, ...details } = error.details;
      if (anew === true) this.#file = null;
      throw new SelvedgeError(error.code, error.message, { ...details, final: anew !== true }, error);
    }
  }

  /** Requests the whole file. */
  async #begin(): Promise<ResponseBody> {
    const cache = this.#downloader.modelStore === null ? "default" : "no-store";
    const headers = { ...this.#known?.headers };
    const body = await request(this.#url, { cache, headers }, this.#net);
    const file = this.#validator(body.headers);
    this.#freshUntilMs = freshUntilOf(body.headers, this.#downloader.effects.wallClock());
    if ((file.bytes ?? 0) > this.#maxBytes) {
      body.cancel();
      throw this.#refusal(`has ${file.bytes ?? 0} bytes, which exceeds the limit of ${this.#maxBytes}`);
    }
    try {
      this.#admit?.(file.bytes ?? 0);
    } catch (error) {
      body.cancel();
      throw isSelvedgeError(error) ? lastOf(error) : error;
    }
    this.#file = file;
    this.#progress.expect(0, file.bytes);
    this.#progress.tell();
    if (this.#known === null) this.#room.missingBytes = file.bytes ?? Infinity;
    return body;
  }

  /** Reads the file from its beginning; resumes by ranges. */
  async #lead(body: ResponseBody): Promise<void> {
    const total = this.#file?.bytes ?? null;
    if (total === 0) throw empty();
    let piece = this.#take(0);
    try {
      for (let part = await body.read(); part !== null; part = await body.read()) {
        if (this.#fetchedBytes === 0) this.#assertFile(part, false);
        const limit = total ?? this.#maxBytes;
        const at = piece.index * CHUNK_MAX_BYTES + piece.size;
        if (at + part.byteLength > limit) throw this.#refusal(`exceeds the limit of ${limit} bytes`);
        for (let rest = part; rest.byteLength > 0;) {
          rest = this.#fill(piece, rest);
          if (piece.size < piece.bytes.byteLength) continue;
          await this.#cut(piece);
          const next = piece.index + 1;
          if (total !== null && next === countOf(total)) {
            body.cancel();
            return;
          }
          piece = this.#take(next);
        }
      }
    } catch (error) {
      body.cancel();
      this.#signal.throwIfAborted();
      if (!isSelvedgeError(error) || error.details["final"] === true) throw error;
      if (!this.#mayAskForParts) throw this.#anew(error.message, error);
      await this.#piece(piece);
      return this.#follow();
    }
    const at = piece.index * CHUNK_MAX_BYTES + piece.size;
    if (total !== null) {
      // It ended too early: handled as a broken connection.
      if (!this.#mayAskForParts) throw this.#anew(`${this.#url}: connection closed after ${at} of ${total} bytes.`);
      await this.#piece(piece);
      return this.#follow();
    }
    if (at === 0) throw empty();
    if (piece.size > 0) await this.#cut(piece);
  }

  /** Fetches the missing chunks, in the order of their bytes: a known file's hash is computed as it arrives. */
  async #follow(): Promise<void> {
    const count = countOf(this.#file?.bytes ?? 0);
    for (let index = 0; index < count; index += 1) if (!this.#here.has(index)) await this.#piece(this.#take(index));
  }

  /** Fetches the missing bytes of a chunk. */
  async #piece(piece: Piece): Promise<void> {
    const file = this.#file as Validator;
    const { bytes, index } = piece;
    const start = index * CHUNK_MAX_BYTES;
    const end = start + bytes.byteLength - 1;
    const net = this.#net;
    await retry(net, async (_, onward) => {
      const from = start + piece.size;
      const headers: Record<string, string> = { ...this.#known?.headers, range: `bytes=${from}-${end}` };
      // Across origins it would need a CORS preflight; the answer's own validators are compared in any case.
      const condition = this.#known?.isHashed === true ? null : (strong(file.etag) ?? file.lastModified);
      if (condition !== null && this.#downloader.effects.isOwn(this.#url)) headers["if-range"] = condition;
      const body = await request(this.#url, { headers, cache: "no-store" }, net, [200, 206, 416]);
      const isRange = body.status === 206;
      if (!isRange || !continues(body.headers, from, end, file, this.#validator(body.headers, true))) {
        // Not the same file any more, or a server whose ranges can't be trusted.
        if (isSame(this.#validator(body.headers, isRange), file)) this.#hasRanges = false;
        body.cancel();
        throw this.#anew(`${this.#url} did not resume at the requested byte.`);
      }
      for (let part = await body.read(); part !== null; part = await body.read()) {
        if (piece.size + part.byteLength > bytes.byteLength) {
          body.cancel();
          this.#hasRanges = false;
          throw this.#anew(`${this.#url} sent more bytes than requested.`);
        }
        this.#fill(piece, part);
        onward();
      }
      if (piece.size === bytes.byteLength) return;
      const message = `${this.#url}: connection closed after ${start + piece.size} of ${file.bytes ?? "?"} bytes.`;
      throw new SelvedgeError("download-failed", message, { url: this.#url, reason: "cut" });
    });
    await this.#cut(piece);
  }

  /**
   * Discards the downloaded bytes: they were of another file, or can't be resumed. The stored draft stays until a chunk
   * of another model arrives, since a captive portal answers with its own page.
   */
  #reset(): void {
    this.#progress.add(0, -this.#storedBytes, "store");
    this.#progress.add(0, -this.#fetchedBytes, "network");
    this.#here.clear();
    if (this.#known !== null) this.#room.missingBytes += this.#storedBytes;
    this.#known?.onPiece(null);
    this.#storedBytes = 0;
    this.#fetchedBytes = 0;
    this.#draft = null;
  }

  /** Puts this download's draft in place of an earlier one; a file that can't be resumed has none. */
  async #beginDraft(): Promise<void> {
    const { modelStore } = this.#downloader;
    const file = this.#file;
    const isResumable = file !== null && canTell(file) && file.bytes !== null;
    const key = this.#draftKey;
    await (isResumable ? modelStore?.beginDraft(key, file) : modelStore?.endDraft(key))?.catch(() => undefined);
  }

  /** Whether ranges of the file may be requested, and distinguished from those of another file. */
  get #mayAskForParts(): boolean {
    return this.#hasRanges && this.#file !== null && this.#file.bytes !== null && canTell(this.#file);
  }

  #take(index: number): Piece {
    const total = this.#file?.bytes ?? null;
    return { index, bytes: new Uint8Array(total === null ? CHUNK_MAX_BYTES : sizeAt(index, total)), size: 0 };
  }

  /** Copies the bytes that fit; returns the rest. */
  #fill(piece: Piece, part: Uint8Array): Uint8Array {
    const fits = part.subarray(0, piece.bytes.byteLength - piece.size);
    piece.bytes.set(fits, piece.size);
    piece.size += fits.byteLength;
    this.#fetchedBytes += fits.byteLength;
    this.#progress.add(0, fits.byteLength, "network");
    // As soon as it is known not to be a captive portal's page: a tab that is killed later has its draft.
    if (piece.index === 0 && piece.size >= HEAD_BYTES && this.#draft === null) {
      this.#assertFile(piece.bytes, true);
      this.#draft = this.#beginDraft();
    }
    return part.subarray(fits.byteLength);
  }

  /** Makes a chunk of the received bytes, and stores it. */
  async #cut({ index, bytes: all, size }: Piece): Promise<void> {
    const bytes = all.subarray(0, size);
    if (index === 0) this.#assertFile(bytes, true);
    this.#known?.onPiece({ index, bytes });
    const chunk = { sha256: await sha256Hex(bytes), bytes: size };
    this.#draft ??= this.#beginDraft();
    await this.#draft;
    // Noted before it is stored: another tab may evict a chunk that nothing names.
    await this.#downloader.modelStore?.noteDraft(this.#draftKey, index, chunk).catch(() => undefined);
    if (this.#known !== null) this.#room.missing?.add(keyOf(chunk));
    const kept = await this.#downloader.keep(chunk, bytes, this.#room);
    this.#here.set(index, { chunk, blob: kept ?? new Blob([bytes]), isStored: kept !== null });
    freeBuffer(all);
  }

  get #net(): { readonly effects: DownloadEffects; readonly signal: AbortSignal } {
    return { effects: this.#downloader.effects, signal: this.#signal };
  }

  #anew(message: string, cause?: unknown): SelvedgeError {
    const reason = (isSelvedgeError(cause) ? cause.details["reason"] : undefined) ?? "cut";
    return new SelvedgeError("download-failed", message, { url: this.#url, reason, anew: true, final: true }, cause);
  }

  #refusal(what: string, reason = "too-large"): SelvedgeError {
    return new SelvedgeError("download-failed", `${this.#url} ${what}.`, {
      url: this.#url,
      reason,
      final: true,
    });
  }

  get #draftKey(): string {
    return this.#known?.draft ?? this.#url;
  }

  get #maxBytes(): number {
    return this.#known?.bytes ?? MODEL_MAX_BYTES;
  }

  #validator(headers: Headers | null, isRange = false): Validator {
    return validatorFor(this.#known, headers, isRange);
  }

  /** Throws for bytes that are no model's first; the rule for texts needs all of `HEAD_BYTES`, or the whole file. */
  #assertFile(bytes: Uint8Array, isHead: boolean): void {
    const head = bytes.subarray(0, HEAD_BYTES);
    const found = sniff(head);
    const isOther = found?.reason === "html" || found?.reason === "git-lfs";
    if (found !== null && this.#known?.isGraph === false && isOther)
      throw this.#refusal(`is ${found.what}`, found.reason);
    if (this.#known?.isGraph === false) return;
    if (found !== null) throw notModel(this.#url, found, { url: this.#url });
    const text = isHead ? sniffText(head) : null;
    if (text !== null) throw notModel(this.#url, text, { url: this.#url });
  }
}

/** Marks an error as one after which the download is not tried again. */
function lastOf({ code, message, details }: SelvedgeError): SelvedgeError {
  return new SelvedgeError(code, message, { ...details, final: true });
}

/** Returns the number of chunks of a file. */
function countOf(bytes: number): number {
  return Math.ceil(bytes / CHUNK_MAX_BYTES);
}

/** Returns the size of a file's chunk. */
function sizeAt(index: number, bytes: number): number {
  return Math.min(CHUNK_MAX_BYTES, bytes - index * CHUNK_MAX_BYTES);
}
