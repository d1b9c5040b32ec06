// Releases in parallel over one origin's storage: frozen stores of schema 1 and 2, as those releases wrote them, and
// one of a newer schema that this release does not know. A newer release reads the entries of an older one; an older
// one leaves those of a newer one unchanged.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Downloader } from "../download.ts";
import { weights, criteriaFor } from "../../test-support/cache-fixtures.ts";
import { hurried } from "../../test-support/fake-network.ts";
import { contents, find, deleteStored, pin, exportFiles } from "../manage.ts";
import { MemoryStore } from "./memory.ts";
import { withOld } from "./old-store.ts";
import { open } from "../open.ts";
import { ModelStore } from "../model-store.ts";
import type { Store } from "./store.ts";

const idle = { signal: new AbortController().signal, onProgress: undefined };
const urlOf = (name: string): string => `https://app.test/${name}/bundle.json`;

async function frozen(schema: 1 | 2 | 3, maxBytes?: number): Promise<MemoryStore> {
  const text = readFileSync(new URL(`frozen/store-${schema}.json`, import.meta.url), "utf8");
  const memory = new MemoryStore(maxBytes);
  for (const [name, base64] of Object.entries(JSON.parse(text) as Record<string, string>))
    await memory.write(
      name,
      Uint8Array.from(atob(base64), (x) => x.charCodeAt(0)),
    );
  return memory;
}

/** A page without a network. */
function page(store: Store): Downloader {
  let now = 1_800_000_000_000;
  const away = (): Promise<Response> => Promise.reject(new TypeError("offline"));
  return new Downloader({ ...hurried, fetch: away }, new ModelStore(store, () => (now += 1_000)));
}

async function loadOffline(store: Store, name: string): Promise<Uint8Array> {
  const downloader = page(store);
  const { bundle, identity } = await open(urlOf(name), criteriaFor(), downloader, idle);
  const address = { url: urlOf(name), identity, format: bundle.format };
  const [blob] = await downloader.files(address, bundle.variants[0]?.files ?? [], idle);
  await downloader.modelStore?.touch(identity); // as a page records a second later
  return new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer());
}

const model = (...seeds: number[]): Uint8Array => new Uint8Array(seeds.flatMap((seed) => [...weights(300, seed)]));

/** Each schema, as this release opens it: its own place, or that of an older release beside it. */
const opened = {
  1: async () => {
    const old = await frozen(1);
    return { old, store: await withOld(new MemoryStore(), () => Promise.resolve(old)) };
  },
  2: async () => ({ old: null, store: await frozen(2) }),
};

test.each([1, 2] as const)(
  "a store of schema %d is read: bundles, pins, bare models, what is partly here",
  async (n) => {
    const { store } = await opened[n]();
    expect((await contents(page(store))).bundles.map((x) => [x.name, x.isPinned, x.variants, x.bytes])).toEqual([
      ["bare.onnx", false, ["model"], 700],
      ["partial", false, [], 300],
      ["other", false, ["f32"], 600],
      ["kept", true, ["f32"], 600],
    ]);
    expect(await loadOffline(store, "kept")).toEqual(model(1, 2));
    expect(await loadOffline(store, "other")).toEqual(model(2, 3));
    await expect(loadOffline(store, "partial")).rejects.toMatchObject({ code: "download-failed" });
    const bare = await open("https://app.test/bare.onnx", criteriaFor(), page(store), idle);
    expect(new Uint8Array((await bare.data?.arrayBuffer()) ?? new ArrayBuffer())).toEqual(weights(700, 9));
    expect((await exportFiles(page(store), urlOf("kept"), "f32")).map((x) => x.data.size)).toEqual([600]);
  },
);

