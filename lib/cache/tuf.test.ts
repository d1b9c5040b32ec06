// Attacks on signed bundles, after the list of The Update Framework (TUF specification 1.0.33, section 1.5.2): a
// `describe` for each. Each ends in the right bytes, in the stored good version, in a typed error that names the attack,
// or in a limit that docs/security.md states: the tests of those begin with "limit". Over a real server, a store that
// lasts, and the page's own record.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { mergeReleases } from "../core/release-record.ts";
import { sign, toBase64 } from "../core/signature.ts";
import type { VerifiedClaim } from "../core/signature.ts";
import { Downloader } from "./download.ts";
import { SharedLocks, weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, makePage, serveBundle } from "../test-support/fake-network.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { identityOf } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { ModelStore } from "./model-store.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { SourceRecord } from "./source.ts";
import type { Store } from "./stores/store.ts";
import { open } from "./open.ts";
import type { OpenedBundle } from "./open.ts";
import type { LoadCriteria } from "./messages.ts";
import { addressOf, chunkName } from "./names.ts";
import { joinReleases, NO_RELEASES, readReleases, writeReleases } from "../core/release-record.ts";
import type { Releases } from "../core/release-record.ts";
import { checkRelease, noteRelease } from "./releases.ts";
import { update } from "./update.ts";

const CHUNK = 1_000;
const DAY_MS = 86_400_000;
const idle = { signal: new AbortController().signal, onProgress: undefined };

interface Key {
  readonly pair: CryptoKeyPair;
  readonly text: string;
}
let old: Key;
let fresh: Key;
let stranger: Key;
let server: BadServer;
let store: MemoryStore | null;
/** The page's entry in localStorage. */
let memo: string | null;
const clock = { now: 1_000_000 };

beforeAll(async () => {
  const make = async (): Promise<Key> => {
    const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    return { pair, text: toBase64(await crypto.subtle.exportKey("raw", pair.publicKey)) };
  };
  [old, fresh, stranger] = [await make(), await make(), await make()];
});

beforeEach(async () => {
  server = await BadServer.start();
  store = new MemoryStore();
  memo = null;
});

afterEach(() => {
  server.close();
});

/** A page of its own, over the store of earlier pages. */
function page(): Downloader {
  return makePage(store, clock);
}

function criteria(keys: readonly Key[], more: Partial<LoadCriteria> = {}): LoadCriteria {
  return criteriaFor({ trustedKeys: keys.map((x) => x.text), seen: memo, ...more });
}

/** Puts a version on the server. */
async function publish(version: string, seed: number, { path = "/m", name = "test" } = {}): Promise<string> {
  const files = { "m.onnx": weights(CHUNK, seed) };
  const bundle: Bundle = await serveBundle(server, path, files, { chunkBytes: CHUNK, version, name });
  return identityOf(bundleJson(bundle));
}

interface SignOptions {
  readonly keys?: readonly Key[];
  readonly expiresMs?: number;
  readonly path?: string;
  readonly model?: string;
}

async function signRelease(identity: string, release: number, options: SignOptions = {}): Promise<void> {
  const { keys = [old], expiresMs = clock.now + 30 * DAY_MS, path = "/m", model = "test" } = options;
  const claim = { identity, model, release, expires: new Date(expiresMs).toISOString() };
  let signature;
  for (const key of keys) signature = await sign(claim, key.pair, signature);
  server.files.set(`${path}/signature.json`, { bytes: new TextEncoder().encode(JSON.stringify(signature)) });
}

/** Publishes and signs a version; returns its identity. */
async function ship(version: string, seed: number, release: number, options: SignOptions = {}): Promise<string> {
  const { path, model } = options;
  const where = { ...(path === undefined ? {} : { path }), ...(model === undefined ? {} : { name: model }) };
  const identity = await publish(version, seed, where);
  await signRelease(identity, release, options);
  return identity;
}

const address = (path = "/m"): string => `${server.url}${path}/bundle.json`;

async function opened(keys: readonly Key[], more: Partial<LoadCriteria> = {}, url = address()): Promise<OpenedBundle> {
  const found = await open(url, criteria(keys, more), page(), idle);
  memo = found.seen ?? memo;
  return found;
}

