// Rollback protection: the newest signed release of each model that this device has seen, by signing key, and the model
// that each address served. One JSON document, kept twice: in the store, and in the page's localStorage, so that a store
// which fails, is switched off or was evicted does not open the way for an old release.
//
// Counted by key and model, not by address: `?v=3` is no other model. Counted by key, so that a stolen key which signed
// an enormous number (a fast-forward attack) does no harm once the app no longer trusts it: The Update Framework resets
// its counters on rotation for the same reason. A device that lost both copies knows nothing, as on a first visit.
import { canonicalJson } from "../bundle.ts";
import { SelvedgeError } from "../errors.ts";
import type { VerifiedClaim } from "../signature.ts";

/** A release that was seen. */
export interface SeenRelease {
  readonly release: number;
  /** Identity of the bundle that had this number: another bundle with the same number is refused. */
  readonly identity: string;
}

/** Signed releases that this device has seen. */
export interface Releases {
  /** By signing key and model name, `<key> <model>`. */
  readonly newest: Readonly<Record<string, SeenRelease>>;
  /** Model name by address, without query and fragment. */
  readonly models: Readonly<Record<string, string>>;
}

/** Entries kept of each kind; the oldest are dropped. A page that loads more signed models than this is not known. */
const MAX_ENTRIES = 500;

/** Records nothing. */
export const NO_RELEASES: Releases = { newest: {}, models: {} };

/** Reads a document as `writeReleases` makes it; entries that are damaged or unknown are left out. */
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

/** Writes the document that `readReleases` reads. */
export function writeReleases({ newest, models }: Releases): string {
  const last = <T>(x: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(x).slice(-MAX_ENTRIES));
  return canonicalJson({ newest: last(newest), models: last(models) });
}

/** Joins two copies: the higher release of each key and model, the second's model of each address. */
export function joinReleases(a: Releases, b: Releases): Releases {
  const newest: Record<string, SeenRelease> = { ...a.newest };
  for (const [name, seen] of Object.entries(b.newest)) {
    const known = newest[name];
    if (known === undefined || known.release < seen.release) newest[name] = seen;
  }
  return { newest, models: { ...a.models, ...b.models } };
}

/**
 * Refuses a claim that contradicts what this device has seen.
 * @throws SelvedgeError `integrity-failed`, `details.reason`: `older` (a rollback, or another bundle under a release
 * number that was seen), `other-model` (the address served a model of another name before)
 * @param isNamed - whether the caller named the model, so that a change of name at the address is meant
 */
export function checkRelease(releases: Releases, url: string, { claim, keys }: VerifiedClaim, isNamed: boolean): void {
  const { release, identity, model } = claim;
  const before = releases.models[addressOf(url)];
  if (!isNamed && before !== undefined && before !== model) {
    const message = `${url} is the model "${model}", but served "${before}" before. If that is meant, move it to another address or name it: load(url, { name: "${model}" }).`;
    throw new SelvedgeError("integrity-failed", message, { url, model, before, reason: "other-model" });
  }
  for (const key of keys) {
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

/** Adds a claim that was checked; returns the same object where it adds nothing. */
export function noteRelease(releases: Releases, url: string, { claim, keys }: VerifiedClaim): Releases {
  const seen: SeenRelease = { release: claim.release, identity: claim.identity };
  const added = keys
    .map((key) => nameOf(key, claim.model))
    .filter((name) => (releases.newest[name]?.release ?? -1) < claim.release);
  const address = addressOf(url);
  if (added.length === 0 && releases.models[address] === claim.model) return releases;
  return {
    newest: { ...releases.newest, ...Object.fromEntries(added.map((name) => [name, seen])) },
    models: { ...releases.models, [address]: claim.model },
  };
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
    return {}; // damaged: as if nothing was seen
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
