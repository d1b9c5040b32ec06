// Reads a bundle of either schema from its folder: for signing, for making another bundle of it, for tests and benchmarks.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleIdentity, chunkPath, sha256Hex } from "../bundle.ts";
import type { Bundle, BundleChunk, BundleFile, BundleJson } from "../bundle.ts";
import { parseBundle } from "../bundle-schema.ts";
import { SelvedgeError } from "../errors.ts";

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
  { folder, bundle }: Pick<FolderBundle, "folder" | "bundle">,
  { bytes, chunks }: BundleFile,
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(await readChunk({ folder, bundle }, chunk), at);
    at += chunk.bytes;
  }
  return whole;
}

/** Reads a chunk of a bundle, its hash checked. */
export async function readChunk(
  { folder, bundle }: Pick<FolderBundle, "folder" | "bundle">,
  { sha256, bytes }: BundleChunk,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = join(folder, chunkPath(bundle.format, sha256));
  const data = await readFile(path).catch(() => null);
  if (data !== null && data.byteLength === bytes) {
    const whole = Uint8Array.from(data);
    if ((await sha256Hex(whole)) === sha256) return whole;
  }
  const problem = data === null ? "is missing" : "holds other bytes than its name says";
  throw new SelvedgeError("integrity-failed", `${path} ${problem}.`, { reason: "altered", chunk: sha256 });
}

/** Reads the first file of a variant: its graph. */
export async function readGraph(folder: string, variant: string): Promise<Uint8Array<ArrayBuffer>> {
  const read = await readBundle(folder);
  const file = read.bundle.variants.find((x) => x.id === variant)?.files[0];
  if (file === undefined) throw new TypeError(`${folder} has no variant "${variant}"`);
  return readBundleFile(read, file);
}
