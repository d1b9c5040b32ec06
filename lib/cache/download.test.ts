// Downloads of bundles from a real HTTP server that misbehaves. Counts requests and stored bytes, not only results.
import { brotliCompressSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chunkPath, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { fetchChunk } from "./chunk-fetch.ts";
import { Downloader } from "./download.ts";
import { SharedLocks, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, serveBundle } from "../test-support/fake-network.ts";
import type { Trick } from "../test-support/fake-network.ts";
import { MemoryStore } from "./stores/memory.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { identityOf } from "./manifest.ts";
import type { Progress } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import type { Bytes, Store } from "./stores/store.ts";

const CHUNK = 1_000;

let server: BadServer;

beforeEach(async () => {
  server = await BadServer.start();
});

afterEach(() => {
  server.close();
});

const idle = new AbortController().signal;

async function bundleOf(...sizes: number[]): Promise<{ bundle: Bundle; identity: string; contents: Uint8Array[] }> {
  const contents = sizes.map((size, i) => weights(size, i + 1));
  const files = Object.fromEntries(contents.map((bytes, i) => [`file-${i}`, bytes]));
  const bundle = await serveBundle(server, "/m", files, { chunkBytes: CHUNK });
  return { bundle, identity: await identityOf(bundleJson(bundle)), contents };
}

interface Given {
  readonly bundle: Bundle;
  readonly identity: string;
}

async function load(
  { bundle, identity }: Given,
  store: Store | null = null,
  more: { signal?: AbortSignal; onProgress?: (progress: Progress) => void; mustStore?: boolean } = {},
): Promise<Uint8Array[]> {
  const downloader = new Downloader(hurried, store === null ? null : new ModelStore(store, () => Date.now()));
  return loadWith(downloader, { bundle, identity }, more);
}

async function loadWith(
  downloader: Downloader,
  { bundle, identity }: Given,
  more: { signal?: AbortSignal; onProgress?: (progress: Progress) => void; mustStore?: boolean } = {},
): Promise<Uint8Array[]> {
  const files = bundle.variants[0]?.files ?? [];
  const options = { signal: more.signal ?? idle, onProgress: more.onProgress };
  const blobs = await downloader.files(
    { url: `${server.url}/m/bundle.json`, identity, format: bundle.format },
    files,
    options,
    more.mustStore,
  );
  return Promise.all(blobs.map(async (x) => new Uint8Array(await x.arrayBuffer())));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? error.code : String(error);
}

/** The chunks of a bundle of one file, unencoded, by their paths on the server. */
function* chunkEntries({ format, variants }: Bundle, contents: Uint8Array): Generator<[path: string, bytes: Bytes]> {
  let at = 0;
  for (const { sha256, bytes } of variants[0]?.files[0]?.chunks ?? []) {
    yield [`/m/${chunkPath(format, sha256)}`, contents.slice(at, at + bytes)];
    at += bytes;
  }
}

/** Fails where a stored chunk does not match its name. */
async function expectOnlyRight(store: Store): Promise<void> {
  for (const name of await store.names()) {
    const [, sha256, bytes] = /^chunk-([0-9a-f]{64})-(\d+)$/.exec(name) ?? [];
    const found = await store.read(name);
    if (sha256 === undefined || found === null) continue;
    expect(found.length).toBe(Number(bytes));
    expect(await sha256Hex(found)).toBe(sha256);
  }
}

test("files come whole and in order, and the second load sends no request", async () => {
  const given = await bundleOf(2_500, 700);
  const store = new MemoryStore();
  const seen: Progress[] = [];
  expect(await load(given, store, { onProgress: (x) => seen.push(x) })).toEqual(given.contents);
  expect(server.chunkRequests).toBe(4);
  expect(seen.at(0)).toMatchObject({ loadedBytes: 0, totalBytes: 3_200, cachedBytes: 0 });
  expect(seen.at(-1)).toMatchObject({ loadedBytes: 3_200, totalBytes: 3_200, cachedBytes: 0, secondsLeft: 0 });
  expect(seen.at(-1)?.files).toEqual([
    { path: "file-0", loadedBytes: 2_500, totalBytes: 2_500 },
    { path: "file-1", loadedBytes: 700, totalBytes: 700 },
  ]);
  expect(await load(given, store, { onProgress: (x) => seen.push(x) })).toEqual(given.contents);
  expect(server.chunkRequests).toBe(4);
  expect(seen.at(-1)).toMatchObject({ loadedBytes: 3_200, cachedBytes: 3_200 });
});

test("a chunk that recurs is fetched once", async () => {
  const twice = weights(CHUNK);
  const bytes = new Uint8Array([...twice, ...twice]);
  const bundle = await serveBundle(server, "/m", { a: bytes, b: twice }, { chunkBytes: CHUNK });
  const seen: Progress[] = [];
  const found = await load({ bundle, identity: "" }, null, { onProgress: (x) => seen.push(x) });
  expect(found).toEqual([bytes, twice]);
  expect(server.chunkRequests).toBe(1);
  expect(seen.at(-1)).toMatchObject({ loadedBytes: CHUNK, totalBytes: CHUNK });
});

test.each<[string, Trick]>([
  ["one bit flipped", { kind: "flip", at: 77 }],
  ["a body cut before its first byte", { kind: "cut", at: 0 }],
  ["a body cut in the middle", { kind: "cut", at: 500 }],
  ["a body cut before its last byte", { kind: "cut", at: 999 }],
  ["a body that is too short", { kind: "length", bytes: 999 }],
  ["a body that is too long", { kind: "length", bytes: 1_001 }],
  ["an empty body", { kind: "length", bytes: 0 }],
  ["an app's start page", { kind: "html" }],
  ["status 500", { kind: "status", status: 500 }],
  ["status 503 with a time", { kind: "status", status: 503, headers: { "retry-after": "1" } }],
  ["status 429 with a time", { kind: "status", status: 429, headers: { "retry-after": "2" } }],
  ["status 408", { kind: "status", status: 408 }],
  ["a part that nobody asked for", { kind: "range", shift: 100 }],
  ["all of it as status 206", { kind: "range", shift: 0 }],
  ["a redirect", { kind: "redirect" }],
  ["a compressed body", { kind: "gzip" }],
  ["a compressed body that is broken", { kind: "gzip", broken: true }],
  ["a slow trickle", { kind: "trickle", parts: 20, pauseMs: 2 }],
  ["a stall before the first byte", { kind: "stall", at: 0 }],
  ["a stall in the middle", { kind: "stall", at: 400 }],
  ["a body without end", { kind: "endless" }],
])("%s, once for each chunk: the right bytes come", async (_, trick) => {
  const given = await bundleOf(2_500);
  server.trick = (path, nth) => (path.includes("chunks") && nth === 0 ? trick : null);
  const store = new MemoryStore();
  const seen: Progress[] = [];
  expect(await load(given, store, { onProgress: (x) => seen.push(x) })).toEqual(given.contents);
  expect(seen.at(-1)).toMatchObject({ loadedBytes: 2_500, totalBytes: 2_500 });
  await expectOnlyRight(store);
});

test.each<[string, string, Trick, number]>([
  ["one bit flipped", "integrity-failed", { kind: "flip", at: 77 }, 2],
  ["a body that is too short", "integrity-failed", { kind: "length", bytes: 10 }, 2],
  ["a body that is too long", "integrity-failed", { kind: "length", bytes: 2_000 }, 2],
  ["an app's start page", "download-failed", { kind: "html" }, 2],
  ["a body without end", "integrity-failed", { kind: "endless" }, 2],
  ["a body that is always cut before its first byte", "download-failed", { kind: "cut", at: 0 }, 5],
  ["status 500", "download-failed", { kind: "status", status: 500 }, 5],
  ["status 404", "download-failed", { kind: "status", status: 404 }, 1],
  ["status 416", "download-failed", { kind: "status", status: 416 }, 1],
  ["status 204, which has no content", "download-failed", { kind: "status", status: 204 }, 1],
  ["a server that wants to be asked in an hour", "download-failed", later(3_600), 1],
  ["a part that nobody asked for", "download-failed", { kind: "range", shift: 100 }, 5],
  ["a stall", "download-failed", { kind: "stall", at: 0 }, 5],
  ["a stall after bytes that were new three times", "download-failed", { kind: "stall", at: 400 }, 7],
])("%s, for ever, ends in %s; nothing of it is stored", async (_, code, trick, requests) => {
  const given = await bundleOf(CHUNK);
  server.trick = (path) => (path.includes("chunks") ? trick : null);
  const store = new MemoryStore();
  expect(await codeOf(load(given, store))).toBe(code);
  expect(server.chunkRequests).toBe(requests);
  expect((await store.names()).filter((x) => x.startsWith("chunk-"))).toEqual([]);
});

function later(seconds: number): Trick {
  return { kind: "status", status: 429, headers: { "retry-after": String(seconds) } };
}

test("an unreachable server is download-failed", async () => {
  const given = await bundleOf(CHUNK);
  server.close();
  expect(await codeOf(load(given))).toBe("download-failed");
});

test("an endless response is cut off at the declared size", async () => {
  const given = await bundleOf(CHUNK);
  server.trick = () => ({ kind: "endless" });
  expect(await codeOf(load(given))).toBe("integrity-failed");
  expect(server.sentBytes).toBeLessThan(64 * 1024 * 1024);
});

test("any failure ends in the right bytes or a typed error, and wrong bytes are never stored", async () => {
  const trick = fc.oneof(
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(CHUNK) }),
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(CHUNK) }),
    fc.record({ kind: fc.constant("length" as const), bytes: fc.nat(2 * CHUNK) }),
    fc.record({
      kind: fc.constant("status" as const),
      status: fc.constantFrom(204, 301, 400, 403, 416, 429, 500, 503),
    }),
    fc.record({ kind: fc.constant("range" as const), shift: fc.nat(CHUNK) }),
    fc.constant<Trick>({ kind: "html" }),
    fc.constant<Trick>({ kind: "gzip" }),
    fc.constant<Trick>({ kind: "gzip", broken: true }),
  );
  const given = await bundleOf(3_500, 1_200);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(trick, { freq: 2 }), { maxLength: 24 }), async (tricks) => {
      server.asked = [];
      let next = 0;
      server.trick = (path) => (path.includes("chunks") ? (tricks[next++] ?? null) : null);
      const store = new MemoryStore();
      const first = await load(given, store).catch((error: unknown) => error);
      if (Array.isArray(first)) expect(first).toEqual(given.contents);
      else expect(["download-failed", "integrity-failed"]).toContain((first as { code: string }).code);
      await expectOnlyRight(store);
      const have = (await store.names()).filter((x) => x.startsWith("chunk-")).length;
      server.trick = () => null;
      server.asked = [];
      expect(await load(given, store)).toEqual(given.contents);
      // By address: a request of the first load may arrive late.
      expect(new Set(server.asked.map((x) => x.path)).size).toBe(6 - have);
    }),
    { numRuns: 60 },
  );
});

