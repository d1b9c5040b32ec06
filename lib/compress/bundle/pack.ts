// Writes a bundle: `bundle.json` and `chunks/<sha256>.bin`. The same input gives the same bytes, and so the same identity.
//
// The directory appears whole or not at all: everything is written beside it and then renamed into place. Where chunks
// end is said by chunk-borders.ts: a weight that did not change keeps its chunk in the next version, and two variants that share
// weights share files.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { parseBundle } from "../../core/bundle-schema.ts";
import { bundleIdentity, canonicalJson, chunkPath, filesOf, sha256Hex, wireBytesOf } from "../../core/bundle.ts";
import type { Bundle, BundleChunk, BundleFile, BundleJson, Golden, Variant } from "../../core/bundle.ts";
import { bundleJson } from "../../core/bundle-json.ts";
import { cutChunks } from "./chunk-borders.ts";
import { writeSynced } from "../onnx/durable.ts";
import { describeMemory } from "./describe-memory.ts";
import { checkReplaceable, freshBeside, replaceBundle } from "./replace-bundle.ts";
import { checkSplit, splitWeights } from "./split-weights.ts";

const brotli = promisify(brotliCompress);

/** A file to be packed. */
export interface PackFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Offsets at which a chunk may best begin, ascending. Default none. */
  readonly borders?: readonly number[];
  /** Whether it is an ONNX model in one file, whose weights are stored apart, as `<path>.data`. Default false. */
  readonly isModel?: boolean;
}

/** A variant to be packed: as in a bundle, with the bytes of its files. */
export type PackVariant = Omit<Variant, "files" | "golden" | "wireBytes"> & {
  readonly files: readonly PackFile[];
  readonly golden?: Readonly<Record<keyof Golden, PackFile>> | undefined;
};

/** All that a bundle is made of. */
export interface PackInput {
  readonly model: Bundle["model"];
  readonly variants: readonly PackVariant[];
  readonly assets?: readonly PackFile[];
}

/** Options of `packBundle`. */
export interface PackOptions {
  /**
   * Whether chunks are stored with brotli where that saves at least 2 %. Default true: quality 11 for bundles of up to
   * 8 MiB, 6 to 9 s of one core per 4 MiB of int8 weights; 9 for larger ones, 0.1 to 2 s and up to 1 % more bytes.
   */
  readonly compress?: boolean;
  /** Brotli's quality, 0 to 11, in place of that default. */
  readonly quality?: number;
}

/** A bundle in memory: its description, and its chunks by their hash. */
export interface PackedBundle {
  /** The content of `bundle.json`. */
  readonly json: BundleJson;
  readonly bundle: Bundle;
  /** The bytes of each chunk as stored, by the hash of the expanded bytes. */
  readonly chunks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** A bundle that was written. */
export interface Packed {
  readonly bundle: Bundle;
  readonly identity: string;
  /** Bytes of all chunks, expanded, each counted once. */
  readonly chunkBytes: number;
  /** The same as stored and sent. */
  readonly wireBytes: number;
}

/** Past so many bytes brotli's best takes minutes; quality 9 costs up to a percent of the size. */
const BEST_MAX_BYTES = 8 * 2 ** 20;
/** A chunk is stored as it is unless brotli brings it down to this share. */
const WORTH_SHARE = 0.98;

/** A chunk on its way into a bundle. */
interface CutChunk {
  readonly sha256: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Chunks by file, and each chunk once. */
class Cutter {
  readonly chunks: Map<string, CutChunk> = new Map();
  readonly #files: Map<PackFile, readonly CutChunk[]> = new Map();

  /** Cuts files into chunks. */
  async cut(files: readonly PackFile[]): Promise<void> {
    for (const file of files) {
      const list: CutChunk[] = [];
      for (const bytes of cutChunks(file.bytes, file.borders)) {
        const sha256 = await sha256Hex(bytes);
        const chunk = this.chunks.get(sha256) ?? { sha256, bytes };
        this.chunks.set(sha256, chunk);
        list.push(chunk);
      }
      this.#files.set(file, list);
    }
  }

