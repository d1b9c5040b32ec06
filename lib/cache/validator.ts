// Which file an answer is of, by what the server says of it: ETag, Last-Modified and size (RFC 9110, 8.8).
import type { Validator } from "./source.ts";

/** Reads what an answer says of its file; a 206 tells the whole's size beside the range. */
export function validatorOf(headers: Headers, isRange = false): Validator {
  const size = isRange
    ? (/\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? null)
    : headers.get("content-length");
  return {
    etag: headers.get("etag"),
    lastModified: headers.get("last-modified"),
    // With a content encoding the length counts compressed bytes, which say nothing of the file.
    bytes: headers.get("content-encoding") !== null || size === null ? null : Number(size),
  };
}

/** Tells whether a file can be told from the next by this. */
export function canTell({ etag, lastModified }: Validator): boolean {
  return strong(etag) !== null || lastModified !== null;
}

/** Tells whether two answers are of the same file. */
export function isSame(a: Validator, b: Validator | null): boolean {
  if (b === null || !canTell(a) || a.bytes !== b.bytes) return false;
  return a.etag === b.etag && a.lastModified === b.lastModified;
}

/** Gives an ETag that promises the same bytes; a weak one promises the same meaning only. */
export function strong(etag: string | null): string | null {
  return etag === null || etag.startsWith("W/") ? null : etag;
}

/** Tells whether a 206 is exactly the part that was asked for, of the same file. */
export function continues(headers: Headers, from: number, end: number, validator: Validator): boolean {
  const [, start, last] = /^bytes (\d+)-(\d+)\/\d+$/.exec(headers.get("content-range") ?? "") ?? [];
  return Number(start) === from && Number(last) === end && isSame(validatorOf(headers, true), validator);
}
