// Signatures of bundles. `signature.json` beside `bundle.json` holds Ed25519 signatures over the bundle's identity, its
// model's name, a release number that only grows, and an expiry date. The identity is the hash of bundle.json, which
// holds the hash of every chunk: one small signature covers every byte that runs.
//
// An app with trusted keys refuses, before any weights are fetched: a bundle without a signature, one that was altered,
// one signed by another key, one that has expired, and one older than this device has seen (cache/releases.ts). Parts
// of two releases can't be mixed, since all depend on one hash. Keys are rotated by a list: sign with the old and the
// new key, ship apps that trust both, then drop the old one. This covers the attacks that The Update Framework lists,
// without its roles: one key signs all, and the app itself carries the root of trust.
import { canonicalJson } from "./bundle.ts";
import { SelvedgeError } from "./errors.ts";

/** The schema that this version reads and writes. */
export const SIGNATURE_SCHEMA = "selvedge/signature@1";

/** Bound on a signature file in bytes, so that an endless response is cut off. */
export const SIGNATURE_MAX_BYTES: number = 64 * 1024;

/** The signed statement. */
export interface Claim {
  readonly schema: typeof SIGNATURE_SCHEMA;
  /** The bundle's identity, 64 hex digits. */
  readonly identity: string;
  /** The model's name, as in the bundle. */
  readonly model: string;
  /** A whole number that grows with each release of the model: an older one is refused. */
  readonly release: number;
  /** Expiry date in ISO 8601, UTC. */
  readonly expires: string;
}

/** One key's signature. */
export interface KeySignature {
  readonly key: string;
  readonly signature: string;
  /** Expiry date that this key signed, where it differs from the file's; the rest of the claim is the file's. */
  readonly expires?: string | undefined;
}

/** A signature file. */
export interface Signature extends Claim {
  /** One for each key that signed. */
  readonly signatures: readonly KeySignature[];
}

const ALGORITHM = "Ed25519";
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** Bound on the keys of one file. */
const SIGNATURES_MAX = 16;

/** Returns the bytes that a key signs: the claim as canonical JSON, in UTF-8. */
export function signedBytes({ schema, identity, model, release, expires }: Claim): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(canonicalJson({ schema, identity, model, release, expires }));
}

/**
 * Reads public keys as `selvedge sign --new-key` prints them: the 32 bytes of an Ed25519 key in base64url.
 * @throws TypeError for anything else
 */
export function importKeys(keys: readonly string[]): Promise<CryptoKey[]> {
  return Promise.all(
    keys.map(async (key) => {
      const bytes = fromBase64(key);
      if (bytes?.length !== KEY_BYTES)
        throw new TypeError(`trustedKeys: "${key.slice(0, 60)}" is not an Ed25519 public key (32 bytes in base64url)`);
      return crypto.subtle.importKey("raw", bytes, ALGORITHM, true, ["verify"]);
    }),
  );
}

/** A claim that at least one trusted key signed. */
export interface VerifiedClaim {
  readonly claim: Claim;
  /** The trusted keys whose signatures over it are valid now, the one with the latest expiry first. */
  readonly keys: readonly string[];
}

/**
 * Verifies that one of the trusted keys signed a bundle and that the claim has not expired; one valid signature
 * suffices.
 * @param json - parsed signature.json, or null where there is none
 * @throws SelvedgeError `integrity-failed`, with `details.reason`: unsigned, malformed, altered, wrong-key, expired
 */
