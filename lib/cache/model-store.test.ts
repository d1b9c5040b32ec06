// Records of bundles in a store, and the order of eviction.
import { expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import type { Bundle, BundleChunk, BundleJson } from "../core/bundle.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { identityOf } from "./manifest.ts";
import { MemoryStore } from "./stores/memory.ts";
import { ModelStore } from "./model-store.ts";
import type { Bytes, Store } from "./stores/store.ts";

const CHUNK = 1_000;

interface Made {
  readonly bundle: Bundle;
  readonly json: BundleJson;
  readonly identity: string;
  readonly url: string;
  readonly chunks: readonly { readonly chunk: BundleChunk; readonly bytes: Bytes }[];
}

/** Makes a bundle of chunks by their seeds: two bundles with a seed in common share a chunk. */
async function make(name: string, ...seeds: number[]): Promise<Made> {
  const chunks: { chunk: BundleChunk; bytes: Bytes }[] = [];
  for (const seed of seeds) {
    const bytes = weights(CHUNK, seed);
    chunks.push({ chunk: { sha256: await sha256Hex(bytes), bytes: CHUNK }, bytes });
  }
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const file = { path: "m.onnx", bytes: CHUNK * seeds.length, chunks: chunks.map((x) => x.chunk) };
  const json = bundleJson({
    model: { name, version: "1", licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: [{ id: "f32", needs: [], files: [file] }],
  });
  return {
    bundle: parseBundle(json),
    json,
    chunks,
    identity: await identityOf(json),
    url: `https://app.test/${name}/bundle.json`,
  };
}

function clock(): () => number {
  let ms = 1_000;
  return () => (ms += 10);
}

async function store(modelStore: ModelStore, { json, identity, url, chunks }: Made): Promise<void> {
  await modelStore.remember(json, { url, identity, validator: null, signature: null });
  for (const { chunk, bytes } of chunks) await modelStore.keep(chunk, bytes, new Set([identity]));
}

const namesOf = async (modelStore: ModelStore): Promise<string[]> =>
  (await modelStore.bundles()).map((x) => x.name).sort();

test("a bundle is found by its address and by its identity, after opening anew", async () => {
  const memory = new MemoryStore();
  const a = await make("a", 1, 2);
  await store(new ModelStore(memory, clock()), a);
  const modelStore = new ModelStore(memory, clock());
  expect(await modelStore.source(a.url)).toEqual({
    url: a.url,
    identity: a.identity,
    validator: null,
    signature: null,
  });
  expect(await modelStore.bundle(a.identity)).toEqual(a.bundle);
  expect(await modelStore.bundles()).toMatchObject([
    { identity: a.identity, name: "a", version: "1", urls: [a.url], bytes: 2_000, isPinned: false, variants: ["f32"] },
  ]);
  const [first] = a.chunks;
  expect(first && (await bytesOf(modelStore, first.chunk))).toEqual(first?.bytes);
});

async function bytesOf(from: ModelStore, chunk: BundleChunk): Promise<Uint8Array | null> {
  const blob = await from.chunk(chunk);
  return blob === null ? null : new Uint8Array(await blob.arrayBuffer());
}

test("a stored chunk is the store's own blob: bytes on the disk take no memory", async () => {
  const memory = new MemoryStore();
  const modelStore = new ModelStore(memory, clock());
  const { chunks } = await make("a", 1);
  for (const { chunk, bytes } of chunks) {
    await modelStore.keep(chunk, bytes, new Set());
    expect(await modelStore.chunk(chunk)).toBe(await memory.blob(`chunk-${chunk.sha256}-${chunk.bytes}`));
  }
});

test("the newest record of an address counts, and only that is kept", async () => {
  const memory = new MemoryStore();
  const modelStore = new ModelStore(memory, () => 5_000); // a clock that stands still
  const [a, b] = [await make("a", 1), await make("b", 2)];
  for (const { json, identity } of [a, b, a, b])
    await modelStore.remember(json, { url: a.url, identity, validator: null, signature: null });
  expect((await modelStore.source(a.url))?.identity).toBe(b.identity);
  expect((await memory.names()).filter((x) => x.startsWith("source-")).length).toBe(1);
  expect((await memory.names()).filter((x) => x.startsWith("used-")).length).toBe(2);
});

test("a damaged record is as if it were not there", async () => {
  const memory = new MemoryStore();
  const modelStore = new ModelStore(memory, clock());
  const a = await make("a", 1);
  await store(modelStore, a);
  for (const name of [...(await memory.names())]) {
    if (!/^(bundle|source)-/.test(name)) continue;
    await memory.remove(name);
    await memory.write(name, new TextEncoder().encode("{"));
  }
  expect(await modelStore.source(a.url)).toBeNull();
  expect(await modelStore.bundle(a.identity)).toBeNull();
  expect(await modelStore.bundles()).toEqual([]);
});

test("a bundle whose JSON does not match its identity is not returned", async () => {
  const memory = new MemoryStore();
  const modelStore = new ModelStore(memory, clock());
  const [a, b] = [await make("a", 1), await make("b", 2)];
  await memory.write(`bundle-${a.identity}`, new TextEncoder().encode(JSON.stringify(b.bundle)));
  expect(await modelStore.bundle(a.identity)).toBeNull();
});

test("removing a bundle leaves the chunks that others share", async () => {
  const memory = new MemoryStore();
  const modelStore = new ModelStore(memory, clock());
  const [a, b] = [await make("a", 1, 2), await make("b", 2, 3)];
  await store(modelStore, a);
  await store(modelStore, b);
  expect(await modelStore.remove(a.identity)).toBe(CHUNK);
  expect(await namesOf(modelStore)).toEqual(["b"]);
  for (const { chunk, bytes } of b.chunks) expect(await bytesOf(modelStore, chunk)).toEqual(bytes);
  expect(await modelStore.remove(b.identity)).toBe(2 * CHUNK);
  expect(await memory.names()).toEqual([]);
});

test("where there is no room, the least recently used is evicted first", async () => {
  const [a, b, c] = [await make("a", 1, 2), await make("b", 3, 4), await make("c", 5, 6)];
  const modelStore = new ModelStore(new MemoryStore(6_000), clock());
  await store(modelStore, a);
  await store(modelStore, b);
  await modelStore.touch(a.identity);
  await store(modelStore, c);
  expect(await namesOf(modelStore)).toEqual(["a", "c"]);
});

test("pinned and loading bundles stay", async () => {
  const [a, b] = [await make("a", 1, 2), await make("b", 3, 4, 5)];
  const modelStore = new ModelStore(new MemoryStore(5_500), clock());
  await store(modelStore, a);
  await modelStore.pin(a.identity, true);
  await expect(store(modelStore, b)).rejects.toMatchObject({ code: "quota-exceeded" });
  expect(await namesOf(modelStore)).toEqual(["a", "b"]);
  await modelStore.pin(a.identity, false);
  await store(modelStore, b);
  expect(await namesOf(modelStore)).toEqual(["b"]);
});

test("chunks that nothing names are evicted before any bundle", async () => {
  const memory = new MemoryStore(4_800);
  const modelStore = new ModelStore(memory, clock());
  const [a, b, orphan] = [await make("a", 1), await make("b", 3), await make("orphan", 7, 8)];
  await store(modelStore, a);
  for (const { chunk, bytes } of orphan.chunks) await modelStore.keep(chunk, bytes, new Set());
  await store(modelStore, b);
  expect(await namesOf(modelStore)).toEqual(["a", "b"]);
});

test("a draft returns its chunks by index", async () => {
  const modelStore = new ModelStore(new MemoryStore(), clock());
  const { chunks } = await make("a", 1, 2, 3, 4);
  const validator = { etag: '"1"', lastModified: null, bytes: 9_000 };
  await modelStore.beginDraft("https://app.test/m.onnx", validator);
  for (const n of [0, 1, 3])
    await modelStore.noteDraft("https://app.test/m.onnx", n, (chunks[n] as { chunk: BundleChunk }).chunk);
  expect(await modelStore.draft("https://app.test/m.onnx")).toEqual({
    validator,
    chunks: new Map([0, 1, 3].map((n) => [n, chunks[n]?.chunk])),
  });
  expect(await modelStore.draft("https://app.test/other.onnx")).toBeNull();
  await modelStore.endDraft("https://app.test/m.onnx");
  expect(await modelStore.store.names()).toEqual([]);
});

test("unknown names are harmless", async () => {
  const memory: Store = new MemoryStore();
  const names = ["bundle-x", "chunk-1", "used-", "source-zz-1", "draft-", "__proto__", "pin-", "trial-1"];
  for (const name of names) await memory.write(name, Uint8Array.of(1));
  const modelStore = new ModelStore(memory, clock());
  expect(await modelStore.bundles()).toEqual([]);
  expect(await modelStore.chunks()).toEqual(new Set());
  expect(await modelStore.makeRoom(1, new Set())).toBe(0);
});
