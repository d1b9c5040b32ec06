// The database of stored answers when it misbehaves. Its normal operation is tested in browsers (e2e).
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { deleteAnswers, openAnswers } from "./result-store.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Requests that are answered on request. */
interface Asked {
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
  result: unknown;
}

function request(result?: unknown): Asked {
  return { onsuccess: null, onerror: null, result };
}

/** An IndexedDB that opens on request, and whose transactions are never answered. */
function wedged() {
  const seen = { opened: null as Asked | null, isClosed: false, transactions: 0, asked: [] as Asked[] };
  const store = {
    get: () => {
      const made = request();
      seen.asked.push(made);
      return made;
    },
    put: () => request(),
    getAllKeys: () => request(),
    getAll: () => request(),
  };
  const database = {
    onversionchange: null,
    close: () => {
      seen.isClosed = true;
    },
    transaction: () => {
      seen.transactions += 1;
      return { objectStore: () => store };
    },
  };
  vi.stubGlobal("indexedDB", {
    open: () => (seen.opened = request(database)),
    deleteDatabase: () => request(),
  });
  return seen;
}

test("one that never opens is given up after 5 s, and is closed should it open later (store-B11)", async () => {
  const seen = wedged();
  const opening = openAnswers(1_000, () => 0);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await opening).toBeNull();
  seen.opened?.onsuccess?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(seen.isClosed).toBe(true);
});

test("one that does not answer is used once, for 5 s at the most, or as long as the caller can wait (store-B11)", async () => {
  const seen = wedged();
  const opening = openAnswers(1_000, () => 0);
  seen.opened?.onsuccess?.();
  const answers = await opening;
  const hurried = answers?.read("a", 100);
  await vi.advanceTimersByTimeAsync(100);
  expect(await hurried).toBeNull();
  expect(seen.isClosed).toBe(false);
  const reading = answers?.read("b", Infinity);
  const writing = answers?.write("c", {}, 10, Infinity);
  await vi.advanceTimersByTimeAsync(4_900);
  expect(seen.isClosed).toBe(true);
  await vi.advanceTimersByTimeAsync(100);
  expect(await reading).toBeNull();
  await writing;
  const { transactions } = seen;
  expect(await answers?.read("d", Infinity)).toBeNull();
  expect(seen.transactions).toBe(transactions);
});

test("a caller that can't wait does not disable a database that answers later (store-B11)", async () => {
  const seen = wedged();
  const opening = openAnswers(1_000, () => 0);
  seen.opened?.onsuccess?.();
  const answers = await opening;
  const hurried = answers?.read("a", 100);
  await vi.advanceTimersByTimeAsync(100);
  expect(await hurried).toBeNull();
  seen.asked[0]?.onsuccess?.();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(seen.isClosed).toBe(false);
});

test("deleting waits for a database that does not answer no longer than 5 s (store-B11)", async () => {
  wedged();
  const deleting = deleteAnswers();
  await vi.advanceTimersByTimeAsync(5_000);
  await deleting;
});
