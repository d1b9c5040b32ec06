// Opens what a model is loaded from: a bundle by its `bundle.json`, or a bare `.onnx`, which becomes a bundle of one
// variant that needs nothing. What was found is remembered, so that the next page finds it without a network.
//
// Which of two versions is used is the caller's policy: the server's, the stored one where the server is away (`first`);
// the stored one at once, the server's for the next time (`later`); the stored one for as long as there is one, until
// `engine.update` says otherwise (`never`); or none but the one with a given identity.
import { BUNDLE_MAX_BYTES, bundleIdentity } from "../bundle.ts";
import type { Bundle, BundleJson } from "../bundle.ts";
import { parseBundle } from "../bundle-schema.ts";
import { isSelvedgeError, SelvedgeError } from "../errors.ts";
import { SIGNATURE_MAX_BYTES, verify } from "../signature.ts";
import type { VerifiedClaim } from "../signature.ts";
import { bareBytes, fetchBare } from "./bare.ts";
import type { Downloader, DownloadOptions } from "./download.ts";
import { ATTEMPTS } from "./http.ts";
import { isBare } from "./manifest.ts";
import type { Wish } from "./protocol.ts";
import { checkRelease, joinReleases, NO_RELEASES, noteRelease, readReleases, writeReleases } from "./releases.ts";
import type { Shelf } from "./shelf.ts";

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

/** What of a wish says which version is wanted, and who must vouch for it. */
export type Policy = Pick<Wish, "trust" | "update" | "identity" | "name" | "seen">;

/** How long a bundle that is stored waits for the server's `bundle.json`, before it is used as it is. */
const ASK_MS = 5_000;
/** So long after a stored bundle was opened it is noted when that was. */
const NOTE_MS = 1_000;

/** Opens an absolute address, or bytes. */
export async function open(
  from: string | Blob,
  policy: Policy,
  downloader: Downloader,
  options: DownloadOptions,
): Promise<OpenedBundle> {
  // Bytes are the app's own; whether they are good is for it to say.
  if (typeof from !== "string") {
    const { identity, data } = await bareBytes(from);
    return asked(madeUp("name" in from ? String(from.name) : "", data), identity, data);
  }
  const { pathname } = addressOf(from);
  if (pathname.endsWith(".json")) {
    return openBundle(from, policy, downloader, options.signal);
  }
  if (policy.trust.length > 0)
    throw new SelvedgeError(
      "integrity-failed",
      `${from} is a bare model, which no key can vouch for: pack and sign it.`,
      {
        reason: "unsigned",
      },
    );
  const { identity, data } = await fetchBare(from, downloader, options);
  if (policy.identity !== undefined && identity !== policy.identity)
    throw otherVersion(from, identity, policy.identity);
  return asked(madeUp(pathname.split("/").pop() ?? "", data), identity, data);
}

