// Writes a bundle: `bundle.json` and `chunks/<sha256>.bin`. The same input gives the same bytes, and so the same identity.
//
// The directory appears whole or not at all: everything is written beside it and then renamed into place. Where chunks
// end is said by chunk-borders.ts: a weight that did not change keeps its chunk in the next version, and two variants that share
// weights share files.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { parseBundle } from "../../core/bundle-schema.ts";
import {
  bundleIdentity,
  canonicalJson,
  chunkPath,
  filesOf,
  goldenFiles,
  sha256Hex,
  wireBytesOf,
} from "../../core/bundle.ts";
import type { Bundle, BundleChunk, BundleFile, BundleJson, Golden, GoldenRun, Variant } from "../../core/bundle.ts";
import { bundleJson } from "../../core/bundle-json.ts";
import { chunkRanges } from "./chunk-borders.ts";
import { writeSynced } from "../onnx/durable.ts";
import { makeFolder } from "../onnx/make-folder.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { StoredBytes } from "../onnx/stored-bytes.ts";
import { Scratch } from "../onnx/written-model.ts";
import { describeMemory, describeRun } from "./describe-memory.ts";
import { checkReplaceable, freshBeside, replaceBundle } from "./replace-bundle.ts";
import { checkSplit, splitWeights } from "./split-weights.ts";

const brotli = promisify(brotliCompress);

/** A file to be packed. */
export interface PackFile {
  /** Path in the bundle, by which its variant or asset is named. */
  readonly path: string;
  /** Contents. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Offsets at which a chunk may best begin, ascending. Default none. */
  readonly borders?: readonly number[];
  /** Whether it is an ONNX model in one file, whose weights are stored apart, as `<path>.data`. Default false. */
  readonly isModel?: boolean;
}

/** A model to be packed, whose weights are stored apart, as `<path>.data`. They may lie on disk (`readModelFile`). */
export interface PackModel {
  /** Path in the bundle. */
  readonly path: string;
  /** The model. */
  readonly model: OnnxModel;
}

/** A variant to be packed: as in a bundle, with its files. */
export type PackVariant<File extends PackFile | PackModel = PackFile> = Omit<
  Variant,
  "files" | "golden" | "wireBytes"
> & {
  readonly files: readonly File[];
  readonly golden?: Golden<PackFile> | undefined;
};

/** All that a bundle is made of. */
export interface PackInput<File extends PackFile | PackModel = PackFile> {
  /** Name, inputs, outputs and processing steps of the model. */
  readonly model: Bundle["model"];
  /** Variants, the preferred ones first. */
  readonly variants: readonly PackVariant<File>[];
  /** Files that steps need, as vocabularies. Default none. */
  readonly assets?: readonly PackFile[];
}

/** Options of `packBundle`. */
export interface PackOptions {
  /**
   * Whether chunks are stored with brotli where that saves at least 2 %. Default true: quality 11 for bundles of up to
   * 8 MiB, 6 to 9 s of one core per 4 MiB of int8 weights; 9 for larger ones, 0.1 to 2 s and up to 1 % more bytes; 5
   * from 512 MiB on.
   */
  readonly compress?: boolean;
  /** Brotli's quality, 0 to 11, in place of that default. */
  readonly quality?: number;
}

