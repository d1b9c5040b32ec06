// Bare models from a real HTTP server that misbehaves: resumed where a connection broke, never mixed from two files.
// Chunks here are a quarter as large: the time of a test is that of its bytes. e2e/specs/storage downloads whole ones.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { canonicalJson, CHUNK_MAX_BYTES, sha256Hex } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { bareBytes, fetchBare } from "./bare-model.ts";
import { Downloader } from "./download.ts";
import { weights, criteriaFor } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried } from "../test-support/fake-network.ts";
import type { ServedFile, Trick } from "../test-support/fake-network.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Progress } from "./messages.ts";
import { open } from "./open.ts";
import { ModelStore } from "./model-store.ts";
import type { Store } from "./stores/store.ts";
import { update } from "./update.ts";

vi.mock(import("../core/bundle.ts"), async (original) => ({ ...(await original()), CHUNK_MAX_BYTES: 2 ** 20 }));

const SIZE = 2 * CHUNK_MAX_BYTES + 500_000;
const OLD = weights(SIZE, 1);
const NEW = weights(SIZE, 2);
const PATH = "/model.onnx";

let server: BadServer;
let now = 1_000;

beforeEach(async () => {
  server = await BadServer.start();
  server.files.set(PATH, { bytes: OLD, etag: '"old"' });
});

afterEach(() => {
  server.close();
});

interface Loaded {
  readonly hash: string;
  readonly identity: string;
  readonly last: Progress | undefined;
}

/** Loads as a new page would, over the store of earlier pages. */
async function load(store: Store | null, signal: AbortSignal = new AbortController().signal): Promise<Loaded> {
  const seen: Progress[] = [];
  const downloader = new Downloader(hurried, store === null ? null : new ModelStore(store, () => now++));
  const options = { signal, onProgress: (x: Progress) => seen.push(x) };
  const { identity, data } = await fetchBare(server.url + PATH, downloader, options);
  return { identity, hash: await sha256Hex(await data.arrayBuffer()), last: seen.at(-1) };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? error.code : String(error);
}

/** Begins a load in a page that dies after so many bytes of the body. */
async function dieAfter(store: Store, bytes: number): Promise<void> {
  server.trick = (_, nth) => (nth === 0 ? { kind: "stall", at: bytes } : { kind: "status", status: 404 });
  const stop = new AbortController();
  const downloader = new Downloader(hurried, new ModelStore(store, () => now++));
  const onProgress = ({ loadedBytes }: Progress): void => {
    if (loadedBytes >= bytes) stop.abort(new Error("the page died"));
  };
  await expect(fetchBare(server.url + PATH, downloader, { signal: stop.signal, onProgress })).rejects.toThrow("died");
  server.trick = () => null;
  server.asked = [];
  server.sentBytes = 0;
}

const ranges = (): (string | null)[] => server.asked.map((x) => x.range);

test("it comes whole, and the next page asks only whether it is still the same", async () => {
  const store = new MemoryStore();
  const first = await load(store);
  expect(first.hash).toBe(await sha256Hex(OLD));
  expect(first.last).toMatchObject({ loadedBytes: SIZE, totalBytes: SIZE, cachedBytes: 0, secondsLeft: 0 });
  server.asked = [];
  const second = await load(store);
  expect(second).toMatchObject({ hash: first.hash, identity: first.identity });
  expect(second.last).toMatchObject({ loadedBytes: SIZE, cachedBytes: SIZE });
  expect(server.asked).toEqual([{ method: "HEAD", path: PATH, range: null }]);
});

test("its identity is that of the same bytes from elsewhere", async () => {
  const { identity } = await load(null);
  expect((await bareBytes(new Blob([OLD]))).identity).toBe(identity);
  expect((await bareBytes(new Blob([NEW]))).identity).not.toBe(identity);
});

