// Requirements on every store, as checks that throw. They run over all stores: in Node over memory and a file system
// with injected faults, in browsers over the real ones (e2e/specs/storage/stores.spec.ts).
import type { Bytes, Store } from "../cache/stores/store.ts";

/** A check: gets a function that opens the same store again, as the next page would. */
export type StoreCheck = (open: () => Promise<Store>) => Promise<void>;

function bytesOf(size: number, seed = 1): Bytes {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 1) bytes[i] = (i * seed + seed) % 251;
  return bytes;
}

function expectSame(name: string, got: Bytes | null, expected: Bytes | null): void {
  const same = (x: Bytes, y: Bytes): boolean => x.length === y.length && x.every((value, i) => value === y[i]);
  if (got === null || expected === null ? got !== expected : !same(got, expected))
    throw new Error(`${name} holds ${got === null ? "nothing" : `${got.length} other bytes`}`);
}

async function expectNames(store: Store, expected: readonly string[]): Promise<void> {
  const names = (await store.names()).filter((x) => x.startsWith("check-")).sort();
  if (names.join() !== [...expected].sort().join()) throw new Error(`names: ${names.join()}, not ${expected.join()}`);
}

/** The checks, by the requirement. */
export const STORE_CHECKS: Readonly<Record<string, StoreCheck>> = {
  "a written entry is read after opening again": async (open) => {
    await (await open()).write("check-a", bytesOf(1_000));
    expectSame("check-a", await (await open()).read("check-a"), bytesOf(1_000));
  },
  "a missing entry is null": async (open) => {
    expectSame("check-none", await (await open()).read("check-none"), null);
  },
  "an empty entry is there": async (open) => {
    const store = await open();
    await store.write("check-empty", new Uint8Array(0));
    await expectNames(store, ["check-empty"]);
    expectSame("check-empty", await store.read("check-empty"), new Uint8Array(0));
  },
  "4 MiB are read unchanged": async (open) => {
    const bytes = bytesOf(4 * 1024 * 1024, 7);
    const store = await open();
    await store.write("check-big", bytes);
    expectSame("check-big", await store.read("check-big"), bytes);
  },
  "a store that has blobs returns an entry as one, and null for a missing entry": async (open) => {
    const store = await open();
    if (store.blob === undefined) return;
    await store.write("check-blob", bytesOf(1_000, 3));
    const blob = await store.blob("check-blob");
    expectSame("check-blob", blob && new Uint8Array(await blob.arrayBuffer()), bytesOf(1_000, 3));
    if ((await store.blob("check-none")) !== null) throw new Error("check-none is a blob");
  },
  "a view is written without the rest of its buffer": async (open) => {
    const store = await open();
    await store.write("check-view", bytesOf(100).subarray(10, 20));
    expectSame("check-view", await store.read("check-view"), bytesOf(100).slice(10, 20));
  },
  "a write does not detach the caller's bytes": async (open) => {
    const store = await open();
    const bytes = bytesOf(100);
    await store.write("check-own", bytes);
    if (bytes.byteLength !== 100) throw new Error("the bytes were detached");
    bytes.fill(0);
    expectSame("check-own", await store.read("check-own"), bytesOf(100));
  },
  "the same name written twice is there once": async (open) => {
    const store = await open();
    await store.write("check-twice", bytesOf(64));
    await store.write("check-twice", bytesOf(64));
    await expectNames(store, ["check-twice"]);
    expectSame("check-twice", await store.read("check-twice"), bytesOf(64));
  },
  "two concurrent writers of one name agree": async (open) => {
    const [a, b] = [await open(), await open()];
    await Promise.all([a.write("check-race", bytesOf(9_000)), b.write("check-race", bytesOf(9_000))]);
    expectSame("check-race", await a.read("check-race"), bytesOf(9_000));
  },
  "many concurrent writes are all stored": async (open) => {
    const store = await open();
    const names = Array.from({ length: 24 }, (_, i) => `check-${i}`);
    await Promise.all(names.map((name, i) => store.write(name, bytesOf(500 + i, i + 1))));
    await expectNames(store, names);
    for (const [i, name] of names.entries()) expectSame(name, await store.read(name), bytesOf(500 + i, i + 1));
  },
  "a removed entry is gone, and removing it again is no error": async (open) => {
    const store = await open();
    await store.write("check-gone", bytesOf(10));
    await store.remove("check-gone");
    await store.remove("check-gone");
    await expectNames(await open(), []);
    expectSame("check-gone", await store.read("check-gone"), null);
  },
  "a removal during a read returns all or nothing": async (open) => {
    const store = await open();
    const bytes = bytesOf(200_000);
    await store.write("check-torn", bytes);
    const [read] = await Promise.all([store.read("check-torn"), store.remove("check-torn")]);
    if (read !== null) expectSame("check-torn", read, bytes);
  },
};

/** Runs every check on a store that is emptied before each; returns the failures, by name. */
export async function checkStore(open: () => Promise<Store>): Promise<Record<string, string>> {
  const failed: Record<string, string> = {};
  for (const [name, check] of Object.entries(STORE_CHECKS)) {
    try {
      const store = await open();
      for (const entry of await store.names()) await store.remove(entry);
      await check(open);
    } catch (error) {
      failed[name] = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    }
  }
  return failed;
}