/** A bundle in memory: its description, and its chunks by their hash. */
export interface PackedBundle {
  /** The content of `bundle.json`. */
  readonly json: BundleJson;
  /** The same, parsed and checked. */
  readonly bundle: Bundle;
  /** The bytes of each chunk as stored, by the hash of the expanded bytes. */
  readonly chunks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** A bundle that was written. */
export interface WrittenBundle {
  /** The content of `bundle.json`, parsed and checked. */
  readonly bundle: Bundle;
  /** SHA-256 of the canonical JSON of `bundle.json`, in hex. */
  readonly identity: string;
  /** Bytes of all chunks, expanded, each counted once. */
  readonly chunkBytes: number;
  /** The same as stored and sent. */
  readonly wireBytes: number;
}

/** Past so many bytes brotli's best takes minutes; quality 9 costs up to a percent of the size. */
const BEST_MAX_BYTES = 8 * 2 ** 20;
/** Past so many bytes quality 9 takes many minutes; 5 costs a few percent of the size. */
const FAST_MIN_BYTES = 2 ** 29;
/** A chunk is stored as it is unless brotli brings it down to this share. */
const WORTH_SHARE = 0.98;

/** A file whose bytes are known, in memory or on disk. */
interface PackedFile extends Omit<PackFile, "bytes"> {
  readonly bytes: Uint8Array<ArrayBuffer> | StoredBytes;
}

/** A variant whose files are known. */
type KnownVariant = Omit<PackVariant, "files"> & { readonly files: readonly PackedFile[] };

/** A chunk on its way into a bundle. */
interface CutChunk {
  readonly sha256: string;
  readonly length: number;
  read(): Uint8Array<ArrayBuffer>;
}

/** Takes chunks as they are stored. */
type Sink = (sha256: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;

/** Chunks by file, and each chunk once. */
class Cutter {
  readonly chunks: Map<string, CutChunk> = new Map();
  readonly #files: Map<PackedFile, readonly CutChunk[]> = new Map();

  /** Cuts files into chunks. */
  async cut(files: readonly PackedFile[]): Promise<void> {
    for (const file of files) {
      const list: CutChunk[] = [];
      const { bytes } = file;
      const read = (from: number, to: number): Uint8Array<ArrayBuffer> =>
        bytes instanceof StoredBytes ? bytes.read(from, to) : bytes.subarray(from, to);
      for (const [from, to] of chunkRanges(bytes.length, read, file.borders)) {
        const sha256 = await sha256Hex(read(from, to));
        const chunk = this.chunks.get(sha256) ?? { sha256, length: to - from, read: () => read(from, to) };
        this.chunks.set(sha256, chunk);
        list.push(chunk);
      }
      this.#files.set(file, list);
    }
  }

  /** Describes a file that was cut. */
  describe(file: PackedFile, stored: ReadonlyMap<string, number>): BundleFile {
    const chunks = (this.#files.get(file) ?? []).map(({ sha256, length }): BundleChunk => {
      const wireBytes = stored.get(sha256) ?? length;
      const isSmaller = wireBytes < length;
      return { sha256, bytes: length, ...(isSmaller && { encoding: "br", wireBytes }) };
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
  input: PackInput<PackFile | PackModel>,
  options: PackOptions = {},
): Promise<PackedBundle> {
  const stored = new Map<string, Uint8Array<ArrayBuffer>>();
  const order: string[] = [];
  const { json, bundle } = await packInto(input, options, (known) => {
    order.push(...known);
    return Promise.resolve((sha256, bytes) => {
      stored.set(sha256, bytes);
      return Promise.resolve();
    });
  });
  // In the order of the files, not in that of their compression.
  const chunks = new Map(order.map((x) => [x, stored.get(x) ?? new Uint8Array()]));
  return { json, bundle, chunks };
}

/** Makes a bundle; its chunks go to the sink that `open` returns, once the description is known to be right. */
async function packInto(
  input: PackInput<PackFile | PackModel>,
  { compress = true, quality }: PackOptions,
  open: (sha256s: readonly string[]) => Promise<Sink>,
): Promise<Pick<PackedBundle, "json" | "bundle">> {
  const scratch = new Scratch();
  try {
    const variants: KnownVariant[] = [];
    for (const variant of input.variants) variants.push(await withWeightsApart(variant, input.model, scratch));
    const assets = input.assets ?? [];
    const cutter = new Cutter();
    await cutter.cut([...variants.flatMap((x) => [...x.files, ...goldenFiles(x.golden)]), ...assets]);
    const describe = (stored: ReadonlyMap<string, number>): BundleJson =>
      describeBundle(input.model, variants, assets, (file) => cutter.describe(file, stored));
    // Checked before minutes are spent on compression.
    parseBundle(describe(new Map()));
    const sink = await open([...cutter.chunks.keys()]);
    const json = describe(await storeChunks([...cutter.chunks.values()], compress, quality, sink));
    return { json, bundle: parseBundle(json) };
  } finally {
    await scratch.close();
  }
}

function describeBundle(
  model: Bundle["model"],
  variants: readonly KnownVariant[],
  assets: readonly PackFile[],
  one: (file: PackedFile) => BundleFile,
): BundleJson {
  return bundleJson({
    model,
    variants: variants.map(({ files, golden, ...variant }): Variant => {
      const described = files.map(one);
      const chunks = new Map(described.flatMap((x) => x.chunks).map((x) => [x.sha256, wireBytesOf(x)]));
      const wireBytes = [...chunks.values()].reduce((sum, x) => sum + x, 0);
      const run = (x: GoldenRun<PackFile>): GoldenRun => ({ inputs: one(x.inputs), outputs: one(x.outputs) });
      const next = golden?.next && { next: golden.next.map(run) };
      const known = golden && { golden: { ...run(golden), ...next } };
      return { ...variant, files: described, wireBytes, ...known };
    }),
    assets: assets.map(one),
  });
}

/** Returns the model of a file whose weights are to be stored apart; undefined for any other file. */
export function modelOf(file: PackFile | PackModel): OnnxModel | undefined {
  if ("model" in file) return file.model;
  return file.isModel === true ? readModel(file.bytes) : undefined;
}

/** Stores the weights of a variant's model apart from its graph, and predicts the memory of a load and a run. */
async function withWeightsApart(
  variant: PackVariant<PackFile | PackModel>,
  description: Bundle["model"],
  scratch: Scratch,
): Promise<KnownVariant> {
  const files: PackedFile[] = [];
  let memory: Pick<Variant, "memoryBytes" | "tensorBytes" | "activationBytes"> | undefined;
  for (const [i, file] of variant.files.entries()) {
    const model = i === 0 || "model" in file ? modelOf(file) : undefined;
    if (model === undefined) {
      if ("bytes" in file) files.push(file);
      continue;
    }
    const path = `${file.path}.data`;
    const split = await splitWeights(model, path, scratch);
    await checkSplit(model, path, split, scratch);
    const { graph, weights, borders } = split;
    files.push({ path: file.path, bytes: graph });
    if (weights !== null) files.push({ path, bytes: weights, borders });
    memory ??= {
      ...describeMemory(model, graph.length, weights?.length ?? 0, variant.session),
      ...(await describeRun(model, description, variant.session)),
    };
  }
  return { ...memory, ...variant, files };
}

/**
 * Writes a bundle to a directory, in place of the bundle that was there.
 * @throws SelvedgeError `bundle-invalid`, TypeError where the directory holds anything but a bundle; nothing is written.
 */
export async function writeBundle(
  directory: string,
  input: PackInput<PackFile | PackModel>,
  options: PackOptions = {},
): Promise<WrittenBundle> {
  return writeFresh(directory, (write) => packInto(input, options, () => Promise.resolve(write)));
}

/**
 * Writes a bundle that was made in memory.
 * @throws TypeError where the directory holds anything but a bundle; nothing is written then.
 */
export async function writePacked(directory: string, { json, bundle, chunks }: PackedBundle): Promise<WrittenBundle> {
  return writeFresh(directory, async (write) => {
    for (const [sha256, bytes] of chunks) await write(sha256, bytes);
    return { json, bundle };
  });
}

/** Writes a bundle beside a directory and then moves it there. */
async function writeFresh(
  directory: string,
  pack: (write: Sink) => Promise<Pick<PackedBundle, "json" | "bundle">>,
): Promise<WrittenBundle> {
  await checkReplaceable(directory);
  const fresh = freshBeside(directory);
  try {
    await makeFolder(join(fresh, "chunks"));
    const { json, bundle } = await pack((sha256, bytes) => writeSynced(join(fresh, chunkPath(2, sha256)), [bytes]));
    await writeSynced(join(fresh, "bundle.json"), [new TextEncoder().encode(`${canonicalJson(json)}\n`)]);
    await replaceBundle(fresh, directory);
    return { bundle, identity: await bundleIdentity(json), ...sizesOf(bundle) };
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

function sizesOf(bundle: Bundle): Pick<WrittenBundle, "chunkBytes" | "wireBytes"> {
  const known = new Map(
    filesOf(bundle)
      .flatMap((x) => x.chunks)
      .map((x) => [x.sha256, x]),
  );
  const sum = (size: (x: BundleChunk) => number): number =>
    [...known.values()].reduce((total, x) => total + size(x), 0);
  return { chunkBytes: sum((x) => x.bytes), wireBytes: sum(wireBytesOf) };
}

/**
 * Stores chunks, compressed two at a time on the threads that Node keeps for it; one that is not worth it is stored as it
 * is. Returns the stored sizes.
 */
async function storeChunks(
  chunks: readonly CutChunk[],
  compress: boolean,
  quality: number | undefined,
  sink: Sink,
): Promise<ReadonlyMap<string, number>> {
  const total = chunks.reduce((sum, x) => sum + x.length, 0);
  const level = quality ?? (total > FAST_MIN_BYTES ? 5 : total > BEST_MAX_BYTES ? 9 : 11);
  const sizes = new Map<string, number>();
  const left = chunks.values();
  const work = async (): Promise<void> => {
    for (const { sha256, length, read } of left) {
      const bytes = read();
      const small = compress ? await compressed(bytes, level) : bytes;
      const stored = small.length <= length * WORTH_SHARE ? small : bytes;
      sizes.set(sha256, stored.length);
      await sink(sha256, stored);
    }
  };
  await Promise.all([work(), work()]);
  return sizes;
}

async function compressed(bytes: Uint8Array, level: number): Promise<Uint8Array<ArrayBuffer>> {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: level,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  return Uint8Array.from(await brotli(bytes, { params }));
}
