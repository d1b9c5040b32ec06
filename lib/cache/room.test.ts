// Eviction: its order, its conditions, its exemptions. Over a store of real files, which can't be read once they are
// removed, as in OPFS, and over a real server.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { memoryLock, USED } from "../effects/lock-names.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { SharedLocks, weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, DiskStore, hurried, serveBundle } from "../test-support/fake-network.ts";
import { pin } from "./manage.ts";
import { identityOf } from "./manifest.ts";
import { open } from "./open.ts";
import { ModelStore } from "./model-store.ts";
import type { Bytes, Store } from "./stores/store.ts";
import { update } from "./update.ts";

const CHUNK = 10_000;
const CHUNKS = 6;
/** Bytes of one model with its records. */
const MODEL = CHUNK * CHUNKS + 3_000;
const idle = { signal: new AbortController().signal, onProgress: undefined };

let server: BadServer;
let disk: DiskStore;
let locks: SharedLocks;
let now = 1_000_000;

beforeEach(async () => {
  server = await BadServer.start();
  disk = await DiskStore.make();
  locks = new SharedLocks();
});

afterEach(async () => {
  server.close();
  await disk.clear();
});

/** A tab: an engine's worker of its own, over the store that all share. */
function tab(more: Partial<DownloadEffects> = {}, store: Store = disk): Downloader {
  // On a busy machine 200 ms, which are 20 s here, may pass without a byte: nothing stalls in these tests.
  const setTimer: DownloadEffects["setTimer"] = (callback, ms) =>
    ms < 5_000 ? hurried.setTimer(callback, ms) : () => undefined;
  const effects = {
    ...hurried,
    setTimer,
    wallClock: () => now,
    locks,
    heldLocks: () => Promise.resolve(locks.held()),
    ...more,
  };
  return new Downloader(effects, new ModelStore(store, () => (now += 10)));
}

interface Served {
  readonly name: string;
  readonly url: string;
  readonly bundle: Bundle;
  readonly identity: string;
  readonly content: Bytes;
}

async function serve(name: string, seed: number, chunks = CHUNKS): Promise<Served> {
  const content = weights(CHUNK * chunks, seed);
  const bundle = await serveBundle(server, `/${name}`, { "m.onnx": content }, { chunkBytes: CHUNK, name });
  return {
    name,
    url: `${server.url}/${name}/bundle.json`,
    bundle,
    identity: await identityOf(bundleJson(bundle)),
    content,
  };
}

/** Reads a lane's files. */
async function fetchModel(downloader: Downloader, { url }: Served): Promise<Blob> {
  const { bundle, identity } = await open(url, criteriaFor(), downloader, idle);
  const [blob] = await downloader.files({ url, identity, format: 2 }, bundle.variants[0]?.files ?? [], idle);
  return blob as Blob;
}

/** Loads as a page does: a lane reads its files, and gets them anew once where they can't be read. */
async function load(downloader: Downloader, model: Served): Promise<void> {
  const read = async (): Promise<string> => sha256Hex(await (await fetchModel(downloader, model)).arrayBuffer());
  expect(await read().catch(() => read())).toBe(await sha256Hex(model.content));
}

/** Loads in a tab that is closed then. */
async function visit(model: Served, more: Partial<DownloadEffects> = {}): Promise<void> {
  const closing = tab(more);
  await load(closing, model);
  closing.uses.unloaded(model.identity);
  closing.leave();
}

/** Holds a lock as a page does; the returned function releases it. */
function hold(name: string): () => void {
  let end = (): void => undefined;
  const held = new Promise<void>((resolve) => (end = resolve));
  locks.request(name, { mode: "shared" }, () => held).catch(() => undefined);
  return end;
}

const turns = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function wholeModels(): Promise<string[]> {
  const bundles = await new ModelStore(disk, () => now).bundles();
  return bundles
    .filter((x) => x.variants.length > 0)
    .map((x) => x.name)
    .sort();
}