/** The version that a load uses, or the code and reason of its refusal. */
async function outcome(keys: readonly Key[], more: Partial<LoadCriteria> = {}, url = address()): Promise<string> {
  try {
    return (await opened(keys, more, url)).bundle.model.version;
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    return [error.code, error.details["reason"]].filter(Boolean).join(" ");
  }
}

/** Stores the newest version whole, as a page that ran the model did. */
async function stored(keys: readonly Key[]): Promise<void> {
  await opened(keys);
  await update(address(), criteria(keys), page(), idle);
}

/** Stores the chunk of a version that was published with a seed. */
async function storeChunk(seed: number): Promise<void> {
  const bytes = weights(CHUNK, seed);
  await store?.write(chunkName({ sha256: await sha256Hex(bytes), bytes: CHUNK }), bytes);
}

/** Results of an attack on a device that never saw the model, and on one that has the previous version whole. */
async function outcomes(attack: () => Promise<void>): Promise<{ first: string; later: string; fetched: number }> {
  await ship("good", 1, 1);
  await stored([old]);
  await attack();
  const fetched = server.chunkRequests;
  const later = await outcome([old]);
  store = new MemoryStore();
  memo = null;
  const first = await outcome([old]);
  return { first, later, fetched: server.chunkRequests - fetched };
}

describe("arbitrary installation", () => {
  test("a bundle that a trusted key signed is used, offline too", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    expect(await outcome([stranger, old])).toBe("1");
    server.close();
    expect(await outcome([old])).toBe("1");
    expect(await outcome([stranger])).toBe("download-failed unreachable");
  });

  test("a key that signed another date than the file's is enough, offline too (tool-keys-stored)", async () => {
    const claim = { identity: await publish("1", 1), model: "test", release: 1 };
    const until = (days: number): string => new Date(clock.now + days * DAY_MS).toISOString();
    const first = await sign({ ...claim, expires: until(10) }, old.pair);
    const both = await sign({ ...claim, expires: until(30) }, fresh.pair, first);
    server.files.set("/m/signature.json", { bytes: new TextEncoder().encode(JSON.stringify(both)) });
    await stored([old]);
    server.close();
    expect(await outcome([old])).toBe("1");
    expect(await outcome([fresh])).toBe("1");
    clock.now += 11 * DAY_MS;
    expect(await outcome([fresh])).toBe("1");
    expect(await outcome([old])).not.toBe("1");
  });

  test.each([
    ["unsigned", async () => void (await publish("evil", 9), server.files.delete("/m/signature.json"))],
    ["wrong-key", async () => void (await ship("evil", 9, 2, { keys: [stranger] }))],
    ["altered", async () => void (await publish("evil", 9))],
    [
      "malformed",
      () => {
        server.files.set("/m/signature.json", { bytes: new TextEncoder().encode("{}") });
        return Promise.resolve();
      },
    ],
  ])(
    "%s: refused before a byte of weights, and a stored good version stays in use (store-B7)",
    async (reason, attack) => {
      const { first, later, fetched } = await outcomes(attack);
      expect(first).toBe(`integrity-failed ${reason}`);
      expect(later).toBe("good");
      expect(fetched).toBe(0);
    },
  );

  test("the caller gets the reason why the stored version is used (store-B7)", async () => {
    await ship("good", 1, 1);
    await stored([old]);
    expect((await opened([old])).refused).toBeNull();
    await publish("evil", 9);
    expect((await opened([old])).refused).toMatch(/the signature is for/);
  });

  test("a start page in place of the bundle leaves the stored version in use, with keys and without (store-B7)", async () => {
    await ship("good", 1, 1);
    await stored([old]);
    server.trick = () => ({ kind: "html" });
    expect(await outcome([old])).toBe("good");
    expect(await outcome([])).toBe("good");
  });

  test("an app of this origin without keys leaves the stored signature in place (store-unsigned)", async () => {
    const identity = await ship("1", 1, 1);
    await stored([old]);
    const json = JSON.parse(new TextDecoder().decode(server.files.get("/m/bundle.json")?.bytes)) as ManifestJson;
    const source = { url: address(), identity, validator: null, signature: null };
    await page().modelStore?.remember(json, source, identity); // as its load does a second later
    server.close();
    expect(await outcome([old])).toBe("1");
  });

  test("a bare model is refused; bytes of the app's own are not", async () => {
    server.files.set("/m.onnx", { bytes: weights(100) });
    expect(await outcome([old], {}, `${server.url}/m.onnx`)).toBe("integrity-failed unsigned");
    expect(server.asked).toEqual([]);
    const own = await open(new Blob([weights(100)]), criteria([old]), page(), idle);
    expect(own.data?.size).toBe(100);
  });
});