test("entries in use move over from the old place, which is never written", async () => {
  const { old, store } = await opened[1]();
  const before = new Set(await old?.names());
  expect(await loadOffline(store, "kept")).toEqual(model(1, 2));
  const identity = (await find(page(store), urlOf("kept")))?.identity ?? "";
  const left = new Set(await old?.names());
  expect([...left].filter((x) => !before.has(x))).toEqual([]);
  expect([...before].filter((x) => !left.has(x)).map((x) => x.split("-")[0])).toEqual(
    expect.arrayContaining(["bundle", "chunk", "pin", "source", "used"]),
  );
  expect(left.has(`bundle-${identity}`)).toBe(false);
  expect(left.size).toBeGreaterThan(0);
  expect(await loadOffline(store, "other")).toEqual(model(2, 3));
});

test("an old place that is missing, empty or broken is not an error", async () => {
  const memory = new MemoryStore();
  expect(await withOld(memory, () => Promise.resolve(null))).toBe(memory);
  expect(await withOld(memory, () => Promise.resolve(new MemoryStore()))).toBe(memory);
  expect(await withOld(memory, () => Promise.reject(new Error("no")))).toBe(memory);
});

/** Makes methods of a store fail from now on. */
function breakMethods(store: Store, methods: readonly (keyof Store)[]): void {
  const value = (): Promise<never> => Promise.reject(new Error("broken"));
  for (const method of methods) Object.defineProperty(store, method, { value });
}

test("an old place that is read-only is read, and room is made in the new one (store-old)", async () => {
  const old = await frozen(1);
  const memory = new MemoryStore();
  breakMethods(old, ["remove"]);
  const store = await withOld(memory, () => Promise.resolve(old));
  for (let page = 0; page < 2; page += 1) expect(await loadOffline(store, "kept")).toEqual(model(1, 2));
  const modelStore = new ModelStore(store, () => 5);
  await modelStore.keep({ sha256: "0".repeat(64), bytes: 9 }, weights(9), new Set());
  const freed = await modelStore.makeRoom(1e6, new Set(), 0);
  expect(freed).toBeGreaterThan(0);
  expect(await modelStore.makeRoom(1e6, new Set(), 0)).toBe(0); // entries that stay are not freed over and over
  expect(await loadOffline(store, "kept")).toEqual(model(1, 2)); // pinned, and in the new place by now
  expect(await deleteStored(page(store), null)).toBeGreaterThan(0);
  expect(await memory.names()).toEqual([]);
  expect(await store.names()).toEqual([]);
});

test("of an old place whose manifest can't be read no chunk is removed (store-old)", async () => {
  const old = await frozen(1);
  const store = await withOld(new MemoryStore(), () => Promise.resolve(old));
  const before = await old.names();
  const read = old.read.bind(old);
  old.read = (name) => (name.startsWith("bundle-") ? Promise.reject(new Error("busy")) : read(name));
  await new ModelStore(store, () => 0).makeRoom(1e6, new Set(), 0);
  expect(await old.names()).toEqual(before);
  expect(await store.names()).toEqual([]);
});

test.each([[["names"]], [["read", "blob"]], [["read", "blob", "remove"]], [["names", "remove"]]] as const)(
  "an old place whose %s fail does not break the new store (store-old)",
  async (methods) => {
    const two = await frozen(2);
    const old = await frozen(1);
    const store = await withOld(two, () => Promise.resolve(old));
    breakMethods(old, methods);
    const downloader = page(store);
    expect((await contents(downloader)).bundles.map((x) => x.name)).toEqual(
      expect.arrayContaining(["kept", "other", "bare.onnx"]),
    );
    expect(await loadOffline(store, "kept")).toEqual(model(1, 2));
    expect(await loadOffline(store, "other")).toEqual(model(2, 3));
    await pin(downloader, urlOf("kept"), false);
    expect(await downloader.modelStore?.makeRoom(1e6, new Set(), 0)).toBeGreaterThan(0);
    await downloader.modelStore?.write({ sha256: "0".repeat(64), bytes: 9 }, weights(9));
    expect(await deleteStored(downloader, null)).toBeGreaterThan(0);
    expect(await two.names()).toEqual([]);
  },
);

