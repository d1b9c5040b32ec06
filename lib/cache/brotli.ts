// The brotli decoder for browsers whose DecompressionStream does not know brotli: Rust's brotli-decompressor as
// WebAssembly (brotli-dec-wasm), 98 kB with gzip, fetched only there. Measured in a worker of Chromium 156 on a chunk
// of 4 MiB of int8-like weights (normal, standard deviation 24 and 10; quality 9), on a busy machine of two cores: 64
// and 58 MB/s of expanded bytes, the best of 15 runs 80 and 74; SHA-256 of the same bytes there 720 to 750. In Node 2
// to 3 times as fast as Google's decoder in JavaScript. Firefox 153's own DecompressionStream: 120 MB/s. Delete when
// Chromium has DecompressionStream("brotli").
import init, { BrotliStreamResultCode, DecompressStream } from "brotli-dec-wasm/web";
import { SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { sniff } from "../core/sniff.ts";
import { SILENT_MS, WatchedFetch } from "../rpc/watched-fetch.ts";
import type { BrotliDecoder } from "./expand.ts";

/** Starts the decoder from the bytes of its WebAssembly. */
export async function startBrotli(wasm: BufferSource): Promise<BrotliDecoder> {
  await init({ module_or_path: wasm });
  return (wire, expanded) => {
    const stream = new DecompressStream();
    try {
      // One extra byte of room detects a chunk that expands to more than its size.
      const result = stream.decompress(wire, expanded.byteLength + 1);
      try {
        const { buf, code, input_offset } = result;
        if (code !== BrotliStreamResultCode.ResultSuccess || input_offset !== wire.byteLength)
          throw new RangeError(`the stream ends with code ${code} at byte ${input_offset} of ${wire.byteLength}`);
        if (buf.byteLength !== expanded.byteLength) throw new RangeError(`it expands to ${buf.byteLength} bytes`);
        expanded.set(buf);
      } finally {
        result.free();
      }
    } finally {
      stream.free();
    }
  };
}

/** Fetches and starts the decoder once; after a failure the next call retries. */
export class BrotliLoader {
  /** The address of the decoder's WebAssembly. */
  url = "";
  #loading: Promise<BrotliDecoder> | null = null;

  /** Returns the decoder. */
  load(): Promise<BrotliDecoder> {
    this.#loading ??= fetchBrotli(this.url).catch((error: unknown) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }
}

const FIX = "Serve brotli.wasm of the package's dist/ there, or set `assetsBase`.";

/** Fetches the decoder. A file that is missing, or another one, is a fault of the deployment. */
async function fetchBrotli(url: string): Promise<BrotliDecoder> {
  const fail = (code: ErrorCode, reason: string, what: string, cause?: unknown): SelvedgeError =>
    new SelvedgeError(
      code,
      `The brotli decoder could not be loaded from ${url}: ${what}`,
      { url, reason, final: code === "setup-failed" },
      cause,
    );
  let response: Response;
  let bytes: ArrayBuffer;
  const watched = new WatchedFetch();
  try {
    response = await watched.fetch(url);
    bytes = await response.arrayBuffer();
  } catch (error) {
    if (watched.isStalled) throw fail("download-failed", "stalled", `no data for ${SILENT_MS / 1_000} s.`, error);
    throw fail("download-failed", "unreachable", "the request failed.", error);
  } finally {
    watched.end();
  }
  const { ok, status, headers } = response;
  if (status >= 500 || status === 429) throw fail("download-failed", "server", `status ${status}.`);
  if (!ok) throw fail("setup-failed", "wasm-missing", `status ${status}. ${FIX}`);
  if (/^text\/html\b/.test(headers.get("content-type") ?? ""))
    throw fail("setup-failed", "wasm-html", `it is an HTML page. ${FIX}`);
  try {
    return await startBrotli(bytes);
  } catch (error) {
    if (/Content.Security.Policy|unsafe-eval/i.test(String(error)))
      throw fail("setup-failed", "wasm-csp", "allow `script-src 'wasm-unsafe-eval'`.", error);
    const other = sniff(new Uint8Array(bytes));
    const what = other?.reason === "git-lfs" ? `it is ${other.what}. ${other.fix}` : `it does not start. ${FIX}`;
    throw fail("setup-failed", "wasm-invalid", what, error);
  }
}