test("a chunk that was damaged on the disk is fetched once more", async () => {
  const given = await bundleOf(2_500);
  const store = new MemoryStore();
  await load(given, store);
  const [name] = (await store.names()).filter((x) => x.startsWith("chunk-"));
  const bytes = (await store.read(name as string)) as Uint8Array<ArrayBuffer>;
  bytes[10] = (bytes[10] as number) ^ 1;
  await store.remove(name as string);
  await store.write(name as string, bytes);
  server.asked = [];
  expect(await load(given, store)).toEqual(given.contents);
  expect(server.chunkRequests).toBe(1);
  await expectOnlyRight(store);
});

test("a cancel rejects with the signal's own reason, and requests in flight stop", async () => {
  const given = await bundleOf(2_500);
  const stop = new AbortController();
  const reason = new Error("the user left");
  server.trick = (path) => {
    if (path.includes("chunks")) stop.abort(reason);
    return { kind: "stall", at: 100 };
  };
  await expect(load(given, null, { signal: stop.signal })).rejects.toBe(reason);
});

test("two callers share one download, and one that cancels does not end it for the other", async () => {
  const given = await bundleOf(CHUNK);
  server.trick = () => ({ kind: "trickle", parts: 10, pauseMs: 5 });
  const downloader = new Downloader(hurried, null);
  const stop = new AbortController();
  const first = loadWith(downloader, given, { signal: stop.signal });
  const seen: Progress[] = [];
  const second = loadWith(downloader, given, {
    onProgress: (x) => {
      seen.push(x);
      if (x.loadedBytes > 200) stop.abort(new Error("the first left"));
    },
  });
  await expect(first).rejects.toThrow("the first left");
  expect(await second).toEqual(given.contents);
  expect(seen.at(-1)?.loadedBytes).toBe(CHUNK);
  expect(server.chunkRequests).toBe(1);
});