export async function verify(
  json: unknown,
  bundle: { readonly identity: string; readonly model: string },
  trustedKeys: readonly string[],
  nowMs: number,
): Promise<VerifiedClaim> {
  if (json === null) throw refused("unsigned", `${bundle.model} has no signature.json beside it`);
  if (!isSignature(json)) throw refused("malformed", `${bundle.model}'s signature.json does not match its schema`);
  const imported = await importKeys(trustedKeys);
  let isKnown = false;
  const valid: { readonly key: string; readonly expires: string }[] = [];
  for (const each of json.signatures) {
    const known = imported[trustedKeys.indexOf(each.key)];
    if (known === undefined) continue;
    isKnown = true;
    if (await isValid(json, each, known)) valid.push({ key: each.key, expires: each.expires ?? json.expires });
  }
  if (!isKnown) throw refused("wrong-key", "none of the trusted keys signed it");
  const [last] = valid.sort((a, b) => Date.parse(b.expires) - Date.parse(a.expires));
  if (last === undefined) throw refused("altered", "no trusted key's signature verifies");
  // No field of a claim is used before a trusted key's signature over it was verified, not even its date.
  if (json.identity !== bundle.identity || json.model !== bundle.model)
    throw refused("altered", `the signature is for ${json.model} ${json.identity}, not for ${bundle.identity}`);
  const good = valid.filter((x) => nowMs < Date.parse(x.expires));
  if (good.length === 0) throw refused("expired", `the signature expired on ${last.expires}`);
  return { claim: { ...claimOf(json), expires: last.expires }, keys: good.map((x) => x.key) };
}

/**
 * Signs a bundle with an Ed25519 private key.
 * @param signed - an older file: other keys' signatures over the same identity, model and release are kept, each with
 * the expiry that it signed, so that rotation signs with two keys
 */
export async function sign(
  claim: Omit<Claim, "schema">,
  pair: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey },
  signed?: Signature,
): Promise<Signature> {
  const full: Claim = { schema: SIGNATURE_SCHEMA, ...claim };
  const key = toBase64(await crypto.subtle.exportKey("raw", pair.publicKey));
  const signature = toBase64(await crypto.subtle.sign(ALGORITHM, pair.privateKey, signedBytes(full)));
  const others: KeySignature[] = [];
  for (const other of signed?.signatures ?? []) {
    const expires = other.expires ?? signed?.expires ?? full.expires;
    const kept = { key: other.key, signature: other.signature, ...(expires !== full.expires && { expires }) };
    const [known] = other.key === key ? [] : await importKeys([other.key]).catch(() => []);
    if (known !== undefined && (await isValid(full, kept, known))) others.push(kept);
  }
  return { ...full, signatures: [...others.slice(1 - SIGNATURES_MAX), { key, signature }] };
}

/** Verifies one key's signature over a claim, with the expiry that this key signed. */
async function isValid(claim: Claim, { signature, expires }: KeySignature, key: CryptoKey): Promise<boolean> {
  const bytes = fromBase64(signature);
  if (bytes === null) return false;
  return crypto.subtle.verify(ALGORITHM, key, bytes, signedBytes({ ...claim, expires: expires ?? claim.expires }));
}

/** Whether a value is a signature file. */
export function isSignature(json: unknown): json is Signature {
  if (typeof json !== "object" || json === null) return false;
  const { schema, identity, model, release, expires, signatures } = json as Record<string, unknown>;
  return (
    schema === SIGNATURE_SCHEMA &&
    typeof identity === "string" &&
    /^[0-9a-f]{64}$/.test(identity) &&
    typeof model === "string" &&
    Number.isSafeInteger(release) &&
    (release as number) >= 0 &&
    isDate(expires) &&
    Array.isArray(signatures) &&
    signatures.length <= SIGNATURES_MAX &&
    signatures.every(isSigned)
  );
}

/** Writes bytes in base64url, without padding. */
export function toBase64(bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function isSigned(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { key, signature, expires } = value as Record<string, unknown>;
  return (
    typeof key === "string" &&
    typeof signature === "string" &&
    fromBase64(signature)?.length === SIGNATURE_BYTES &&
    (expires === undefined || isDate(expires))
  );
}

function isDate(value: unknown): boolean {
  return (
    typeof value === "string" &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/.test(value) &&
    !Number.isNaN(Date.parse(value))
  );
}

function claimOf({ schema, identity, model, release, expires }: Claim): Claim {
  return { schema, identity, model, release, expires };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null;
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (x) => x.charCodeAt(0));
  } catch {
    return null; // no bytes have this length
  }
}

function refused(reason: string, why: string): SelvedgeError {
  return new SelvedgeError("integrity-failed", `The bundle is not trusted: ${why}.`, { reason });
}