describe("loads at once", () => {
  test.each([0.9, 1.5])("of two models both succeed in room for %d of one (store-A2)", async (share) => {
    const [p, q] = [await serve("p", 1), await serve("q", 2)];
    for (let round = 0; round < 4; round += 1) {
      await disk.clear();
      disk = await DiskStore.make(share * MODEL);
      server.asked = [];
      const engine = tab();
      await Promise.all([load(engine, p), load(engine, q)]);
      expect(server.chunkRequests).toBeLessThanOrEqual(2 * CHUNKS);
      const [tabA, tabB] = [tab(), tab()];
      await Promise.all([load(tabA, p), load(tabB, q)]);
    }
  });

  test("a tab knows the bytes of the models that other pages have loaded (store-bytes)", async () => {
    const free = ["a", "b", "b", "c"].map((page, i) => hold(USED + memoryLock(10 ** i, page, `identity ${i % 2}`)));
    const { uses } = tab();
    const elsewhere = (): Promise<number[]> => Promise.all(["a", "b", "c", "d"].map((x) => uses.bytesElsewhere(x)));
    expect(await elsewhere()).toEqual([1_110, 1_001, 111, 1_111]);
    free[1]?.();
    await turns();
    expect(await elsewhere()).toEqual([1_100, 1_001, 101, 1_101]);
  });

  test("a loaded model is not evicted for another one, in this tab or in another (store-A2)", async () => {
    const [p, q, r] = [await serve("p", 1), await serve("q", 2), await serve("r", 3)];
    disk.quotaBytes = 1.5 * MODEL;
    const [tabA, tabB] = [tab(), tab()];
    const lane = await fetchModel(tabA, p);
    await load(tabB, q);
    await load(tabA, r);
    expect(await wholeModels()).toEqual(["p"]);
    expect(await sha256Hex(await lane.arrayBuffer())).toBe(await sha256Hex(p.content));
    tabA.uses.unloaded(p.identity);
    tabB.uses.unloaded(q.identity);
    await visit(q);
    expect(await wholeModels()).toEqual(["q"]);
  });

  test("a model in use keeps its records where no lock shows it, as in a page about to be left (store-A2)", async () => {
    const [p, q, r] = [await serve("p", 1), await serve("q", 2), await serve("r", 3)];
    const none = { locks: null, heldLocks: () => Promise.resolve([]) };
    for (const more of [{}, none]) {
      await disk.clear();
      disk = await DiskStore.make(2.5 * MODEL);
      const engine = tab(more);
      await load(engine, p);
      engine.leaving();
      await visit(q); // p is the one least recently used
      await load(engine, r);
      expect(await wholeModels()).toEqual(["p", "r"]);
    }
  });

  test("a page that is left releases the locks of models in use, and acquires them again (store-A2)", async () => {
    const p = await serve("p", 1);
    const engine = tab();
    await load(engine, p);
    const own = [`selvedge/used/${p.identity}`];
    expect(locks.held()).toEqual(own);
    const given = [() => engine.leave(), () => engine.leaving(), () => undefined];
    for (const give of given) {
      give();
      await turns();
      expect(locks.held()).toHaveLength(give === given[2] ? own.length : 0);
      engine.back();
      await turns();
      expect(locks.held()).toEqual(own);
    }
    engine.uses.unloaded(p.identity);
    await turns();
    expect(locks.held()).toEqual([]);
  });

  test("a bare model in flight is not evicted by a bundle, nor the bundle by it (store-A2)", async () => {
    const [p, q] = [await serve("p", 1), await serve("q", 2)];
    server.files.set("/bare.onnx", { bytes: weights(MODEL, 9), etag: '"1"' });
    disk.quotaBytes = 1.5 * MODEL;
    const engine = tab();
    const [bare] = await Promise.all([
      open(`${server.url}/bare.onnx`, criteriaFor(), engine, idle),
      load(engine, p),
      load(tab(), q),
    ]);
    expect(await sha256Hex((await bare.data?.arrayBuffer()) ?? new ArrayBuffer())).toBe(
      await sha256Hex(weights(MODEL, 9)),
    );
  });

  test("the chunks of a load whose manifest found no room are not orphans (store-A2)", async () => {
    const p = await serve("p", 1);
    const engine = tab();
    const files = p.bundle.variants[0]?.files ?? [];
    const [blob] = await engine.files({ url: p.url, identity: p.identity, format: 2 }, files, idle); // never remembered
    await engine.modelStore?.makeRoom(1, await engine.uses.kept());
    expect(await sha256Hex(await (blob as Blob).arrayBuffer())).toBe(await sha256Hex(p.content));
  });
});

