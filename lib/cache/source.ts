// Sources and validators: the store's JSON records of what an address led to, and of which file a server has.
import type { Store } from "./stores/store.ts";

/** Record of an address's bundle or model. */
export interface SourceRecord {
  readonly url: string;
  readonly identity: string;
  /** The server's validators of a file; null for a bundle, which its identity distinguishes. */
  readonly validator: Validator | null;
  /** The signatures of a bundle; null where no key was required. */
  readonly signature: unknown;
}

/** A server's validators of a file, which detect a change. */
export interface Validator {
  readonly etag: string | null;
  readonly lastModified: string | null;
  /** Its size as sent by the server; null where it is compressed on the wire, or unknown. */
  readonly bytes: number | null;
  /** Time in ms since 1970 until which HTTP caches may use it without asking; of a file without other validators. */
  readonly freshUntilMs?: number | undefined;
}

/** Whether a value is a stored validator. */
export function isValidator(value: unknown): value is Validator {
  const isText = (x: unknown): boolean => x === null || typeof x === "string";
  return (
    isRecord(value) &&
    (value["bytes"] === null || typeof value["bytes"] === "number") &&
    isText(value["etag"]) &&
    isText(value["lastModified"])
  );
}

/** Whether a value is a stored source. */
export function isSource(value: unknown): value is SourceRecord {
  if (!isRecord(value) || typeof value["url"] !== "string" || !/^[0-9a-f]{64}$/.test(String(value["identity"])))
    return false;
  return value["validator"] === null || isValidator(value["validator"]);
}

/** Reads an entry as JSON; null where it is not stored, or damaged. */
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
