// Updates of bundles and of bare models: what is fetched, stored and reported.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Bundle, BundleFile, Variant } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried, serveBundle } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { identityOf } from "./manifest.ts";
import type { LoadCriteria, Progress } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { open } from "./open.ts";
import { MemoryStore } from "./stores/memory.ts";
import { update } from "./update.ts";

const CHUNK = 1_000;
const { signal } = new AbortController();
const idle = { signal, onProgress: undefined };
const saving: Partial<DownloadEffects> = { connection: () => ({ saveData: true, bytesPerSecond: null }) };

let server: BadServer;
let memory: MemoryStore;
let now = 1_000;

beforeEach(async () => {
  server = await BadServer.start();
  memory = new MemoryStore();
});

afterEach(() => {
  server.close();
});

const bundleUrl = (): string => `${server.url}/m/bundle.json`;
const bareUrl = (): string => `${server.url}/m.onnx`;

function page(more: Partial<DownloadEffects> = {}): Downloader {
  return new Downloader({ ...hurried, ...more }, new ModelStore(memory, () => (now += 10)));
}

/** Serves a bundle with a variant for each backend and an asset, each a file of one chunk. */
async function serveForBoth(): Promise<{ bundle: Bundle; gpu: string; cpu: string; asset: string }> {
  const files = { gpu: weights(CHUNK, 1), cpu: weights(CHUNK, 2), asset: weights(CHUNK, 3) };
  const bundle = await serveBundle(server, "/m", files, { chunkBytes: CHUNK });
  const [gpu, cpu, asset] = bundle.variants[0]?.files ?? [];
  if (gpu === undefined || cpu === undefined || asset === undefined) throw new Error("three files");
  const variants: Variant[] = [
    { id: "gpu", needs: [], unchecked: ["wasm"], files: [gpu] },
    { id: "cpu", needs: [], unchecked: ["webgpu"], files: [cpu] },
  ];
  const made: Bundle = { ...bundle, variants, assets: [asset] };
  const bytes = new TextEncoder().encode(JSON.stringify(bundleJson(made)));
  server.files.set("/m/bundle.json", { bytes, type: "application/json" });
  const nameOf = ({ chunks }: BundleFile): string => `chunk-${chunks[0]?.sha256 ?? ""}-${CHUNK}`;
  return { bundle: made, gpu: nameOf(gpu), cpu: nameOf(cpu), asset: nameOf(asset) };
}

const storedChunks = async (): Promise<string[]> => (await memory.names()).filter((x) => x.startsWith("chunk-")).sort();

describe("of a bundle", () => {
  const gpu = { vendor: "a", architecture: "b", description: "c", software: false, features: [], limits: {} };
  const both: Partial<LoadCriteria> = { backends: ["webgpu", "wasm"], device: { ...criteriaFor().device, gpu } };

  test("fetches the variants of each backend that a measurement may choose, and the assets", async () => {
    const { bundle, ...names } = await serveForBoth();
    expect(await update(bundleUrl(), criteriaFor(both), page(), idle)).toEqual({
      identity: await identityOf(bundleJson(bundle)),
      isNew: true,
      fetchedBytes: 3 * CHUNK,
    });
    expect(await storedChunks()).toEqual(Object.values(names).sort());
  });

  test("fetches the variant of one backend alone where no measurement is needed", async () => {
    const { cpu, asset } = await serveForBoth();
    const software = { ...both, device: { ...criteriaFor().device, gpu: { ...gpu, software: true } } };
    expect(await update(bundleUrl(), criteriaFor(software), page(), idle)).toMatchObject({ fetchedBytes: 2 * CHUNK });
    expect(await storedChunks()).toEqual([cpu, asset].sort());
  });

  test("reports its progress, and the bytes that came from the network", async () => {
    await serveForBoth();
    await update(bundleUrl(), criteriaFor(), page(), idle);
    const seen: Progress[] = [];
    const onProgress = (x: Progress): void => void seen.push(x);
    const done = await update(bundleUrl(), criteriaFor(both), page(), { signal, onProgress });
    expect(done).toMatchObject({ isNew: false, fetchedBytes: CHUNK });
    expect(seen.at(-1)).toMatchObject({ loadedBytes: 3 * CHUNK, cachedBytes: 2 * CHUNK, totalBytes: 3 * CHUNK });
  });

  test("is not put off where nothing is stored, though the user saves data, or where none is saved", async () => {
    await serveForBoth();
    const later = criteriaFor({ update: "later" });
    expect(await update(bundleUrl(), later, page(saving), idle)).toMatchObject({ isNew: true });
    server.asked = [];
    expect(await update(bundleUrl(), later, page(saving), idle)).toMatchObject({ isNew: false, fetchedBytes: 0 });
    expect(server.asked).toEqual([]);
    expect(await update(bundleUrl(), later, page(), idle)).toMatchObject({ isNew: false, fetchedBytes: 0 });
    expect(server.asked.map((x) => x.path)).toEqual(["/m/bundle.json"]);
  });

  test("makes the address lead to the newer version alone; a store that fails at that does not fail the update", async () => {
    await serveBundle(server, "/m", { "m.onnx": weights(CHUNK, 1) }, { version: "1" });
    await update(bundleUrl(), criteriaFor(), page(), idle);
    await serveBundle(server, "/m", { "m.onnx": weights(CHUNK, 2) }, { version: "2" });
    const sources = async (): Promise<number> => (await memory.names()).filter((x) => x.startsWith("source-")).length;
    const failing = page();
    const { modelStore } = failing;
    if (modelStore === null) throw new Error("no store");
    modelStore.settle = () => Promise.reject(new Error("the store failed"));
    expect(await update(bundleUrl(), criteriaFor(), failing, idle)).toMatchObject({ isNew: true });
    expect(await sources()).toBe(2);
    await update(bundleUrl(), criteriaFor(), page(), idle);
    expect(await sources()).toBe(1);
  });

  test("without a store is quota-exceeded, with the bytes that are not stored", async () => {
    await serveForBoth();
    await expect(update(bundleUrl(), criteriaFor(), new Downloader(hurried, null), idle)).rejects.toMatchObject({
      code: "quota-exceeded",
      details: { missingBytes: 2 * CHUNK },
    });
  });
});

