// Reads a bundle of either schema from its folder: for signing, for making another bundle of it, for tests and benchmarks.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { bundleIdentity, chunkPath, sha256Hex, wireBytesOf } from "../../core/bundle.ts";
import type { Bundle, BundleChunk, BundleFile, BundleJson } from "../../core/bundle.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import { SelvedgeError } from "../../core/errors.ts";
import { joinWeights } from "./split-weights.ts";

type ChunkDecoder = (stored: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;

/** Decoders of chunks by their encoding. */
const DECODERS: ReadonlyMap<string, ChunkDecoder> = new Map<string, ChunkDecoder>([
  ["br", brotliDecompressSync],
  ["gzip", gunzipSync],
]);

/** A bundle in a folder. */
export interface FolderBundle {
  readonly folder: string;
  /** The content of `bundle.json`. */
  readonly json: BundleJson;
  readonly bundle: Bundle;
  readonly identity: string;
}

/**
 * Reads the `bundle.json` of a folder.
 * @throws SelvedgeError `bundle-invalid`; an error of the file system where there is none.
 */
export async function readBundle(folder: string): Promise<FolderBundle> {
  const json = JSON.parse(readFileSync(join(folder, "bundle.json"), "utf8")) as BundleJson;
  return { folder, json, bundle: parseBundle(json), identity: await bundleIdentity(json) };
}

/**
 * Reads a file of a bundle: its chunks in their order, each checked by its hash.
 * @throws SelvedgeError `integrity-failed` where a chunk is missing or holds other bytes.
 */
export async function readBundleFile(
  bundle: Pick<FolderBundle, "folder" | "bundle">,
  { bytes, chunks }: BundleFile,
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(await readChunk(bundle, chunk), at);
    at += chunk.bytes;
  }
  return whole;
}

/**
 * Reads a chunk of a bundle and expands it; checks its size as stored, its size when expanded, and its hash.
 * @throws SelvedgeError `integrity-failed` where it is missing, has another size or holds other bytes.
 */
export async function readChunk(
  { folder, bundle }: Pick<FolderBundle, "folder" | "bundle">,
  chunk: BundleChunk,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = join(folder, chunkPath(bundle.format, chunk.sha256));
  const refused = (problem: string): SelvedgeError =>
    new SelvedgeError("integrity-failed", `${path} ${problem}.`, { reason: "altered", chunk: chunk.sha256 });
  const stored = await readFile(path).catch(() => null);
  if (stored === null) throw refused("is missing");
  const decode = chunk.encoding === undefined ? null : DECODERS.get(chunk.encoding);
  if (decode === undefined) throw refused(`has the encoding "${chunk.encoding}", which this release can't expand`);
  // The hash does not show this: a decoder ignores bytes behind the end of the compressed data.
  const wireBytes = wireBytesOf(chunk);
  if (stored.length !== wireBytes) throw refused(`is ${stored.length} bytes, but bundle.json says ${wireBytes}`);
  const bytes = expand(stored, chunk.bytes, decode);
  if (bytes === null) throw refused(`does not expand to ${chunk.bytes} bytes`);
  if (bytes.length !== chunk.bytes)
    throw refused(`expands to ${bytes.length} bytes, but bundle.json says ${chunk.bytes}`);
  if ((await sha256Hex(bytes)) !== chunk.sha256) throw refused("holds other bytes than its name says");
  return bytes;
}

/** Expands stored bytes, to at most `maxBytes`; null where they do not expand. */
function expand(stored: Uint8Array, maxBytes: number, decode: ChunkDecoder | null): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(decode === null ? stored : decode(stored, { maxOutputLength: maxBytes }));
  } catch {
    return null;
  }
}

/** Reads the model of a variant as one ONNX file, the weights inside. */
export async function readVariantModel(folder: string, variant: string): Promise<Uint8Array<ArrayBuffer>> {
  const read = await readBundle(folder);
  const [graph, weights] = read.bundle.variants.find((x) => x.id === variant)?.files ?? [];
  if (graph === undefined) throw new TypeError(`${folder} has no variant "${variant}"`);
  const bytes = await readBundleFile(read, graph);
  return weights === undefined ? bytes : joinWeights(bytes, await readBundleFile(read, weights));
}
