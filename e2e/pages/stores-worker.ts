// The worker's side of stores.ts.
import fc from "fast-check";
import { checkStore } from "../../lib/test-support/store-conformance.ts";
import { storeProperty } from "../../lib/test-support/store-model/store-property.ts";
import type { StoreScene } from "../../lib/test-support/store-model/store-property.ts";
import { CacheStorageStore } from "../../lib/cache/stores/cache-api.ts";
import { IndexedStore } from "../../lib/cache/stores/indexed-db.ts";
import { MemoryStore } from "../../lib/cache/stores/memory.ts";
import { openFolder } from "../../lib/cache/stores/opfs.ts";
import { OLD_STORE_NAME, STORE_NAME } from "../../lib/cache/stores/store.ts";
import type { Bytes, Store, StoreKind } from "../../lib/cache/stores/store.ts";
import { openStore, STORES } from "../../lib/cache/stores/open-store.ts";
import type { ModelRuns } from "./stores.ts";

interface Ask {
  readonly ask: "check" | "model" | "migrate" | "best" | "write" | "survey" | "fill" | "wedge" | "names";
  readonly kind: StoreKind;
  /** Which sequences `model` runs, and with which actors. */
  readonly runs?: ModelRuns;
  readonly scene?: StoreScene;
  /** Whether `write` answers once the first entries are complete, not at once. */
  readonly isAfterFirst?: boolean;
}

const SIZE = 1_000_000;
/** Time for all sequences of the model, and for the search for a shorter one that fails: a WebDriver call takes 120 s. */
const LIMIT_MS = 100_000;

async function open(kind: StoreKind): Promise<Store | null> {
  const found = STORES.find(([name]) => name === kind);
  return found === undefined ? null : found[1](() => Date.now());
}

/** An entry whose name determines its content. */
function entry(n: number, size: number): { name: string; bytes: Bytes } {
  return { name: `whole-${n}-${size}`, bytes: new Uint8Array(size).fill(n % 251) };
}

async function survey(store: Store): Promise<{ whole: number; torn: string[] }> {
  const torn: string[] = [];
  let whole = 0;
  for (const name of await store.names()) {
    const [, n, size] = /^whole-(\d+)-(\d+)$/.exec(name) ?? [];
    if (n === undefined) continue;
    const bytes = await store.read(name);
    if (bytes?.length === Number(size) && bytes.every((x) => x === Number(n) % 251)) whole += 1;
    else torn.push(name);
  }
  return { whole, torn };
}

/** Keeps transactions of both modes in flight until the worker is terminated, which the store itself never does. */
function crowd(database: IDBDatabase): void {
  const again = (mode: IDBTransactionMode, n: number): void => {
    const transaction = database.transaction("entries", mode);
    const table = transaction.objectStore("entries");
    if (mode === "readwrite") table.put(new ArrayBuffer(SIZE), `crowd-${n % 8}`);
    else table.get("crowd-0");
    transaction.oncomplete = () => {
      again(mode, n + 1);
    };
  };
  for (const mode of ["readwrite", "readwrite", "readonly", "readonly"] as const) again(mode, 0);
}

