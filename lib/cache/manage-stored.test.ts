// Management of what a store holds, by its entries: what is listed, found, pinned, removed and exported, and the errors.
import { expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects } from "./download.ts";
import { contents, deleteStored, exportFiles, find, pin } from "./manage.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { ModelStore } from "./model-store.ts";
import { MemoryStore } from "./stores/memory.ts";

const CHUNK = 100;
const URL_A = "https://models.example/a/bundle.json";

function page(store: MemoryStore | null = new MemoryStore(), more: Partial<DownloadEffects> = {}): Downloader {
  let now = 0;
  return new Downloader({ ...hurried, ...more }, store === null ? null : new ModelStore(store, () => (now += 10)));
}

async function chunkOf(seed: number): Promise<BundleChunk> {
  return { sha256: await sha256Hex(weights(CHUNK, seed)), bytes: CHUNK };
}

/** Stores a bundle's description with a variant for each list of seeds, each seed a file of one chunk. */
async function remember(
  { modelStore }: Downloader,
  url: string,
  variants: Readonly<Record<string, readonly number[]>>,
  version = "1",
): Promise<string> {
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const made = Object.entries(variants).map(async ([id, seeds]) => {
    const files = seeds.map(async (x) => ({ path: `${x}.onnx`, bytes: CHUNK, chunks: [await chunkOf(x)] }));
    return { id, needs: [], files: await Promise.all(files) };
  });
  const json = bundleJson({
    model: { name: "m", version, licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: await Promise.all(made),
  });
  return rememberJson(modelStore, url, json);
}

async function rememberJson(modelStore: ModelStore | null, url: string, json: ManifestJson): Promise<string> {
  const identity = await identityOf(json);
  const before = await modelStore?.source(url);
  await modelStore?.remember(json, { url, identity, validator: null, signature: null }, before?.identity);
  return identity;
}

async function write({ modelStore }: Downloader, ...seeds: number[]): Promise<void> {
  for (const x of seeds) await modelStore?.write(await chunkOf(x), weights(CHUNK, x));
}

const pathsOf = (files: readonly { readonly path: string }[]): string[] => files.map((x) => x.path);

test("the free bytes are the quota less what is used, none where more is used, and unknown without an estimate", async () => {
  const free = async (estimate: DownloadEffects["estimate"]): Promise<number | null> =>
    (await contents(page(null, { estimate }))).freeBytes;
  expect(await free(() => Promise.resolve({ quota: 100, usage: 30 }))).toBe(70);
  expect(await free(() => Promise.resolve({ quota: 100, usage: 130 }))).toBe(0);
  expect(await free(() => Promise.resolve(null))).toBeNull();
  expect(await free(() => Promise.reject(new Error("not in this browser")))).toBeNull();
});

test("without a store there is nothing, in memory", async () => {
  const none = page(null, { estimate: () => Promise.resolve({ quota: 100, usage: 30 }) });
  expect(await contents(none)).toEqual({ kind: "memory", bytes: 0, freeBytes: 70, bundles: [] });
  expect(await find(none, URL_A)).toBeNull();
  expect(await pin(none, URL_A, true)).toBe(false);
  expect(await deleteStored(none, URL_A)).toBe(0);
  expect(await deleteStored(none, null)).toBe(0);
});

test("a store is named by its kind, and its bytes are those of all chunks", async () => {
  const store = new MemoryStore();
  Object.assign(store, { kind: "opfs" });
  const here = page(store);
  await remember(here, URL_A, { f32: [1] });
  await write(here, 1, 9); // the second is of no bundle
  expect(await contents(here)).toMatchObject({ kind: "opfs", bytes: 2 * CHUNK, bundles: [{ bytes: CHUNK }] });
});

test("of two versions at an address the whole one is found, else the one that was used last", async () => {
  const here = page();
  const first = await remember(here, URL_A, { f32: [1] });
  const second = await remember(here, URL_A, { f32: [2] }, "2");
  expect((await find(here, URL_A))?.identity).toBe(second);
  await write(here, 1);
  expect((await find(here, URL_A))?.identity).toBe(first);
  await write(here, 2);
  expect((await find(here, URL_A))?.identity).toBe(second);
  expect((await find(here, first))?.identity).toBe(first);
  expect(await find(here, "https://models.example/b/bundle.json")).toBeNull();
});

test("only the bundle that is named is pinned, unpinned and removed", async () => {
  const here = page();
  const other = "https://models.example/b/bundle.json";
  await remember(here, URL_A, { f32: [1] });
  const identity = await remember(here, other, { f32: [2] });
  await write(here, 1, 2);
  const pinned = async (): Promise<string[]> => {
    const { bundles } = await contents(here);
    return bundles.filter((x) => x.isPinned).map((x) => x.identity);
  };
  expect(await pin(here, other, true)).toBe(true);
  expect(await pinned()).toEqual([identity]);
  expect(await pin(here, "https://models.example/c/bundle.json", true)).toBe(false);
  expect(await pinned()).toEqual([identity]);
  expect(await pin(here, other, false)).toBe(true);
  expect(await pinned()).toEqual([]);
  expect(await deleteStored(here, other)).toBe(CHUNK);
  expect((await contents(here)).bundles.map((x) => x.urls)).toEqual([[URL_A]]);
});

test("the bytes of all versions that an address leads to are freed, and of everything", async () => {
  const here = page();
  await remember(here, URL_A, { f32: [1, 2] });
  await remember(here, URL_A, { f32: [3] }, "2");
  await write(here, 1, 2, 3);
  expect(await deleteStored(here, URL_A)).toBe(3 * CHUNK);
  await write(here, 4, 5);
  expect(await deleteStored(here, null)).toBe(2 * CHUNK);
  expect(await contents(here)).toMatchObject({ bytes: 0, bundles: [] });
});

test("the named variant is exported, else the first that is stored whole", async () => {
  const here = page();
  await remember(here, URL_A, { large: [1, 2], small: [3] });
  await write(here, 3);
  expect(pathsOf(await exportFiles(here, URL_A, undefined))).toEqual(["3.onnx"]);
  await write(here, 1, 2);
  expect(pathsOf(await exportFiles(here, URL_A, undefined))).toEqual(["1.onnx", "2.onnx"]);
  expect(pathsOf(await exportFiles(here, URL_A, "small"))).toEqual(["3.onnx"]);
});

test("an export is a copy, which stays once the bundle is removed", async () => {
  const here = page();
  await remember(here, URL_A, { f32: [1, 2] });
  await write(here, 1, 2);
  const files = await exportFiles(here, URL_A, "f32");
  const stored = await here.modelStore?.chunk(await chunkOf(1));
  expect(files[0]?.data).not.toBe(stored);
  await deleteStored(here, URL_A);
  const read = await Promise.all(files.map(async (x) => new Uint8Array(await x.data.arrayBuffer())));
  expect(read).toEqual([weights(CHUNK, 1), weights(CHUNK, 2)]);
});

test("a bare model of several chunks is exported as one file", async () => {
  const here = page();
  const url = "https://models.example/bare.onnx";
  const chunks = [await chunkOf(1), await chunkOf(2)];
  await rememberJson(here.modelStore, url, bareManifest(chunks));
  await expect(exportFiles(here, url, undefined)).rejects.toMatchObject({
    code: "download-failed",
    message: `${url} has no stored variant.`,
    details: { which: url },
  });
  await expect(exportFiles(here, url, "model")).rejects.toMatchObject({
    message: `bare.onnx of ${url} is not stored whole.`,
  });
  await write(here, 1, 2);
  const [file, ...more] = await exportFiles(here, url, undefined);
  expect([file?.path, more]).toEqual(["bare.onnx", []]);
  expect(pathsOf(await exportFiles(here, url, "model"))).toEqual(["bare.onnx"]);
  const bytes = new Uint8Array((await file?.data.arrayBuffer()) ?? new ArrayBuffer(0));
  expect([...bytes]).toEqual([...weights(CHUNK, 1), ...weights(CHUNK, 2)]);
});

test("a variant that a model does not have is refused with those that it has, a bare model's as well", async () => {
  const here = page();
  const url = "https://models.example/bare.onnx";
  await rememberJson(here.modelStore, url, bareManifest([await chunkOf(3)]));
  await remember(here, URL_A, { large: [1, 2], small: [3] });
  await write(here, 1, 2, 3);
  for (const [which, list, variants] of [
    [url, '"model"', ["model"]],
    [URL_A, '"large", "small"', ["large", "small"]],
  ] as const)
    await expect(exportFiles(here, which, "int8")).rejects.toMatchObject({
      code: "download-failed",
      message: `${which} has no stored variant "int8": it has ${list}.`,
      details: { which, variants },
    });
});

test("what is not stored, no variant, or not whole is not exported, and the error says which", async () => {
  const here = page();
  await expect(exportFiles(here, URL_A, undefined)).rejects.toMatchObject({
    code: "download-failed",
    message: `${URL_A} is not stored.`,
    details: { which: URL_A, reason: "not-stored" },
  });
  await remember(here, URL_A, { f32: [1, 2] });
  await expect(exportFiles(here, URL_A, "int8")).rejects.toMatchObject({
    code: "download-failed",
    message: `${URL_A} has no stored variant "int8": it has "f32".`,
    details: { which: URL_A, variants: ["f32"] },
  });
  await expect(exportFiles(here, URL_A, undefined)).rejects.toMatchObject({
    code: "download-failed",
    message: `${URL_A} has no stored variant.`,
  });
  await write(here, 1);
  await expect(exportFiles(here, URL_A, "f32")).rejects.toMatchObject({
    code: "download-failed",
    message: `2.onnx of ${URL_A} is not stored whole.`,
    details: { which: URL_A, path: "2.onnx", reason: "not-stored" },
  });
});

test("a bundle that is removed while it is looked up is not stored", async () => {
  const here = page();
  const identity = await remember(here, URL_A, { f32: [1] });
  await write(here, 1);
  const { modelStore } = here;
  if (modelStore === null) throw new Error("no store");
  const bundles = await modelStore.bundles();
  modelStore.bundles = () => Promise.resolve(bundles);
  await modelStore.remove(identity);
  await expect(exportFiles(here, URL_A, undefined)).rejects.toMatchObject({
    message: `${URL_A} is not stored.`,
    details: { reason: "not-stored" },
  });
});
