// What an address leads to, and which file of a server that is: the records of a store in JSON.
import type { Store } from "./stores/store.ts";

/** What an address led to. */
export interface Source {
  readonly url: string;
  readonly identity: string;
  /** How the server tells this file from the next; null for a bundle, whose identity does. */
  readonly validator: Validator | null;
  /** The signatures that vouch for a bundle; null where no key was asked for. */
  readonly signature: unknown;
}

/** What a server says of a file, by which a changed one is told. */
export interface Validator {
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** Its size as the server tells it; null where it is compressed on the wire, or not told. */
  readonly bytes: number | null;
}

/** Tells a stored validator from anything else. */
export function isValidator(value: unknown): value is Validator {
  const isText = (x: unknown): boolean => x === null || typeof x === "string";
  return (
    isRecord(value) &&
    (value["bytes"] === null || typeof value["bytes"] === "number") &&
    isText(value["etag"]) &&
    isText(value["lastModified"])
  );
}

/** Tells a stored source from anything else. */
export function isSource(value: unknown): value is Source {
  if (!isRecord(value) || typeof value["url"] !== "string" || !/^[0-9a-f]{64}$/.test(String(value["identity"])))
    return false;
  return value["validator"] === null || isValidator(value["validator"]);
}

/** Reads an entry as JSON; null where it is not there or damaged. */
export async function readJson(store: Store, name: string): Promise<unknown> {
  const bytes = await store.read(name);
  if (bytes === null) return null;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
