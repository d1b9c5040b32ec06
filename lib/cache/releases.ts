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
import { joinReleases } from "../core/release-record.ts";
import type { Releases, SeenRelease } from "../core/release-record.ts";
import type { VerifiedClaim } from "../core/signature.ts";

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

function nameOf(key: string, model: string): string {
  return `${key} ${model}`;
}

function addressOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