/** Writes an entry in the format of a release with schema 1. */
async function writeOld(kind: StoreKind, name: string, bytes: Bytes): Promise<void> {
  if (kind === "opfs") {
    const root = await navigator.storage.getDirectory();
    await openFolder(await root.getDirectoryHandle(OLD_STORE_NAME, { create: true }), () => 0).write(name, bytes);
  } else if (kind === "cache") {
    const cache = await caches.open(OLD_STORE_NAME);
    const headers = { "content-length": String(bytes.length) };
    await cache.put(`https://selvedge.invalid/${name}`, new Response(bytes, { headers }));
  } else
    await new Promise<void>((resolve, reject) => {
      const request = indexedDB.open(OLD_STORE_NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("entries");
      request.onerror = reject;
      request.onsuccess = () => {
        const transaction = request.result.transaction("entries", "readwrite");
        transaction.objectStore("entries").put(bytes.slice().buffer, name);
        transaction.oncomplete = () => {
          request.result.close();
          resolve();
        };
      };
    });
}

/** Writes entries in an older release's format, opens the store, and reports how it handles them. */
async function migrate(kind: StoreKind): Promise<string[]> {
  const isThere = async (name: string): Promise<string> => {
    const store = await open(kind);
    const old = (await store?.oldNames?.())?.includes(name) === true;
    return `${name} ${(await store?.read(name))?.join() ?? "is gone"}${old ? " in the old place" : ""}`;
  };
  const found = [`${(await open(kind))?.oldNames === undefined ? "no" : "an"} old place at first`];
  for (const name of ["check-a", "check-b", "check-c"]) await writeOld(kind, name, Uint8Array.of(1, 2, 3));
  const store = await open(kind);
  found.push(await isThere("check-a"));
  await store?.adopt?.("check-a", Uint8Array.of(1, 2, 3));
  await store?.remove("check-b");
  for (const name of ["check-a", "check-b", "check-c"]) found.push(await isThere(name));
  for (const name of (await store?.names()) ?? []) await store?.remove(name);
  found.push(`${(await open(kind))?.oldNames === undefined ? "no" : "an"} old place at last`);
  return found;
}

/** Opens a store of a kind in a place of its own. */
async function openPlace(kind: StoreKind, place: string): Promise<Store> {
  if (kind === "indexeddb") return new IndexedStore(indexedDB, place, true);
  if (kind === "cache") return new CacheStorageStore(await caches.open(place));
  if (kind === "memory") return new MemoryStore();
  const root = await navigator.storage.getDirectory();
  return openFolder(await root.getDirectoryHandle(place, { create: true }), () => Date.now());
}

/**
 * Runs sequences of the store's model; returns the report of a failure, or null. Each has places of its own: a write of
 * the one before may still take effect.
 */
async function model(kind: StoreKind, scene: StoreScene = {}, runs?: ModelRuns): Promise<string | null> {
  const property = storeProperty(async () => {
    const place = `model-${crypto.randomUUID()}`;
    const store = await openPlace(kind, place);
    return { store, old: scene.hasOlder === true ? await openPlace(kind, `${place}-older`) : null };
  }, scene);
  return fc
    .assert(property, {
      ...runs,
      interruptAfterTimeLimit: LIMIT_MS,
      markInterruptAsFailure: true,
      includeErrorInReport: true,
    })
    .then(
      () => null,
      (error: unknown) => String(error),
    );
}

async function answer({ ask, kind, runs, scene, isAfterFirst = false }: Ask): Promise<unknown> {
  if (ask === "best") return (await openStore(() => Date.now())).kind;
  if (ask === "migrate") return migrate(kind);
  const store = await open(kind);
  if (store === null) return null;
  if (ask === "names") return store.names();
  if (ask === "wedge") {
    const request = indexedDB.open(STORE_NAME, 1);
    request.onsuccess = () => {
      crowd(request.result);
    };
    return null;
  }
  // A memory store lives as long as its opener.
  if (ask === "check") return checkStore(async () => (kind === "memory" ? store : ((await open(kind)) as Store)));
  if (ask === "model") return model(kind, scene, runs);
  if (ask === "survey") return survey(store);
  for (const name of await store.names()) await store.remove(name);
  if (ask === "write") {
    const four = (n: number): Promise<unknown> =>
      Promise.all(
        [n, n + 1, n + 2, n + 3].map((x) => {
          const { name, bytes } = entry(x, SIZE);
          return store.write(name, bytes);
        }),
      );
    const first = four(0);
    void (async () => {
      await first;
      for (let n = 4; ; n += 4) await four(n);
    })();
    if (isAfterFirst) await first;
    return null;
  }
  let code = "none";
  let written = 0;
  try {
    for (; written < 4_000; written += 1) {
      const { name, bytes } = entry(written, 4 * SIZE);
      await store.write(name, bytes);
    }
  } catch (error) {
    code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
  const found = { code, written, torn: (await survey(store)).torn };
  for (const name of await store.names()) await store.remove(name);
  return found;
}

self.onmessage = ({ data }: MessageEvent<Ask>) => {
  answer(data).then(
    (value) => {
      self.postMessage({ value });
    },
    (error: unknown) => {
      self.postMessage({ error: String(error) });
    },
  );
};