describe("rollback", () => {
  /** A device that has seen release 2, and a server that replays release 1; the stored copy of 2 is gone. */
  async function replayed(path = "/m"): Promise<void> {
    const first = await ship("1", 1, 1);
    expect(await outcome([old])).toBe("1");
    await ship("2", 2, 2);
    expect(await outcome([old])).toBe("2");
    await publish("1", 1, { path });
    await signRelease(first, 1, { path });
  }

  test("an older release is refused; the stored newer one stays in use (store-A4)", async () => {
    const first = await ship("1", 1, 1);
    await stored([old]);
    await ship("2", 2, 2);
    await stored([old]);
    await publish("1", 1);
    await signRelease(first, 1);
    expect(await outcome([old])).toBe("2");
    await expect(update(address(), criteria([old]), page(), idle)).rejects.toMatchObject({
      details: { reason: "older" },
    });
  });

  test("an older release that is stored in part is refused; one that is stored whole stays in use (store-part)", async () => {
    const first = await ship("1", 1, 1);
    expect(await outcome([old])).toBe("1"); // its manifest alone
    const device = store;
    store = new MemoryStore(); // nothing of release 2 has room
    await ship("2", 2, 2);
    expect(await outcome([old])).toBe("2");
    store = device;
    await publish("1", 1);
    await signRelease(first, 1);
    expect(await outcome([old])).toBe("integrity-failed older");
    server.trick = (path) => (path.includes("chunks") ? null : { kind: "status", status: 503 });
    expect(await outcome([old])).toMatch(/^download-failed/);
    await storeChunk(1);
    expect(await outcome([old])).toBe("1");
  });

  test("an older release that another tab stored last does not replace the newer one (store-arrival)", async () => {
    const json = async (identity: string, release: number): Promise<[ManifestJson, SourceRecord]> => {
      await signRelease(identity, release);
      const [manifest, signature] = ["bundle", "signature"].map(
        (x) => JSON.parse(new TextDecoder().decode(server.files.get(`/m/${x}.json`)?.bytes)) as unknown,
      );
      return [manifest as ManifestJson, { url: address(), identity, validator: null, signature }];
    };
    const first = await json(await publish("1", 1), 1);
    const second = await ship("2", 2, 2);
    await opened([old]);
    await page().modelStore?.remember(...first, second);
    for (const seed of [1, 2]) await storeChunk(seed);
    server.close();
    expect(await outcome([old], { update: "never" })).toBe("2");
    expect(await outcome([], { update: "never" })).toBe("1"); // without keys the last one counts
  });

  test("an older release is refused where nothing newer is stored, unless the app pins it", async () => {
    await replayed();
    const [shown] = [store];
    // The bundle itself was evicted; the record stays.
    for (const name of (await shown?.names()) ?? []) if (!name.startsWith("releases-")) await shown?.remove(name);
    expect(await outcome([old])).toBe("integrity-failed older");
    const pinned = await publish("1", 1);
    expect(await outcome([old], { identity: pinned })).toBe("1");
  });

  test("the same release number under another bundle is refused (store-A4)", async () => {
    await ship("1", 1, 1);
    expect(await outcome([old])).toBe("1");
    store = new MemoryStore();
    await ship("2", 2, 1);
    expect(await outcome([old])).toBe("integrity-failed older");
  });

  test.each(["?v=3", "#x", "?"])("under another spelling of the address, %s, too (store-B5)", async (spelling) => {
    await replayed();
    store = new MemoryStore();
    expect(await outcome([old], {}, `${address()}${spelling}`)).toBe("integrity-failed older");
  });

  test("at another address, too (store-B5)", async () => {
    await replayed("/mirror");
    expect(await outcome([old], {}, address("/mirror"))).toBe("integrity-failed older");
  });

  test.each(["no store", "a store that fails", "a store that lost all"])("with %s, too (store-B5)", async (kind) => {
    await replayed();
    store = kind === "no store" ? null : new MemoryStore();
    if (kind === "a store that fails" && store !== null) store.read = () => Promise.reject(new Error("broken"));
    expect(await outcome([old])).toBe("integrity-failed older");
  });

  test("by the store's record where localStorage was cleared (store-B5)", async () => {
    await replayed();
    memo = null;
    for (const name of (await store?.names()) ?? []) if (!name.startsWith("releases-")) await store?.remove(name);
    expect(await outcome([old])).toBe("integrity-failed older");
  });

  test("of each of two models that one page loads at once (store-race)", async () => {
    const both = async (release: number): Promise<void> => {
      for (const model of ["a", "b"]) await ship(String(release), release, release, { path: `/${model}`, model });
    };
    await both(1);
    for (const path of ["/a", "/b"]) expect(await outcome([old], {}, address(path))).toBe("1");
    await both(2);
    const tab = page();
    const wanted = criteria([old]);
    const loads = ["/a", "/b"].map((path) => open(address(path), wanted, tab, idle));
    const [a, b] = await Promise.all(loads.map(async (x) => (await x).seen ?? ""));
    const newest = (text: string): unknown[] => Object.values(readReleases(text).newest).map((x) => x.release);
    expect(newest(mergeReleases(a ?? "", b ?? ""))).toEqual([2, 2]);
    expect(newest(mergeReleases(b ?? "", a ?? ""))).toEqual([2, 2]);
    memo = null; // the store's record alone
    await both(1);
    for (const path of ["/a", "/b"]) expect(await outcome([old], {}, address(path))).not.toBe("1");
  });

  const seenRelease = (model: string): Releases => ({
    newest: { [`key ${model}`]: { release: 2, identity: "0".repeat(64) } },
    models: {},
  });

  test("of each of two models that one page records at once (store-race)", async () => {
    // Entries of one millisecond have one name, so that the second would replace the first.
    const tab = new Downloader(hurried, new ModelStore(new MemoryStore(), () => 1));
    await Promise.all(["a", "b"].map((model) => tab.noteReleases(seenRelease(model), null, idle.signal)));
    expect(Object.keys((await tab.modelStore?.releases())?.newest ?? {}).sort()).toEqual(["key a", "key b"]);
  });

  test("of each of two models that two tabs load at once (store-race)", async () => {
    const shared: Store = Object.assign(new MemoryStore(), { kind: "opfs" as const });
    const effects = { ...hurried, locks: new SharedLocks() };
    const tab = (): Downloader => new Downloader(effects, new ModelStore(shared, () => 1));
    await Promise.all(["a", "b"].map((model) => tab().noteReleases(seenRelease(model), null, idle.signal)));
    const names = (await shared.names()).filter((x) => x.startsWith("releases-"));
    expect(names).toHaveLength(1);
    expect(Object.keys((await tab().modelStore?.releases())?.newest ?? {}).sort()).toEqual(["key a", "key b"]);
    // A tab that did not wait for the other's lock leaves a second entry: both count, and are merged.
    await shared.write("releases-900", new TextEncoder().encode(writeReleases(seenRelease("c"))));
    const merged = await tab().noteReleases(seenRelease("d"), null, idle.signal);
    expect(Object.keys(merged?.newest ?? {})).toHaveLength(4);
    expect((await shared.names()).filter((x) => x.startsWith("releases-"))).toHaveLength(1);
    expect(Object.keys((await tab().modelStore?.releases())?.newest ?? {})).toHaveLength(4);
  });

  test("by the other trusted key, which signed only what is older, too (store-keys)", async () => {
    await ship("1", 1, 1, { keys: [fresh] });
    expect(await outcome([old, fresh])).toBe("1");
    await ship("2", 2, 2, { keys: [old] });
    expect(await outcome([old, fresh])).toBe("2");
    store = new MemoryStore(); // the page's own record is left
    await ship("1", 1, 1, { keys: [fresh] });
    expect(await outcome([old, fresh])).toBe("integrity-failed older");
    await ship("other", 3, 2, { keys: [fresh] });
    expect(await outcome([old, fresh])).toBe("integrity-failed older");
    await ship("3", 4, 3, { keys: [fresh] });
    expect(await outcome([old, fresh])).toBe("3");
  });

  test("below a record of release 0.1.0, which counted by address, by any trusted key (store-notes)", async () => {
    const note = `release-${await addressOf(address())}-`;
    const noted = async (): Promise<void> => {
      [store, memo] = [new MemoryStore(), null];
      for (const n of [3, 7]) await store.write(`${note}${n}`, new Uint8Array());
    };
    for (const key of [old, fresh]) {
      await noted();
      await ship("6", 6, 6, { keys: [key] });
      expect(await outcome([old, fresh])).toBe("integrity-failed older");
      expect(await store?.names()).toContain(`${note}7`); // nothing is forgotten with a refusal
      await ship("7", 7, 7, { keys: [key] });
      expect(await outcome([old, fresh])).toBe("7");
      expect((await store?.names())?.filter((x) => x.startsWith("release-"))).toEqual([]);
      await ship("6", 6, 6, { keys: [fresh] });
      await update(address(), criteria([old, fresh]), page(), idle).catch(() => undefined);
      expect(await outcome([old, fresh])).toBe("7");
    }
    await noted();
    await page().modelStore?.clear();
    expect(await store?.names()).toContain(`${note}7`);
  });

  test("of 500 models whatever their names: those used least recently are forgotten (store-bound)", () => {
    const claim = (n: number): [url: string, claim: VerifiedClaim] => {
      const model = `model ${String(2_000 - n)}`; // the newest come first in the alphabet
      const schema = "selvedge/signature@1";
      const identity = String(n).padStart(64, "0");
      const about = { schema, identity, model, release: 1 + n, expires: "2100-01-01T00:00:00Z" } as const;
      return [`https://app.test/${model}`, { claim: about, keys: ["key"] }];
    };
    const through = (releases: Releases): Releases => readReleases(writeReleases(releases));
    let releases = NO_RELEASES;
    for (let n = 0; n < 600; n += 1) {
      releases = through(noteRelease(releases, ...claim(n)));
      if (n === 499) releases = through(noteRelease(releases, ...claim(0))); // used once more
    }
    const older = { ...claim(0)[1], claim: { ...claim(0)[1].claim, release: 0 } };
    const rules = { trustedKeys: ["key"], isNamed: false };
    expect(() => {
      checkRelease(releases, claim(0)[0], older, rules);
    }).toThrow("older than 1");
    for (const record of [releases.newest, releases.models]) expect(Object.keys(record)).toHaveLength(500);
    const names = Object.keys(releases.newest);
    for (const n of [0, 101, 599]) expect(names).toContain(`key ${claim(n)[1].claim.model}`);
    for (const n of [1, 100]) expect(names).not.toContain(`key ${claim(n)[1].claim.model}`);
    // Entries of another copy of the record count as used before.
    const joined = through(joinReleases(noteRelease(NO_RELEASES, ...claim(700)), releases));
    expect(Object.keys(joined.newest)).toEqual(names);
  });

  test("limit: a device that lost store and localStorage accepts any signed release that has not expired", async () => {
    await replayed();
    [store, memo] = [new MemoryStore(), null];
    expect(await outcome([old])).toBe("1");
  });

  test("a damaged record counts as none, and is written anew", async () => {
    await ship("1", 1, 3);
    for (const text of ["", "{", "[]", "7", '{"newest":{"x":{"release":"9"}},"models":{"y":1}}', '{"newest":null}']) {
      memo = text;
      store = new MemoryStore();
      expect(await outcome([old])).toBe("1");
      expect(Object.values(readReleases(memo).newest)).toMatchObject([{ release: 3 }]);
    }
    expect(readReleases(writeReleases(NO_RELEASES))).toEqual(NO_RELEASES);
  });
});

