// A bare model from an address: a file of unknown hash. It is cut into chunks as it comes, so that it is stored, checked
// and shared like a bundle's. A connection that breaks is taken up by a range where it broke; after a reload, at the
// last whole chunk. All parts must be of one file: the server's validators (ETag, Last-Modified, size; RFC 9110, 8.8)
// say so, and a file that changed meanwhile begins anew. A later load asks for them alone.
import { CHUNK_MAX_BYTES, sha256Hex } from "../bundle.ts";
import type { BundleChunk } from "../bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../errors.ts";
import type { Downloader, DownloadOptions } from "./download.ts";
import { request, retry } from "./http.ts";
import type { Body } from "./http.ts";
import { bareManifest, identityOf, isBare } from "./manifest.ts";
import { Meter } from "./meter.ts";
import type { Validator } from "./shelf.ts";
import type { Bytes } from "./store.ts";

/** A bare model that is here. */
export interface BareModel {
  readonly identity: string;
  readonly data: Blob;
}

const MODEL_MAX_BYTES = 4 * 1024 ** 3;
/** How long a stored model waits for the server to say whether it is still the newest, before it is used as it is. */
const ASK_MS = 5_000;

/** Gives the identity of bytes that the caller has. */
export async function bareBytes(data: Blob): Promise<BareModel> {
  const chunks: BundleChunk[] = [];
  for (let at = 0; at < data.size; at += CHUNK_MAX_BYTES) {
    const bytes = await data.slice(at, at + CHUNK_MAX_BYTES).arrayBuffer();
    chunks.push({ sha256: await sha256Hex(bytes), bytes: bytes.byteLength });
  }
  if (chunks.length === 0) throw new SelvedgeError("model-invalid", "The model is empty (0 bytes).", { bytes: 0 });
  return { identity: await identityOf(bareManifest(chunks)), data };
}

/** Fetches a bare model, or gives the stored one where the server says that it is still the same, or says nothing. */
export async function fetchBare(url: string, downloader: Downloader, options: DownloadOptions): Promise<BareModel> {
  const path = new URL(url).pathname.split("/").pop() ?? "model.onnx";
  const { effects } = downloader;
  const meter = new Meter([{ path, bytes: null }], effects.now, options.onProgress ?? (() => undefined));
  return downloader.locked(`bare/${url}`, options.signal, async (signal) => {
    const stored = await fromStore(url, downloader, meter, signal);
    if (stored !== null) return stored;
    const model = await new BareDownload(url, downloader, meter, signal).run();
    return model;
  });
}

async function fromStore(
  url: string,
  downloader: Downloader,
  meter: Meter,
  signal: AbortSignal,
): Promise<BareModel | null> {
  const { shelf, effects } = downloader;
  const source = (await shelf?.source(url).catch(() => null)) ?? null;
  if (shelf === null || source === null) return null;
  const manifest = await shelf.bundle(source.identity);
  if (manifest === null || !isBare(manifest)) return null;
  const late = new AbortController();
  const cancel = effects.setTimer(() => {
    late.abort();
  }, ASK_MS);
  try {
    const net = { effects, signal: AbortSignal.any([signal, late.signal]) };
    const { headers } = await request(url, { method: "HEAD", cache: "no-cache" }, net);
    if (!isSame(validatorOf(headers), source.validator)) return null;
  } catch (error) {
    signal.throwIfAborted();
    // A server that answers and does not know the file, or HEAD, has to be asked in full; one that is away need not.
    if (isSelvedgeError(error) && error.details["status"] !== undefined) return null;
  } finally {
    cancel();
  }
  meter.expect(
    0,
    manifest.chunks.reduce((sum, x) => sum + x.bytes, 0),
  );
  const parts: Blob[] = [];
  for (const chunk of manifest.chunks) {
    signal.throwIfAborted();
    const bytes = await downloader.stored(chunk);
    if (bytes === null) {
      for (const part of parts) meter.add(0, -part.size, "store");
      return null;
    }
    parts.push(new Blob([bytes]));
    meter.add(0, bytes.byteLength, "store");
  }
  await shelf.touch(source.identity).catch(() => undefined);
  return { identity: source.identity, data: new Blob(parts) };
}

