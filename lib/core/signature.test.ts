import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { isSelvedgeError } from "./errors.ts";
import { checkEngineOptions } from "../engine/check-options.ts";
import { importKeys, isSignature, sign, toBase64, verify } from "./signature.ts";
import type { Signature } from "./signature.ts";

const identity = "ab".repeat(32);
const bundle = { identity, model: "ocr" };
const claim = { identity, model: "ocr", release: 7, expires: "2030-01-01T00:00:00Z" };
const now = Date.parse("2029-01-01T00:00:00Z");

interface Pair {
  publicKey: CryptoKey;
  privateKey: CryptoKey;
  text: string;
}
let ours: Pair;
let theirs: Pair;
let signed: Signature;

async function pair(): Promise<Pair> {
  const keys = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  return { ...keys, text: toBase64(await crypto.subtle.exportKey("raw", keys.publicKey)) };
}

/** The reason for refusing a bundle; null where it was trusted. */
async function refusal(json: unknown, trustedKeys = [ours.text], nowMs = now, of = bundle): Promise<unknown> {
  try {
    await verify(json, of, trustedKeys, nowMs);
    return null;
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    expect(error.code).toBe("integrity-failed");
    return error.details["reason"];
  }
}

beforeAll(async () => {
  ours = await pair();
  theirs = await pair();
  signed = await sign(claim, ours);
});

test("a bundle that a trusted key signed is trusted until it expires", async () => {
  expect((await verify(signed, bundle, [theirs.text, ours.text], now)).claim.release).toBe(7);
  expect(await refusal(signed, undefined, Date.parse(claim.expires) - 1)).toBeNull();
  expect(await refusal(signed, undefined, Date.parse(claim.expires))).toBe("expired");
});

test("a missing or malformed signature file is refused", async () => {
  expect(await refusal(null)).toBe("unsigned");
  expect(await refusal({ ...signed, signatures: [] })).toBe("wrong-key");
  for (const json of [{}, [], "x", 7, { ...signed, schema: "selvedge/signature@2" }, { ...signed, release: 1.5 }])
    expect(await refusal(json)).toBe("malformed");
});

test("an untrusted key is refused, also under the name of a trusted one", async () => {
  const foreign = await sign(claim, theirs);
  expect(await refusal(foreign)).toBe("wrong-key");
  const [first] = foreign.signatures;
  expect(await refusal({ ...foreign, signatures: [{ ...first, key: ours.text }] })).toBe("altered");
});

test("a change of any signed field is refused", async () => {
  const changes: Partial<Signature>[] = [
    { identity: "cd".repeat(32) },
    { model: "other" },
    { release: 8 },
    { expires: "2040-01-01T00:00:00Z" },
  ];
  for (const change of changes) expect(await refusal({ ...signed, ...change })).toBe("altered");
});

test("a good signature of another bundle, or of another model's, is refused", async () => {
  expect(await refusal(signed, undefined, now, { ...bundle, identity: "cd".repeat(32) })).toBe("altered");
  expect(await refusal(signed, undefined, now, { ...bundle, model: "other" })).toBe("altered");
});

test("a flipped bit anywhere in the signature is refused", async () => {
  const [first] = signed.signatures;
  const bytes = Uint8Array.from(Buffer.from(first?.signature ?? "", "base64url"));
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
      const wrong = bytes.slice();
      wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const signatures = [{ key: ours.text, signature: toBase64(wrong.buffer) }];
      expect(await refusal({ ...signed, signatures })).toBe("altered");
    }),
    { numRuns: 60 },
  );
});

test("for a rotation two keys sign the same release, and either is enough", async () => {
  const both = await sign(claim, theirs, signed);
  expect(both.signatures).toHaveLength(2);
  expect(await refusal(both, [ours.text])).toBeNull();
  expect(await refusal(both, [theirs.text])).toBeNull();
  const next = await sign({ ...claim, release: 8 }, theirs, both);
  expect(next.signatures).toHaveLength(1); // a signature of the previous release does not apply to this one
});

test("a malformed key is the caller's mistake", async () => {
  for (const key of ["", "abc", "*".repeat(43), ours.text.slice(2)])
    await expect(importKeys([key])).rejects.toThrow(TypeError);
});

test("an engine refuses an empty list of keys: a missing variable must not turn the protection off (store-B9)", () => {
  expect(() => checkEngineOptions({ trustedKeys: [] })).toThrow(/trustedKeys: expected .* got an empty list/);
  expect(() => checkEngineOptions({ trustedKeys: [ours.text] })).not.toThrow();
});

test("any JSON is checked without a crash", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (json) => {
      expect(isSignature(json)).toBe(false);
      expect(await refusal(json)).not.toBeNull();
    }),
  );
});