/** Asks the server for the newest version of a bundle, whatever is stored, and remembers it. */
export function openNewest(
  url: string,
  policy: Policy,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<OpenedBundle> {
  return fromServer(url, policy, downloader, signal, true, Promise.resolve(null));
}

/** Gives what an address leads to, without remembering it: the server's version, or the stored one where it is away. */
export async function lookUp(
  url: string,
  policy: Policy,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<OpenedBundle> {
  addressOf(url);
  return openBundle(url, policy, downloader, signal, false);
}

async function openBundle(
  url: string,
  policy: Policy,
  downloader: Downloader,
  signal: AbortSignal,
  remembers = true,
): Promise<OpenedBundle> {
  const reading = fromShelf(url, policy, downloader);
  const late = new AbortController();
  const both = AbortSignal.any([signal, late.signal]);
  const ask = (): Promise<OpenedBundle> => fromServer(url, policy, downloader, both, remembers, reading);
  // Asked while the shelf is read, where that is sure to be asked.
  const asking = policy.update === "first" && policy.identity === undefined ? ask() : null;
  asking?.catch(() => undefined); // told below
  const stored = await reading;
  const use = (found: OpenedBundle): OpenedBundle => {
    if (remembers) later(downloader, (shelf) => shelf.touch(found.identity));
    return found;
  };
  if (stored !== null && (policy.update !== "first" || stored.identity === policy.identity)) return use(stored);
  if (stored === null) return asking ?? ask();
  const cancel = downloader.effects.setTimer(() => {
    late.abort();
  }, ASK_MS);
  try {
    return await (asking ?? ask());
  } catch (error) {
    signal.throwIfAborted();
    if (late.signal.aborted || isAway(error)) return use(stored);
    // As a client of The Update Framework does: metadata that is refused leaves what is stored, whole and trusted as it is.
    if (isRefused(error)) return { ...use(stored), refused: error.message };
    throw error;
  } finally {
    cancel();
  }
}

/** Asks once where a stored version stands behind it, which `reading` gives. */
async function fromServer(
  url: string,
  policy: Policy,
  downloader: Downloader,
  signal: AbortSignal,
  remembers: boolean,
  reading: Promise<OpenedBundle | null>,
): Promise<OpenedBundle> {
  const { trust, identity: wanted } = policy;
  const attempts = async (): Promise<number> => ((await reading) === null ? ATTEMPTS.network : 1);
  const [json, signature] = await Promise.all([
    downloader.json(url, BUNDLE_MAX_BYTES, signal, attempts),
    trust.length === 0 ? null : fetchSignature(url, downloader, signal, attempts),
  ]);
  const bundle = parseBundle(json);
  const identity = await bundleIdentity(json as BundleJson);
  checkName(url, bundle, policy);
  const claim = await checkTrust(bundle, identity, signature, trust, downloader);
  if (wanted !== undefined && identity !== wanted) throw otherVersion(url, identity, wanted);
  const seen = claim === null ? null : await checkSeen(url, claim, policy, downloader, remembers);
  if (remembers) {
    const remember = (shelf: Shelf): Promise<void> =>
      shelf.remember(json as BundleJson, { url, identity, validator: null, signature });
    // A manifest stands there before its chunks; one that is there already only gets a new time.
    if ((await reading)?.identity === identity) later(downloader, remember);
    else if (downloader.shelf !== null) await remember(downloader.shelf).catch(() => undefined);
  }
  return { ...asked(bundle, identity, null), seen };
}

/** Gives the bundle that an address led to last; null where there is none that is whole, wanted and trusted. */
async function fromShelf(url: string, policy: Policy, downloader: Downloader): Promise<OpenedBundle | null> {
  const { trust, identity: wanted } = policy;
  const { shelf } = downloader;
  if (shelf === null) return null;
  try {
    const source = await shelf.source(url);
    const identity = wanted ?? source?.identity;
    const bundle = identity === undefined ? null : await shelf.bundle(identity);
    if (identity === undefined || bundle === null || isBare(bundle)) return null;
    const signature = source?.identity === identity ? source.signature : null;
    checkName(url, bundle, policy);
    await checkTrust(bundle, identity, signature, trust, downloader);
    return asked(bundle, identity, null);
  } catch {
    return null; // a store that fails is a store that is not there
  }
}

/** Notes something when the load that it is about no longer reads from the shelf; what can't be noted is not. */
function later({ shelf, effects }: Downloader, note: (shelf: Shelf) => Promise<void>): void {
  if (shelf === null) return;
  effects.setTimer(() => {
    note(shelf).catch(() => undefined);
  }, NOTE_MS);
}

async function fetchSignature(
  url: string,
  downloader: Downloader,
  signal: AbortSignal,
  attempts: () => Promise<number>,
): Promise<unknown> {
  try {
    return await downloader.json(new URL("signature.json", url).href, SIGNATURE_MAX_BYTES, signal, attempts);
  } catch (error) {
    const status = isSelvedgeError(error) ? error.details["status"] : undefined;
    if (status === 404 || status === 410) return null;
    // A start page in place of it is no signature either.
    if (isSelvedgeError(error) && error.code === "bundle-invalid") return null;
    throw error;
  }
}

async function checkTrust(
  bundle: Bundle,
  identity: string,
  signature: unknown,
  trust: readonly string[],
  { effects }: Downloader,
): Promise<VerifiedClaim | null> {
  if (trust.length === 0) return null;
  return verify(signature, { identity, model: bundle.model.name }, trust, effects.wallClock());
}

function checkName(url: string, { model }: Bundle, { name }: Policy): void {
  if (name === undefined || model.name === name) return;
  const message = `${url} is the model "${model.name}", not "${name}".`;
  throw new SelvedgeError("integrity-failed", message, { url, model: model.name, wanted: name, reason: "other-model" });
}

/**
 * Refuses a release that contradicts what this device has seen, by the store's notes or the page's; else notes it. A pinned
 * identity is taken whatever its release: the app itself vouches for it.
 */
async function checkSeen(
  url: string,
  claim: VerifiedClaim,
  { identity, name, seen }: Policy,
  { shelf }: Downloader,
  remembers: boolean,
): Promise<string> {
  const stored = (await shelf?.releases().catch(() => null)) ?? NO_RELEASES;
  const known = joinReleases(stored, readReleases(seen));
  if (identity === undefined) checkRelease(known, url, claim, name !== undefined);
  const noted = identity === undefined ? noteRelease(known, url, claim) : known;
  if (remembers) await shelf?.noteReleases(noted).catch(() => undefined);
  return writeReleases(noted);
}

/** Tells whether the server answered with what must be refused: no bundle, or one that is not vouched for. */
function isRefused(error: unknown): error is SelvedgeError {
  return isSelvedgeError(error) && (error.code === "integrity-failed" || error.code === "bundle-invalid");
}

/** Tells a network or a server that is away from one that says what is wrong. */
function isAway(error: unknown): boolean {
  if (!isSelvedgeError(error) || error.code !== "download-failed") return false;
  const { status } = error.details;
  return typeof status !== "number" || status >= 500 || status === 429;
}

function addressOf(url: string): URL {
  const address = new URL(url);
  if (!/^(https?|blob|data):$/.test(address.protocol))
    throw new TypeError(`source: can't load from ${address.protocol} URLs`);
  return address;
}

function otherVersion(url: string, identity: string, wanted: string): SelvedgeError {
  const message = `${url} is ${identity}, not the version that is asked for (${wanted}), and that one is not stored.`;
  return new SelvedgeError("integrity-failed", message, { url, identity, wanted, reason: "other-version" });
}

function asked(bundle: Bundle, identity: string, data: Blob | null): OpenedBundle {
  return { bundle, identity, data, seen: null, refused: null };
}

function madeUp(name: string, data: Blob): Bundle {
  return {
    format: 2,
    model: { name: name || "model", version: "0", licence: "unknown", inputs: [], outputs: [] },
    variants: [{ id: "model", needs: [], files: [{ path: "model.onnx", bytes: data.size, chunks: [] }] }],
  };
}
