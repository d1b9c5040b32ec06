// Validators of an answer, which identify its file: ETag, Last-Modified and size (RFC 9110, 8.8).
import type { Validator } from "./source.ts";

/** Reads the validators of an answer; a 206 has the whole's size in its content-range. */
export function validatorOf(headers: Headers, isRange = false): Validator {
  const size = isRange
    ? (/\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? null)
    : headers.get("content-length");
  return {
    etag: headers.get("etag"),
    lastModified: headers.get("last-modified"),
    // With a content encoding the length counts compressed bytes, not the file's.
    bytes: headers.get("content-encoding") !== null || size === null ? null : Number(size),
  };
}

/**
 * Returns the time until which an answer is fresh, in ms since 1970: by Cache-Control's max-age less Age, else by Expires
 * (RFC 9111, 4.2.1). The time itself where it states neither.
 */
export function freshUntilOf(headers: Headers, nowMs: number): number {
  const control = headers.get("cache-control") ?? "";
  if (/\bno-(?:cache|store)\b/i.test(control)) return nowMs;
  const seconds = /\bmax-age=(\d+)/i.exec(control)?.[1];
  if (seconds !== undefined) return nowMs + 1_000 * Math.max(0, Number(seconds) - Number(headers.get("age") ?? 0));
  const expires = Date.parse(headers.get("expires") ?? "");
  return Number.isNaN(expires) ? nowMs : Math.max(nowMs, expires);
}

/** Whether a validator distinguishes versions of a file. */
export function canTell({ etag, lastModified }: Validator): boolean {
  return strong(etag) !== null || lastModified !== null;
}

/** Whether two answers are of the same file. */
export function isSame(a: Validator, b: Validator | null): boolean {
  if (b === null || !canTell(a) || a.bytes !== b.bytes) return false;
  return a.etag === b.etag && a.lastModified === b.lastModified;
}

/** Returns an ETag if it is strong; a weak one does not promise the same bytes. */
export function strong(etag: string | null): string | null {
  return etag === null || etag.startsWith("W/") ? null : etag;
}

/** Whether a 206 is exactly the requested range of the same file; `own` are the validators of the answer. */
export function continues(
  headers: Headers,
  from: number,
  end: number,
  validator: Validator,
  own: Validator = validatorOf(headers, true),
): boolean {
  const [, start, last] = /^bytes (\d+)-(\d+)\/\d+$/.exec(headers.get("content-range") ?? "") ?? [];
  return Number(start) === from && Number(last) === end && isSame(own, validator);
}