test("texts in place of a model are refused, and a bundle's description names the way to load it", async () => {
  const description = `{ "schema": "selvedge/bundle@2", "variants": [] }${" ".repeat(600)}`;
  await expect(bareBytes(new File([description], "bundle.json"))).rejects.toMatchObject({
    ...{ code: "model-invalid", details: { reason: "text" } },
    message: expect.stringMatching(
      /^bundle\.json is the description of a bundle,.* pass the URL of its bundle\.json\.$/,
    ) as string,
  });
  // As it is written: sorted by name, so that the name of its schema comes late.
  const written = { schema: "selvedge/bundle@2", model: { description: "A model of words. ".repeat(40) } };
  for (const json of [written, { ...written, assets: [{ path: "a.txt", bytes: 1, chunks: [] }] }])
    await expect(bareBytes(new Blob([canonicalJson(json)]))).rejects.toThrow("the description of a bundle");
  await expect(bareBytes(new Blob(["hello"]))).rejects.toMatchObject({
    ...{ code: "model-invalid", details: { reason: "text" } },
    message: expect.stringContaining("is a text file") as string,
  });
  server.files.set(PATH, { bytes: new TextEncoder().encode(description), etag: '"text"' });
  await expect(load(null)).rejects.toMatchObject({
    ...{ code: "model-invalid", details: { reason: "text" } },
    message: expect.stringContaining("the description of a bundle") as string,
  });
});

test("a changed file is fetched anew", async () => {
  const store = new MemoryStore();
  await load(store);
  server.files.set(PATH, { bytes: NEW, etag: '"new"' });
  expect((await load(store)).hash).toBe(await sha256Hex(NEW));
});

test("without a network the stored one is used", async () => {
  const store = new MemoryStore();
  const { hash } = await load(store);
  server.close();
  expect((await load(store)).hash).toBe(hash);
  expect(await codeOf(load(new MemoryStore()))).toBe("download-failed");
});

test("a model from a server without validators is used at once, and checked past its freshness", async () => {
  const store = new MemoryStore();
  const { signal } = new AbortController();
  const visit = async (mustFetch = false): Promise<{ hash: string; mustCheck: boolean | undefined }> => {
    const page = new Downloader(hurried, new ModelStore(store, () => now++));
    const { data, mustCheck } = await fetchBare(server.url + PATH, page, { signal, onProgress: undefined }, mustFetch);
    return { hash: await sha256Hex(await data.arrayBuffer()), mustCheck };
  };
  server.files.set(PATH, { bytes: OLD });
  server.headers = { "cache-control": "max-age=60" };
  const old = await visit();
  server.asked = [];
  expect(await visit()).toEqual({ hash: old.hash, mustCheck: false });
  server.headers = {};
  await visit(true);
  server.files.set(PATH, { bytes: NEW });
  server.asked = [];
  expect(await visit()).toEqual({ hash: old.hash, mustCheck: true });
  expect(server.asked).toEqual([]);
  const page = new Downloader(hurried, new ModelStore(store, () => now++));
  const updated = await update(server.url + PATH, criteriaFor(), page, { signal, onProgress: undefined });
  expect(updated).toMatchObject({ isNew: true, fetchedBytes: SIZE });
  expect((await visit()).hash).toBe(await sha256Hex(NEW));
  expect(await update(server.url + PATH, criteriaFor(), page, { signal, onProgress: undefined })).toMatchObject({
    isNew: false,
  });
});

test("a weak validator suffices to use the stored model", async () => {
  const store = new MemoryStore();
  server.files.set(PATH, { bytes: OLD, etag: 'W/"1"' });
  await load(store);
  server.asked = [];
  await load(store);
  expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
});

test("a stored model that is damaged is fetched again", async () => {
  const store = new MemoryStore();
  const { hash } = await load(store);
  const [name] = (await store.names()).filter((x) => x.startsWith("chunk-"));
  const bytes = (await store.read(name as string)) as Uint8Array<ArrayBuffer>;
  bytes[7] = (bytes[7] as number) ^ 4;
  await store.remove(name as string);
  await store.write(name as string, bytes);
  expect((await load(store)).hash).toBe(hash);
});

