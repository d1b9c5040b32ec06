// Completes `crypto` on pages that are neither https nor localhost, as a development server that a
// phone opens by the machine's address: SHA-256, in JavaScript, and random ids. Signatures need a secure context.
import { sha256 } from "@noble/hashes/sha2.js";
import { SelvedgeError } from "../core/errors.ts";

/** Adds what is missing to a worker's `crypto`; a secure context's stays as it is. */
export function completeCrypto(crypto: Crypto): void {
  const { subtle } = crypto as Partial<Crypto>;
  if (subtle !== undefined) return;
  const digest = (_: string, bytes: Uint8Array | ArrayBuffer): Promise<ArrayBuffer> =>
    Promise.resolve(sha256(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes)).buffer);
  const importKey = (): Promise<never> => {
    const message = "`trustedKeys` needs WebCrypto, which this page has not: open it over https, or on localhost.";
    return Promise.reject(new SelvedgeError("setup-failed", message, { reason: "insecure-context" }));
  };
  Object.defineProperty(crypto, "subtle", { value: { digest, importKey } });
  Object.defineProperty(crypto, "randomUUID", { value: () => randomId(crypto) });
}

/** Returns a UUID of version 4 (RFC 9562). */
function randomId(crypto: Crypto): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