test("unused bundles of an older release are evicted first, except pinned ones", async () => {
  const { store } = await opened[1]();
  await loadOffline(store, "other");
  await new ModelStore(store, () => 0).makeRoom(700, new Set());
  expect((await contents(page(store))).bundles.map((x) => x.name)).toEqual(["other", "kept"]);
  expect(await loadOffline(store, "other")).toEqual(model(2, 3));
  expect(await loadOffline(store, "kept")).toEqual(model(1, 2));
});

test("deleting all deletes both places", async () => {
  const { old, store } = await opened[1]();
  await loadOffline(store, "other");
  expect(await deleteStored(page(store), null)).toBe(300 * 4 + 700);
  expect(await store.names()).toEqual([]);
  expect(await old?.names()).toEqual([]);
});

test("entries of a newer release stay unchanged, whatever this one does (store-B3)", async () => {
  const memory = await frozen(3);
  const before = new Map<string, string>();
  for (const name of await memory.names()) before.set(name, ((await memory.read(name)) ?? []).join());
  const downloader = page(memory);
  expect((await contents(downloader)).bundles).toEqual([]);
  expect(await find(downloader, urlOf("kept"))).toBeNull();
  await expect(loadOffline(memory, "kept")).rejects.toMatchObject({ code: "download-failed" });
  await expect(open("https://app.test/bare.onnx", criteriaFor(), downloader, idle)).rejects.toThrow();
  expect(await downloader.modelStore?.makeRoom(1e9, new Set())).toBe(0);
  for (const name of before.keys()) if (name.startsWith("bundle-")) await deleteStored(downloader, name.slice(7));
  const two = await frozen(2);
  for (const name of await two.names())
    if (/^(bundle|source)-/.test(name) && !before.has(name)) await memory.write(name, (await two.read(name)) as never);
  const url = urlOf("kept");
  const [source] = await new ModelStore(two, () => 0).sources(url);
  const json = JSON.parse(
    new TextDecoder().decode((await two.read(`bundle-${source?.identity ?? ""}`)) ?? undefined),
  ) as never;
  if (source !== undefined) await downloader.modelStore?.remember(json, source);
  await downloader.modelStore?.settle(url, source?.identity ?? "");
  expect(await loadOffline(memory, "kept")).toEqual(model(1, 2));
  await downloader.modelStore?.remove(source?.identity ?? "");
  const after = new Set(await memory.names());
  for (const [name, bytes] of before) {
    if (name.startsWith("rate-")) continue;
    expect(after.has(name), name).toBe(true);
    expect(((await memory.read(name)) ?? []).join()).toBe(bytes);
  }
  expect(await deleteStored(downloader, null)).toBeGreaterThan(0);
  expect(await memory.names()).toEqual([]);
});

const [ONE, TWO] = [Uint8Array.of(1), Uint8Array.of(2)];

/** A store over two places, of which the old one has an entry. */
async function openTwo(): Promise<{ store: Store; own: MemoryStore; old: MemoryStore }> {
  const [own, old] = [new MemoryStore(), new MemoryStore()];
  await old.write("chunk-old", ONE);
  return { store: await withOld(own, () => Promise.resolve(old)), own, old };
}

const bytesOf = async (blob: Blob | null | undefined): Promise<Uint8Array | null> =>
  blob ? new Uint8Array(await blob.arrayBuffer()) : null;

test("an entry is read from its own place first, then from the old one; it is written to its own alone", async () => {
  const { store, own, old } = await openTwo();
  expect(store.kind).toBe("memory");
  await store.write("chunk-own", TWO);
  expect(await own.names()).toEqual(["chunk-own"]);
  expect(await old.names()).toEqual(["chunk-old"]);
  expect([await store.read("chunk-own"), await store.read("chunk-old"), await store.read("chunk-none")]).toEqual([
    TWO,
    ONE,
    null,
  ]);
  const blobs = ["chunk-own", "chunk-old", "chunk-none"].map(async (x) => bytesOf(await store.blob?.(x)));
  expect(await Promise.all(blobs)).toEqual([TWO, ONE, null]);
  expect(await store.names()).toEqual(["chunk-own", "chunk-old"]);
  expect(await store.oldNames?.()).toEqual(["chunk-old"]);
});

