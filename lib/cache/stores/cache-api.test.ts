// The store in the Cache API over a fake of it; the browsers' own pass the same suite in
// e2e/specs/storage/stores.spec.ts.
import { afterEach, expect, test, vi } from "vitest";
import { checkStore } from "../../test-support/store-conformance.ts";
import { CacheStorageStore, openCacheStorage } from "./cache-api.ts";
import { OLD_STORE_NAME, STORE_NAME } from "./store.ts";

const BYTES = Uint8Array.of(1, 2, 3);

/** A cache in memory. */
class FakeCache {
  readonly entries: Map<string, () => Response> = new Map();
  /** Error that writes reject with. */
  full: Error | null = null;

  keys(): Promise<{ url: string }[]> {
    return Promise.resolve([...this.entries.keys()].map((url) => ({ url })));
  }

  match(url: string): Promise<Response | undefined> {
    return Promise.resolve(this.entries.get(url)?.());
  }

  async put(url: string, response: Response): Promise<void> {
    if (this.full !== null) throw this.full;
    const { headers } = response;
    const bytes = await response.arrayBuffer();
    this.entries.set(url, () => new Response(bytes, { headers }));
  }

  delete(url: string): Promise<boolean> {
    return Promise.resolve(this.entries.delete(url));
  }
}

function openFake(): { cache: FakeCache; store: CacheStorageStore } {
  const cache = new FakeCache();
  return { cache, store: new CacheStorageStore(cache as unknown as Cache) };
}

/** Replaces the page's caches by these, by their names. */
function stubCaches(caches: Map<string, FakeCache>): void {
  vi.stubGlobal("caches", {
    has: (name: string) => Promise.resolve(caches.has(name)),
    open(name: string) {
      const cache = caches.get(name) ?? new FakeCache();
      caches.set(name, cache);
      return Promise.resolve(cache);
    },
  });
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test("the Cache API's code passes the conformance suite", async () => {
  const { store } = openFake();
  expect(await checkStore(() => Promise.resolve(store))).toEqual({});
});

test("an entry is a response with its type and its size, under an address that no server serves", async () => {
  const { cache, store } = openFake();
  await store.write("check-a", BYTES);
  const response = cache.entries.get("https://selvedge.invalid/check-a");
  expect(Object.fromEntries(response?.().headers ?? [])).toEqual({
    "content-type": "application/octet-stream",
    "content-length": "3",
  });
});

test("an entry that is shorter than it was written counts as not there", async () => {
  const { cache, store } = openFake();
  const headers = { "content-length": "4" };
  cache.entries.set("https://selvedge.invalid/check-a", () => new Response(BYTES, { headers }));
  expect(await store.read("check-a")).toBeNull();
});

test("an entry whose bytes can't be read rejects, unless it was removed meanwhile", async () => {
  const { cache, store } = openFake();
  await store.write("check-a", BYTES);
  const url = "https://selvedge.invalid/check-a";
  const broken = { arrayBuffer: () => Promise.reject(new TypeError("disk")) };
  cache.entries.set(url, () => broken as unknown as Response);
  await expect(store.read("check-a")).rejects.toThrow("disk");
  broken.arrayBuffer = () => {
    cache.entries.delete(url);
    return Promise.reject(new TypeError("disk"));
  };
  expect(await store.read("check-a")).toBeNull();
});

test("a write that does not fit is quota-exceeded; another error stays as it is", async () => {
  const { cache, store } = openFake();
  const full = new DOMException("full", "QuotaExceededError");
  cache.full = full;
  await expect(store.write("check-a", BYTES)).rejects.toMatchObject({ code: "quota-exceeded", cause: full });
  const other = new TypeError("other");
  cache.full = other;
  await expect(store.write("check-a", BYTES)).rejects.toBe(other);
});

test("a page without the Cache API has no such store", async () => {
  vi.stubGlobal("caches", undefined);
  expect(await openCacheStorage()).toBeNull();
});

test("an older release's cache is read beside the own one, and not created", async () => {
  const caches = new Map<string, FakeCache>();
  stubCaches(caches);
  const store = await openCacheStorage();
  expect(store?.kind).toBe("cache");
  await store?.write("check-a", BYTES);
  expect([...caches.keys()]).toEqual([STORE_NAME]);
  const old = new FakeCache();
  caches.set(OLD_STORE_NAME, old);
  await new CacheStorageStore(old as unknown as Cache).write("check-old", BYTES);
  const both = await openCacheStorage();
  expect(await both?.names()).toEqual(["check-a", "check-old"]);
  expect(await both?.read("check-old")).toEqual(BYTES);
});
