// Labels from an address: fetched, stored for pages without a network, and what is said where they are none.
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, serveBundle } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { fetchLabels } from "./fetch-labels.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import { ModelStore } from "./model-store.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes } from "./stores/store.ts";
import { update } from "./update.ts";

const MAX_BYTES = 4 * 1024 * 1024;
const idle = new AbortController().signal;
const bytesOf = (text: string): Bytes => new Uint8Array(Buffer.from(text));

let server: BadServer;
let store: MemoryStore;
let url: string;
let clock: number;

beforeEach(async () => {
  server = await BadServer.start();
  store = new MemoryStore();
  clock = 0;
  url = `${server.url}/labels.txt`;
  server.files.set("/labels.txt", { bytes: bytesOf("cat\ndog\n") });
});

afterEach(() => {
  server.close();
});

/** The downloader of a new page. */
const page = (more: Partial<DownloadEffects> = {}, kept: MemoryStore | null = store): Downloader =>
  new Downloader({ ...hurried, ...more }, kept === null ? null : new ModelStore(kept, () => (clock += 1)));

const stall = (): void => {
  server.trick = () => ({ kind: "stall", at: 1 });
};

test("labels are fetched, and stored as one chunk under their address", async () => {
  expect(await fetchLabels(url, page(), idle)).toEqual(["cat", "dog"]);
  const [bundle] = (await page().modelStore?.bundles()) ?? [];
  expect(bundle).toMatchObject({ urls: [url], bytes: 8, variants: ["model"] });
  expect(server.asked).toHaveLength(1);
});

test("the browser's own copy is revalidated", async () => {
  const modes: (RequestCache | undefined)[] = [];
  const downloader = page({
    fetch: (to, init) => {
      modes.push(init.cache);
      return fetch(to, init);
    },
  });
  await fetchLabels(url, downloader, idle);
  expect(modes).toEqual(["no-cache"]);
});

test("the server's labels are used wherever it answers, and then stored in place of the earlier ones", async () => {
  await fetchLabels(url, page(), idle);
  server.files.set("/labels.txt", { bytes: bytesOf("cow\n") });
  expect(await fetchLabels(url, page(), idle)).toEqual(["cow"]);
  server.close();
  expect(await fetchLabels(url, page(), idle)).toEqual(["cow"]);
});

test("while the server is away, stored labels are used after one attempt, and count as used", async () => {
  await fetchLabels(url, page(), idle);
  const before = (await page().modelStore?.bundles())?.[0]?.usedMs ?? 0;
  server.trick = () => ({ kind: "status", status: 503 });
  expect(await fetchLabels(url, page(), idle)).toEqual(["cat", "dog"]);
  expect(server.asked).toHaveLength(2);
  expect((await page().modelStore?.bundles())?.[0]?.usedMs).toBeGreaterThan(before);
});

test("without stored labels, a server that is away is asked five times, and the error names the option", async () => {
  server.trick = () => ({ kind: "status", status: 503 });
  await expect(fetchLabels(url, page(), idle)).rejects.toMatchObject({
    code: "download-failed",
    message: `labels: ${url} answered with status 503.`,
    details: { url, status: 503, reason: "server" },
  });
  expect(server.asked).toHaveLength(5);
});

test("an error keeps its cause", async () => {
  const cause = new TypeError("Failed to fetch");
  const failing = page({ fetch: () => Promise.reject(cause) });
  await expect(fetchLabels(url, failing, idle)).rejects.toMatchObject({ details: { reason: "unreachable" }, cause });
});

test("a server that stalls for 5 s is not waited for where labels are stored", async () => {
  await fetchLabels(url, page(), idle);
  stall();
  const timers: number[] = [];
  let isCancelled = false;
  const downloader = page({
    setTimer: (callback, ms) => {
      timers.push(ms);
      if (ms !== 5_000) return () => undefined;
      const timer = setTimeout(callback, 5);
      return () => {
        isCancelled = true;
        clearTimeout(timer);
      };
    },
  });
  expect(await fetchLabels(url, downloader, idle)).toEqual(["cat", "dog"]);
  expect(timers).toContain(5_000);
  expect(isCancelled).toBe(true);
});

test("without stored labels, there is no bound on the wait but that of a stalled request", async () => {
  const timers: number[] = [];
  const downloader = page({
    setTimer: (callback, ms) => {
      timers.push(ms);
      return hurried.setTimer(callback, ms);
    },
  });
  await fetchLabels(url, downloader, idle);
  expect(timers).not.toContain(5_000);
});

test("a call that is cancelled rejects with the reason, stored labels or not", async () => {
  await fetchLabels(url, page(), idle);
  stall();
  for (const kept of [store, null]) {
    const stop = new AbortController();
    const fetching = fetchLabels(url, page({ setTimer: () => () => undefined }, kept), stop.signal);
    setTimeout(() => {
      stop.abort(new Error("no longer wanted"));
    }, 5);
    await expect(fetching).rejects.toThrow("no longer wanted");
  }
});

