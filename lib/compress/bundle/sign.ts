// Signs a bundle, and verifies a signature and all chunks: the commands `sign` and `verify`.
// lib/core/signature.ts says what is signed and what a page refuses.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleIdentity, filesOf } from "../../core/bundle.ts";
import type { Bundle, BundleJson } from "../../core/bundle.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import { SelvedgeError } from "../../core/errors.ts";
import { isSignature, sign, toBase64, verify } from "../../core/signature.ts";
import type { Claim, Signature } from "../../core/signature.ts";
import { writeWhole } from "../onnx/model-file.ts";
import { readChunk } from "./read-bundle.ts";

/** How a bundle is signed. */
export interface SignOptions {
  /** The file of the private key, as `createKey` writes it. */
  readonly key: string;
  /**
   * A whole number that grows with each release. Default: the time of signing in seconds since 1970, so that it grows
   * wherever the bundle is built; more than the release of an older signature.json in the folder, and for the same bundle
   * the same as there.
   */
  readonly release?: number | undefined;
  /** For how many days the signature is good, 1 to 36,500. Default 365. */
  readonly days?: number | undefined;
  /** The time of signing, in ms since 1970. Default: now. */
  readonly nowMs?: number | undefined;
}

/** The signature file that was written. */
export interface Signed extends Signature {
  /** Other keys of the folder's older file whose signatures are not in the new one: they signed another claim. */
  readonly dropped: readonly string[];
}

const ALGORITHM = "Ed25519";
const DAY_MS = 86_400_000;
const DAYS = 365;

/** Writes a new private key as a JSON Web Key to a file that is not there yet, and returns the public key as text. */
export async function createKey(path: string): Promise<string> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  try {
    await writeFile(path, `${JSON.stringify(jwk, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new TypeError(`${path} already exists, and a key is never overwritten: give another path`, { cause: error });
  }
  return toBase64(await crypto.subtle.exportKey("raw", pair.publicKey));
}

/**
 * Signs the bundle in a folder: writes `signature.json` beside its `bundle.json`. Signatures of other keys that are there
 * and valid for the same bundle and release are kept.
 */
export async function signBundle(folder: string, options: SignOptions): Promise<Signed> {
  const { bundle, identity } = await readBundle(folder);
  await checkChunks(folder, bundle);
  const before = await readSignature(folder);
  const pair = await readKey(options.key);
  const nowMs = options.nowMs ?? Date.now();
  const isSame = before?.identity === identity;
  const release =
    options.release ?? (isSame ? before.release : Math.max(Math.floor(nowMs / 1_000), (before?.release ?? 0) + 1));
  if (!Number.isSafeInteger(release) || release < 0)
    throw new RangeError(`release: expected a whole number, got ${release}`);
  if (before !== null && release < before.release)
    throw new RangeError(
      `release: ${release} is older than ${before.release}, which pages may have seen already; give a greater number`,
    );
  if (before !== null && release === before.release && !isSame)
    throw new RangeError(`release: ${release} was used for another bundle; give a greater number`);
  const days = options.days ?? DAYS;
  if (!(days >= 1 && days <= 36_500)) throw new RangeError(`days: expected 1 to 36500, got ${days}`);
  // A second key signs the very same claim, so that either is enough. The same key renews its signature, and no key signs
  // a date that is past.
  const isSecond =
    isSame &&
    before.release === release &&
    options.days === undefined &&
    !before.signatures.some((x) => x.key === pair.name) &&
    Date.parse(before.expires) > nowMs;
  const expires = isSecond ? before.expires : new Date(nowMs + days * DAY_MS).toISOString();
  const signature = await sign(
    { identity, model: bundle.model.name, release, expires },
    pair,
    unexpired(before, nowMs),
  );
  await writeWhole(join(folder, "signature.json"), [
    new TextEncoder().encode(`${JSON.stringify(signature, null, 2)}\n`),
  ]);
  const kept = new Set(signature.signatures.map((x) => x.key));
  const dropped = (before?.signatures ?? []).map((x) => x.key).filter((x) => !kept.has(x));
  return { ...signature, dropped };
}

/** Returns a signature file without the signatures whose date is past. */
function unexpired(before: Signature | null, nowMs: number): Signature | undefined {
  if (before === null) return undefined;
  const signatures = before.signatures.filter((x) => Date.parse(x.expires ?? before.expires) > nowMs);
  return { ...before, signatures };
}

/**
 * Verifies that a bundle in a folder has all its chunks and is signed by one of the keys.
 * @throws SelvedgeError `integrity-failed` where it is not, with the reason in its details
 */
export async function verifyBundle(
  folder: string,
  trust: readonly string[],
  nowMs: number = Date.now(),
): Promise<Claim> {
  const { bundle, identity } = await readBundle(folder);
  const signature = await readSignature(folder);
  const { claim } = await verify(signature, { identity, model: bundle.model.name }, trust, nowMs);
  await checkChunks(folder, bundle);
  return claim;
}

async function readBundle(folder: string): Promise<{ bundle: Bundle; identity: string }> {
  const path = join(folder, "bundle.json");
  const text = await readIfThere(path);
  if (text === null) throw new TypeError(`${folder} contains no bundle.json: give the folder that contains it`);
  const json = parseJson(path, text);
  return { bundle: parseBundle(json), identity: await bundleIdentity(json as BundleJson) };
}

async function checkChunks(folder: string, bundle: Bundle): Promise<void> {
  const chunks = new Map(
    filesOf(bundle)
      .flatMap((x) => x.chunks)
      .map((x) => [x.sha256, x]),
  );
  for (const chunk of chunks.values()) await readChunk({ folder, bundle }, chunk);
}

async function readSignature(folder: string): Promise<Signature | null> {
  const path = join(folder, "signature.json");
  const text = await readIfThere(path);
  if (text === null) return null;
  const json = parseJson(path, text);
  if (isSignature(json)) return json;
  throw new SelvedgeError("integrity-failed", `${path} breaks its schema.`, { reason: "malformed" });
}

async function readKey(path: string): Promise<{ publicKey: CryptoKey; privateKey: CryptoKey; name: string }> {
  const text = await readIfThere(path);
  if (text === null) throw new TypeError(`key: ${path} does not exist; "selvedge sign --new-key ${path}" makes one`);
  try {
    const jwk = JSON.parse(text) as JsonWebKey;
    const { kty = "", crv = "", x = "" } = jwk;
    const publicKey = await crypto.subtle.importKey("jwk", { kty, crv, x }, ALGORITHM, true, ["verify"]);
    const privateKey = await crypto.subtle.importKey("jwk", jwk, ALGORITHM, false, ["sign"]);
    return { publicKey, privateKey, name: toBase64(await crypto.subtle.exportKey("raw", publicKey)) };
  } catch (error) {
    throw new TypeError(`key: ${path} is not an Ed25519 private key in the format of a JSON Web Key`, { cause: error });
  }
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new SelvedgeError("integrity-failed", `${path} is not JSON.`, { reason: "malformed" }, error);
  }
}
