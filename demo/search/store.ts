// Where passages and their vectors are kept: IndexedDB, one record a passage, each with the model that its vector is of.
// Where a browser refuses IndexedDB, they last as long as the page. Tabs tell each other which records they changed, and
// each reads them anew: whatever the order of messages, all end with what is stored.

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
  /** Reads passages by source and text; undefined for each that is not there. */
  read(passages: readonly Passage[]): Promise<(Passage | Embedded | undefined)[]>;
  /** Removes and adds passages, all of them or none. */
  change(removed: readonly Passage[], added: readonly Passage[]): Promise<void>;
  /** Sets vectors; those of passages that are gone, as by another tab, are ignored. */
  embed(passages: readonly Embedded[]): Promise<void>;
  /** Calls back with the passages that another tab added, removed or set the vectors of. */
  onOtherTab(listener: (passages: readonly Passage[]) => void): void;
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
  readonly #otherTabs = new BroadcastChannel(NAME);

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async all(): Promise<(Passage | Embedded)[]> {
    let request: IDBRequest | undefined;
    await this.#run("readonly", (table) => (request = table.getAll()));
    return request?.result as (Passage | Embedded)[];
  }

  async read(passages: readonly Passage[]): Promise<(Passage | Embedded | undefined)[]> {
    let requests: IDBRequest[] = [];
    await this.#run("readonly", (table) => {
      requests = passages.map(({ source, text }) => table.get([source, text]));
    });
    return requests.map((x) => x.result as Passage | Embedded | undefined);
  }

  async change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    await this.#run("readwrite", (table) => {
      for (const { source, text } of removed) table.delete([source, text]);
      for (const passage of added) table.put(passage);
    });
    this.#tell([...removed, ...added]);
  }

  async embed(passages: readonly Embedded[]): Promise<void> {
    await this.#run("readwrite", (table) => {
      for (const passage of passages) {
        const key = table.getKey([passage.source, passage.text]);
        key.onsuccess = () => {
          if (key.result !== undefined) table.put(passage);
        };
      }
    });
    this.#tell(passages);
  }

  onOtherTab(listener: (passages: readonly Passage[]) => void): void {
    this.#otherTabs.onmessage = ({ data }: MessageEvent<readonly Passage[]>) => listener(data);
  }

  #tell(passages: readonly Passage[]): void {
    this.#otherTabs.postMessage(passages.map(({ source, text }) => ({ source, text })));
  }

  /** Runs a transaction; settles when it is complete. */
  async #run(mode: IDBTransactionMode, work: (table: IDBObjectStore) => void): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        const transaction = this.#database.transaction(TABLE, mode);
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
        work(transaction.objectStore(TABLE));
      });
    } catch (error) {
      throw new Error(
        error instanceof DOMException && error.name === "QuotaExceededError"
          ? "The texts could not be stored: the disk, or this site’s share of it, is full."
          : "The browser’s database failed: load this page again.",
        { cause: error },
      );
    }
  }
}

/** Keeps passages as long as it lives. */
export class MemoryStore implements PassageStore {
  readonly persists = false;
  readonly #passages: Map<string, Passage | Embedded> = new Map();

  async all(): Promise<(Passage | Embedded)[]> {
    return [...this.#passages.values()];
  }

  async read(passages: readonly Passage[]): Promise<(Passage | Embedded | undefined)[]> {
    return passages.map((x) => this.#passages.get(keyOf(x)));
  }

  async change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    for (const passage of removed) this.#passages.delete(keyOf(passage));
    for (const passage of added) this.#passages.set(keyOf(passage), passage);
  }

  async embed(passages: readonly Embedded[]): Promise<void> {
    for (const passage of passages) if (this.#passages.has(keyOf(passage))) this.#passages.set(keyOf(passage), passage);
  }

  /** Does nothing: no other tab sees it. */
  onOtherTab(): void {}
}

function keyOf({ source, text }: Passage): string {
  return JSON.stringify([source, text]);
}