describe("room", () => {
  test("is not made before bytes arrive: a claim alone evicts nothing (store-B1)", async () => {
    for (const [i, name] of ["a", "b", "c"].entries()) {
      const model = await serve(name, i + 1, 3);
      await update(model.url, criteriaFor(), tab(), idle);
    }
    const claims = await serve("claims", 9, 3);
    server.trick = (path) => (path.startsWith("/claims/chunks") ? { kind: "status", status: 404 } : null);
    const usage = 3 * 3 * CHUNK;
    const full = { estimate: () => Promise.resolve({ quota: usage + CHUNK, usage }) };
    await expect(load(tab(full), claims)).rejects.toMatchObject({ code: "download-failed" });
    expect(await wholeModels()).toEqual(["a", "b", "c"]);
  });

  test("is not made where it can't suffice: a model too large for the device evicts nothing (store-B1)", async () => {
    for (const [i, name] of ["a", "b", "c"].entries()) {
      const model = await serve(name, i + 1, 3);
      await update(model.url, criteriaFor(), tab(), idle);
    }
    const large = await serve("large", 9, 12);
    const used = await disk.bytes();
    disk.quotaBytes = used + 5_000;
    await load(tab(), large);
    expect(await wholeModels()).toEqual(["a", "b", "c"]);
    const usage = used;
    await load(tab({ estimate: () => Promise.resolve({ quota: disk.quotaBytes, usage }) }), large);
    expect(await wholeModels()).toEqual(["a", "b", "c"]);
    await expect(update(large.url, criteriaFor(), tab(), idle)).rejects.toMatchObject({ code: "quota-exceeded" });
    expect(await wholeModels()).toEqual(["a", "b", "c"]);
  });

  test("is made where it suffices, by evicting no more than necessary", async () => {
    for (const [i, name] of ["a", "b", "c"].entries()) {
      const model = await serve(name, i + 1, 3);
      await update(model.url, criteriaFor(), tab(), idle);
    }
    disk.quotaBytes = (await disk.bytes()) + 3_000;
    const next = await serve("next", 9, 3);
    await visit(next);
    expect(await wholeModels()).toEqual(["b", "c", "next"]);
    const two = await serve("two", 10, 6);
    await visit(two, { estimate: async () => ({ quota: disk.quotaBytes, usage: await disk.bytes() }) });
    expect(await wholeModels()).toEqual(["next", "two"]);
  });

  test("in a store that removes nothing is not looked for again and again", async () => {
    await update((await serve("a", 1, 3)).url, criteriaFor(), tab(), idle);
    await disk.write(`part-${"0".repeat(64)}-0`, new Uint8Array(CHUNK));
    disk.quotaBytes = await disk.bytes();
    let removals = 0;
    disk.remove = async () => void (removals += 1);
    await load(tab(), await serve("next", 9, 3));
    expect(await wholeModels()).toEqual(["a"]);
    expect(removals).toBeGreaterThan(0);
  });

  test("for a newer version is not made by evicting the former one until the newer is whole (store-A1)", async () => {
    const first = await serve("m", 1);
    disk.quotaBytes = 1.05 * MODEL;
    await visit(first);
    const second = await serve("m", 2);
    server.asked = [];
    let askedBefore = -1;
    disk.onWrite = (name) => {
      if (name === `bundle-${first.identity}`) askedBefore = server.chunkRequests;
    };
    await update(second.url, criteriaFor(), tab(), idle);
    expect(askedBefore).toBe(CHUNKS);
    server.trick = () => ({ kind: "cut", at: 0 });
    await load(tab(), second);
  });

  test("is not made by evicting the former version for a part of the newer one (store-A1)", async () => {
    const first = await serve("m", 1);
    disk.quotaBytes = 1.05 * MODEL;
    await visit(first);
    const second = await serve("m", 2);
    const engine = tab();
    const { bundle, identity } = await open(second.url, criteriaFor(), engine, idle);
    const [file] = bundle.variants[0]?.files ?? [];
    const part = { path: "part", bytes: 2 * CHUNK, chunks: file?.chunks.slice(0, 2) ?? [] };
    await engine.files({ url: second.url, identity, format: 2 }, [part], idle);
    server.trick = () => ({ kind: "cut", at: 0 });
    await load(tab(), first);
  });

  test("is not made by evicting the former version where the quota shrank below the stored bytes (store-A1)", async () => {
    const first = await serve("m", 1);
    const other = await serve("other", 3, 1);
    for (const { url } of [other, first]) await update(url, criteriaFor(), tab(), idle);
    const content = first.content.slice();
    content.set(weights(CHUNK, 2), content.length - CHUNK);
    await serveBundle(server, "/m", { "m.onnx": content }, { chunkBytes: CHUNK, name: "m" });
    const [quota, usage] = [(CHUNKS - 1) * CHUNK, (CHUNKS + 1) * CHUNK];
    disk.quotaBytes = quota;
    const shrunk = tab({ estimate: () => Promise.resolve({ quota, usage }) });
    await expect(update(first.url, criteriaFor(), shrunk, idle)).rejects.toMatchObject({ code: "quota-exceeded" });
    expect(await wholeModels()).toEqual(["m", "other"]);
    server.trick = () => ({ kind: "cut", at: 0 });
    await load(tab(), first);
  });

  test("is not made by evicting pinned bundles", async () => {
    const [p, q] = [await serve("p", 1), await serve("q", 2)];
    disk.quotaBytes = 1.5 * MODEL;
    await update(p.url, criteriaFor(), tab(), idle);
    await pin(tab(), p.url, true);
    await load(tab(), q);
    expect(await wholeModels()).toEqual(["p"]);
  });
});