test("a refusal is an error although labels are stored", async () => {
  await fetchLabels(url, page(), idle);
  server.files.delete("/labels.txt");
  await expect(fetchLabels(url, page(), idle)).rejects.toMatchObject({
    message: `labels: ${url} answered with status 404.`,
    details: { status: 404 },
  });
});

test("a file of another kind is named, with the reason where there is one, and not stored", async () => {
  const start = "<!doctype html><title>An app</title>";
  const wide = new Uint8Array(Buffer.from("cat\n", "utf16le"));
  for (const [bytes, code, message, details] of [
    [bytesOf(start), "model-invalid", /^labels: .*labels\.txt is .*, not labels\. Is the path right\?$/, "html"],
    [wide, "model-invalid", /^labels: .*labels\.txt is UTF-16, not UTF-8\. Save it as UTF-8/, undefined],
  ] as const) {
    server.files.set("/labels.txt", { bytes });
    const error = await fetchLabels(url, page(), idle).then(
      () => null,
      (x: unknown) => x as { details: object },
    );
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as unknown, details: { url } });
    expect("reason" in (error?.details ?? {})).toBe(details !== undefined);
    if (details !== undefined) expect(error).toMatchObject({ details: { reason: details } });
  }
  expect(await store.names()).toEqual([]);
});

test("labels that can't be read are the app's mistake, by the name of their address", async () => {
  server.files.set("/labels.txt", { bytes: bytesOf("[1]") });
  await expect(fetchLabels(url, page(), idle)).rejects.toThrow(TypeError);
  await expect(fetchLabels(url, page(), idle)).rejects.toThrow(`labels: ${url} has no text for class 0`);
});

test("stored labels that can't be read, as of an earlier release, are the app's mistake as well", async () => {
  const { modelStore } = page();
  const bytes = bytesOf("[1]");
  const chunk = { sha256: await sha256Hex(bytes), bytes: bytes.length };
  const manifest = bareManifest([chunk]);
  const identity = await identityOf(manifest);
  await modelStore?.remember(manifest, { url, identity, validator: null, signature: null });
  await modelStore?.write(chunk, bytes);
  server.close();
  await expect(fetchLabels(url, page(), idle)).rejects.toThrow(`labels: ${url} has no text for class 0`);
});

test("labels whose bytes were evicted are not stored any more", async () => {
  await fetchLabels(url, page(), idle);
  await store.remove((await store.names()).find((x) => x.startsWith("chunk-")) ?? "");
  server.close();
  await expect(fetchLabels(url, page(), idle)).rejects.toMatchObject({ code: "download-failed" });
});

test("of a file of more than 4 MiB the limit is named", async () => {
  server.files.set("/labels.txt", { bytes: new Uint8Array(MAX_BYTES + 1).fill(97) });
  await expect(fetchLabels(url, page({}, null), idle)).rejects.toMatchObject({
    message: expect.stringContaining(`exceeds the limit of ${MAX_BYTES} bytes`) as unknown,
  });
});

test("an empty file has no labels, and nothing is stored of it", async () => {
  server.files.set("/labels.txt", { bytes: new Uint8Array(0) });
  expect(await fetchLabels(url, page(), idle)).toEqual([]);
  expect(await store.names()).toEqual([]);
});

test("labels are used although the device has no room for them", async () => {
  expect(await fetchLabels(url, page({}, new MemoryStore(4)), idle)).toEqual(["cat", "dog"]);
});

test("a store that fails counts as absent", async () => {
  class Failing extends MemoryStore {
    override names(): Promise<string[]> {
      return Promise.reject(new Error("broken"));
    }
    override read(): Promise<Bytes | null> {
      return Promise.reject(new Error("broken"));
    }
    override write(): Promise<void> {
      return Promise.reject(new Error("broken"));
    }
  }
  const timers: number[] = [];
  const setTimer: DownloadEffects["setTimer"] = (callback, ms) => {
    timers.push(ms);
    return hurried.setTimer(callback, ms);
  };
  expect(await fetchLabels(url, page({ setTimer }, new Failing()), idle)).toEqual(["cat", "dog"]);
  expect(timers, "the wait is bounded only where labels are stored").not.toContain(5_000);
});

test("a bundle that is stored under the address is no labels", async () => {
  await serveBundle(server, "/m", { "m.onnx": weights(100) });
  const bundle = `${server.url}/m/bundle.json`;
  await update(bundle, criteriaFor(), page(), { signal: idle, onProgress: undefined });
  server.close();
  await expect(fetchLabels(bundle, page(), idle)).rejects.toMatchObject({
    code: "download-failed",
    message: expect.stringMatching(/^labels: /) as unknown,
  });
});