/** One download, over as many connections as it takes. */
class BareDownload {
  readonly #url: string;
  readonly #downloader: Downloader;
  readonly #meter: Meter;
  readonly #signal: AbortSignal;
  #validator: Validator | null = null;
  #chunks: BundleChunk[] = [];
  #blobs: Blob[] = [];
  /** Bytes in whole chunks. */
  #wholeBytes = 0;
  #piece: Bytes = new Uint8Array(CHUNK_MAX_BYTES);
  #filled = 0;
  /** What of the bytes here came from the store. */
  #storedBytes = 0;
  /** Whether every chunk so far is stored. */
  #isKept = true;
  /** Whether the server takes up where a connection broke; not asked again once it did not. */
  #hasRanges = true;

  constructor(url: string, downloader: Downloader, meter: Meter, signal: AbortSignal) {
    this.#url = url;
    this.#downloader = downloader;
    this.#meter = meter;
    this.#signal = signal;
  }

  async run(): Promise<BareModel> {
    await this.#resume();
    await retry({ effects: this.#downloader.effects, signal: this.#signal }, (_, onward) => this.#attempt(onward));
    const manifest = bareManifest(this.#chunks);
    const identity = await identityOf(manifest);
    const { shelf } = this.#downloader;
    const validator = this.#validator;
    if (shelf !== null && this.#isKept && validator !== null && canTell(validator))
      await shelf
        .remember(manifest, { url: this.#url, identity, validator, signature: null })
        .then(() => shelf.endDraft(this.#url))
        .catch(() => undefined); // not stored: the next load fetches it again
    return { identity, data: new Blob(this.#blobs) };
  }

  /** Takes up what an earlier page began. */
  async #resume(): Promise<void> {
    const draft = await this.#downloader.shelf?.draft(this.#url).catch(() => null);
    if (draft == null) return;
    this.#validator = draft.validator;
    const { bytes: total } = draft.validator;
    for (const chunk of draft.chunks) {
      const at = this.#wholeBytes + chunk.bytes;
      // The last part is asked for in any case, so that the server can say whether the file is still the same.
      if (chunk.bytes !== CHUNK_MAX_BYTES || (total !== null && at >= total)) break;
      const bytes = await this.#downloader.stored(chunk);
      if (bytes === null) break;
      this.#blobs.push(new Blob([bytes]));
      this.#chunks.push(chunk);
      this.#wholeBytes = at;
      this.#storedBytes = at;
    }
    this.#meter.expect(0, total);
    if (this.#storedBytes > 0) this.#meter.add(0, this.#storedBytes, "store");
  }

  async #attempt(onward: () => void): Promise<void> {
    const body = await this.#open();
    const total = this.#validator?.bytes ?? null;
    for (let part = await body.read(); part !== null; part = await body.read()) {
      if (this.#at === 0 && looksLikeHtml(part)) {
        body.cancel();
        const message = `${this.#url} is an HTML page, not an ONNX model: is the path right?`;
        throw new SelvedgeError("model-invalid", message, { url: this.#url, final: true });
      }
      await this.#take(part);
      onward();
      if (this.#at > Math.min(total ?? MODEL_MAX_BYTES, MODEL_MAX_BYTES)) {
        body.cancel();
        const message = `${this.#url} is larger than the ${total ?? MODEL_MAX_BYTES} bytes that are allowed.`;
        throw new SelvedgeError("download-failed", message, { url: this.#url, final: true });
      }
    }
    if (total !== null && this.#at !== total)
      throw new SelvedgeError("download-failed", `${this.#url} broke off after ${this.#at} of ${total} bytes.`, {
        url: this.#url,
      });
    if (this.#at === 0) throw new SelvedgeError("model-invalid", "The model is empty (0 bytes).", { bytes: 0 });
    if (this.#filled > 0) await this.#cut();
  }

  /** Opens a connection at the byte that is needed next, or at the beginning. */
  async #open(): Promise<Body> {
    const net = { effects: this.#downloader.effects, signal: this.#signal };
    const validator = this.#validator;
    if (this.#at > 0 && (!this.#hasRanges || validator === null || !canTell(validator))) await this.#reset();
    if (this.#at > 0 && validator !== null) {
      const headers: Record<string, string> = { range: `bytes=${this.#at}-` };
      // Across origins it would need the server's leave; the answer's own validators are compared in any case.
      const condition = strong(validator.etag) ?? validator.lastModified;
      if (condition !== null && this.#downloader.effects.isOwn(this.#url)) headers["if-range"] = condition;
      const body = await request(this.#url, { headers, cache: "no-store" }, net, [200, 206, 416]);
      if (body.status === 206 && continues(body.headers, this.#at, validator)) return body;
      // Not the same file any more (200, 416, other validators), or a server whose ranges can't be trusted.
      if (body.status === 206) this.#hasRanges = isSame(validatorOf(body.headers, true), validator) ? false : true;
      await this.#reset();
      if (body.status === 200) return this.#begin(body);
      body.cancel();
    }
    const cache = this.#downloader.shelf === null ? "default" : "no-store";
    return this.#begin(await request(this.#url, { cache }, net));
  }

  /** Begins with a whole answer. */
  async #begin(body: Body): Promise<Body> {
    const validator = validatorOf(body.headers);
    this.#validator = validator;
    this.#meter.expect(0, validator.bytes);
    this.#meter.tell();
    if (canTell(validator)) await this.#downloader.shelf?.beginDraft(this.#url, validator).catch(() => undefined);
    return body;
  }

  /** Forgets what has come: it was of another file, or can't be gone on with. */
  async #reset(): Promise<void> {
    this.#meter.add(0, -this.#storedBytes, "store");
    this.#meter.add(0, this.#storedBytes - this.#at, "network");
    this.#chunks = [];
    this.#blobs = [];
    this.#wholeBytes = 0;
    this.#storedBytes = 0;
    this.#filled = 0;
    this.#isKept = true;
    await this.#downloader.shelf?.endDraft(this.#url).catch(() => undefined);
  }

  get #at(): number {
    return this.#wholeBytes + this.#filled;
  }

  async #take(part: Uint8Array): Promise<void> {
    for (let rest = part; rest.byteLength > 0;) {
      const fits = rest.subarray(0, this.#piece.byteLength - this.#filled);
      this.#piece.set(fits, this.#filled);
      this.#filled += fits.byteLength;
      rest = rest.subarray(fits.byteLength);
      if (this.#filled === this.#piece.byteLength) await this.#cut();
    }
    this.#meter.add(0, part.byteLength, "network");
  }

  /** Makes a chunk of what has come, and stores it. */
  async #cut(): Promise<void> {
    const bytes = this.#piece.slice(0, this.#filled);
    const chunk = { sha256: await sha256Hex(bytes), bytes: bytes.byteLength };
    const n = this.#chunks.length;
    this.#chunks.push(chunk);
    this.#blobs.push(new Blob([bytes]));
    this.#wholeBytes += bytes.byteLength;
    this.#filled = 0;
    const validator = this.#validator;
    const isKept = validator !== null && canTell(validator) && (await this.#downloader.keep(chunk, bytes, ""));
    this.#isKept &&= isKept;
    if (this.#isKept) await this.#downloader.shelf?.noteDraft(this.#url, n, chunk).catch(() => undefined);
  }
}

/** Reads what an answer says of its file; a 206 tells the whole's size beside the range. */
function validatorOf(headers: Headers, isRange = false): Validator {
  const size = isRange
    ? (/\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? null)
    : headers.get("content-length");
  return {
    etag: headers.get("etag"),
    lastModified: headers.get("last-modified"),
    // With a content encoding the length counts compressed bytes, which say nothing of the file.
    bytes: headers.get("content-encoding") !== null || size === null ? null : Number(size),
  };
}

/** Tells whether a file can be told from the next by this. */
function canTell({ etag, lastModified }: Validator): boolean {
  return strong(etag) !== null || lastModified !== null;
}

function isSame(a: Validator, b: Validator | null): boolean {
  if (b === null || !canTell(a) || a.bytes !== b.bytes) return false;
  return a.etag === b.etag && a.lastModified === b.lastModified;
}

/** Gives an ETag that promises the same bytes; a weak one promises the same meaning only. */
function strong(etag: string | null): string | null {
  return etag === null || etag.startsWith("W/") ? null : etag;
}

/** Tells whether a 206 goes on exactly where it should, in the same file. */
function continues(headers: Headers, at: number, validator: Validator): boolean {
  const [, start, end] = /^bytes (\d+)-(\d+)\/\d+$/.exec(headers.get("content-range") ?? "") ?? [];
  const total = validator.bytes;
  return (
    Number(start) === at &&
    (total === null || Number(end) === total - 1) &&
    isSame(validatorOf(headers, true), validator)
  );
}

/** Many servers answer a wrong path with their start page and status 200. */
function looksLikeHtml(part: Uint8Array): boolean {
  return /^\s*<(!doctype|html)/i.test(new TextDecoder().decode(part.subarray(0, 100)));
}
