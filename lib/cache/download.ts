// Bytes from a URL, checked. A bundle's files come chunk by chunk, each verified by its SHA-256 before it is used; one
// that is wrong is fetched once more, then refused. Knows nothing of models, lanes or the schedule. The store that
// keeps chunks on the device, resumes and shares downloads between tabs comes in here, behind `fetchChunk`. Runs in a
// worker (worker.ts), never in the page.
import { sha256Hex } from "../bundle.ts";
import type { BundleChunk, BundleFile } from "../bundle.ts";
import type { Effects } from "../effects.ts";
import { isSelvedgeError, SelvedgeError } from "../errors.ts";
import type { Progress } from "./protocol.ts";

/** What a download needs beside the address. */
export interface DownloadOptions {
  readonly fetch: Effects["fetch"];
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** Chunks in flight at once: enough to fill a link, few enough not to starve the page's own requests. */
const PARALLEL = 4;
const ATTEMPTS = 2;
const JSON_MAX_BYTES = 16 * 1024 * 1024;
const MODEL_MAX_BYTES = 4 * 1024 ** 3;

type Bytes = Uint8Array<ArrayBuffer>;

/** Fetches and parses a `bundle.json`; whether it is a valid bundle is for the caller to check. */
export async function fetchJson(url: string, options: DownloadOptions): Promise<unknown> {
  const parts = await retry(options, () => fetchBytes(url, JSON_MAX_BYTES, null, options, () => undefined));
  const text = await new Blob(parts).text();
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const shown = text.trimStart().startsWith("<") ? " It looks like an HTML page: is the path right?" : "";
    throw new SelvedgeError("bundle-invalid", `${url} is not JSON.${shown}`, { url }, error);
  }
}

/** Fetches a whole file of unknown hash: a bare `.onnx`. */
export async function fetchBare(url: string, options: DownloadOptions): Promise<Blob> {
  let loadedBytes = 0;
  const parts = await retry(options, () => {
    loadedBytes = 0;
    return fetchBytes(url, MODEL_MAX_BYTES, null, options, (bytes, totalBytes) => {
      loadedBytes += bytes;
      options.onProgress?.({ loadedBytes, totalBytes });
    });
  });
  return new Blob(parts);
}

/** Fetches files of a bundle, each a blob of verified chunks, in the order given; a chunk that recurs is fetched once. */
export async function fetchFiles(
  bundleUrl: string,
  files: readonly BundleFile[],
  options: DownloadOptions,
): Promise<Blob[]> {
  const chunks = new Map<string, BundleChunk>();
  for (const file of files) for (const chunk of file.chunks) chunks.set(chunk.sha256, chunk);
  const totalBytes = [...chunks.values()].reduce((sum, chunk) => sum + chunk.bytes, 0);
  let loadedBytes = 0;
  const report = (bytes: number): void => {
    loadedBytes += bytes;
    options.onProgress?.({ loadedBytes, totalBytes });
  };
  report(0);
  const blobs = new Map<string, Blob>();
  // One failure stops the others: nobody waits for their bytes any more.
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const waiting = chunks.values();
  const worker = async (): Promise<void> => {
    for (const chunk of waiting)
      blobs.set(chunk.sha256, await fetchChunk(bundleUrl, chunk, { ...options, signal }, report));
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  } catch (error) {
    stop.abort(error);
    throw error;
  }
  return files.map((file) => new Blob(file.chunks.map((chunk) => blobs.get(chunk.sha256) as Blob)));
}

/** Fetches one chunk and checks its hash. */
async function fetchChunk(
  bundleUrl: string,
  chunk: BundleChunk,
  options: DownloadOptions,
  report: (bytes: number) => void,
): Promise<Blob> {
  const url = new URL(`chunks/${chunk.sha256}`, bundleUrl).href;
  return retry(options, async () => {
    let counted = 0;
    try {
      const parts = await fetchBytes(url, chunk.bytes, chunk.bytes, options, (bytes) => {
        counted += bytes;
        report(bytes);
      });
      const blob = new Blob(parts);
      const hash = await sha256Hex(await blob.arrayBuffer());
      if (hash !== chunk.sha256)
        throw new SelvedgeError("integrity-failed", `${url} holds other bytes than its name says.`, { url, hash });
      return blob;
    } catch (error) {
      report(-counted);
      throw error;
    }
  });
}

/** Tries once more what failed for a reason that may pass; a cancel passes through untouched. */
async function retry<T>(options: DownloadOptions, attempt: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    options.signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      if (tried >= ATTEMPTS || !isSelvedgeError(error) || error.details["final"] === true) throw error;
    }
  }
}

/** Fetches a body in parts, never more than `maxBytes`, exactly `exactBytes` where that is known. */
async function fetchBytes(
  url: string,
  maxBytes: number,
  exactBytes: number | null,
  options: DownloadOptions,
  onPart: (bytes: number, totalBytes: number | null) => void,
): Promise<Bytes[]> {
  const response = await request(url, options);
  const parts: Bytes[] = [];
  let size = 0;
  try {
    // With a content encoding the length counts compressed bytes, which say nothing of the body.
    const length = response.headers.get("content-encoding") === null ? response.headers.get("content-length") : null;
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
      size += part.value.byteLength;
      if (size > maxBytes) {
        await reader?.cancel();
        throw sizeError(url, exactBytes, `more than ${maxBytes}`);
      }
      parts.push(part.value);
      onPart(part.value.byteLength, length === null ? null : Number(length));
    }
  } catch (error) {
    if (isSelvedgeError(error)) throw error;
    throw new SelvedgeError("download-failed", `The download of ${url} broke off after ${size} bytes.`, { url }, error);
  }
  if (exactBytes !== null && size !== exactBytes) throw sizeError(url, exactBytes, String(size));
  return parts;
}

async function request(url: string, options: DownloadOptions): Promise<Response> {
  let response: Response;
  try {
    response = await options.fetch(url, options.signal === undefined ? {} : { signal: options.signal });
  } catch (error) {
    throw new SelvedgeError("download-failed", `${url} could not be fetched.`, { url }, error);
  }
  if (response.ok && response.status !== 206) return response;
  await response.body?.cancel();
  const { status } = response;
  const final = status >= 400 && status < 500 && status !== 408 && status !== 429;
  throw new SelvedgeError("download-failed", `${url} answered with status ${status}.`, { url, status, final });
}

function sizeError(url: string, exactBytes: number | null, got: string): SelvedgeError {
  const code = exactBytes === null ? "download-failed" : "integrity-failed";
  const limit = exactBytes === null ? "the limit" : `its ${exactBytes} bytes`;
  return new SelvedgeError(code, `${url} does not hold ${limit}: got ${got} bytes.`, { url });
}