test("two tabs that start at once download once", async () => {
  const given = await bundleOf(6_500);
  server.trick = () => ({ kind: "trickle", parts: 3, pauseMs: 2 });
  const store: Store = Object.assign(new MemoryStore(), { kind: "opfs" as const });
  const locks = new Locks();
  const tab = (): Downloader => new Downloader({ ...hurried, locks }, new ModelStore(store, () => Date.now()));
  const [a, b] = await Promise.all([loadWith(tab(), given), loadWith(tab(), given)]);
  expect(a).toEqual(given.contents);
  expect(b).toEqual(given.contents);
  expect(server.chunkRequests).toBe(7);
});

test.each([
  ["left", 1],
  ["left and then frozen", 2],
])("a page that is %s releases its locks, and resumes when it is shown again", async (_, times) => {
  const given = await bundleOf(CHUNK);
  const store: Store = Object.assign(new MemoryStore(), { kind: "opfs" as const });
  const locks = new Locks();
  let tell = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    tell = resolve;
  });
  server.trick = (_, nth) => {
    tell();
    return nth === 0 ? { kind: "stall", at: 10 } : null;
  };
  const downloader = new Downloader({ ...hurried, locks }, new ModelStore(store, () => Date.now()));
  const loading = loadWith(downloader, given);
  await asked;
  for (let i = 0; i < times; i += 1) {
    downloader.leave();
    await locks.free();
  }
  expect(server.chunkRequests).toBe(1);
  downloader.back();
  expect(await loading).toEqual(given.contents);
});

