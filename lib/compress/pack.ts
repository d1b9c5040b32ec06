// Writes a bundle: `bundle.json` and `chunks/<sha256>.bin`. The same input gives the same bytes, and so the same identity.
//
// The directory appears whole or not at all: everything is written beside it and then renamed into place. Where chunks
// end is said by cut.ts: a weight that did not change keeps its chunk in the next version, and two variants that share
// weights share files.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { parseBundle } from "../bundle-schema.ts";
import { bundleIdentity, canonicalJson, chunkPath, sha256Hex } from "../bundle.ts";
import type { Bundle, BundleFile, BundleJson, Variant } from "../bundle.ts";
import { bundleJson } from "../bundle-json.ts";
import { cutChunks } from "./cut.ts";
import { writeSynced } from "./durable.ts";
import { checkReplaceable, freshBeside, replaceBundle } from "./replace-bundle.ts";

const brotli = promisify(brotliCompress);

/** A file to be packed. */
export interface PackFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Offsets at which a chunk may best begin, ascending; `tensorBorders` gives those of a model. Default none. */
  readonly borders?: readonly number[];
}

/** A variant to be packed: as in a bundle, with the bytes of its files. */
export type PackVariant = Omit<Variant, "files"> & { readonly files: readonly PackFile[] };

/** All that a bundle is made of. */
export interface PackInput {
  readonly model: Bundle["model"];
  readonly variants: readonly PackVariant[];
  readonly assets?: readonly PackFile[];
}

/** A bundle in memory: its description, and its chunks by their hash. */
export interface PackedBundle {
  /** The content of `bundle.json`. */
  readonly json: BundleJson;
  readonly bundle: Bundle;
  readonly chunks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** What was written. */
export interface Packed {
  readonly bundle: Bundle;
  readonly identity: string;
  /** Bytes of all chunks, each counted once. */
  readonly chunkBytes: number;
  /** Bytes of all chunks as brotli; 0 where none was asked for. */
  readonly brotliBytes: number;
}

/** Past so many bytes brotli's best takes minutes; the level below costs a percent or two of the size. */
const BEST_MAX_BYTES = 8 * 2 ** 20;

/**
 * Makes a bundle in memory: its description, and its chunks by their hash.
 * @throws SelvedgeError `bundle-invalid` where the description breaks the schema.
 */
export async function packBundle(input: PackInput): Promise<PackedBundle> {
  const chunks = new Map<string, Uint8Array<ArrayBuffer>>();
  const pack = async (file: PackFile): Promise<BundleFile> => {
    const list: { sha256: string; bytes: number }[] = [];
    for (const chunk of cutChunks(file.bytes, file.borders)) {
      const sha256 = await sha256Hex(chunk);
      chunks.set(sha256, chunk);
      list.push({ sha256, bytes: chunk.length });
    }
    return { path: file.path, bytes: file.bytes.length, chunks: list };
  };
  const packAll = async (files: readonly PackFile[]): Promise<BundleFile[]> => {
    const packed: BundleFile[] = [];
    for (const file of files) packed.push(await pack(file));
    return packed;
  };
  const variants: Variant[] = [];
  for (const variant of input.variants) variants.push({ ...variant, files: await packAll(variant.files) });
  const assets = await packAll(input.assets ?? []);
  const json = bundleJson({ model: input.model, variants, assets });
  return { json, bundle: parseBundle(json), chunks };
}

/**
 * Writes a bundle to a directory, in place of the bundle that was there.
 * @throws SelvedgeError `bundle-invalid`, TypeError where the directory holds anything but a bundle; nothing is written.
 */
export async function writeBundle(directory: string, input: PackInput): Promise<Packed> {
  return writePacked(directory, await packBundle(input), { precompress: false });
}

/**
 * Writes a bundle that was made in memory. With `precompress` (the default) each chunk stands there a second time as
 * `<sha256>.br`, for hosts that serve such a file with `Content-Encoding: br`.
 * @throws TypeError where the directory holds anything but a bundle; nothing is written then.
 */
export async function writePacked(
  directory: string,
  { json, bundle, chunks }: PackedBundle,
  { precompress = true }: { precompress?: boolean } = {},
): Promise<Packed> {
  await checkReplaceable(directory);
  const fresh = freshBeside(directory);
  const chunkBytes = [...chunks.values()].reduce((sum, x) => sum + x.length, 0);
  let brotliBytes = 0;
  try {
    await mkdir(join(fresh, "chunks"), { recursive: true });
    for (const [sha256, bytes] of chunks) await writeSynced(join(fresh, chunkPath(2, sha256)), [bytes]);
    if (precompress) brotliBytes = await writeCompressed(join(fresh, "chunks"), chunks, chunkBytes);
    await writeSynced(join(fresh, "bundle.json"), [new TextEncoder().encode(`${canonicalJson(json)}\n`)]);
    await replaceBundle(fresh, directory);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return { bundle, identity: await bundleIdentity(json), chunkBytes, brotliBytes };
}

/** Compresses chunks two at a time, on the threads that Node keeps for it; one that would not shrink has no second file. */
async function writeCompressed(folder: string, chunks: PackedBundle["chunks"], total: number): Promise<number> {
  const level = total > BEST_MAX_BYTES ? 9 : 11;
  let sum = 0;
  const left = [...chunks];
  const work = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [sha256, bytes] = next;
      const params = {
        [constants.BROTLI_PARAM_QUALITY]: level,
        [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      };
      const small = await brotli(bytes, { params });
      sum += Math.min(small.length, bytes.length);
      if (small.length < bytes.length) await writeSynced(join(folder, `${sha256}.br`), [small]);
    }
  };
  await Promise.all([work(), work()]);
  return sum;
}