test.each([1, CHUNK_MAX_BYTES - 1, CHUNK_MAX_BYTES, CHUNK_MAX_BYTES + 1, 2 * CHUNK_MAX_BYTES, SIZE - 1])(
  "a connection that breaks after %d bytes is taken up there",
  async (at) => {
    server.trick = (_, nth) => (nth === 0 ? { kind: "cut", at } : null);
    const { hash, last } = await load(new MemoryStore());
    expect(hash).toBe(await sha256Hex(OLD));
    expect(last).toMatchObject({ loadedBytes: SIZE, totalBytes: SIZE });
    const [first, second] = ranges();
    expect(first).toBeNull();
    // A connection may lose the contents of the system's buffers, no more.
    const from = Number(/^bytes=(\d+)-\d+$/.exec(second ?? "bytes=0-0")?.[1]);
    expect(from).toBeLessThanOrEqual(at);
  },
);

test("on a connection that breaks ten times it still arrives, as long as each makes progress", async () => {
  server.trick = (_, nth) => (nth < 10 ? { kind: "cut", at: 150_000 } : null);
  expect((await load(null)).hash).toBe(await sha256Hex(OLD));
});

test.each([10, CHUNK_MAX_BYTES + 10, 2 * CHUNK_MAX_BYTES + 10])(
  "a page that dies after %d bytes loses less than a chunk",
  async (at) => {
    const store = new MemoryStore();
    await dieAfter(store, at);
    const { hash, last } = await load(store);
    expect(hash).toBe(await sha256Hex(OLD));
    const kept = Math.floor(at / CHUNK_MAX_BYTES) * CHUNK_MAX_BYTES;
    expect(server.sentBytes).toBe(SIZE - kept);
    expect(last).toMatchObject({ loadedBytes: SIZE, cachedBytes: kept });
    expect((await store.names()).filter((x) => x.startsWith("draft-"))).toEqual([]);
  },
);

test("a captive portal's page does not discard what an earlier page has downloaded (store-portal-draft)", async () => {
  const store = new MemoryStore();
  await dieAfter(store, CHUNK_MAX_BYTES + 10);
  server.trick = () => ({ kind: "html" });
  expect(await codeOf(load(store))).toBe("model-invalid");
  server.trick = () => null;
  server.sentBytes = 0;
  expect((await load(store)).hash).toBe(await sha256Hex(OLD));
  expect(server.sentBytes).toBe(SIZE - CHUNK_MAX_BYTES);
});

test("a file that changed between two pages is downloaded anew", async () => {
  const store = new MemoryStore();
  await dieAfter(store, CHUNK_MAX_BYTES + 10);
  server.files.set(PATH, { bytes: NEW, etag: '"new"' });
  expect((await load(store)).hash).toBe(await sha256Hex(NEW));
});

test("a file that changes while it comes is downloaded anew, even where the server ignores the condition", async () => {
  for (const shorter of [NEW, NEW.slice(0, 100_000)]) {
    server.files.set(PATH, { bytes: OLD, etag: '"old"' });
    server.asked = [];
    server.trick = (_, nth) => {
      if (nth !== 0) return null;
      setImmediate(() => server.files.set(PATH, { bytes: shorter, etag: '"new"' }));
      return { kind: "cut", at: CHUNK_MAX_BYTES + 5 };
    };
    expect((await load(new MemoryStore())).hash).toBe(await sha256Hex(shorter));
  }
});

test("a server without ranges is asked from the beginning", async () => {
  server.files.set(PATH, { bytes: OLD, etag: '"old"', hasRanges: false });
  server.trick = (_, nth) => (nth === 0 ? { kind: "cut", at: 800_000 } : null);
  const { hash, last } = await load(new MemoryStore());
  expect(hash).toBe(await sha256Hex(OLD));
  expect(last).toMatchObject({ loadedBytes: SIZE, totalBytes: SIZE });
});

test("a range that begins at another byte than requested is not used", async () => {
  server.trick = (_, nth) =>
    nth === 0 ? { kind: "cut", at: 800_000 } : nth === 1 ? { kind: "range", shift: -4_096 } : null;
  expect((await load(new MemoryStore())).hash).toBe(await sha256Hex(OLD));
});

test.each<[string, Trick]>([
  ["a compressed body", { kind: "gzip" }],
  ["a redirect", { kind: "redirect" }],
  ["status 503", { kind: "status", status: 503 }],
  ["a stall", { kind: "stall", at: 100_000 }],
  ["a slow trickle", { kind: "trickle", parts: 20, pauseMs: 2 }],
])("%s once: the right bytes come", async (_, trick) => {
  server.trick = (_path, nth) => (nth === 0 ? trick : null);
  expect((await load(new MemoryStore())).hash).toBe(await sha256Hex(OLD));
});

