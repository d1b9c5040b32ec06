// Goldens of toy models: one row, and the answer of y = factor · x.
import { createHash } from "node:crypto";
import { writeSafetensors } from "../../compress/bundle/safetensors.ts";
import type { BundleFile, Golden } from "../../core/bundle.ts";
import { TOY_CHUNK } from "./toy-backend.ts";

/** Files by their paths below the bundle. */
export type Files = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;

/** The chunk that every toy bundle names, at its path in bundles of schema 2, which alone have goldens. */
export const CHUNK_FILE: Files = { [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content) };

/** Returns the golden of a factor, and its files. */
export function toyGolden(factor: number): { readonly golden: Golden; readonly files: Files } {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  const fileOf = (path: string, name: string, ...values: number[]): BundleFile => {
    const tensor = { dtype: "float32", dims: [1, 2], data: Float32Array.from(values) } as const;
    const bytes = writeSafetensors({ [name]: tensor }) as Uint8Array<ArrayBuffer>;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    files[`chunks/${sha256}.bin`] = bytes;
    return { path, bytes: bytes.length, chunks: [{ sha256, bytes: bytes.length }] };
  };
  const golden = { inputs: fileOf("in", "x", 3, -5), outputs: fileOf("out", "y", factor * 3, factor * -5) };
  return { golden, files };
}