test("where there is no room the model is still returned; with mustStore the error names the missing bytes", async () => {
  const given = await bundleOf(CHUNK);
  expect(await load(given, new MemoryStore(500))).toEqual(given.contents);
  const error: unknown = await load(given, new MemoryStore(500), { mustStore: true }).catch((x: unknown) => x);
  expect(error).toMatchObject({ code: "quota-exceeded", details: { missingBytes: CHUNK } });
});

/** Locks as tabs share them: one at a time by name, in order. */
class Locks {
  readonly #last: Map<string, Promise<unknown>> = new Map();

  async request<T>(name: string, options: { signal?: AbortSignal }, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const mine = before
      .catch(() => undefined)
      .then(() => {
        options.signal?.throwIfAborted();
        return work();
      });
    this.#last.set(name, mine);
    return mine;
  }

  async free(): Promise<void> {
    for (const held of this.#last.values()) await held.catch(() => undefined);
  }
}

test("on a slow line a chunk that broke, or whose page died, is resumed where it was", async () => {
  const content = weights(1_000_000, 5);
  const bundle = await serveBundle(server, "/m", { a: content });
  const given = { bundle, identity: "0".repeat(64) };
  const store = new MemoryStore();
  server.trick = (path, nth) =>
    path.includes("chunks") && nth === 0 ? { kind: "trickle", parts: 10, pauseMs: 20 } : null;
  const stop = new AbortController();
  const onProgress = ({ loadedBytes }: Progress): void => {
    if (loadedBytes >= 700_000) stop.abort(new Error("the page died"));
  };
  await expect(load(given, store, { signal: stop.signal, onProgress })).rejects.toThrow("died");
  server.sentBytes = 0;
  const seen: Progress[] = [];
  expect(await load(given, store, { onProgress: (x) => seen.push(x) })).toEqual([content]);
  // By requested bytes: bytes sent to the first load may be counted late.
  expect(Number(/^bytes=(\d+)-$/.exec(server.asked.at(-1)?.range ?? "")?.[1])).toBeGreaterThan(500_000);
  expect(seen.at(-1)).toMatchObject({ loadedBytes: 1_000_000, totalBytes: 1_000_000 });
  expect((await store.names()).filter((x) => x.startsWith("part-"))).toEqual([]);
});

test("on a connection that breaks ten times a chunk arrives, as long as each makes progress (store-onward)", async () => {
  const given = await bundleOf(CHUNK);
  server.trick = (path, nth) => (path.includes("chunks") && nth < 10 ? { kind: "cut", at: 50 } : null);
  expect(await load(given)).toEqual(given.contents);
  expect(server.chunkRequests).toBeGreaterThan(6);
});

test("a server that breaks at the same byte and has no ranges is given up after five requests (store-onward)", async () => {
  const given = await bundleOf(CHUNK);
  for (const [path, file] of server.files)
    if (path.includes("chunks")) server.files.set(path, { ...file, hasRanges: false });
  server.trick = (path) => (path.includes("chunks") ? { kind: "stall", at: 400 } : null);
  expect(await codeOf(load(given))).toBe("download-failed");
  expect(server.chunkRequests).toBe(5);
});

test("a host that answers no range request is asked for the whole, and for no range again", async () => {
  const contents = [weights(1_000, 5), weights(1_000, 6)];
  const bundle = await serveBundle(server, "/m", { a: contents[0] as Bytes, b: contents[1] as Bytes });
  const store = new MemoryStore();
  for (const [i, { chunks }] of (bundle.variants[0]?.files ?? []).entries())
    await store.write(`part-${chunks[0]?.sha256 ?? ""}-0`, (contents[i] as Bytes).slice(0, 300));
  server.trick = () => (server.asked.at(-1)?.range == null ? null : { kind: "cut", at: 0 });
  const downloader = new Downloader(hurried, new ModelStore(store, () => Date.now()));
  expect(await loadWith(downloader, { bundle, identity: "0".repeat(64) })).toEqual(contents);
  expect(server.asked.filter((x) => x.range !== null).length).toBeLessThanOrEqual(2);
  expect(server.chunkRequests).toBeLessThanOrEqual(4);
});

test("stored parts of another file are discarded with the bytes after them", async () => {
  const content = weights(1_000, 5);
  const bundle = await serveBundle(server, "/m", { a: content });
  const sha256 = bundle.variants[0]?.files[0]?.chunks[0]?.sha256 ?? "";
  const store = new MemoryStore();
  await store.write(`part-${sha256}-0`, weights(300, 9));
  expect(await load({ bundle, identity: "0".repeat(64) }, store)).toEqual([content]);
  expect((await store.names()).filter((x) => x.startsWith("part-"))).toEqual([]);
  await expectOnlyRight(store);
});

test("a chunk that another model's server sends wrong comes from the model's own server (store-C3)", async () => {
  const content = weights(CHUNK, 3);
  const bad = await serveBundle(server, "/bad", { a: content });
  const good = await serveBundle(server, "/good", { a: content }, { version: "2" });
  let joined = (): void => undefined;
  const both = new Promise<void>((resolve) => (joined = resolve));
  server.trick = (path) => (path.startsWith("/bad/chunks") ? { kind: "flip", at: 5 } : null);
  const fetchWhenBoth: typeof hurried.fetch = async (url, init) => {
    if (url.includes("/bad/chunks")) await both;
    return fetch(url, init);
  };
  const downloader = new Downloader({ ...hurried, fetch: fetchWhenBoth }, null);
  const filesOf = (folder: string, bundle: Bundle, onProgress?: (x: Progress) => void): Promise<Blob[]> =>
    downloader.files(
      { url: `${server.url}/${folder}/bundle.json`, identity: folder, format: 2 },
      bundle.variants[0]?.files ?? [],
      {
        signal: idle,
        onProgress,
      },
    );
  const failing = codeOf(filesOf("bad", bad));
  await new Promise((resolve) => setImmediate(resolve));
  const seen: Progress[] = [];
  const coming = filesOf("good", good, (x) => seen.push(x));
  await new Promise((resolve) => setImmediate(resolve));
  joined();
  const [blob] = await coming;
  expect(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer())).toEqual(content);
  expect(seen.at(-1)).toMatchObject({ loadedBytes: CHUNK, totalBytes: CHUNK });
  expect(await failing).toBe("integrity-failed");
  expect(server.asked.filter((x) => x.path.startsWith("/good/chunks")).length).toBe(1);
});

