// The store contract: named bytes on the device. open-store.ts chooses the implementation; one suite runs over all.
//
// An entry never changes: a name has the same bytes for ever, or is gone. Changing records (the last use of a bundle,
// the target of an address) get new names (model-store.ts). So nothing is ever overwritten, two tabs can't corrupt each
// other's writes, and there is no index beside the names themselves that a crash could leave inconsistent.
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";

/** Bytes in an unshared buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Kind of a store. */
export type StoreKind = "opfs" | "cache" | "indexeddb" | "memory";

/** Name of the folder, database or cache that this release writes to: one for each layout of the entries. */
export const STORE_NAME = "selvedge-2";
/** Name of the older releases' one, which is read (old-store.ts). */
export const OLD_STORE_NAME = "selvedge";

/** Stores named bytes. Names are of lower-case letters, digits and `-`; nothing here is a path. */
export interface Store {
  /** Kind of this store. */
  readonly kind: StoreKind;
  /** Lists the names of whole entries. */
  names(): Promise<string[]>;
  /**
   * Returns an entry's bytes, or null where it is not there whole. Their hash is not checked. Rejects where an existing
   * entry could not be read: that must not count as absent.
   */
  read(name: string): Promise<Bytes | null>;
  /** Returns an entry as a blob of its own, which takes no memory beside the store's; absent where a store has none. */
  blob?(name: string): Promise<Blob | null>;
  /**
   * Writes an entry, whole or not at all, whenever the page dies.
   * @throws SelvedgeError `quota-exceeded`
   */
  write(name: string, bytes: Bytes): Promise<void>;
  /** Removes an entry; a missing one is not an error. */
  remove(name: string): Promise<void>;
  /** Lists the entries that an older release left in its own place; absent where there is none. */
  oldNames?(): Promise<string[]>;
  /** Moves an entry from the place of an older release; its bytes were read before. A missing one is not an error. */
  adopt?(name: string, bytes: Bytes): Promise<void>;
}

/** Returns the error for a write that did not fit; the browser's error is its cause. */
export function outOfSpace(name: string, bytes: number, cause?: unknown): SelvedgeError {
  const message = `Storage quota exceeded: no room for ${bytes} more bytes.`;
  return new SelvedgeError("quota-exceeded", message, { name, missingBytes: bytes }, cause);
}

/** Whether a browser's error means that space ran out. */
export function isQuotaError(error: unknown): boolean {
  return error instanceof Error && /^(QuotaExceededError|NS_ERROR_FILE_NO_DEVICE_SPACE)$/.test(error.name);
}

/** Whether an error means that there is no room, after its conversion to a SelvedgeError. */
export function isFull(error: unknown): boolean {
  return isSelvedgeError(error) && error.code === "quota-exceeded";
}
