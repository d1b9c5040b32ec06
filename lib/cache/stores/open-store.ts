// Choice of a browser's store. OPFS is the fastest; WebKitGTK has no sync handles there, private windows sometimes have
// neither, so IndexedDB, the Cache API and memory are the fallbacks. In WebKit's private sessions a worker's entries in
// the Cache API are lost when the worker ends (WebKitGTK 2.54), so IndexedDB comes before it.
import { openCacheStorage } from "./cache-api.ts";
import { openIndexed } from "./indexed-db.ts";
import { MemoryStore } from "./memory.ts";
import { openOpfs } from "./opfs.ts";
import type { Store, StoreKind } from "./store.ts";

/** Opens one kind of store; null where the browser does not have it. */
export type OpenStore = (now: () => number) => Promise<Store | null>;

/** Every kind of store, the best first. */
export const STORES: readonly (readonly [kind: StoreKind, open: OpenStore])[] = [
  ["opfs", openOpfs],
  ["indexeddb", openIndexed],
  ["cache", openCacheStorage],
  ["memory", () => Promise.resolve(new MemoryStore())],
];

/** Opens the best store that keeps what is written to it; never rejects. */
export async function openStore(now: () => number, stores: typeof STORES = STORES): Promise<Store> {
  for (const [, open] of stores) {
    const store = await open(now).catch(() => null);
    if (store !== null && (await keeps(store))) return store;
  }
  return new MemoryStore();
}

/**
 * Whether a store keeps an entry: private windows have stores that fail at the first write. A store with entries does,
 * even if it is full.
 */
async function keeps(store: Store): Promise<boolean> {
  const name = `trial-${crypto.randomUUID()}`;
  try {
    if ((await store.names()).some((x) => !x.startsWith("trial-"))) return true;
    await store.write(name, Uint8Array.of(1, 2, 3));
    const bytes = await store.read(name);
    await store.remove(name);
    return bytes?.join() === "1,2,3";
  } catch {
    return false;
  }
}
