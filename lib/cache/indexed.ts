// The store in IndexedDB: slower than the others and in every browser. One object store, names to bytes; a transaction
// is there whole or not at all.
import { isQuotaError, outOfSpace } from "./store.ts";
import type { Bytes, Store } from "./store.ts";

const DATABASE = "selvedge";
const TABLE = "entries";

/** Opens the store; null where there is no IndexedDB. Rejects where it may not be used, as in some private windows. */
export async function openIndexed(): Promise<Store | null> {
  const { indexedDB } = globalThis as Partial<typeof globalThis>;
  if (indexedDB === undefined) return null;
  const store = new IndexedStore(indexedDB);
  await store.names();
  return store;
}

class IndexedStore implements Store {
  readonly kind = "indexeddb";
  readonly #factory: IDBFactory;
  #database: Promise<IDBDatabase> | null = null;

  constructor(factory: IDBFactory) {
    this.#factory = factory;
  }

  async names(): Promise<string[]> {
    return (await this.#run("readonly", (table) => table.getAllKeys())) as string[];
  }

  async read(name: string): Promise<Bytes | null> {
    const buffer = (await this.#run("readonly", (table) => table.get(name))) as ArrayBuffer | undefined;
    return buffer === undefined ? null : new Uint8Array(buffer);
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    // Only the bytes themselves: a view's whole buffer would be stored with it.
    const { buffer } = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    try {
      await this.#run("readwrite", (table) => table.put(buffer, name));
    } catch (error) {
      throw isQuotaError(error) ? outOfSpace(name, bytes.byteLength, error) : error;
    }
  }

  async remove(name: string): Promise<void> {
    await this.#run("readwrite", (table) => table.delete(name));
  }

  /** Makes one request in a transaction of its own, and waits until that is done, not only answered. */
  async #run<T>(mode: IDBTransactionMode, request: (table: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = (await this.#open()).transaction(TABLE, mode);
    return new Promise<T>((resolve, reject) => {
      const made = request(transaction.objectStore(TABLE));
      const fail = (): void => {
        reject(transaction.error ?? made.error ?? new DOMException("The transaction was aborted.", "AbortError"));
      };
      transaction.oncomplete = () => {
        resolve(made.result);
      };
      transaction.onabort = fail;
      transaction.onerror = fail;
    });
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = this.#factory.open(DATABASE, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(TABLE);
      };
      request.onsuccess = () => {
        const database = request.result;
        // Closed by the browser or for another tab that wants to delete it: the next call opens it again.
        const close = (): void => {
          this.#database = null;
          database.close();
        };
        database.onclose = close;
        database.onversionchange = close;
        resolve(database);
      };
      request.onerror = () => {
        this.#database = null;
        reject(request.error ?? new DOMException("IndexedDB did not open.", "UnknownError"));
      };
    });
    return this.#database;
  }
}