describe("of a bare model", () => {
  const SIZE = 5_000;
  const publish = (seed: number): void => void server.files.set("/m.onnx", { bytes: weights(SIZE, seed), etag: '"1"' });

  test("fetches it whatever is stored, and its hashes show whether it changed", async () => {
    publish(1);
    const first = await update(bareUrl(), criteriaFor(), page(), idle);
    expect(first).toMatchObject({ isNew: true, fetchedBytes: SIZE });
    expect(first.identity).toMatch(/^[0-9a-f]{64}$/);
    server.asked = [];
    expect(await update(bareUrl(), criteriaFor(), page(), idle)).toMatchObject({
      identity: first.identity,
      isNew: false,
    });
    expect(server.asked.map((x) => x.method)).toEqual(["GET"]);
    publish(2); // with the same validator
    const second = await update(bareUrl(), criteriaFor(), page(), idle);
    expect(second).toMatchObject({ isNew: true, fetchedBytes: SIZE });
    expect(second.identity).not.toBe(first.identity);
  });

  test("that the server does not send any more fetches nothing, and leaves the stored one", async () => {
    publish(1);
    const { identity } = await update(bareUrl(), criteriaFor(), page(), idle);
    server.files.clear();
    const seen: Progress[] = [];
    const onProgress = (x: Progress): void => void seen.push(x);
    const done = await update(bareUrl(), criteriaFor(), page(), { signal, onProgress });
    expect(done).toEqual({ identity, isNew: false, fetchedBytes: 0 });
    expect(seen.at(-1)).toMatchObject({ loadedBytes: SIZE, cachedBytes: SIZE });
  });

  test("reports its progress", async () => {
    publish(1);
    const seen: Progress[] = [];
    const onProgress = (x: Progress): void => void seen.push(x);
    await update(bareUrl(), criteriaFor(), page(), { signal, onProgress });
    expect(seen.at(-1)).toMatchObject({ loadedBytes: SIZE, totalBytes: SIZE, cachedBytes: 0 });
  });

  test("in the background is put off where the user saves data and one is stored", async () => {
    publish(1);
    const later = criteriaFor({ update: "later" });
    const { identity } = await update(bareUrl(), later, page(saving), idle);
    server.asked = [];
    expect(await update(bareUrl(), later, page(saving), idle)).toEqual({ identity, isNew: false, fetchedBytes: 0 });
    expect(server.asked).toEqual([]);
    await update(bareUrl(), criteriaFor({ update: "first" }), page(saving), idle);
    await update(bareUrl(), later, page(), idle);
    expect(server.asked.length).toBe(2);
  });

  test("leaves a new version to eviction, and one that is loaded in use", async () => {
    publish(1);
    const tab = page();
    const { identity } = await update(bareUrl(), criteriaFor(), tab, idle);
    expect(await tab.uses.kept()).toEqual(new Set());
    await open(bareUrl(), criteriaFor(), tab, idle);
    expect((await tab.uses.kept()).has(identity)).toBe(true);
    await update(bareUrl(), criteriaFor(), tab, idle);
    expect((await tab.uses.kept()).has(identity)).toBe(true);
    publish(2);
    const second = await update(bareUrl(), criteriaFor(), tab, idle);
    const kept = await tab.uses.kept();
    expect([kept.has(identity), kept.has(second.identity)]).toEqual([true, false]);
  });

  test("without a store, or with one that fails, the model counts as new", async () => {
    publish(1);
    const none = new Downloader(hurried, null);
    expect(await update(bareUrl(), criteriaFor(), none, idle)).toMatchObject({ isNew: true });
    const failing = new MemoryStore();
    failing.names = () => Promise.reject(new Error("the store failed"));
    const tab = new Downloader(hurried, new ModelStore(failing, () => 1));
    expect(await update(bareUrl(), criteriaFor(), tab, idle)).toMatchObject({ isNew: true });
  });
});