describe("fast-forward", () => {
  test("an enormous release of a stolen key is void once the app trusts another key alone (store-B6)", async () => {
    await ship("1", 1, 1, { keys: [old, fresh] });
    await ship("evil", 9, Number.MAX_SAFE_INTEGER, { keys: [old] });
    expect(await outcome([old, fresh])).toBe("evil"); // the key was trusted
    await ship("2", 2, 2, { keys: [fresh] });
    expect(await outcome([fresh])).toBe("2");
    await ship("3", 3, 3, { keys: [fresh] });
    expect(await outcome([fresh])).toBe("3");
  });

  test("limit: while the stolen key is trusted, releases that it signs alone are refused", async () => {
    await ship("evil", 9, Number.MAX_SAFE_INTEGER);
    expect(await outcome([old])).toBe("evil");
    store = new MemoryStore();
    await ship("2", 2, 2);
    expect(await outcome([old])).toBe("integrity-failed older");
  });
});

describe("indefinite freeze", () => {
  test("an expired signature is refused", async () => {
    await ship("1", 1, 1, { expiresMs: clock.now - 1 });
    expect(await outcome([old])).toBe("integrity-failed expired");
  });

  test("limit: a server that replays the newest release that it ever sent is trusted until that expires", async () => {
    await ship("1", 1, 1, { expiresMs: clock.now + DAY_MS });
    await stored([old]);
    expect(await outcome([old])).toBe("1");
    clock.now += 2 * DAY_MS;
    expect(await outcome([old])).toBe("integrity-failed expired");
  });

  test("limit: a device whose clock was set back accepts what had expired, until that passes again", async () => {
    await ship("1", 1, 1, { expiresMs: clock.now + DAY_MS });
    clock.now += 2 * DAY_MS;
    expect(await outcome([old])).toBe("integrity-failed expired");
    clock.now -= 1.5 * DAY_MS;
    expect(await outcome([old])).toBe("1");
    clock.now += 1.5 * DAY_MS;
    expect(await outcome([old])).toBe("integrity-failed expired");
  });
});

