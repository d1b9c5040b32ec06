// Stored form of a model: a bundle, a repository's description, or a bare model as the list of its chunks. The SHA-256 of
// its canonical JSON is its identity.
import * as v from "valibot";
import { canonicalJson, CHUNK_MAX_BYTES, filesOf, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk, BundleJson } from "../core/bundle.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import { REPOSITORY_SCHEMA } from "../source/describe.ts";
import type { RepositoryJson } from "../source/describe.ts";
import { parseRepository } from "./repository-bundle.ts";
import type { Store } from "./stores/store.ts";

/** The schema of a bare model's list of chunks. */
const BARE_SCHEMA = "selvedge/bare@1";

/** A bare model as its chunks. */
export interface BareManifest {
  readonly schema: typeof BARE_SCHEMA;
  readonly chunks: readonly BundleChunk[];
}

/** A bundle, or a bare model. */
export type Manifest = Bundle | BareManifest;

/** A manifest as received, possibly with fields of newer releases: the form that is stored. */
export type ManifestJson = BundleJson | BareManifest | RepositoryJson;

const bare: v.GenericSchema<unknown, BareManifest> = v.strictObject({
  schema: v.literal(BARE_SCHEMA),
  chunks: v.pipe(
    v.array(
      v.strictObject({
        sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
        bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(CHUNK_MAX_BYTES)),
      }),
    ),
    v.minLength(1),
    v.maxLength(4_096),
  ),
});

/** Returns the manifest of a bare model. */
export function bareManifest(chunks: readonly BundleChunk[]): BareManifest {
  return { schema: BARE_SCHEMA, chunks };
}

/**
 * Validates a parsed manifest.
 * @throws SelvedgeError `bundle-invalid`, or an error of the schema
 */
export function parseManifest(json: unknown): Manifest {
  const schema: unknown = typeof json === "object" && json !== null ? Reflect.get(json, "schema") : undefined;
  if (schema === REPOSITORY_SCHEMA) return parseRepository(json);
  return schema === BARE_SCHEMA ? v.parse(bare, json) : parseBundle(json);
}

/** Whether a manifest is a bare model's. */
export function isBare(manifest: Manifest): manifest is BareManifest {
  return "schema" in manifest;
}

/** Computes the identity of a manifest as received: 64 hex digits. */
export function identityOf(json: ManifestJson): Promise<string> {
  return sha256Hex(new TextEncoder().encode(canonicalJson(json)));
}

/** Lists all chunks, those of every variant and of the assets. */
export function allChunks(manifest: Manifest): readonly BundleChunk[] {
  if (isBare(manifest)) return manifest.chunks;
  return filesOf(manifest).flatMap((x) => x.chunks);
}

/** A manifest's entry, and whether it can be used. */
export interface StoredManifest {
  /**
   * `known`: whole, and of a schema of this release; `newer`: whole, since its hash is its name, but of a schema that
   * this release does not know; `damaged`: its hash is not its name.
   */
  readonly state: "known" | "newer" | "damaged";
  /** Null unless `known`. */
  readonly manifest: Manifest | null;
  /** SHA-256 of the chunks that it names; unless `known`, every SHA-256 in its text. */
  readonly hashes: ReadonlySet<string>;
}

/** Reads a stored manifest; null where it is not stored. Rejects where it could not be read, as the store does. */
export async function readManifest(store: Store, identity: string): Promise<StoredManifest | null> {
  const bytes = await store.read(`bundle-${identity}`);
  if (bytes === null) return null;
  const text = new TextDecoder().decode(bytes);
  const hashes = new Set(text.match(/[0-9a-f]{64}/g));
  if ((await sha256Hex(bytes)) !== identity) return { state: "damaged", manifest: null, hashes };
  try {
    const manifest = parseManifest(JSON.parse(text) as unknown);
    return { state: "known", manifest, hashes: new Set(allChunks(manifest).map((x) => x.sha256)) };
  } catch {
    return { state: "newer", manifest: null, hashes };
  }
}