describe("a manifest", () => {
  /** Replaces a stored manifest by another, under its own hash or under the same name. */
  async function replace(identity: string, edit: (text: string) => string, renamed: boolean): Promise<string> {
    const name = `bundle-${identity}`;
    const bytes = new TextEncoder().encode(edit(new TextDecoder().decode((await disk.read(name)) ?? new Uint8Array())));
    const hash = renamed ? await sha256Hex(bytes) : identity;
    await disk.remove(name);
    await disk.write(`bundle-${hash}`, bytes);
    return hash;
  }

  const chunks = async (): Promise<number> => (await disk.names()).filter((x) => x.startsWith("chunk-")).length;

  test("of a schema that this release does not know stays, with its chunks (store-B3)", async () => {
    const p = await serve("p", 1);
    await update(p.url, criteriaFor(), tab(), idle);
    const newer = await replace(
      p.identity,
      (text) => text.replace(/selvedge\/bundle@\d+/, "selvedge/bundle@99").replace("{", '{"later":1,'),
      true,
    );
    expect(await new ModelStore(disk, () => now).bundles()).toEqual([]);
    expect(await tab().modelStore?.makeRoom(1e9, new Set())).toBe(0);
    expect(await chunks()).toBe(CHUNKS);
    expect(await disk.names()).toContain(`bundle-${newer}`);
    disk.quotaBytes = (await disk.bytes()) + MODEL / 2;
    await load(tab(), await serve("q", 2));
    expect(await chunks()).toBeGreaterThanOrEqual(CHUNKS);
    expect(await disk.names()).toContain(`bundle-${newer}`);
  });

  test("that can't be read now stays, and nothing is swept meanwhile (store-B3)", async () => {
    const [p, q] = [await serve("p", 1), await serve("q", 2)];
    for (const { url } of [p, q]) await update(url, criteriaFor(), tab(), idle);
    await pin(tab(), p.url, true);
    const glitch: Store = {
      kind: "opfs",
      names: () => disk.names(),
      read: (name) =>
        name === `bundle-${p.identity}`
          ? Promise.reject(new DOMException("busy", "NotReadableError"))
          : disk.read(name),
      blob: (name) => disk.blob(name),
      write: (name, bytes) => disk.write(name, bytes),
      remove: (name) => disk.remove(name),
    };
    expect(await tab({}, glitch).modelStore?.makeRoom(1, new Set())).toBe(0);
    expect((await new ModelStore(glitch, () => now).bundles()).map((x) => x.name)).toEqual(["q"]);
    await new ModelStore(glitch, () => now).remove(q.identity);
    expect(await wholeModels()).toEqual(["p"]);
  });

  test("with a flipped bit costs no chunk, and is written again (store-B3)", async () => {
    const p = await serve("p", 1);
    await update(p.url, criteriaFor(), tab(), idle);
    await replace(p.identity, (text) => text.replace("selvedge", "relvedge"), false);
    expect(await new ModelStore(disk, () => now).bundle(p.identity)).toBeNull();
    expect(await new ModelStore(disk, () => now).bundles()).toEqual([]);
    expect(await tab().modelStore?.makeRoom(1, new Set([p.identity]))).toBe(0);
    server.asked = [];
    await load(tab(), p);
    expect(server.chunkRequests).toBe(0);
    expect(await wholeModels()).toEqual(["p"]);
  });

  test("that is damaged is evicted as others are", async () => {
    const p = await serve("p", 1);
    await update(p.url, criteriaFor(), tab(), idle);
    await replace(p.identity, (text) => text.slice(1), false);
    expect(await tab().modelStore?.makeRoom(1, new Set())).toBe(CHUNK * CHUNKS);
    expect((await disk.names()).filter((x) => !x.startsWith("rate-"))).toEqual([]);
  });
});