describe("slow retrieval", () => {
  /** A server that always sends a little, for 30 s of the downloader's clock and more. */
  const trickle = { kind: "trickle", parts: 60, pauseMs: 5 } as const;

  test("of the metadata: after 5 s the stored version is used (tuf-slow)", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    await ship("2", 2, 2);
    server.trick = () => trickle;
    expect(await outcome([old])).toBe("1");
    store = new MemoryStore();
    expect(await outcome([old])).toBe("2");
  });

  test("a server that sends nothing is given up after 20 s, and named", async () => {
    await ship("1", 1, 1);
    server.trick = () => ({ kind: "stall", at: 10 });
    expect(await outcome([old])).toBe("download-failed stalled");
  });

  test("limit: on a first visit, and of weights, a trickle is ended by the caller's signal alone", async () => {
    await ship("1", 1, 1);
    server.trick = () => trickle;
    const startMs = hurried.now();
    await stored([old]);
    expect(hurried.now() - startMs).toBeGreaterThan(2 * 20_000);
    server.close();
    expect(await outcome([old])).toBe("1");
  });

  test("a caller's signal ends it at once, with the signal's reason", async () => {
    await ship("1", 1, 1);
    const stop = new AbortController();
    server.trick = () => {
      stop.abort(new Error("too slow"));
      return trickle;
    };
    await expect(open(address(), criteria([old]), page(), { ...idle, signal: stop.signal })).rejects.toThrow(
      "too slow",
    );
  });
});

