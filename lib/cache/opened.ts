// What opening a model gives: shared by those who open it, choose a stored version, and plan how it runs.
import type { Bundle } from "../core/bundle.ts";

/** A bundle found, and what it is known by. */
export interface OpenedBundle {
  /** Validated; made up for a bare model. */
  readonly bundle: Bundle;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of the list of a bare model's chunks. */
  readonly identity: string;
  /** The bytes of a bare model; null for a bundle. */
  readonly data: Blob | null;
  /** Signed releases that this device has seen, this one included, as a document of releases.ts; null without trusted keys. */
  readonly seen: string | null;
  /** Why the stored version is used although the server answered: what it sent was refused; null where it was not. */
  readonly refused: string | null;
}
