// Download of one chunk: resumed where a connection broke, expanded, its hash checked. A wrong chunk is fetched once
// more, past every HTTP cache, then refused. Where a server labels a compressed chunk with its content encoding, the
// browser expands it: such bytes are accepted as received if their hash matches (across origins the header is not
// visible).
import { sha256Hex, wireBytesOf } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { freeBuffer } from "../rpc/free-buffer.ts";
import { expandChunk } from "./expand.ts";
import type { BrotliDecoder } from "./expand.ts";
import { request, retry } from "./http.ts";
import type { ResponseBody, NetEffects } from "./http.ts";
import { PartialChunk } from "./partial.ts";
import { sniff } from "../core/sniff.ts";
import type { Sniffed } from "../core/sniff.ts";
import type { ModelStore } from "./model-store.ts";
import type { Bytes } from "./stores/store.ts";

/** Options of a chunk's download. */
export interface ChunkFetchOptions {
  readonly effects: NetEffects & { now(): number; loadBrotli(): Promise<BrotliDecoder> };
  /** Keeps received parts of a chunk in case the page dies; null where nothing is kept. */
  readonly modelStore: ModelStore | null;
  readonly signal: AbortSignal;
  /** Whether ranges of chunks may be requested: learnt from one chunk for all. */
  readonly ranges: { areGiven: boolean };
  /** Called with the number of bytes received from the wire; negative where they are discarded. */
  readonly report: (bytes: number) => void;
}

/**
 * Fetches a chunk and returns its bytes, expanded, their hash checked.
 * @throws SelvedgeError `download-failed`, or `integrity-failed` where the server has other bytes
 */
export async function fetchChunk(url: string, chunk: BundleChunk, options: ChunkFetchOptions): Promise<Bytes> {
  const wire = new Uint8Array(wireBytesOf(chunk));
  let bytes: Bytes | null = null;
  try {
    bytes = await new ChunkFetch(url, chunk, wire, options).run();
    return bytes;
  } finally {
    if (bytes !== wire) freeBuffer(wire);
  }
}

/** Names the parts of a chunk in flight: those of an encoded one differ from those of the plain chunk. */
export function partOf(chunk: BundleChunk): BundleChunk {
  const { sha256, encoding } = chunk;
  return { sha256: encoding === undefined ? sha256 : `${sha256}.${encoding}`, bytes: wireBytesOf(chunk) };
}

class ChunkFetch {
  readonly #url: string;
  readonly #chunk: BundleChunk;
  readonly #options: ChunkFetchOptions;
  readonly #partial: PartialChunk;
  /** Whether an answer held wrong bytes. */
  #isWrong = false;
  // With a range header browsers request identity encoding, and reject the compressed answer of a host that has nothing
  // else: the request fails. So after a failed one the whole is requested, and after that a range again.
  #asksForPart: boolean;
  #wasRefused = false;
  /** The most bytes received so far. */
  #mostBytes = 0;
  /** Kind of the file that came last in the chunk's place, where it is known. */
  #found: Sniffed | null = null;

  constructor(url: string, chunk: BundleChunk, wire: Bytes, options: ChunkFetchOptions) {
    this.#url = url;
    this.#chunk = chunk;
    this.#options = options;
    this.#partial = new PartialChunk(partOf(chunk), wire, options.modelStore, options.effects.now);
    this.#asksForPart = options.ranges.areGiven;
  }

  async run(): Promise<Bytes> {
    const { ranges, report } = this.#options;
    this.#mostBytes = await this.#partial.restore();
    report(this.#mostBytes);
    const fetching = retry(this.#options, async (_, onward) => {
      const isPartial = this.#partial.size > 0 && this.#asksForPart;
      try {
        return await this.#attempt(isPartial, onward);
      } catch (error) {
        if (isSelvedgeError(error) && error.details["size"] === 0) {
          this.#wasRefused = isPartial;
          this.#asksForPart = !this.#asksForPart && ranges.areGiven;
        }
        if (isSelvedgeError(error) && error.code === "integrity-failed") {
          await this.#reset();
          this.#isWrong = true;
        }
        throw error;
      }
    });
    return fetching.catch((error: unknown) => {
      throw isSelvedgeError(error) && error.code === "integrity-failed" ? this.#named(error) : error;
    });
  }