  /** Describes a file that was cut. */
  describe(file: PackFile, stored: ReadonlyMap<string, Uint8Array>): BundleFile {
    const chunks = (this.#files.get(file) ?? []).map(({ sha256, bytes }): BundleChunk => {
      const wireBytes = stored.get(sha256)?.length ?? bytes.length;
      const isSmaller = wireBytes < bytes.length;
      return { sha256, bytes: bytes.length, ...(isSmaller && { encoding: "br", wireBytes }) };
    });
    return { path: file.path, bytes: file.bytes.length, chunks };
  }
}

/**
 * Makes a bundle in memory: its description, and its chunks as they are stored.
 * @throws SelvedgeError `bundle-invalid` where the description breaks the schema; `model-invalid` where a model does not
 *   load with its weights stored apart.
 */
export async function packBundle(
  input: PackInput,
  { compress = true, quality }: PackOptions = {},
): Promise<PackedBundle> {
  const variants: PackVariant[] = [];
  for (const variant of input.variants) variants.push(await withWeightsApart(variant));
  const assets = input.assets ?? [];
  const cutter = new Cutter();
  const golden = (x: PackVariant): PackFile[] => (x.golden === undefined ? [] : [x.golden.inputs, x.golden.outputs]);
  await cutter.cut([...variants.flatMap((x) => [...x.files, ...golden(x)]), ...assets]);
  const plain = new Map([...cutter.chunks].map(([sha256, { bytes }]) => [sha256, bytes]));
  const describe = (stored: ReadonlyMap<string, Uint8Array>): BundleJson => {
    const one = (file: PackFile): BundleFile => cutter.describe(file, stored);
    return bundleJson({
      model: input.model,
      variants: variants.map(({ files, golden, ...variant }): Variant => {
        const described = files.map(one);
        const chunks = new Map(described.flatMap((x) => x.chunks).map((x) => [x.sha256, wireBytesOf(x)]));
        const wireBytes = [...chunks.values()].reduce((sum, x) => sum + x, 0);
        const known = golden && { golden: { inputs: one(golden.inputs), outputs: one(golden.outputs) } };
        return { ...variant, files: described, wireBytes, ...known };
      }),
      assets: assets.map(one),
    });
  };
  // Checked before minutes are spent on compression.
  parseBundle(describe(plain));
  const chunks = compress ? await compressChunks(plain, quality) : plain;
  const json = describe(chunks);
  return { json, bundle: parseBundle(json), chunks };
}

/** Stores the weights of a variant's model apart from its graph, and predicts the memory of a load from both. */
async function withWeightsApart(variant: PackVariant): Promise<PackVariant> {
  const [first, ...others] = variant.files;
  if (first?.isModel !== true) return variant;
  const path = `${first.path}.data`;
  const split = splitWeights(first.bytes, path);
  await checkSplit(first.bytes, path, split);
  const { graph, weights, borders } = split;
  const data = weights === null ? [] : [{ path, bytes: weights, borders }];
  const memory = describeMemory(first.bytes, graph.length, weights?.length ?? 0);
  return { ...memory, ...variant, files: [{ path: first.path, bytes: graph }, ...data, ...others] };
}

/**
 * Writes a bundle to a directory, in place of the bundle that was there.
 * @throws SelvedgeError `bundle-invalid`, TypeError where the directory holds anything but a bundle; nothing is written.
 */
export async function writeBundle(directory: string, input: PackInput, options: PackOptions = {}): Promise<Packed> {
  await checkReplaceable(directory);
  return writePacked(directory, await packBundle(input, options));
}

/**
 * Writes a bundle that was made in memory.
 * @throws TypeError where the directory holds anything but a bundle; nothing is written then.
 */
export async function writePacked(directory: string, { json, bundle, chunks }: PackedBundle): Promise<Packed> {
  await checkReplaceable(directory);
  const fresh = freshBeside(directory);
  try {
    await mkdir(join(fresh, "chunks"), { recursive: true });
    for (const [sha256, bytes] of chunks) await writeSynced(join(fresh, chunkPath(2, sha256)), [bytes]);
    await writeSynced(join(fresh, "bundle.json"), [new TextEncoder().encode(`${canonicalJson(json)}\n`)]);
    await replaceBundle(fresh, directory);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  const known = new Map(
    filesOf(bundle)
      .flatMap((x) => x.chunks)
      .map((x) => [x.sha256, x]),
  );
  const sum = (size: (x: BundleChunk) => number): number =>
    [...known.values()].reduce((total, x) => total + size(x), 0);
  return { bundle, identity: await bundleIdentity(json), chunkBytes: sum((x) => x.bytes), wireBytes: sum(wireBytesOf) };
}

/** Compresses chunks two at a time, on the threads that Node keeps for it; one that is not worth it stays as it is. */
async function compressChunks(plain: PackedBundle["chunks"], quality?: number): Promise<PackedBundle["chunks"]> {
  const total = [...plain.values()].reduce((sum, x) => sum + x.length, 0);
  const level = quality ?? (total > BEST_MAX_BYTES ? 9 : 11);
  const stored = new Map(plain); // in the order of the plain ones
  const left = plain.entries();
  const work = async (): Promise<void> => {
    for (const [sha256, bytes] of left) {
      const params = {
        [constants.BROTLI_PARAM_QUALITY]: level,
        [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      };
      const small = await brotli(bytes, { params });
      if (small.length <= bytes.length * WORTH_SHARE) stored.set(sha256, Uint8Array.from(small));
    }
  };
  await Promise.all([work(), work()]);
  return stored;
}
