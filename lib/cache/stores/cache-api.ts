// The store in the Cache API: for browsers that have neither sync handles nor IndexedDB. An entry is a response under
// an address that no server serves; a put takes effect whole or not at all.
import { withOld } from "./old-store.ts";
import { isQuotaError, OLD_STORE_NAME, outOfSpace, STORE_NAME } from "./store.ts";
import type { Bytes, Store } from "./store.ts";

/** The Cache API takes no other schemes; `.invalid` is never a real host (RFC 6761). */
const PREFIX = "https://selvedge.invalid/";

/** Opens the store; null where there is no Cache API, as on pages that are not secure. */
export async function openCacheStorage(): Promise<Store | null> {
  const { caches } = globalThis as Partial<typeof globalThis>;
  if (caches === undefined) return null;
  const open = async (name: string): Promise<Store> => new CacheStorageStore(await caches.open(name));
  return withOld(await open(STORE_NAME), async () =>
    (await caches.has(OLD_STORE_NAME)) ? open(OLD_STORE_NAME) : null,
  );
}

/** A cache of the Cache API. */
export class CacheStorageStore implements Store {
  readonly kind = "cache";
  readonly #cache: Cache;

  constructor(cache: Cache) {
    this.#cache = cache;
  }

  async names(): Promise<string[]> {
    const requests = await this.#cache.keys();
    return requests.map(({ url }) => url.slice(PREFIX.length));
  }

  async read(name: string): Promise<Bytes | null> {
    const response = await this.#cache.match(PREFIX + name);
    if (response === undefined) return null;
    try {
      const bytes = new Uint8Array(await response.arrayBuffer());
      return bytes.byteLength === Number(response.headers.get("content-length")) ? bytes : null;
    } catch (error) {
      if ((await this.#cache.match(PREFIX + name)) === undefined) return null; // removed while it was read
      throw error;
    }
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    const headers = { "content-type": "application/octet-stream", "content-length": String(bytes.byteLength) };
    try {
      await this.#cache.put(PREFIX + name, new Response(bytes, { headers }));
    } catch (error) {
      throw isQuotaError(error) ? outOfSpace(name, bytes.byteLength, error) : error;
    }
  }

  async remove(name: string): Promise<void> {
    await this.#cache.delete(PREFIX + name);
  }
}