test.each<[string, string, Trick]>([
  ["an HTML page", "model-invalid", { kind: "html" }],
  ["an empty file", "model-invalid", { kind: "length", bytes: 0 }],
  ["status 404", "download-failed", { kind: "status", status: 404 }],
  ["status 500 for ever", "download-failed", { kind: "status", status: 500 }],
  ["a stall for ever", "download-failed", { kind: "stall", at: 0 }],
  ["a broken compression", "download-failed", { kind: "gzip", broken: true }],
])("%s ends in %s", async (_, code, trick) => {
  server.trick = () => trick;
  const store = new MemoryStore();
  expect(await codeOf(load(store))).toBe(code);
  expect((await store.names()).filter((x) => x.startsWith("bundle-"))).toEqual([]);
});

test.each<[number, Trick]>([
  [501, { kind: "status", status: 501 }],
  [505, { kind: "status", status: 505 }],
  [206, { kind: "range", shift: 4_096 }],
])("status %d is refused at once, since waiting does not change it", async (status, trick) => {
  server.trick = () => trick;
  for (const path of [PATH, "/model/bundle.json"]) {
    server.files.set(path, { bytes: OLD });
    const url = `${server.url}${path}`;
    const signal = new AbortController().signal;
    const loading = open(url, criteriaFor(), new Downloader(hurried, null), { signal, onProgress: undefined });
    await expect(loading, path).rejects.toMatchObject({
      ...{ code: "download-failed", retryable: false, details: { url, status, reason: "refused" } },
      message: expect.stringContaining(`answered with status ${status}.`) as string,
    });
  }
  expect(server.asked).toHaveLength(2);
});

test("status 206 with all of the file is taken as 200", async () => {
  server.trick = () => ({ kind: "range", shift: 0 });
  expect((await load(new MemoryStore())).hash).toBe(await sha256Hex(OLD));
  expect(server.asked).toHaveLength(1);
});

test("a URL with a user name or a password is refused at once, without showing them", async () => {
  const { host } = new URL(server.url);
  for (const path of [PATH, "/model/bundle.json", "/owner/name/"])
    for (const secret of ["me:secret", "me", ":secret"]) {
      const options = { signal: new AbortController().signal, onProgress: undefined };
      const loading = open(`http://${secret}@${host}${path}`, criteriaFor(), new Downloader(hurried, null), options);
      await expect(loading).rejects.toMatchObject({
        ...{ code: "download-failed", retryable: false, details: { reason: "credentials" } },
        message: expect.stringMatching(
          /a user name or a password in it.*Take them out.*pass its bytes.*A bundle is loaded by its URL alone/,
        ) as string,
      });
      await expect(loading).rejects.not.toThrow(/secret|me[:@]/);
    }
  expect(server.asked).toEqual([]);
});

test("a model larger than the available space is returned all the same", async () => {
  const { hash } = await load(new MemoryStore(CHUNK_MAX_BYTES + 1_000));
  expect(hash).toBe(await sha256Hex(OLD));
});

const LARGE = weights(6 * CHUNK_MAX_BYTES + 700_000, 3);
/** The first answer ends in the third chunk. */
const CUT: Trick = { kind: "cut", at: 2.5 * CHUNK_MAX_BYTES };

/** Serves a file of seven chunks from a server that announces ranges. */
function serveLarge(more: Partial<ServedFile> = {}): void {
  server.files.set(PATH, { bytes: LARGE, etag: '"large"', saysRanges: true, ...more });
}

/** Number of bytes requested by ranges. */
function bytesOf(asked: readonly (string | null)[]): number {
  const found = asked.map((x) => /^bytes=(\d+)-(\d+)$/.exec(x ?? "") ?? []);
  return found.reduce((sum, [, from, to]) => sum + Number(to) - Number(from) + 1, 0);
}

