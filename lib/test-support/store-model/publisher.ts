// The publisher of the simulated models, and those who attack it: versions, and the states of a `signature.json` beside
// them.
import { bundleJson } from "../../core/bundle-json.ts";
import { BUNDLE_SCHEMA_1, canonicalJson, sha256Hex } from "../../core/bundle.ts";
import type { Bundle, BundleChunk, BundleFormat } from "../../core/bundle.ts";
import { sign, toBase64 } from "../../core/signature.ts";
import type { Bytes } from "../../cache/stores/store.ts";
import { weights } from "../cache-fixtures.ts";

/** Bytes of a chunk. */
export const CHUNK = 400;
/** Names of the models. */
export const MODELS = ["a", "b", "c"] as const;
/** Name of a model. */
export type ModelName = (typeof MODELS)[number];

/** A published version of a model. */
export interface Version {
  readonly bundle: Bundle;
  readonly identity: string;
  /** Its `bundle.json`. */
  readonly text: Bytes;
  readonly parts: readonly Bytes[];
  readonly chunks: readonly BundleChunk[];
  /** Release number in its good signature: 1 for the first version. */
  readonly release: number;
}

/**
 * State of a `signature.json`: of the trusted key and in force; not there; of a key that nobody trusts; changed after it
 * was signed; that of the version before; expired; or of the trusted key, with the release of the version before.
 */
export type SignatureState = "good" | "missing" | "stranger" | "altered" | "former" | "expired" | "reused";

/** Every state. */
export const SIGNATURES = ["good", "missing", "stranger", "altered", "former", "expired", "reused"] as const;

/** The answer of a model's server. */
export interface ServerAnswer {
  readonly version: Version;
  readonly signature: SignatureState;
}

/** Returns the release that the trusted key signed; null where it did not sign this version, or not for now. */
export function signedRelease({ version, signature }: ServerAnswer): number | null {
  if (signature === "good") return version.release;
  return signature === "reused" ? version.release - 1 : null;
}

/** Makes the n-th version of a model, from 1. It shares its first chunk with the one before, and one with all models. */
export async function makeVersion(name: ModelName, release: number, format: BundleFormat): Promise<Version> {
  const seed = 100 * MODELS.indexOf(name) + release;
  const parts = [seed, seed + 1, 7].map((x) => weights(CHUNK, x));
  const chunks: BundleChunk[] = [];
  for (const bytes of parts) chunks.push({ sha256: await sha256Hex(bytes), bytes: CHUNK });
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const outputs = [{ ...port, name: "y" }];
  const bundle: Bundle = {
    format,
    model: { name, version: String(release), licence: "MIT", inputs: [port], outputs },
    variants: [{ id: "f32", needs: [], files: [{ path: "m.onnx", bytes: CHUNK * parts.length, chunks }] }],
  };
  const json = bundleJson(bundle);
  const text = new TextEncoder().encode(canonicalJson(format === 1 ? { ...json, schema: BUNDLE_SCHEMA_1 } : json));
  return { bundle, identity: await sha256Hex(text), text, parts, chunks, release };
}

/** The publisher's key, which apps trust, and another one. */
interface Keys {
  readonly trusted: CryptoKeyPair;
  readonly stranger: CryptoKeyPair;
  /** The trusted key's public half. */
  readonly text: string;
}
const keys: { made?: Promise<Keys> } = {};

/** Returns the public key that apps trust. */
export async function trustedKey(): Promise<string> {
  return (await (keys.made ??= makeKeys())).text;
}

/** Returns the `signature.json` beside a version; null where it is missing. */
export async function signatureFile(
  { version, signature }: ServerAnswer,
  name: ModelName,
  former: Version | undefined,
): Promise<Bytes | null> {
  if (signature === "missing") return null;
  const { trusted, stranger } = await (keys.made ??= makeKeys());
  const isFormer = signature === "former";
  const claim = {
    identity: isFormer ? (former?.identity ?? "0".repeat(64)) : version.identity,
    model: name,
    release: version.release - (isFormer || signature === "reused" ? 1 : 0),
    expires: signature === "expired" ? "1970-01-01T00:00:01Z" : "2100-01-01T00:00:00Z",
  };
  const signed = await sign(claim, signature === "stranger" ? stranger : trusted);
  const file = signature === "altered" ? { ...signed, release: claim.release + 1 } : signed;
  return new TextEncoder().encode(JSON.stringify(file));
}

async function makeKeys(): Promise<Keys> {
  const make = (): Promise<CryptoKeyPair> => crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const [trusted, stranger] = [await make(), await make()];
  return { trusted, stranger, text: toBase64(await crypto.subtle.exportKey("raw", trusted.publicKey)) };
}