  /** Replaces the error of wrong bytes by one that names the file that came in the chunk's place. */
  #named(error: SelvedgeError): SelvedgeError {
    const found = this.#found;
    if (found?.reason !== "html" && found?.reason !== "git-lfs") return error;
    const fix =
      found.reason === "html" ? "Deploy chunks/ with bundle.json, outside of rewrites to a start page." : found.fix;
    const message = `${this.#url} is ${found.what}, not a chunk of the model. ${fix}`;
    return new SelvedgeError("download-failed", message, { url: this.#url, reason: found.reason }, error);
  }

  async #attempt(isPartial: boolean, onward: () => void): Promise<Bytes> {
    const { modelStore, ranges } = this.#options;
    // Bytes that go into the store need no second copy in the browser's cache; wrong bytes may come from there.
    const cache = this.#isWrong ? "reload" : modelStore === null ? "default" : "no-store";
    const { size } = this.#partial;
    const headers: Record<string, string> = isPartial ? { range: `bytes=${size}-` } : {};
    const body = await request(this.#url, { cache, headers }, this.#options, [200, 206, ...(isPartial ? [416] : [])]);
    if (body.status === 206 && !isPartial) {
      // Of a cache or a proxy mostly, which the next attempt may pass: the hash decides, so it is tried again.
      body.cancel();
      const message = `${this.#url} answered with status 206, a part of the chunk, and all of it was requested.`;
      throw new SelvedgeError("download-failed", message, { url: this.#url, status: 206, reason: "server" });
    }
    if (this.#wasRefused && !isPartial) ranges.areGiven = false;
    // A chunk is named by its hash: whatever range arrives, the hash of the whole decides. A range of a compressed body
    // is not a range of the chunk.
    const isPart = body.status === 206 && body.headers.get("content-encoding") === null;
    if (isPartial && !isPart) this.#asksForPart = false;
    const goesOn = isPart && (body.headers.get("content-range") ?? "").startsWith(`bytes ${size}-`);
    if (!goesOn) await this.#reset();
    if (body.status !== 200 && !goesOn) {
      body.cancel();
      const message = `${this.#url} did not resume at the requested byte.`;
      throw new SelvedgeError("download-failed", message, { url: this.#url });
    }
    try {
      const rest = await this.#read(body, onward);
      return (await this.#expanded(body, rest, goesOn)) ?? (await this.#checked(rest));
    } finally {
      body.cancel(); // of a body that is too long the rest is never read
    }
  }

  /** Reads up to the chunk's size; returns the first bytes beyond it, or null where the body ended before. */
  async #read(body: ResponseBody, onward: () => void): Promise<Uint8Array | null> {
    const { bytes } = this.#partial;
    for (let part = await body.read(); part !== null; part = await body.read()) {
      if (this.#partial.size + part.byteLength > bytes.byteLength) return part;
      await this.#partial.add(part);
      this.#options.report(part.byteLength);
      // Only bytes beyond the most received so far count as progress, so a server that always breaks is given up in the
      // end.
      if (this.#partial.size <= this.#mostBytes) continue;
      this.#mostBytes = this.#partial.size;
      onward();
    }
    return null;
  }

  /** Returns the bytes of a chunk that arrived expanded, by a content encoding; null where it did not. */
  async #expanded(body: ResponseBody, rest: Uint8Array | null, goesOn: boolean): Promise<Bytes | null> {
    const { encoding, sha256, bytes: chunkBytes } = this.#chunk;
    const { bytes: wire, size } = this.#partial;
    if (encoding === undefined || goesOn || (rest === null && size === wire.byteLength)) return null;
    const bytes = new Uint8Array(chunkBytes);
    if (size > chunkBytes) return null;
    bytes.set(wire.subarray(0, size));
    let at = size;
    try {
      for (let part = rest; part !== null; part = await body.read()) {
        if (at + part.byteLength > chunkBytes) return null;
        bytes.set(part, at);
        at += part.byteLength;
      }
    } catch (error) {
      await this.#reset(); // these are not bytes of the wire
      throw error;
    }
    if (at !== chunkBytes || (await sha256Hex(bytes)) !== sha256) return null;
    this.#options.report(wire.byteLength - size);
    return bytes;
  }

  /** Returns the bytes of a chunk that arrived as stored, their hash checked. */
  async #checked(rest: Uint8Array | null): Promise<Bytes> {
    const { effects } = this.#options;
    const { bytes: wire, size } = this.#partial;
    const [url, due] = [this.#url, wire.byteLength];
    try {
      if (rest !== null) throw wrongSize(url, due, `more than ${due}`);
      if (size !== due) throw wrongSize(url, due, String(size));
      const bytes = await expandChunk(this.#chunk, wire, () => effects.loadBrotli());
      const hash = await sha256Hex(bytes);
      if (hash === this.#chunk.sha256) return bytes;
      const message = `${url} does not match the SHA-256 in its name.`;
      throw new SelvedgeError("integrity-failed", message, { url, hash, reason: "hash" });
    } catch (error) {
      this.#found = sniff(wire.subarray(0, size));
      throw error;
    }
  }

  async #reset(): Promise<void> {
    this.#options.report(-(await this.#partial.reset()));
  }
}

function wrongSize(url: string, bytes: number, got: string): SelvedgeError {
  const message = `${url} has ${got} bytes instead of ${bytes}.`;
  return new SelvedgeError("integrity-failed", message, { url, reason: "hash" });
}
