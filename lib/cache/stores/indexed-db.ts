// The store in IndexedDB: slower than the others and in every browser. One object store, names to bytes; a transaction
// is applied whole or not at all.
//
// One transaction at a time: WebKit (https://bugs.webkit.org/show_bug.cgi?id=324094) wedges a database for good where a
// worker ends with two in flight, so that none after them, in any tab, is ever answered (WebKitGTK 2.54). This costs
// nothing, since writes wait for each other in a browser anyway. A database that is wedged all the same, by a page or
// by another program of this origin, is given up after a while, so that the next store can serve.
import { withOld } from "./old-store.ts";
import { isQuotaError, OLD_STORE_NAME, outOfSpace, STORE_NAME } from "./store.ts";
import type { Bytes, Store } from "./store.ts";

const TABLE = "entries";
/** A chunk of 4 MB takes a tenth of a second to write; a request that takes this long will not be answered. */
const PATIENCE_MS = 5_000;

/** Opens the store; null where there is no IndexedDB. Rejects where it may not be used, as in some private windows. */
export async function openIndexed(): Promise<Store | null> {
  const { indexedDB } = globalThis as Partial<typeof globalThis>;
  if (indexedDB === undefined) return null;
  const store = new IndexedStore(indexedDB, STORE_NAME, true);
  await store.names();
  return withOld(store, async () => {
    // Firefox before 126 can't list databases; opening one that is not there is undone.
    const databases = await (indexedDB as Partial<IDBFactory>).databases?.call(indexedDB);
    if (databases !== undefined && !databases.some((x) => x.name === OLD_STORE_NAME)) return null;
    return new IndexedStore(indexedDB, OLD_STORE_NAME, false);
  });
}

/** A database: `creates` makes one that is not there. */
export class IndexedStore implements Store {
  readonly kind = "indexeddb";
  readonly #factory: IDBFactory;
  readonly #name: string;
  readonly #creates: boolean;
  #database: Promise<IDBDatabase> | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #givenUp: DOMException | null = null;

  constructor(factory: IDBFactory, name: string, creates: boolean) {
    this.#factory = factory;
    this.#name = name;
    this.#creates = creates;
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

  /** Makes one request after the earlier ones. Rejects, as do all later ones, where it is not answered in time. */
  #run<T>(mode: IDBTransactionMode, request: (table: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const run = this.#last.then(() => {
      if (this.#givenUp !== null) throw this.#givenUp;
      return this.#inTime(this.#transact(mode, request));
    });
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        this.#givenUp = new DOMException(`IndexedDB did not answer within ${PATIENCE_MS} ms.`, "TimeoutError");
        reject(this.#givenUp);
      }, PATIENCE_MS);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Makes one request in a transaction of its own, and waits until that is complete, not only answered. */
  async #transact<T>(mode: IDBTransactionMode, request: (table: IDBObjectStore) => IDBRequest<T>): Promise<T> {
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
      const request = this.#factory.open(this.#name, 1);
      request.onupgradeneeded = () => {
        if (this.#creates) request.result.createObjectStore(TABLE);
        else request.transaction?.abort();
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
