// Opens a model's source: a bundle by its `bundle.json`, a repository in the Hugging Face layout (repository.ts), or a
// bare `.onnx`, which becomes a bundle of one variant without needs. The result is remembered, so that the next page finds it without a network.
//
// The caller's policy selects the version: the server's, or the stored one where the server is away (`first`); the
// stored one at once, the server's for the next load (`later`); the stored one until `engine.update` replaces it
// (`never`); or only the one with a given identity. `later` and `never` skip the server only where the stored version
// is whole, since the chunks that it lacks may be gone from the server. A stored version is used until a newer one is
// stored whole (versions.ts), and stays in use where the server refuses `bundle.json`, has no graph in its folder, or
// serves a version that can't run here.
import { BUNDLE_MAX_BYTES } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { isSignature, SIGNATURE_MAX_BYTES, verify } from "../core/signature.ts";
import type { Signature, VerifiedClaim } from "../core/signature.ts";
import type { BareModel } from "./bare-download.ts";
import { bareBytes, fetchBare } from "./bare-model.ts";
import { unvalidatedIn } from "./unvalidated-files.ts";
import { withExternal } from "./external-data.ts";
import { describeBare } from "./describe-bare.ts";
import type { Downloader, DownloadOptions } from "./download.ts";
import { fetchLabels } from "./fetch-labels.ts";
import { ATTEMPTS, isAway } from "./http.ts";
import type { NetOptions } from "./http.ts";
import { fetchJson } from "./json.ts";
import { identityOf, isBare, parseManifest } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { fileNameOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";
import { plan } from "./plan.ts";
import { isRepository, openRepository, parseAddress } from "./repository.ts";
import { knownOf } from "./repository-net.ts";
import type { RepositoryNet } from "./repository-net.ts";
import type { Plan, LoadCriteria } from "./messages.ts";
import { joinReleases, NO_RELEASES, readReleases, writeReleases } from "../core/release-record.ts";
import type { Releases } from "../core/release-record.ts";
import { checkRelease, noteRelease, releasesOfNote } from "./releases.ts";
import type { ModelStore } from "./model-store.ts";
import { currentOf, isWhole } from "./versions.ts";

export type { OpenedBundle } from "./opened.ts";

/** Bound on the wait for the server's `bundle.json` before a stored bundle is used without it. */
const ASK_MS = 5_000;

/** Opens an absolute address, or bytes. */
export async function open(
  from: string | Blob,
  policy: LoadCriteria,
  downloader: Downloader,
  options: DownloadOptions,
): Promise<OpenedBundle> {
  // Bytes are the app's own, which is responsible for them.
  if (typeof from !== "string") {
    const name = "name" in from ? String(from.name) : "";
    const opened = await described(name, bareBytes(from), policy, downloader, options.signal);
    return withExternal(null, opened, () => Promise.resolve(opened));
  }
  const { pathname } = addressOf(from, downloader.effects.ownProtocol);
  if (pathname.endsWith(".json")) return openBundle(from, policy, downloader, options.signal);
  const isFolder = isRepository(from);
  if (policy.trustedKeys.length > 0) {
    const what = isFolder ? "a repository" : "a bare model";
    const message = `${from} is ${what}, which has no signature: pack and sign it.`;
    throw new SelvedgeError("integrity-failed", message, { reason: "unsigned" });
  }
  if (isFolder) return openBundle(from, policy, downloader, options.signal);
  const admit = (bytes: number): void => {
    planBare(from, bytes, policy);
  };
  const model = fetchBare(from, downloader, { ...options, admit });
  const bare = await described(fileNameOf(from), model, policy, downloader, options.signal);
  const opened = await withExternal(from, bare, (url) =>
    openBundle(url, { ...policy, identity: undefined }, downloader, options.signal),
  );
  if (policy.identity !== undefined && opened.identity !== policy.identity)
    throw otherVersion(from, opened.identity, policy.identity);
  return opened;
}

/** Returns the description of a bare model by its address and size alone. */
export function bareOf(url: string, bytes: number): OpenedBundle {
  return asked(madeUp(fileNameOf(url), bytes), "", null);
}

/**
 * Plans a bare model by its address and size alone.
 * @throws SelvedgeError as `plan` does
 */
function planBare(url: string, bytes: number, criteria: LoadCriteria): Plan {
  return plan(bareOf(url, bytes), criteria);
}

/** Opens a bare model, with the app's own description where there is one; its labels are fetched beside the model. */
async function described(
  name: string,
  model: Promise<BareModel>,
  { described: own }: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<OpenedBundle> {
  const from = own?.labels?.from;
  const list = typeof from === "string" ? fetchLabels(from, downloader, signal) : Promise.resolve(from ?? null);
  const [{ identity, data, mustCheck }, labels] = await Promise.all([model, list]);
  const opened = { ...asked(madeUp(name, data.size), identity, data), mustCheck };
  return own === undefined ? opened : describeBare(opened, own, labels);
}

/** Asks the server for the newest version of a bundle, whatever is stored, and remembers it. */
export async function openNewest(
  url: string,
  policy: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
  stored: OpenedBundle | null,
): Promise<OpenedBundle> {
  return fromServer(url, policy, downloader, signal, true, Promise.resolve(stored), false);
}

/**
 * Returns the version at an address without remembering it: the server's, or the stored one where the server is away.
 */
export async function lookUp(
  url: string,
  policy: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<OpenedBundle> {
  addressOf(url, downloader.effects.ownProtocol);
  return openBundle(url, policy, downloader, signal, false);
}

async function openBundle(
  url: string,
  policy: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
  remembers = true,
): Promise<OpenedBundle> {
  const reading = storedVersion(url, policy, downloader);
  const late = new AbortController();
  const both = AbortSignal.any([signal, late.signal]);
  const ask = (): Promise<OpenedBundle> => fromServer(url, policy, downloader, both, remembers, reading);
  // Requested while the store is read, where the request is certain.
  const asking = policy.update === "first" && policy.identity === undefined ? ask() : null;
  asking?.catch(() => undefined); // handled below
  const stored = await reading;
  const use = (found: OpenedBundle): OpenedBundle => {
    const { modelStore } = downloader;
    if (remembers && modelStore !== null) downloader.notes.add(() => modelStore.touch(found.identity));
    return found;
  };
  if (stored === null) return asking ?? ask();
  const isStoredWhole = (): Promise<boolean> => isWholeHere(stored, policy, downloader);
  if (stored.identity === policy.identity || (policy.update !== "first" && (await isStoredWhole()))) return use(stored);
  const cancel = downloader.effects.setTimer(() => {
    late.abort();
  }, ASK_MS);
  try {
    const newest = await (asking ?? ask());
    const refused = newest.identity === stored.identity ? null : whyNotHere(newest, policy);
    return refused !== null && (await isStoredWhole()) ? { ...use(stored), seen: newest.seen, refused } : newest;
  } catch (error) {
    signal.throwIfAborted();
    if (late.signal.aborted || isAway(error)) return use(stored);
    // As a client of The Update Framework does: refused metadata leaves the stored version, whole and trusted, in use.
    if (isRefused(error) || (isDenied(error) && (await isStoredWhole())))
      return { ...use(stored), refused: error.message };
    throw error;
  } finally {
    cancel();
  }
}

/** Tries once where a stored version is the fallback, which `reading` returns. */
async function fromServer(
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
  remembers: boolean,
  reading: Promise<OpenedBundle | null>,
  hasFallback = true,
): Promise<OpenedBundle> {
  const { trustedKeys, identity: wanted } = criteria;
  const net = { effects: downloader.effects, signal };
  /** The newest version that the address leads to before this load. */
  const before = newestStored(url, remembers ? downloader.modelStore : null);
  const attempts = async (): Promise<number> => (hasFallback && (await reading) !== null ? 1 : ATTEMPTS.network);
  const [json, signature] = await Promise.all([
    isRepository(url)
      ? describe(url, criteria, { ...net, token: criteria.token, attempts }, reading)
      : // Bytes that a signature or a hash covers may come from anywhere.
        fetchJson(url, BUNDLE_MAX_BYTES, net, {
          attempts,
          sameOrigin: trustedKeys.length === 0 && wanted === undefined,
        }),
    trustedKeys.length === 0 ? null : fetchSignature(url, net, attempts),
  ]);
  if (json === null) return (await reading) as OpenedBundle; // its commit is the host's
  const bundle = isRepository(url) ? parseManifest(json) : parseBundleOf(url, json);
  if (isBare(bundle)) throw new SelvedgeError("internal", `${url} became a list of chunks.`);
  const identity = await identityOf(json as ManifestJson);
  checkName(url, bundle, criteria);
  const claim = await checkTrust(bundle, identity, signature, trustedKeys, downloader);
  if (wanted !== undefined && identity !== wanted) throw otherVersion(url, identity, wanted);
  const seen = claim === null ? null : await checkSeen(url, claim, criteria, downloader, remembers ? signal : null);
  const { modelStore } = downloader;
  if (remembers && modelStore !== null) {
    const current = (await reading)?.identity;
    const source = { url, identity, validator: null, signature: withoutMore(signature) };
    // A manifest is written before its chunks; for one that is stored already only the time is renewed, unless another
    // tab has remembered another version meanwhile.
    const renew = async (): Promise<void> => {
      const last = await modelStore.source(url);
      if (last?.identity === (await before)) await modelStore.remember(json as ManifestJson, source, current);
    };
    if (current === identity) downloader.notes.add(renew);
    else await downloader.remember(json as ManifestJson, source, current);
  }
  // Its files may have changed all the same, which takes a look at their content.
  const mustCheck = unvalidatedIn(bundle).length > 0 && (await reading)?.identity === identity;
  return { ...asked(bundle, identity, null), seen, mustCheck };
}

/**
 * Describes a repository; null where the stored version is of the host's own commit. That is asked for only without a
 * wanted identity, which the stored version has not.
 */
async function describe(
  url: string,
  { identity }: LoadCriteria,
  net: RepositoryNet,
  reading: Promise<OpenedBundle | null>,
): Promise<ManifestJson | null> {
  const stored = identity === undefined ? await reading : null;
  return openRepository(parseAddress(url), stored === null ? null : knownOf(stored.bundle), net);
}

/** Returns the stored version of a bundle that is to be used; null where none is wanted and trusted. */
export async function storedVersion(
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
): Promise<OpenedBundle | null> {
  const { modelStore } = downloader;
  if (modelStore === null) return null;
  try {
    const sources = await modelStore.sources(url);
    const wanted = criteria.identity;
    const signed = sources.find((x) => x.identity === wanted)?.signature ?? null;
    const asked = wanted === undefined ? sources : [{ identity: wanted, signature: signed }];
    const versions: { readonly opened: OpenedBundle; readonly release: number }[] = [];
    for (const { identity, signature } of asked) {
      const version = await storedBundle(identity, signature, url, criteria, downloader).catch(() => null);
      if (version !== null) versions.push(version);
    }
    const here = versions.length > 1 ? await modelStore.chunks() : new Set<string>();
    // In the order of arrival; signed ones by their releases, since another tab may have stored an older one last.
    const ordered = versions.reverse().sort((a, b) => a.release - b.release);
    return currentOf(
      ordered.map((x) => x.opened),
      here,
      criteria,
    );
  } catch {
    return null; // a store that fails counts as absent
  }
}

async function newestStored(url: string, modelStore: ModelStore | null): Promise<string | undefined> {
  return (await modelStore?.source(url).catch(() => null))?.identity;
}

async function storedBundle(
  identity: string,
  signature: unknown,
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
): Promise<{ readonly opened: OpenedBundle; readonly release: number } | null> {
  const bundle = (await downloader.modelStore?.bundle(identity)) ?? null;
  if (bundle === null || isBare(bundle)) return null;
  checkName(url, bundle, criteria);
  const claim = await checkTrust(bundle, identity, signature, criteria.trustedKeys, downloader);
  const opened = asked(bundle, identity, null);
  // The rest of one that is stored in part would come from the server, so a rollback is refused as the server's would be.
  if (claim !== null && criteria.identity === undefined && !(await isWholeHere(opened, criteria, downloader))) {
    const { known } = await knownReleases(url, claim, criteria, downloader.modelStore);
    checkRelease(known, url, claim, { trustedKeys: criteria.trustedKeys, isNamed: true });
  }
  return { opened, release: claim?.claim.release ?? 0 };
}

async function isWholeHere(stored: OpenedBundle, criteria: LoadCriteria, { modelStore }: Downloader): Promise<boolean> {
  return isWhole(stored, (await modelStore?.chunks().catch(() => null)) ?? new Set(), criteria);
}

/** Returns a signature file's own fields: other fields are not signed, and may be nested too deep to be written. */
function withoutMore(json: unknown): Signature | null {
  if (!isSignature(json)) return null;
  const { schema, identity, model, release, expires, signatures } = json;
  const signed = signatures.map(({ key, signature, expires }) => ({
    key,
    signature,
    ...(expires !== undefined && { expires }),
  }));
  return { schema, identity, model, release, expires, signatures: signed };
}

/** Validates a description; the error names its address. */
function parseBundleOf(url: string, json: unknown): Bundle {
  try {
    return parseBundle(json);
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    const { code, message, details, cause } = error;
    throw new SelvedgeError(
      code,
      message.replace(/^bundle\.json/, () => url),
      { ...details, url },
      cause,
    );
  }
}

async function fetchSignature(url: string, net: NetOptions, attempts: () => Promise<number>): Promise<unknown> {
  try {
    return await fetchJson(new URL("signature.json", url).href, SIGNATURE_MAX_BYTES, net, { attempts });
  } catch (error) {
    const status = isSelvedgeError(error) ? error.details["status"] : undefined;
    if (status === 404 || status === 410) return null;
    // A start page in place of it is not a signature either.
    if (isSelvedgeError(error) && error.code === "bundle-invalid") return null;
    throw error;
  }
}

async function checkTrust(
  bundle: Bundle,
  identity: string,
  signature: unknown,
  trustedKeys: readonly string[],
  { effects }: Downloader,
): Promise<VerifiedClaim | null> {
  if (trustedKeys.length === 0) return null;
  return verify(signature, { identity, model: bundle.model.name }, trustedKeys, effects.wallClock());
}

function checkName(url: string, { model }: Bundle, { name }: LoadCriteria): void {
  if (name === undefined || model.name === name) return;
  const message = `${url} is the model "${model.name}", not "${name}".`;
  throw new SelvedgeError("integrity-failed", message, { url, model: model.name, wanted: name, reason: "other-model" });
}

/**
 * Refuses a release that contradicts the releases that this device has seen, by the store's record or the page's; else
 * records it. A pinned identity is accepted whatever its release: the app itself vouches for it.
 */
async function checkSeen(
  url: string,
  claim: VerifiedClaim,
  criteria: LoadCriteria,
  downloader: Downloader,
  remembering: AbortSignal | null,
): Promise<string> {
  const { identity, name, trustedKeys } = criteria;
  const { known, note } = await knownReleases(url, claim, criteria, downloader.modelStore);
  if (identity === undefined) checkRelease(known, url, claim, { trustedKeys, isNamed: name !== undefined });
  const noted = identity === undefined ? noteRelease(known, url, claim) : known;
  const recorded =
    remembering === null ? null : await downloader.noteReleases(noted, note === null ? null : url, remembering);
  return writeReleases(recorded ?? noted);
}

/** Returns the releases that this device has seen; `note` is an older package release's for the address, null for none. */
async function knownReleases(
  url: string,
  { claim }: VerifiedClaim,
  { seen, trustedKeys }: LoadCriteria,
  modelStore: ModelStore | null,
): Promise<{ readonly known: Releases; readonly note: number | null }> {
  const stored = (await modelStore?.releases().catch(() => null)) ?? NO_RELEASES;
  const note = (await modelStore?.releaseNote(url).catch(() => null)) ?? null;
  const known = joinReleases(stored, readReleases(seen));
  if (note === null) return { known, note };
  return { known: joinReleases(releasesOfNote(note, claim.model, trustedKeys), known), note };
}

/** Whether the server's answer must be refused: not a bundle, or not trusted. */
function isRefused(error: unknown): error is SelvedgeError {
  return isSelvedgeError(error) && (error.code === "integrity-failed" || error.code === "bundle-invalid");
}

/**
 * Whether the server refused to send the description. Status 410 is not such a case: it withdraws the model. A folder has
 * no description: its graph is missing then, as where a captive portal answers each request with its own page.
 */
function isDenied(error: unknown): error is SelvedgeError {
  if (!isSelvedgeError(error)) return false;
  const { code, details } = error;
  return (code === "download-failed" && details["status"] !== 410) || details["reason"] === "no-onnx";
}

/** Returns why no backend of this device runs a version; null where one does. */
function whyNotHere(opened: OpenedBundle, criteria: LoadCriteria): string | null {
  try {
    plan(opened, criteria);
    return null;
  } catch (error) {
    const isUnfit = isSelvedgeError(error) && (error.code === "no-backend" || error.code === "does-not-fit");
    return isUnfit ? error.message : null;
  }
}

/**
 * Returns an address that may be fetched: of http, https, blob, data, or the page's own scheme (an extension's, or one of
 * Electron, Capacitor or Tauri).
 */
function addressOf(url: string, ownProtocol: string | undefined): URL {
  const address = new URL(url);
  const { protocol } = address;
  if (/^(https?|blob|data):$/.test(protocol) || (protocol === ownProtocol && protocol !== "file:")) return address;
  throw new TypeError(
    `source: can't load from ${protocol} URLs; take http, https, blob or data, or the page's own scheme`,
  );
}

function otherVersion(url: string, identity: string, wanted: string): SelvedgeError {
  const message = `${url} is ${identity}, not the requested version (${wanted}), and that one is not stored.`;
  return new SelvedgeError("integrity-failed", message, { url, identity, wanted, reason: "other-version" });
}

function asked(bundle: Bundle, identity: string, data: Blob | null): OpenedBundle {
  return { bundle, identity, data, seen: null, refused: null };
}

function madeUp(name: string, bytes: number): Bundle {
  return {
    format: 2,
    model: { name: name || "model", version: "0", licence: "unknown", inputs: [], outputs: [] },
    variants: [{ id: "model", needs: [], files: [{ path: name || "model.onnx", bytes, chunks: [] }] }],
  };
}
