// An opened model: shared by opening, the choice of a stored version, and the plan of how it runs.
import type { Bundle } from "../core/bundle.ts";

/** An opened bundle, its identity and its trust. */
export interface OpenedBundle {
  /** Validated; synthesised for a bare model. */
  readonly bundle: Bundle;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of the list of a bare model's chunks. */
  readonly identity: string;
  /** Identity under which the store has a bare model that the app describes; absent where it is `identity`. */
  readonly storedAs?: string | undefined;
  /** Assets that the app gave with a bare model, by path. */
  readonly texts?: Readonly<Record<string, string>> | undefined;
  /** The bytes of a bare model; null for a bundle. */
  readonly data: Blob | null;
  /** Whether it is to be fetched again in the background: its server can't be asked whether it changed. */
  readonly mustCheck?: boolean | undefined;
  /** Signed releases that this device has seen, this one included (releases.ts); null without trusted keys. */
  readonly seen: string | null;
  /** Why the stored version is used although the server answered: its answer was refused; null where it was not. */
  readonly refused: string | null;
}
