// Persistent store of answers in IndexedDB, for `results: { persist: true }`. Bounded by bytes; evicts the least
// recently used. Separate from the store of models: an answer is small, is a plain value, and can be lost without harm,
// so any failure here means that an answer is not stored. A database that does not answer (WebKit wedges some, see
// cache/stores/indexed-db.ts) is not used again until the page is left.
import { inTime } from "../core/abort.ts";
import type { PersistentResults } from "./result-cache.ts";

const DATABASE = "selvedge-answers";
const ANSWERS = "answers";
const FACTS = "facts";
/** Writes between two checks of the stored size. */
const LOOK_EVERY = 16;
/** After this time an answer of IndexedDB no longer comes. */
const PATIENCE_MS = 5_000;

/** Metadata of an answer, readable without it. */
interface Fact {
  readonly bytes: number;
  /** By the wall clock, as is `usedMs`; Infinity where it does not expire. */
  readonly untilMs: number;
  readonly usedMs: number;
}

/** Opens the store; null where IndexedDB is missing, blocked, or does not answer. */
export async function openAnswers(maxBytes: number, now: () => number): Promise<PersistentResults | null> {
  const { indexedDB } = globalThis as Partial<typeof globalThis>;
  if (indexedDB === undefined) return null;
  try {
    const opening = open(indexedDB);
    const database = await inTime(opening, PATIENCE_MS, setTimer);
    if (database !== null) return new Answers(database, maxBytes, now);
    void opening.then((late) => {
      late.close();
    });
    return null;
  } catch {
    return null;
  }
}

/**
 * Removes all answers that are stored on the device. Resolves once they are removed, or where IndexedDB does not
 * answer.
 */
export async function deleteAnswers(): Promise<void> {
  const { indexedDB } = globalThis as Partial<typeof globalThis>;
  if (indexedDB === undefined) return;
  const deleted = new Promise<void>((resolve) => {
    const done = (): void => {
      resolve();
    };
    const request = indexedDB.deleteDatabase(DATABASE);
    request.onsuccess = request.onerror = done;
  });
  await inTime(deleted, PATIENCE_MS, setTimer);
}

function setTimer(callback: () => void, ms: number): () => void {
  const timer = setTimeout(callback, ms);
  return () => {
    clearTimeout(timer);
  };
}

function open(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(ANSWERS);
      request.result.createObjectStore(FACTS);
    };
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new DOMException("IndexedDB did not open.", "UnknownError"));
    };
  });
}

class Answers implements PersistentResults {
  readonly #database: IDBDatabase;
  readonly #maxBytes: number;
  readonly #now: () => number;
  #writes = 0;
  #isGivenUp = false;

  constructor(database: IDBDatabase, maxBytes: number, now: () => number) {
    this.#database = database;
    this.#maxBytes = maxBytes;
    this.#now = now;
    // Another tab may want to delete it.
    database.onversionchange = () => {
      database.close();
    };
  }

  async read(key: string, boundMs: number): Promise<{ readonly value: unknown; readonly untilMs: number } | null> {
    const reading = this.#use(() => this.#read(key));
    return boundMs < PATIENCE_MS ? inTime(reading, Math.max(0, boundMs), setTimer) : reading;
  }

  async write(key: string, value: unknown, bytes: number, untilMs: number): Promise<void> {
    await this.#use(() => this.#write(key, value, bytes, untilMs));
  }

  /**
   * Runs an operation on the database; null where it fails or does not answer, after which the database is not used
   * again.
   */
  async #use<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.#isGivenUp) return null;
    let isAnswered = false;
    const answer = work()
      .catch(() => null)
      .finally(() => {
        isAnswered = true;
      });
    const value = await inTime(answer, PATIENCE_MS, setTimer);
    if (isAnswered || this.#isGivenUp) return value;
    this.#isGivenUp = true;
    this.#database.close();
    return null;
  }

  async #read(key: string): Promise<{ readonly value: unknown; readonly untilMs: number } | null> {
    const transaction = this.#database.transaction([ANSWERS, FACTS], "readwrite");
    const facts = transaction.objectStore(FACTS);
    const fact = (await result(facts.get(key))) as Fact | undefined;
    if (fact === undefined || fact.untilMs < this.#now()) return null;
    facts.put({ ...fact, usedMs: this.#now() } satisfies Fact, key);
    const value = await result<unknown>(transaction.objectStore(ANSWERS).get(key));
    return value === undefined ? null : { value, untilMs: fact.untilMs };
  }

  async #write(key: string, value: unknown, bytes: number, untilMs: number): Promise<void> {
    const transaction = this.#database.transaction([ANSWERS, FACTS], "readwrite");
    const [answers, facts] = [transaction.objectStore(ANSWERS), transaction.objectStore(FACTS)];
    answers.put(value, key);
    facts.put({ bytes, untilMs, usedMs: this.#now() } satisfies Fact, key);
    if (this.#writes++ % LOOK_EVERY === 0) await this.#trim(answers, facts);
  }

  /** Removes expired answers, and the least recently used ones where the bound is exceeded. */
  async #trim(answers: IDBObjectStore, facts: IDBObjectStore): Promise<void> {
    const [keys, all] = await Promise.all([result(facts.getAllKeys()), result(facts.getAll() as IDBRequest<Fact[]>)]);
    const known = keys.map((key, i) => ({ key, ...(all[i] as Fact) }));
    known.sort((a, b) => b.usedMs - a.usedMs);
    let bytes = 0;
    for (const { key, bytes: own, untilMs } of known) {
      bytes += own;
      if (bytes <= this.#maxBytes && untilMs >= this.#now()) continue;
      answers.delete(key);
      facts.delete(key);
    }
  }
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new DOMException("IndexedDB did not answer.", "UnknownError"));
    };
  });
}
