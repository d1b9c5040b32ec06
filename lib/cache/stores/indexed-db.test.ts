// The store in IndexedDB over a fake of it; the browsers' own pass the same suite in e2e/specs/storage/stores.spec.ts.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { checkStore } from "../../test-support/store-conformance.ts";
import { IndexedStore, openIndexed } from "./indexed-db.ts";
import { OLD_STORE_NAME, STORE_NAME } from "./store.ts";

const BYTES = Uint8Array.of(1, 2, 3);
const PATIENCE_MS = 5_000;

type Handler = (() => void) | null;
type Fault = "abort" | "error" | "silent";

interface FakeRequest {
  result: unknown;
  error: Error | null;
  transaction: { abort(): void } | null;
  onsuccess: Handler;
  onerror: Handler;
  onupgradeneeded: Handler;
}

const newRequest = (): FakeRequest => ({
  ...{ result: undefined, error: null, transaction: null, onsuccess: null, onerror: null, onupgradeneeded: null },
});

/** A connection to a database. */
class FakeConnection {
  isClosed = false;
  onclose: Handler = null;
  onversionchange: Handler = null;
  readonly #factory: FakeFactory;
  readonly #tables: Map<string, Map<string, ArrayBuffer>>;

  constructor(factory: FakeFactory, tables: Map<string, Map<string, ArrayBuffer>>) {
    this.#factory = factory;
    this.#tables = tables;
  }

  createObjectStore(name: string): void {
    this.#tables.set(name, new Map());
  }

  close(): void {
    this.isClosed = true;
  }

  transaction(name: string, mode: IDBTransactionMode) {
    const table = this.#tables.get(name);
    if (this.isClosed || table === undefined) throw new DOMException("no table, or closed", "InvalidStateError");
    const factory = this.#factory;
    const transaction = {
      error: null as Error | null,
      oncomplete: null as Handler,
      onabort: null as Handler,
      onerror: null as Handler,
      objectStore: (asked: string) => {
        if (asked !== name) throw new DOMException("no such table", "NotFoundError");
        return {
          getAllKeys: () => make(() => [...table.keys()]),
          get: (key: string) => make(() => structuredClone(table.get(key))),
          put: (value: ArrayBuffer, key: string) => {
            const kept = structuredClone(value);
            return make(() => void table.set(key, kept), "readwrite");
          },
          delete: (key: string) => make(() => void table.delete(key), "readwrite"),
        };
      },
    };
    const make = (work: () => unknown, needed: IDBTransactionMode = "readonly"): FakeRequest => {
      if (needed !== "readonly" && mode !== needed) throw new DOMException("read only", "ReadOnlyError");
      const request = newRequest();
      factory.inFlight += 1;
      factory.mostInFlight = Math.max(factory.mostInFlight, factory.inFlight);
      const { fault, error } = factory;
      queueMicrotask(() => {
        if (fault === "silent") return;
        factory.inFlight -= 1;
        if (fault === null) request.result = work();
        else if (factory.isOfRequest) request.error = error;
        else transaction.error = error;
        if (fault === null) transaction.oncomplete?.();
        else if (fault === "abort") transaction.onabort?.();
        else transaction.onerror?.();
      });
      return request;
    };
    return transaction;
  }
}

/** IndexedDB in memory. */
class FakeFactory {
  readonly databases_: Map<string, Map<string, Map<string, ArrayBuffer>>> = new Map();
  readonly connections: FakeConnection[] = [];
  inFlight = 0;
  mostInFlight = 0;
  /** How transactions fail, with which error, and whether that is their request's or their own. */
  fault: Fault | null = null;
  error: Error | null = null;
  isOfRequest = false;
  /** Error that opening rejects with; undefined where it succeeds. */
  refused: Error | null | undefined;
  /** Names of the databases that were opened. */
  readonly opened: string[] = [];

  databases = (): Promise<{ name: string }[]> => Promise.resolve([...this.databases_.keys()].map((name) => ({ name })));

  open(name: string): FakeRequest {
    this.opened.push(name);
    const request = newRequest();
    queueMicrotask(() => {
      if (this.refused !== undefined) {
        request.error = this.refused;
        request.onerror?.();
        return;
      }
      const known = this.databases_.get(name);
      const tables = known ?? new Map<string, Map<string, ArrayBuffer>>();
      const connection = new FakeConnection(this, tables);
      request.result = connection;
      if (known === undefined) {
        this.databases_.set(name, tables);
        request.transaction = { abort: () => this.databases_.delete(name) };
        request.onupgradeneeded?.();
        if (!this.databases_.has(name)) {
          request.error = new DOMException("undone", "AbortError");
          request.onerror?.();
          return;
        }
      }
      this.connections.push(connection);
      request.onsuccess?.();
    });
    return request;
  }
}

