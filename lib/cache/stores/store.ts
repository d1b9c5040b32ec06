// Where bytes are kept on the device: the contract. open-store.ts says which implementation a browser gets; one suite
// runs over all of them.
//
// An entry never changes: a name means the same bytes for ever, or is gone. What changes (when a bundle was last used,
// what an address points to) is told by new names (model-store.ts). So nothing is ever overwritten, two tabs can't tear each
// other's writes, and there is no index beside the names themselves that a crash could leave behind.
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";

/** Bytes that nobody else holds. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Names where bytes are kept. */
export type StoreKind = "opfs" | "cache" | "indexeddb" | "memory";

/** Name of the folder, database or cache that this release writes to: one for each layout of the entries. */
export const STORE_NAME = "selvedge-2";
/** The one of releases before, which is read (old-store.ts). */
export const OLD_STORE_NAME = "selvedge";

/** Keeps named bytes. Names are of lower-case letters, digits and `-`; nothing here is a path. */
export interface Store {
  /** Names where the bytes are. */
  readonly kind: StoreKind;
  /** Lists what is there whole. */
  names(): Promise<string[]>;
  /**
   * Returns an entry's bytes, or null where it is not there whole. Whether they are the right ones is not checked.
   * Rejects where an entry that is there could not be read: nobody may take that for one that is not there.
   */
  read(name: string): Promise<Bytes | null>;
  /** Gives an entry as a blob of its own, which takes no memory beside the store's; absent where a store has none. */
  blob?(name: string): Promise<Blob | null>;
  /**
   * Writes an entry: it is there whole or not at all, whenever the page dies.
   * @throws SelvedgeError `quota-exceeded`
   */
  write(name: string, bytes: Bytes): Promise<void>;
  /** Removes an entry; one that is not there is no error. */
  remove(name: string): Promise<void>;
  /** Lists the entries that an older release left in its own place; absent where there is none. */
  oldNames?(): Promise<string[]>;
  /** Moves an entry from the place of an older release; its bytes were read before. One that is not there is no error. */
  adopt?(name: string, bytes: Bytes): Promise<void>;
}

/** Makes the error for a write that did not fit; what the browser threw is its cause. */
export function outOfSpace(name: string, bytes: number, cause?: unknown): SelvedgeError {
  const message = `Storage quota exceeded: no room for ${bytes} more bytes.`;
  return new SelvedgeError("quota-exceeded", message, { name, missingBytes: bytes }, cause);
}

/** Tells whether a browser's error means that space ran out. */
export function isQuotaError(error: unknown): boolean {
  return error instanceof Error && /^(QuotaExceededError|NS_ERROR_FILE_NO_DEVICE_SPACE)$/.test(error.name);
}

/** Tells whether an error means that there is no room: the browser's is one of ours by then. */
export function isFull(error: unknown): boolean {
  return isSelvedgeError(error) && error.code === "quota-exceeded";
}
