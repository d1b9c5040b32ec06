// The error of bytes that a browser has lost. A page loads it only then.
import { SelvedgeError } from "./errors.ts";

/**
 * Converts the error that a browser throws where it has lost a blob's bytes to a SelvedgeError; null for any other.
 * Chromium drops the bytes of new blobs once a page's blobs exceed its quota. Every browser drops those of a file that
 * has changed or is gone; Firefox reports that as an abort.
 */
export function unreadableOf(error: unknown): SelvedgeError | null {
  if (!(error instanceof Error) || !/^(NotReadable|NotFound|Abort)Error$/.test(error.name)) return null;
  const message =
    "The browser can't read the model's bytes any more. Load it again (a file that has changed must be picked again), " +
    "and unload models that are not needed, since there may be no room for more.";
  return new SelvedgeError("download-failed", message, { reason: "unreadable" }, error);
}