test("the wait for a chunk's lock that is never released is bounded (store-C7)", async () => {
  const given = await bundleOf(2_500);
  const store: Store = Object.assign(new MemoryStore(), { kind: "opfs" as const });
  const locks = new SharedLocks();
  for (const { sha256 } of given.bundle.variants[0]?.files[0]?.chunks ?? [])
    void locks.request(`selvedge/${sha256}`, {}, () => new Promise(() => undefined));
  const downloader = new Downloader({ ...hurried, locks }, new ModelStore(store, () => Date.now()));
  expect(await loadWith(downloader, given)).toEqual(given.contents);
});

test("a tab waits as long as another one makes progress with a chunk (store-C7)", async () => {
  const given = await bundleOf(CHUNK);
  const memory = new MemoryStore();
  const store: Store = Object.assign(memory, { kind: "opfs" as const });
  const locks = new SharedLocks();
  const [chunk] = given.bundle.variants[0]?.files[0]?.chunks ?? [];
  const sha256 = chunk?.sha256 ?? "";
  const timers: (() => void)[] = [];
  let free = (): void => undefined;
  void locks.request(`selvedge/${sha256}`, {}, () => new Promise<void>((resolve) => (free = resolve)));
  const patience = 20_000;
  const effects = {
    ...hurried,
    locks,
    setTimer: (callback: () => void, ms: number) => {
      if (ms !== patience) return hurried.setTimer(callback, ms);
      timers.push(callback);
      return () => undefined;
    },
  };
  const loading = loadWith(new Downloader(effects, new ModelStore(store, () => Date.now())), given);
  for (let i = 0; i < 5; i += 1) {
    while (timers.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await memory.write(`part-${sha256}-${i}`, new Uint8Array(1));
    timers.shift()?.();
  }
  while (timers.length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(server.chunkRequests).toBe(0);
  for (let i = 0; i < 5; i += 1) await memory.remove(`part-${sha256}-${i}`);
  await memory.write(`chunk-${sha256}-${CHUNK}`, given.contents[0] as Bytes);
  free();
  expect(await loading).toEqual(given.contents);
  expect(server.chunkRequests).toBe(0);
});

describe.each(["br", "gzip"] as const)("chunks that are stored with %s", (encoding) => {
  const words = (size: number): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(weights(size), (x, i) => (i % 2 === 0 ? 0 : x));

  async function encoded(): Promise<Given & { contents: Uint8Array; wireBytes: number }> {
    const contents = words(3 * CHUNK);
    const bundle = await serveBundle(server, "/m", { "m.onnx": contents }, { chunkBytes: CHUNK, encoding });
    const identity = await identityOf(bundleJson(bundle));
    const chunks = bundle.variants[0]?.files[0]?.chunks ?? [];
    expect(chunks.every((x) => x.encoding === encoding)).toBe(true);
    return { bundle, identity, contents, wireBytes: chunks.reduce((sum, x) => sum + (x.wireBytes ?? 0), 0) };
  }

  test("are returned expanded, stored expanded, and count as sent", async () => {
    const given = await encoded();
    const store = new MemoryStore();
    const seen: Progress[] = [];
    const [first] = await load(given, store, { onProgress: (x) => seen.push(x) });
    expect(Buffer.compare(first ?? Buffer.of(), given.contents)).toBe(0);
    expect(seen.at(-1)).toMatchObject({ loadedBytes: given.wireBytes, totalBytes: given.wireBytes });
    expect(server.sentBytes).toBe(given.wireBytes);
    const names = (await store.names()).filter((x) => x.startsWith("chunk-"));
    expect(names.map((x) => Number(x.split("-")[2])).sort()).toEqual([CHUNK, CHUNK, CHUNK]);
    server.close();
    const [again] = await load(given, store, { onProgress: (x) => seen.push(x) });
    expect(Buffer.compare(again ?? Buffer.of(), given.contents)).toBe(0);
    expect(seen.at(-1)).toMatchObject({ loadedBytes: given.wireBytes, cachedBytes: given.wireBytes });
  });

  /** The server labels the chunks with their encoding, so that `fetch` expands them. */
  function label(): void {
    for (const [path, file] of server.files) if (path.includes("chunks")) server.files.set(path, { ...file, encoding });
  }

  test("are right where the server labels them, so that they arrive expanded (store-labelled)", async () => {
    const given = await encoded();
    label();
    const store = new MemoryStore();
    const seen: Progress[] = [];
    const [first] = await load(given, store, { onProgress: (x) => seen.push(x) });
    expect(Buffer.compare(first ?? Buffer.of(), given.contents)).toBe(0);
    expect(server.chunkRequests).toBe(3);
    expect(seen.at(-1)).toMatchObject({ loadedBytes: given.wireBytes, totalBytes: given.wireBytes });
    expect(seen.every((x) => x.loadedBytes <= given.wireBytes)).toBe(true);
    await expectOnlyRight(store);
    for (const kind of ["flip", "cut"] as const) {
      server.asked = [];
      server.trick = (path, nth) => (path.includes("chunks") && nth === 0 ? { kind, at: 100 } : null);
      const [again] = await load(given);
      expect(Buffer.compare(again ?? Buffer.of(), given.contents)).toBe(0);
    }
  });

  test("that arrive expanded are refused where they are wrong or too long (store-labelled)", async () => {
    const given = await encoded();
    const compress = encoding === "br" ? brotliCompressSync : gzipSync;
    for (const wrong of [weights(CHUNK, 9), words(CHUNK + 1), words(CHUNK - 1), new Uint8Array(2 ** 24)]) {
      for (const [path] of server.files)
        if (path.includes("chunks")) server.files.set(path, { bytes: new Uint8Array(compress(wrong)), encoding });
      const store = new MemoryStore();
      expect(await codeOf(load(given, store))).toBe("integrity-failed");
      expect((await store.names()).filter((x) => x.startsWith("chunk-"))).toEqual([]);
    }
  });

  test("count for two models in the bytes that each declares, with a shared download or without (store-joined)", async () => {
    const given = await encoded();
    const plainOf = ({ sha256, bytes }: BundleChunk): BundleChunk => ({ sha256, bytes });
    const variants = given.bundle.variants.map((x) => ({
      ...x,
      files: x.files.map((file) => ({ ...file, chunks: file.chunks.map(plainOf) })),
    }));
    const other = { bundle: { ...given.bundle, variants }, identity: "0".repeat(64) };
    const due = [given.wireBytes, 3 * CHUNK];
    for (const order of [0, 1]) {
      server.trick = (path) => (path.includes("chunks") ? { kind: "trickle", parts: 5, pauseMs: 2 } : null);
      // The plain model's chunks are the same addresses here, so only the first one's flight can succeed.
      const downloader = new Downloader(hurried, null);
      const seen: Progress[][] = [[], []];
      if (order === 1)
        for (const [i, bytes] of [...chunkEntries(given.bundle, given.contents)]) server.files.set(i, { bytes });
      const loads = [given, other].map(
        (x, i) => () => loadWith(downloader, x, { onProgress: (y) => seen[i]?.push(y) }),
      );
      if (order === 1) loads.reverse();
      for (const [contents] of await Promise.all(loads.map((start) => start())))
        expect(Buffer.compare(contents ?? Buffer.of(), given.contents)).toBe(0);
      for (const [i, progress] of seen.entries()) {
        expect(progress.every((x) => x.loadedBytes <= (due[i] ?? 0))).toBe(true);
        expect(progress.at(-1)).toMatchObject({ loadedBytes: due[i], totalBytes: due[i] });
      }
    }
  });

  test("are resumed where a connection broke, and are fetched again where they are damaged", async () => {
    const given = await encoded();
    server.trick = (path, nth) => (path.includes("chunks") && nth === 0 ? { kind: "cut", at: 100 } : null);
    const [first] = await load(given);
    expect(Buffer.compare(first ?? Buffer.of(), given.contents)).toBe(0);
    server.asked = [];
    server.trick = (path, nth) => (path.includes("chunks") && nth === 0 ? { kind: "flip", at: 50 } : null);
    const [second] = await load(given);
    expect(Buffer.compare(second ?? Buffer.of(), given.contents)).toBe(0);
    server.trick = (path) => (path.includes("chunks") ? { kind: "flip", at: 50 } : null);
    expect(await codeOf(load(given))).toBe("integrity-failed");
  });
});

test.each([undefined, "gzip"] as const)(
  "the connection of a chunk that is too long is closed, encoding %s (store-leak)",
  async (encoding) => {
    const content = weights(CHUNK);
    server.files.set("/chunk", { bytes: content });
    server.trick = () => ({ kind: "endless" });
    const chunk = { sha256: await sha256Hex(content), bytes: CHUNK, ...(encoding && { encoding, wireBytes: 500 }) };
    const connections: (AbortSignal | null | undefined)[] = [];
    const effects = {
      ...hurried,
      fetch: (url: string, init: RequestInit) => {
        connections.push(init.signal);
        return hurried.fetch(url, init);
      },
    };
    const options = { effects, modelStore: null, signal: idle, ranges: { areGiven: true }, report: () => undefined };
    expect(await codeOf(fetchChunk(`${server.url}/chunk`, chunk, options))).toBe("integrity-failed");
    expect(connections.map((x) => x?.aborted)).toEqual([true, true]);
  },
);