test("an entry in both places is listed once, and removed from both", async () => {
  const { store, own, old } = await openTwo();
  await own.write("chunk-old", ONE);
  expect(await store.names()).toEqual(["chunk-old"]);
  await store.remove("chunk-old");
  expect([await own.names(), await old.names()]).toEqual([[], []]);
});

test("an entry that is adopted moves over; one that is not in the old place is not written", async () => {
  const { store, own, old } = await openTwo();
  await store.adopt?.("chunk-none", TWO);
  expect(await own.names()).toEqual([]);
  await store.adopt?.("chunk-old", ONE);
  expect([await own.names(), await old.names()]).toEqual([["chunk-old"], []]);
});

test("an entry that can't be written stays in the old place", async () => {
  const { store, own, old } = await openTwo();
  breakMethods(own, ["write"]);
  await expect(store.adopt?.("chunk-old", ONE)).rejects.toThrow("broken");
  expect(await old.names()).toEqual(["chunk-old"]);
});

test("a store without blobs has none over two places; an old place without blobs has null", async () => {
  const without = async (place: "own" | "old"): Promise<Store> => {
    const places = { own: new MemoryStore(), old: new MemoryStore() };
    await places.old.write("chunk-old", ONE);
    Object.defineProperty(places[place], "blob", { value: undefined });
    return withOld(places.own, () => Promise.resolve(places.old));
  };
  expect((await without("own")).blob).toBeUndefined();
  const store = await without("old");
  expect(await store.blob?.("chunk-old")).toBeNull();
  expect(await store.oldNames?.()).toEqual(["chunk-old"]);
});

test("an entry of the old place that can't be read counts as removed from then on, and no other does", async () => {
  for (const method of ["read", "blob", "remove"] as const) {
    const { store, old } = await openTwo();
    await old.write("chunk-other", TWO);
    const value = old[method].bind(old) as (name: string) => Promise<unknown>;
    let calls = 0;
    Object.defineProperty(old, method, {
      value: (name: string) => {
        if (name !== "chunk-old") return value(name);
        calls += 1;
        return Promise.reject(new Error("broken"));
      },
    });
    for (let i = 0; i < 2; i += 1) expect((await store[method]?.("chunk-old")) ?? null).toBeNull();
    expect(calls).toBe(1);
    expect(await store.names()).toEqual(["chunk-other"]);
    expect(await store.read("chunk-old")).toBeNull();
    expect(await store.read("chunk-other")).toEqual(TWO);
  }
});

test("a manifest of the old place that can't be read hides all of it (store-old)", async () => {
  const { store, old } = await openTwo();
  await old.write("bundle-a", TWO);
  await old.write("chunk-bundle-a", TWO);
  const read = old.read.bind(old);
  old.read = (name) => (name.includes("bundle-") ? Promise.reject(new Error("busy")) : read(name));
  expect(await store.read("chunk-bundle-a")).toBeNull(); // no manifest
  expect(await store.oldNames?.()).toEqual(["chunk-old", "bundle-a"]);
  expect(await store.read("bundle-a")).toBeNull();
  expect([await store.names(), await store.oldNames?.(), await store.read("chunk-old")]).toEqual([[], [], null]);
  await store.remove("chunk-old");
  expect(await old.names()).toContain("chunk-old");
});

test("an old place whose names can't be listed does not fail the list", async () => {
  const { store, own, old } = await openTwo();
  await own.write("chunk-own", TWO);
  breakMethods(old, ["names"]);
  expect(await store.names()).toEqual(["chunk-own"]);
  expect(await store.oldNames?.()).toEqual([]);
});