describe("extraneous dependencies", () => {
  test("there are none: a bundle names chunks in its own folder, by their hashes, and nothing else is fetched", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    const own = /^\/m\/(bundle\.json|signature\.json|chunks\/[0-9a-f]{64}\.bin)$/;
    expect(server.asked.length).toBeGreaterThan(2);
    expect(server.asked.filter(({ path }) => !own.test(path))).toEqual([]);
  });
});

describe("endless data", () => {
  test.each(["signature.json", "bundle.json"])("in place of %s is cut off", async (name) => {
    await ship("1", 1, 1);
    server.trick = (path) => (path.endsWith(name) ? { kind: "endless" } : null);
    expect(await outcome([old])).toBe("download-failed too-large");
    expect(server.sentBytes).toBeLessThan(64 * 1024 * 1024);
    expect(server.chunkRequests).toBe(0);
  });
});

describe("mix and match", () => {
  test("the bundle.json of one release beside the signature of another is refused; the stored version stays in use", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    await publish("2", 2); // a deploy that has not reached signature.json yet
    expect(await outcome([old])).toBe("1");
    [store, memo] = [new MemoryStore(), null];
    expect(await outcome([old])).toBe("integrity-failed altered");
  });
});

describe("wrong software", () => {
  const toy = { path: "/toy", model: "toy" };

  test("another model of the same key at an address that served this one is refused (store-B4)", async () => {
    await ship("1", 1, 1);
    expect(await outcome([old])).toBe("1");
    await publish("toy-7", 7, { name: "toy" });
    await signRelease(await publish("toy-7", 7, { name: "toy" }), 7, { model: "toy" });
    store = new MemoryStore();
    expect(await outcome([old])).toBe("integrity-failed other-model");
  });

  test("the real model is not affected: releases count by model (store-B4)", async () => {
    await ship("toy-9", 7, 9, toy);
    expect(await outcome([old], {}, address("/toy"))).toBe("toy-9");
    await ship("6", 6, 6);
    expect(await outcome([old])).toBe("6");
  });

  test("a name that the caller gives is the only one accepted, from the first visit on (store-B4)", async () => {
    await ship("toy-1", 7, 1, toy);
    for (const keys of [[old], []])
      expect(await outcome(keys, { name: "test" }, address("/toy"))).toBe("integrity-failed other-model");
    expect(await outcome([old], { name: "toy" }, address("/toy"))).toBe("toy-1");
  });

  test("a change of model that the caller names is accepted, and remembered (store-B4)", async () => {
    await ship("1", 1, 1);
    expect(await outcome([old])).toBe("1");
    await signRelease(await publish("toy-2", 7, { name: "toy" }), 2, { model: "toy" });
    store = new MemoryStore();
    expect(await outcome([old], { name: "toy" })).toBe("toy-2");
    expect(await outcome([old])).toBe("toy-2");
  });
});

