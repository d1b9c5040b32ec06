// The properties of loads with trusted keys, and the record that they rest on. A load uses only what a trusted key
// vouched for when the server was asked, and nothing older than this device has seen, except a version that was stored
// whole before.
import type { LoadCriteria } from "../../cache/messages.ts";
import { mergeReleases } from "../../core/release-record.ts";
import { check } from "./check.ts";
import { signedRelease, trustedKey } from "./publisher.ts";
import type { ModelName, ServerAnswer, Version } from "./publisher.ts";

/** A version, and the release number that was signed for it. */
interface Release {
  readonly identity: string;
  readonly release: number;
}

/** State before a load or an update. */
interface Before {
  readonly name: ModelName;
  /** The server's answer; null where it must be refused. */
  readonly accepted: Release | null;
  /** The newest release that the device must know. */
  readonly newest: Release;
  /** Identity of the version that was stored whole. */
  readonly whole: string | undefined;
}

/** The record of apps with trusted keys on one device. */
export class Trust {
  /** The releases that the page's localStorage must know, at least. */
  readonly page: Map<ModelName, Release> = new Map();
  /** The releases that the store must know, at least. */
  readonly store: Map<ModelName, Release> = new Map();
  /** Identities that the server sent with a good signature to a load or an update. */
  readonly vouched: Set<string> = new Set();
  /** Identities that an app without keys may have stored. */
  readonly others: Set<string> = new Set();
  /** The page's entry in localStorage. */
  memo: string | null = null;
  readonly #key: string;

  private constructor(key: string) {
    this.#key = key;
  }

  static async make(): Promise<Trust> {
    return new Trust(await trustedKey());
  }

  /** Returns the criteria of a load with trusted keys. */
  criteria(): Partial<LoadCriteria> {
    return { trustedKeys: [this.#key], seen: this.memo };
  }

  /** Records the server's answer, null where it is away, to the load or update that follows. */
  begin(name: ModelName, served: ServerAnswer | null, whole: string | undefined): Before {
    const newest = [this.page, this.store].reduce<Release>(
      (last, known) => newer(last, known.get(name) ?? last),
      NOTHING,
    );
    const release = served === null ? null : signedRelease(served);
    const answer = served === null || release === null ? null : { identity: served.version.identity, release };
    const accepted = answer === null || isOlder(answer, newest) ? null : answer;
    if (accepted !== null) this.vouched.add(accepted.identity);
    return { name, accepted, newest, whole };
  }

  /** The user clears localStorage. */
  clearPage(): void {
    this.memo = null;
    this.page.clear();
  }

  /** An older release stored a version whose signature it had verified; it notes the number below which all is older. */
  storedByOld(name: ModelName, identity: string, release: number): void {
    this.vouched.add(identity);
    note(this.store, name, { identity: "", release: release - 1 });
  }

  /**
   * Checks the version that a load used. `seen` is null where it is not the server's answer; `isKept` is whether the page
   * lived until the end.
   */
  loaded({ name, accepted, newest, whole }: Before, version: Version, seen: string | null, isKept: boolean): void {
    const { identity, release } = version;
    check(this.vouched.has(identity), `${name} was used without a good signature`);
    if (seen === null) {
      check(whole === identity || !isOlder({ identity, release }, newest), `${name} was used in an older version`);
      return;
    }
    check(accepted?.identity === identity, `${name} was used as the server sent it, though that is to be refused`);
    this.memo = mergeReleases(this.memo, seen);
    for (const known of isKept ? [this.page, this.store] : [this.page]) note(known, name, accepted);
  }

  /** Checks the version that an update stored. */
  updated({ name, accepted }: Before, identity: string, isKept: boolean): void {
    check(accepted?.identity === identity, `${name} was updated to a version that is to be refused`);
    if (isKept) note(this.store, name, accepted);
  }
}

/** Older than every release. */
const NOTHING: Release = { identity: "", release: -1 };

function note(known: Map<ModelName, Release>, name: ModelName, seen: Release | null): void {
  if (seen !== null) known.set(name, newer(known.get(name) ?? NOTHING, seen));
}

function newer(a: Release, b: Release): Release {
  return b.release > a.release ? b : a;
}

function isOlder({ identity, release }: Release, newest: Release): boolean {
  return release < newest.release || (release === newest.release && identity !== newest.identity);
}
