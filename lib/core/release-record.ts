// The record of signed releases that a device has seen, as one JSON document: parsed, written and merged. The page keeps
// one copy, the store another; cache/releases.ts has the rules.
/** A release that was seen. */
export interface SeenRelease {
  readonly release: number;
  /** Identity of the bundle that had this number: another bundle with the same number is refused. */
  readonly identity: string;
}

/** Signed releases that this device has seen; in both records the most recently used entries are last. */
export interface Releases {
  /** By signing key and model name, `<key> <model>`. */
  readonly newest: Readonly<Record<string, SeenRelease>>;
  /** Model name by address, without query and fragment. */
  readonly models: Readonly<Record<string, string>>;
}

/** Entries kept of each kind; those used least recently are dropped. No known page loads more signed models than this. */
const MAX_ENTRIES = 500;

/** The empty record. */
export const NO_RELEASES: Releases = { newest: {}, models: {} };

/** Parses a document of `writeReleases`; damaged and unknown entries are left out. */
export function readReleases(text: string | null): Releases {
  const json = parse(text);
  const newest = Object.entries(isRecord(json["newest"]) ? json["newest"] : {}).filter(
    (entry): entry is [string, SeenRelease] => isSeen(entry[1]),
  );
  const models = Object.entries(isRecord(json["models"]) ? json["models"] : {}).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { newest: Object.fromEntries(newest), models: Object.fromEntries(models) };
}

/** Serialises for `readReleases`. */
export function writeReleases({ newest, models }: Releases): string {
  const last = <T>(x: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(x).slice(-MAX_ENTRIES));
  return JSON.stringify({ newest: last(newest), models: last(models) }); // not canonical JSON: the order counts
}

/**
 * Merges two copies: the higher release of each key and model, the second's model of each address, the second's last.
 */
export function joinReleases(a: Releases, b: Releases): Releases {
  return {
    newest: join(a.newest, b.newest, (known, seen) => (known.release < seen.release ? seen : known)),
    models: join(a.models, b.models, (_, model) => model),
  };
}

/** Merges two documents of `writeReleases` into one. */
export function mergeReleases(a: string | null, b: string): string {
  return writeReleases(joinReleases(readReleases(a), readReleases(b)));
}

/** Merges two records; entries of the second are last. */
function join<T>(
  a: Readonly<Record<string, T>>,
  b: Readonly<Record<string, T>>,
  choose: (a: T, b: T) => T,
): Record<string, T> {
  const joined = new Map(Object.entries(a));
  for (const [name, value] of Object.entries(b)) {
    const known = joined.get(name);
    joined.delete(name);
    joined.set(name, known === undefined ? value : choose(known, value));
  }
  return Object.fromEntries(joined);
}

function parse(text: string | null): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text ?? "{}");
    return isRecord(json) ? json : {};
  } catch {
    return {}; // damaged: counts as empty
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSeen(value: unknown): value is SeenRelease {
  return (
    isRecord(value) &&
    Number.isSafeInteger(value["release"]) &&
    typeof value["identity"] === "string" &&
    /^[0-9a-f]{64}$/.test(value["identity"])
  );
}