test("one request fetches it, and no byte is sent twice", async () => {
  serveLarge();
  server.trick = () => ({ kind: "trickle", parts: 20, pauseMs: 3 });
  const { hash, last } = await load(new MemoryStore());
  expect(hash).toBe(await sha256Hex(LARGE));
  expect(last).toMatchObject({ loadedBytes: LARGE.length, totalBytes: LARGE.length, cachedBytes: 0 });
  expect(ranges()).toEqual([null]);
});

test.each([0.05, 0.5, 0.97])("a download that dies after %d of the file loses a chunk at the most", async (part) => {
  serveLarge();
  const store = new MemoryStore();
  server.trick = () => ({ kind: "trickle", parts: 30, pauseMs: 2 });
  const stop = new AbortController();
  const downloader = new Downloader(hurried, new ModelStore(store, () => now++));
  let had = 0;
  const onProgress = ({ loadedBytes }: Progress): void => {
    had = loadedBytes;
    if (loadedBytes >= part * LARGE.length) stop.abort(new Error("the page died"));
  };
  await expect(fetchBare(server.url + PATH, downloader, { signal: stop.signal, onProgress })).rejects.toThrow("died");
  server.trick = () => null;
  server.asked = [];
  const { hash, last } = await load(store);
  expect(hash).toBe(await sha256Hex(LARGE));
  expect(last).toMatchObject({ loadedBytes: LARGE.length, totalBytes: LARGE.length });
  // Nothing was stored of a first chunk in flight: the whole file is requested then.
  if (ranges().includes(null)) expect(had).toBeLessThan(CHUNK_MAX_BYTES + LARGE.length / 30);
  else expect(bytesOf(ranges()) - (LARGE.length - had)).toBeLessThanOrEqual(CHUNK_MAX_BYTES);
  expect((await store.names()).filter((x) => x.startsWith("draft-"))).toEqual([]);
});

test.each<[string, Trick]>([
  ["a cut", { kind: "cut", at: 250_000 }],
  ["a stall", { kind: "stall", at: 250_000 }],
  ["a part that begins elsewhere", { kind: "range", shift: -4_096 }],
  ["an app's start page", { kind: "html" }],
  ["status 416", { kind: "status", status: 416 }],
  ["status 429 with a time", { kind: "status", status: 429, headers: { "retry-after": "1" } }],
  ["status 500", { kind: "status", status: 500 }],
  ["a redirect", { kind: "redirect" }],
  ["a part that is too short", { kind: "length", bytes: 100 }],
  ["a part that is too long", { kind: "length", bytes: CHUNK_MAX_BYTES + 1 }],
])("%s of a part: the right bytes come", async (_, trick) => {
  serveLarge();
  server.trick = (_path, nth) => (nth === 0 ? CUT : nth === 2 ? trick : null);
  const { hash, last } = await load(new MemoryStore());
  expect(hash).toBe(await sha256Hex(LARGE));
  expect(last).toMatchObject({ loadedBytes: LARGE.length, totalBytes: LARGE.length });
});

test("a file that changes between its parts is downloaded anew, and never mixed", async () => {
  serveLarge();
  const next = weights(LARGE.length, 4);
  server.trick = (_, nth) => {
    if (nth === 2) serveLarge({ bytes: next, etag: '"next"' });
    return nth === 0 ? CUT : { kind: "trickle", parts: 10, pauseMs: 2 };
  };
  expect((await load(new MemoryStore())).hash).toBe(await sha256Hex(next));
});

test("a server that says that it has ranges and has none is asked once more, for the whole", async () => {
  serveLarge({ hasRanges: false });
  server.trick = (_, nth) => (nth === 0 ? CUT : null);
  const { hash } = await load(new MemoryStore());
  expect(hash).toBe(await sha256Hex(LARGE));
  expect(ranges().filter((x) => x === null)).toHaveLength(2);
  expect(server.asked).toHaveLength(3);
});

test("a file whose declared size exceeds the limit is refused before a byte is read (store-C2)", async () => {
  for (const size of [5 * 1024 ** 3, 1024 ** 5]) {
    const store = new MemoryStore();
    let read = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          read += 1;
          controller.enqueue(new Uint8Array(65_536));
        },
      },
      { highWaterMark: 0 },
    );
    const answer = (): Promise<Response> =>
      Promise.resolve(new Response(body, { headers: { "content-length": String(size), etag: '"1"' } }));
    const downloader = new Downloader({ ...hurried, fetch: answer }, new ModelStore(store, () => now++));
    const options = { signal: new AbortController().signal, onProgress: undefined };
    expect(await codeOf(fetchBare(server.url + PATH, downloader, options))).toBe("download-failed");
    expect(read).toBe(0);
    expect(await store.names()).toEqual([]);
  }
});