function openFake(): { factory: FakeFactory; store: IndexedStore } {
  const factory = new FakeFactory();
  return { factory, store: new IndexedStore(factory as unknown as IDBFactory, "test", true) };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("IndexedDB's code passes the conformance suite", async () => {
  const { store, factory } = openFake();
  expect(await checkStore(() => Promise.resolve(store))).toEqual({});
  expect(store.kind).toBe("indexeddb");
  expect(factory.connections).toHaveLength(1);
});

test("only the bytes themselves are stored, not the whole buffer of a view", async () => {
  const { store, factory } = openFake();
  await store.write("check-a", new Uint8Array(1_000).subarray(1, 4));
  await store.write("check-b", BYTES);
  const tables = [...(factory.databases_.get("test")?.values() ?? [])];
  expect(tables.flatMap((x) => [...x.values()]).map((x) => x.byteLength)).toEqual([3, 3]);
});

test("one transaction is in flight at a time, and one that fails does not fail the next", async () => {
  const { store, factory } = openFake();
  await Promise.all([1, 2, 3].map((i) => store.write(`check-${i}`, BYTES)));
  expect(factory.mostInFlight).toBe(1);
  factory.fault = "error";
  factory.error = new DOMException("disk", "UnknownError");
  await expect(store.read("check-1")).rejects.toBe(factory.error);
  factory.fault = null;
  expect(await store.read("check-1")).toEqual(BYTES);
});

test.each(["abort", "error"] as const)("a transaction that ends by its %s rejects with its error", async (fault) => {
  const { store, factory } = openFake();
  factory.fault = fault;
  const error = (factory.error = new DOMException("disk", "UnknownError"));
  await expect(store.write("check-a", BYTES)).rejects.toBe(error);
  factory.isOfRequest = true;
  await expect(store.write("check-a", BYTES)).rejects.toBe(error);
  factory.error = null;
  await expect(store.write("check-a", BYTES)).rejects.toMatchObject({
    name: "AbortError",
    message: "The transaction was aborted.",
  });
});

test("a write that does not fit is quota-exceeded", async () => {
  const { store, factory } = openFake();
  factory.fault = "abort";
  const cause = (factory.error = new DOMException("full", "QuotaExceededError"));
  await expect(store.write("check-a", BYTES)).rejects.toMatchObject({ code: "quota-exceeded", cause });
});

test("a database that does not answer for five seconds is given up, with all that waits for it", async () => {
  const { store, factory } = openFake();
  await store.write("check-a", BYTES);
  factory.fault = "silent";
  const ends = [store.read("check-a"), store.names()].map((x) => x.then(String, (error: unknown) => error));
  let ended = 0;
  for (const end of ends) void end.then(() => (ended += 1));
  await vi.advanceTimersByTimeAsync(PATIENCE_MS - 1);
  expect(ended).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  const message = "IndexedDB did not answer within 5000 ms.";
  for (const end of ends) expect(await end).toMatchObject({ name: "TimeoutError", message });
  factory.fault = null;
  await expect(store.read("check-a")).rejects.toMatchObject({ name: "TimeoutError" });
});

test("a request that was answered leaves no timer, and one after a long pause is not late", async () => {
  const { store } = openFake();
  await store.write("check-a", BYTES);
  expect(vi.getTimerCount()).toBe(0);
  await vi.advanceTimersByTimeAsync(10 * PATIENCE_MS);
  expect(await store.read("check-a")).toEqual(BYTES);
});

test.each(["onclose", "onversionchange"] as const)(
  "a database that is closed (%s) is opened again by the next call",
  async (event) => {
    const { store, factory } = openFake();
    await store.write("check-a", BYTES);
    factory.connections[0]?.[event]?.();
    expect(factory.connections[0]?.isClosed).toBe(true);
    expect(await store.read("check-a")).toEqual(BYTES);
    expect(factory.connections).toHaveLength(2);
  },
);

test("a database that did not open rejects with the reason, and is opened again by the next call", async () => {
  const { store, factory } = openFake();
  const error = (factory.refused = new DOMException("private window", "SecurityError"));
  await expect(store.names()).rejects.toBe(error);
  factory.refused = null;
  await expect(store.names()).rejects.toMatchObject({ name: "UnknownError", message: "IndexedDB did not open." });
  factory.refused = undefined;
  expect(await store.names()).toEqual([]);
});

test("a page without IndexedDB has no such store, and one that may not use it rejects", async () => {
  vi.stubGlobal("indexedDB", undefined);
  expect(await openIndexed()).toBeNull();
  const factory = new FakeFactory();
  factory.refused = new DOMException("private window", "SecurityError");
  vi.stubGlobal("indexedDB", factory);
  await expect(openIndexed()).rejects.toBe(factory.refused);
});

test.each([true, false])(
  "an older release's database is read beside the own one, and not created (a browser that lists databases: %s)",
  async (lists) => {
    const factory = new FakeFactory();
    if (!lists) Object.assign(factory, { databases: undefined });
    vi.stubGlobal("indexedDB", factory);
    const alone = await openIndexed();
    await alone?.write("check-a", BYTES);
    expect([...factory.databases_.keys()]).toEqual([STORE_NAME]);
    expect(factory.opened.includes(OLD_STORE_NAME)).toBe(!lists);
    await new IndexedStore(factory as unknown as IDBFactory, OLD_STORE_NAME, true).write("check-old", BYTES);
    const both = await openIndexed();
    expect(await both?.names()).toEqual(["check-a", "check-old"]);
    expect(await both?.read("check-old")).toEqual(BYTES);
  },
);
