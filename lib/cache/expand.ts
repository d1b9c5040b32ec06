// Expands a compressed chunk, in the worker that fetches models: by the browser's DecompressionStream where that knows
// the encoding, else, for brotli, by a decoder in WebAssembly that is fetched on first use (Chromium 156 has no
// "brotli" there; Firefox and WebKit have it). Never returns more than the chunk's size, and stops at the first byte
// beyond it. DecompressionStream expands each write whole before it applies backpressure, so the wire is written in
// slices, each once the output of the previous one was read: a few bytes can't fill the memory.
import type { BundleChunk } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Bytes } from "./stores/store.ts";

/** Expands brotli into `expanded`; throws where the bytes are no brotli or do not fill it exactly. */
export type BrotliDecoder = (wire: Bytes, expanded: Bytes) => void;

/**
 * Bytes of the wire per write: 4 MiB of output by gzip, which expands at most 1,032 times; brotli has no such bound.
 * Costs 30 ms of 85 for a chunk of 4 MiB in Chromium 156 on a busy machine.
 */
const SLICE_BYTES = 4_096;
/** DecompressionStream's names of encodings. */
const FORMATS: Readonly<Record<string, string>> = { br: "brotli", gzip: "gzip" };

/**
 * Returns the expanded bytes of a stored chunk: the same where it has no encoding. The caller checks their hash.
 * @throws SelvedgeError `integrity-failed` where they do not expand to the chunk's size
 */
export async function expandChunk(
  { sha256, bytes, encoding }: BundleChunk,
  wire: Bytes,
  loadBrotli: () => Promise<BrotliDecoder>,
): Promise<Bytes> {
  if (encoding === undefined) return wire;
  const stream = streamFor(FORMATS[encoding] ?? encoding);
  // Fetched before the bytes are checked: a decoder that can't be fetched does not make them wrong.
  const decode = stream === null && encoding === "br" ? await loadBrotli() : null;
  const expanded = new Uint8Array(bytes);
  try {
    if (stream !== null) await pipe(stream, wire, expanded);
    else if (decode !== null) decode(wire, expanded);
    else throw new TypeError(`no decoder for "${encoding}"`);
  } catch (error) {
    const message = `The chunk ${sha256} does not expand to its ${bytes} bytes by "${encoding}".`;
    throw new SelvedgeError("integrity-failed", message, { chunk: sha256, encoding }, error);
  }
  return expanded;
}

function streamFor(format: string): DecompressionStream | null {
  try {
    return new DecompressionStream(format as CompressionFormat);
  } catch {
    return null; // not supported here
  }
}

/** Reads a stream's output into `expanded`, which it must fill exactly. */
async function pipe({ readable, writable }: DecompressionStream, wire: Bytes, expanded: Bytes): Promise<void> {
  const writer = writable.getWriter();
  const writing = writeSlices(writer, wire);
  writing.catch(() => undefined); // the reader fails with the same error
  const reader = readable.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.byteLength > expanded.byteLength) {
      await Promise.all([reader.cancel(), writer.abort().catch(() => undefined)]);
      throw new RangeError("more bytes than the chunk has");
    }
    expanded.set(value, at);
    at += value.byteLength;
  }
  await writing;
  if (at !== expanded.byteLength) throw new RangeError("fewer bytes than the chunk has");
}

/** Writes the wire in slices and ends the stream. */
async function writeSlices(writer: WritableStreamDefaultWriter<BufferSource>, wire: Bytes): Promise<void> {
  for (let at = 0; at < wire.byteLength; at += SLICE_BYTES) await writer.write(wire.subarray(at, at + SLICE_BYTES));
  await writer.close();
}
