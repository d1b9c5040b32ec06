// Where passages and their vectors are kept: IndexedDB, one record a passage, each with the model that its vector is of.
// Where a browser refuses IndexedDB, they last as long as the page.

/** A text and the source that it is of. */
export interface Passage {
  readonly source: string;
  readonly text: string;
}

/** The vector of a passage, and the model that computed it. */
export interface Embedded extends Passage {
  readonly model: string;
  readonly vector: Int8Array;
}

/** Where passages are kept. */
export interface PassageStore {
  /** Whether they are there at the next visit. */
  readonly persists: boolean;
  all(): Promise<(Passage | Embedded)[]>;
  /** Removes and adds passages, all of them or none. */
  change(removed: readonly Passage[], added: readonly Passage[]): Promise<void>;
  /** Sets vectors; those of passages that are gone, as by another tab, are ignored. */
  embed(passages: readonly Embedded[]): Promise<void>;
}

const NAME = "selvedge-search";
const TABLE = "passages";

/** Opens the store. */
export async function openStore(): Promise<PassageStore> {
  const database = await openDatabase().catch(() => null);
  return database === null ? new MemoryStore() : new DatabaseStore(database);
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: ["source", "text"] });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB can't be opened."));
  });
}

class DatabaseStore implements PassageStore {
  readonly persists = true;
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async all(): Promise<(Passage | Embedded)[]> {
    let request: IDBRequest | undefined;
    await this.#run("readonly", (table) => (request = table.getAll()));
    return request?.result as (Passage | Embedded)[];
  }

  change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    return this.#run("readwrite", (table) => {
      for (const { source, text } of removed) table.delete([source, text]);
      for (const passage of added) table.put(passage);
    });
  }

  embed(passages: readonly Embedded[]): Promise<void> {
    return this.#run("readwrite", (table) => {
      for (const passage of passages) {
        const key = table.getKey([passage.source, passage.text]);
        key.onsuccess = () => {
          if (key.result !== undefined) table.put(passage);
        };
      }
    });
  }

  /** Runs a transaction; settles when it is complete. */
  #run(mode: IDBTransactionMode, work: (table: IDBObjectStore) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(TABLE, mode);
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("The texts could not be stored."));
      work(transaction.objectStore(TABLE));
    });
  }
}

/** Keeps passages as long as it lives. */
export class MemoryStore implements PassageStore {
  readonly persists = false;
  readonly #passages: Map<string, Passage | Embedded> = new Map();

  async all(): Promise<(Passage | Embedded)[]> {
    return [...this.#passages.values()];
  }

  async change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    for (const passage of removed) this.#passages.delete(keyOf(passage));
    for (const passage of added) this.#passages.set(keyOf(passage), passage);
  }

  async embed(passages: readonly Embedded[]): Promise<void> {
    for (const passage of passages) if (this.#passages.has(keyOf(passage))) this.#passages.set(keyOf(passage), passage);
  }
}

function keyOf({ source, text }: Passage): string {
  return JSON.stringify([source, text]);
}
