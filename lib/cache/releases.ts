// Rollback protection: the newest signed release of each model that this device has seen, by signing key, and the model
// that each address served. One JSON document, kept twice: in the store, and in the page's localStorage, so that a
// store which fails, is switched off or was evicted does not let an old release pass.
//
// Counted by key and model, not by address: `?v=3` is not another model. A claim is compared with the counts of all
// keys that the app trusts, whichever of them signed it: a second key does not let an old release pass. The count of a
// key ends with the app's trust in it, so that a stolen key which signed an enormous number (a fast-forward attack)
// does no harm from then on: The Update Framework resets its counters on rotation for the same reason. A device that
// lost both copies knows nothing, as on a first visit.
import { SelvedgeError } from "../core/errors.ts";
import type { VerifiedClaim } from "../core/signature.ts";

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

/**
 * Converts a record of older package releases, which counted by address alone: no model release below `release` is
 * accepted, whichever trusted key signs it. The record does not name the bundle with that number.
 */
export function releasesOfNote(release: number, model: string, trustedKeys: readonly string[]): Releases {
  const seen: SeenRelease = { release: release - 1, identity: "0".repeat(64) };
  return { newest: Object.fromEntries(trustedKeys.map((key) => [nameOf(key, model), seen])), models: {} };
}

/**
 * Refuses a claim that contradicts what this device has seen.
 * @throws SelvedgeError `integrity-failed`, `details.reason`: `older` (a rollback, or another bundle under a release
 * number that was seen), `other-model` (the address served a model of another name before)
 * @param trustedKeys - every key that the app trusts
 * @param isNamed - whether the caller named the model, so that a change of name at the address is meant
 */
export function checkRelease(
  releases: Releases,
  url: string,
  { claim }: VerifiedClaim,
  { trustedKeys, isNamed }: { readonly trustedKeys: readonly string[]; readonly isNamed: boolean },
): void {
  const { release, identity, model } = claim;
  const before = releases.models[addressOf(url)];
  if (!isNamed && before !== undefined && before !== model) {
    const message = `${url} is the model "${model}", but served "${before}" before. If that is meant, move it to another address or name it: load(url, { name: "${model}" }).`;
    throw new SelvedgeError("integrity-failed", message, { url, model, before, reason: "other-model" });
  }
  for (const key of trustedKeys) {
    const newest = releases.newest[nameOf(key, model)];
    if (newest === undefined || release > newest.release) continue;
    if (release === newest.release && identity === newest.identity) continue;
    const what =
      release === newest.release
        ? `has the release number ${release} of another bundle of "${model}" that this device has seen. Sign each bundle with a higher release.`
        : `is release ${release} of "${model}", older than ${newest.release}, which this device has seen.`;
    const details = { url, release, newest: newest.release, reason: "older" };
    throw new SelvedgeError("integrity-failed", `${url} ${what}`, details);
  }
}

/** Adds a verified claim. */
export function noteRelease(releases: Releases, url: string, { claim, keys }: VerifiedClaim): Releases {
  const seen: SeenRelease = { release: claim.release, identity: claim.identity };
  return joinReleases(releases, {
    newest: Object.fromEntries(keys.map((key) => [nameOf(key, claim.model), seen])),
    models: { [addressOf(url)]: claim.model },
  });
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

function nameOf(key: string, model: string): string {
  return `${key} ${model}`;
}

function addressOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
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