describe("key compromise", () => {
  test("rotation: an app that trusts both keys accepts either; one that dropped the old key refuses it", async () => {
    await ship("1", 1, 1, { keys: [old] });
    expect(await outcome([old, fresh])).toBe("1");
    await ship("2", 2, 2, { keys: [old, fresh] });
    expect(await outcome([old, fresh])).toBe("2");
    store = new MemoryStore();
    await ship("3", 3, 3, { keys: [old] });
    expect(await outcome([fresh])).toBe("integrity-failed wrong-key");
  });

  test("limit: one trusted key is enough, though the app trusts two", async () => {
    await ship("1", 1, 1, { keys: [old, fresh] });
    expect(await outcome([old, fresh])).toBe("1");
    await ship("evil", 9, 2, { keys: [old] });
    expect(await outcome([old, fresh])).toBe("evil");
  });
});

describe("a mirror that withholds", () => {
  test("the metadata: the stored version stays in use", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    for (const status of [500, 503, 429]) {
      server.trick = () => ({ kind: "status", status });
      expect(await outcome([old])).toBe("1");
    }
    server.trick = () => ({ kind: "stall", at: 0 });
    expect(await outcome([old])).toBe("1");
  });

  // withheld.test.ts has what `engine.load` does then.
  test("the chunks of a newer version: the update rejects, and the stored version stays whole", async () => {
    await ship("1", 1, 1);
    await stored([old]);
    await ship("2", 2, 2);
    server.trick = (path) => (path.includes("/chunks/") ? { kind: "status", status: 404 } : null);
    const updating = update(address(), criteria([old]), page(), idle);
    await expect(updating).rejects.toMatchObject({ code: "download-failed", details: { reason: "not-found" } });
    expect(await outcome([old], { update: "later" })).toBe("1");
    server.close();
    expect(await outcome([old])).toBe("1");
  });

  test("limit: nothing tells a mirror that withholds from a publisher without a newer version, until the signature expires", async () => {
    await ship("1", 1, 1, { expiresMs: clock.now + DAY_MS });
    await stored([old]);
    server.trick = () => ({ kind: "status", status: 503 });
    expect((await opened([old])).refused).toBeNull();
    clock.now += 2 * DAY_MS;
    expect(await outcome([old])).toBe("download-failed server");
  });
});
