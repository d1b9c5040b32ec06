// The contract of hosts/: how a host writes the changes whose line depends on it.
import type { Bundler, Change } from "../evidence.ts";

/** A line of configuration, markup or code. */
export interface Line {
  /** File, command or place. */
  readonly where: string;
  readonly line: string;
}

/** A change that sets a header. */
export type HeaderChange = Change & { readonly kind: "header" };

/** Facts that a line depends on beside its change. */
export interface Site {
  /** Where the host's headers are written. */
  readonly where: string;
  readonly bundler: Bundler | null;
  /** The changes of the report, of which some may be of the same line. */
  readonly all: readonly Change[];
}

/** Returns the line that makes a change. */
type Writer<Kind extends Change["kind"]> = (change: Change & { readonly kind: Kind }, site: Site) => Line;

/** Rules of a host. Where it has none of a kind, the line names the change itself. */
export interface HostRules {
  /**
   * Where headers are written. Places and lines are made for several lines in one file: of two keys of an object, a list
   * of rules or a map of headers, the first would be lost, so a line is an entry of the one that is there.
   */
  readonly place: string | ((bundler: Bundler | null) => string);
  /** Whether it sets no headers: a policy stands in the page's markup. */
  readonly hasNoHeaders?: boolean;
  /** Whether the place of a header's line says for which paths it is: a policy's line, which replaces one, does not. */
  readonly hasSections?: boolean;
  /** Sets a header on a path, on a folder with `*` at its end, or on all; never on a path of another origin. */
  readonly header?: Writer<"header">;
  /** Keeps a header off a path. */
  readonly noHeader?: Writer<"no-header">;
  /** Sends files with an ending with a type. */
  readonly type?: Writer<"type">;
  /** Narrows the rule that answers the page for what is missing to paths of pages. `paths`: files that it has answered. */
  readonly fallback?: Writer<"no-fallback">;
  /** Sends a path as it is stored. */
  readonly stored?: Writer<"as-stored">;
  /** Sends parts of a file. */
  readonly ranges?: Writer<"ranges">;
  /** Compresses files of a type. */
  readonly compress?: Writer<"compress">;
}