test("a stored model is used where the server announces a new one and does not send it (store-A1)", async () => {
  const store = new MemoryStore();
  const first = await load(store);
  server.files.set(PATH, { bytes: NEW, etag: '"new"' });
  let asked = 0;
  server.trick = () => (server.asked.at(-1)?.method === "GET" && ++asked > 0 ? { kind: "status", status: 503 } : null);
  expect((await load(store)).hash).toBe(first.hash);
  expect(asked).toBeGreaterThan(0);
  server.trick = () => null;
  expect((await load(store)).hash).toBe(await sha256Hex(NEW));
});

test.each([
  ["a login page", "text/html", "<html><body>Please log in</body></html>"],
  ["a page that begins with a comment", "text/html", "\uFEFF<!-- portal -->\n<html></html>"],
  ["a text", "text/plain", "You have to log in."],
  ["an error in JSON", "application/json", '{"error":"login"}'],
  ["nothing", "application/octet-stream", ""],
])("a stored model is used where a network sends %s in its place (store-portal)", async (_, type, body) => {
  const store = new MemoryStore();
  const portal: ServedFile = { bytes: new TextEncoder().encode(body), etag: '"portal"', saysRanges: true, type };
  server.files.set(PATH, portal);
  expect(await codeOf(load(store))).toBe("model-invalid");
  expect((await store.names()).filter((x) => x.startsWith("chunk-"))).toEqual([]);
  server.files.set(PATH, { bytes: OLD, etag: '"old"' });
  const first = await load(store);
  server.files.set(PATH, portal);
  for (let page = 0; page < 2; page += 1) expect((await load(store)).hash).toBe(first.hash);
  server.files.set(PATH, { bytes: OLD, etag: '"old"' });
  server.asked = [];
  expect((await load(store)).hash).toBe(first.hash);
  expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
});

test.each([401, 403, 404])("a stored model is used where its server answers %d (store-denied)", async (status) => {
  const store = new MemoryStore();
  const { hash } = await load(store);
  server.trick = () => ({ kind: "status", status });
  expect((await load(store)).hash).toBe(hash);
  expect(await codeOf(load(new MemoryStore()))).toBe("download-failed");
  server.trick = () => ({ kind: "status", status: 410 });
  expect(await codeOf(load(store))).toBe("download-failed");
});

test("a stored model is not evicted while it is revalidated (store-bare-use)", async () => {
  const room = 2 * SIZE + 100_000;
  const store = new MemoryStore(room);
  const first = await load(store);
  server.files.set("/other.onnx", { bytes: weights(room - 1_000_000, 3), etag: '"other"' });
  let others = 0;
  // Each answer for the model waits until another model was loaded that needs its room; no timer ends that wait.
  const fetchSlowly: typeof hurried.fetch = async (url, init) => {
    if (!url.endsWith(PATH)) return fetch(url, init);
    await fetchBare(`${server.url}/other.onnx`, downloader, options);
    others += 1;
    return new Response("", { status: 404 });
  };
  const effects = { ...hurried, fetch: fetchSlowly, setTimer: () => () => undefined };
  const downloader = new Downloader(effects, new ModelStore(store, () => now++));
  const options = { signal: new AbortController().signal, onProgress: undefined };
  const { data } = await fetchBare(server.url + PATH, downloader, options);
  expect(await sha256Hex(await data.arrayBuffer())).toBe(first.hash);
  expect(others).toBeGreaterThan(0);
});

test("a stored model is evicted for its newer version once that is whole (store-bare-use)", async () => {
  const store = new MemoryStore(SIZE + 100_000);
  await load(store);
  server.files.set(PATH, { bytes: NEW, etag: '"new"' });
  const second = await load(store);
  server.asked = [];
  expect((await load(store)).hash).toBe(second.hash);
  expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
});
