// Reads a repository's description (source/describe.ts) as a bundle: each file is one chunk of any size with an address of
// its own, and the ports are known once the model is loaded. Descriptions are made on this device and come from its store
// alone; they are validated all the same, since an older release may have written them.
import * as v from "valibot";
import type { Bundle, BundleFile, PortSteps } from "../core/bundle.ts";
import { REPOSITORY_SCHEMA } from "../source/describe.ts";

const FILE_MAX_BYTES = 16 * 1024 ** 3;
const text = v.pipe(v.string(), v.maxLength(2_000));
const path = v.pipe(v.string(), v.maxLength(300), v.regex(/^(?!\/)(?!(?:.*\/)?\.{1,2}(?:\/|$))[^\\?#]+$/));
const file = v.object({
  path,
  url: text,
  bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(FILE_MAX_BYTES)),
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  isUnverified: v.optional(v.boolean()),
  isBlind: v.optional(v.boolean()),
});
/** Steps are written by this package; a field of another type fails where it is used. */
const steps = v.custom<PortSteps>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    ["texts", "images", "decodes", "assets"].every((x) => typeof Reflect.get(value, x) === "object"),
);
const repository = v.object({
  schema: v.literal(REPOSITORY_SCHEMA),
  name: text,
  version: text,
  licence: text,
  variants: v.pipe(
    v.array(
      v.object({
        id: text,
        needs: v.array(text),
        named: v.optional(v.array(v.picklist(["webgpu", "wasm"]))),
        speed: v.object({ webgpu: v.optional(v.number()), wasm: v.optional(v.number()) }),
        unchecked: v.optional(v.array(v.picklist(["webgpu", "wasm"]))),
        files: v.pipe(v.array(file), v.minLength(1)),
      }),
    ),
    v.minLength(1),
  ),
  assets: v.array(file),
  steps,
});

/**
 * Validates a parsed description and returns it as a bundle.
 * @throws ValiError where it is none
 */
export function parseRepository(json: unknown): Bundle {
  const { name, version, licence, variants, assets, steps } = v.parse(repository, json);
  return {
    format: 2,
    model: { name, version, licence, inputs: [], outputs: [], steps },
    variants: variants.map(({ files, ...variant }) => ({ ...variant, files: files.map(asChunk) })),
    ...(assets.length > 0 && { assets: assets.map(asChunk) }),
  };
}

/** Returns a file as one chunk. */
function asChunk({ path, ...chunk }: v.InferOutput<typeof file>): BundleFile {
  return { path, bytes: chunk.bytes, chunks: [chunk] };
}
