// The stores that run in Node: memory, and OPFS's code over a folder that fails on purpose. The browsers' own stores
// pass the same suite in e2e/specs/storage/stores.spec.ts.
import { expect, test } from "vitest";
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import { checkStore } from "../../test-support/store-conformance.ts";
import { DiskStore } from "../../test-support/fake-network.ts";
import { Folder } from "../../test-support/fake-folder.ts";
import { MemoryStore } from "./memory.ts";
import { openFolder } from "./opfs.ts";
import { isFull, isQuotaError, OLD_STORE_NAME, outOfSpace, STORE_NAME } from "./store.ts";
import type { Store } from "./store.ts";
import { openStore, STORES } from "./open-store.ts";

const bytes = Uint8Array.from({ length: 1_000 }, (_, i) => i % 251);

test("memory passes the conformance suite", async () => {
  const store = new MemoryStore();
  expect(await checkStore(() => Promise.resolve(store))).toEqual({});
});

test("the store that tests keep in a real folder passes the conformance suite (tool-disk-store)", async () => {
  const store = await DiskStore.make();
  expect(await checkStore(() => Promise.resolve(store))).toEqual({});
  expect(await store.blob("missing")).toBeNull();
  await store.clear();
});

test("OPFS's code passes the conformance suite", async () => {
  const folder = new Folder();
  expect(await checkStore(() => Promise.resolve(openFolder(folder.handle(), () => 0)))).toEqual({});
  expect(folder.held).toBe(0);
});

test("a page that dies at any effect of a write leaves the entry whole or not at all", async () => {
  const whole = new Folder();
  await openFolder(whole.handle(), () => 0).write("check-a", bytes);
  expect(whole.effects).toBeGreaterThan(4);
  for (let dieAt = 1; dieAt <= whole.effects; dieAt += 1) {
    const folder = new Folder();
    folder.dieAt = dieAt;
    const dying = openFolder(folder.handle(), () => 0);
    await expect(dying.write("check-a", bytes)).rejects.toThrow("The page is gone.");
    folder.dieAt = Number.POSITIVE_INFINITY;
    const next = openFolder(folder.handle(), () => 1_000_000);
    expect(await next.names()).toEqual([]);
    expect(await next.read("check-a")).toBeNull();
    expect([...folder.files.keys()], "what was half written is cleared away").toEqual([]);
    await next.write("check-a", bytes);
    expect(await next.read("check-a")).toEqual(bytes);
  }
});

test("OPFS distinguishes a missing entry from an unreadable one (store-B3)", async () => {
  const folder = new Folder();
  const store = openFolder(folder.handle(), () => 0);
  await store.write("check-a", bytes);
  folder.dieAt = folder.effects + 1;
  await expect(store.read("check-a")).rejects.toThrow("The page is gone.");
  await expect(store.blob?.("check-a")).rejects.toThrow("The page is gone.");
  folder.dieAt = Number.POSITIVE_INFINITY;
  expect(await store.read("check-none")).toBeNull();
  expect(await store.blob?.("check-none")).toBeNull();
});

test("another tab's temporary file is not removed", async () => {
  const folder = new Folder();
  folder.files.set("temp-500-x", bytes);
  expect(await openFolder(folder.handle(), () => 1_000).names()).toEqual([]);
  expect([...folder.files.keys()]).toEqual(["temp-500-x"]);
});

test.each([0, 3, 4294967288])(
  "a write that claims %d bytes is quota-exceeded, and nothing is left",
  async (claimed) => {
    const folder = new Folder();
    const store = openFolder(folder.handle(), () => 0);
    folder.claimed = claimed;
    const error: unknown = await store.write("check-a", bytes).catch((caught: unknown) => caught);
    expect(isSelvedgeError(error) && error.code).toBe("quota-exceeded");
    expect([...folder.files.keys()]).toEqual([]);
    expect(folder.held).toBe(0);
  },
);

test("memory that is full is quota-exceeded", async () => {
  const store = new MemoryStore(1_500);
  await store.write("check-a", bytes);
  await expect(store.write("check-b", bytes)).rejects.toMatchObject({ code: "quota-exceeded" });
  await store.remove("check-a");
  await store.write("check-b", bytes);
});

test("a store with entries needs no trial: a full one is read all the same", async () => {
  const full = new MemoryStore(1_000);
  await full.write("check-a", bytes);
  const store = await openStore(() => 0, [["opfs", () => Promise.resolve(full)]]);
  expect(store).toBe(full);
});

test("the first store that keeps an entry is chosen", async () => {
  const liar: Store = {
    kind: "opfs",
    names: () => Promise.resolve([]),
    read: () => Promise.resolve(null),
    write: () => Promise.resolve(),
    remove: () => Promise.resolve(),
  };
  const memory = new MemoryStore();
  const refused = (): never => {
    throw new DOMException("private window", "SecurityError");
  };
  const store = await openStore(
    () => 0,
    [
      ["cache", () => Promise.resolve(null)],
      ["indexeddb", async () => Promise.resolve().then(refused)],
      ["opfs", () => Promise.resolve(liar)],
      ["memory", () => Promise.resolve(memory)],
    ],
  );
  expect(store).toBe(memory);
  expect(await memory.names()).toEqual([]);
});

test("a store that refuses to write, or returns other bytes, is passed over; its trial is removed", async () => {
  const refusing = new MemoryStore(0);
  const wrong = new MemoryStore();
  wrong.read = () => Promise.resolve(Uint8Array.of(1, 2, 4));
  const good = new MemoryStore();
  const stores = [refusing, wrong, good].map((store) => ["opfs", () => Promise.resolve(store)] as const);
  expect(await openStore(() => 0, stores)).toBe(good);
  for (const store of [refusing, wrong, good]) expect(await store.names()).toEqual([]);
});

test("a store that holds only the trials of other tabs is tried as well", async () => {
  const full = new MemoryStore(3);
  await full.write("trial-of-another-tab", Uint8Array.of(1, 2, 3));
  const store = await openStore(() => 0, [["opfs", () => Promise.resolve(full)]]);
  expect(store).not.toBe(full);
  expect(store.kind).toBe("memory");
});

test("where there is none of the browsers' stores, memory is the store", async () => {
  expect(STORES.map(([kind]) => kind)).toEqual(["opfs", "indexeddb", "cache", "memory"]);
  expect(STORES).toHaveLength(4);
  const memory = await STORES[3]?.[1](() => 0);
  expect(memory?.kind).toBe("memory");
  expect((await openStore(() => 0)).kind).toBe("memory");
  expect((await openStore(() => 0, [])).kind).toBe("memory");
});

test("a store gets the clock that it is opened with", async () => {
  let given = 0;
  const open = (now: () => number): Promise<null> => {
    given = now();
    return Promise.resolve(null);
  };
  await openStore(() => 7, [["opfs", open]]);
  expect(given).toBe(7);
});

test("the stores of this release and of the one before are found under the names that they were written to", () => {
  expect([STORE_NAME, OLD_STORE_NAME]).toEqual(["selvedge-2", "selvedge"]);
});

test("an error of a browser means that space ran out by its name alone", () => {
  const named = (name: string): Error => Object.assign(new Error("no"), { name });
  const names = ["QuotaExceededError", "NS_ERROR_FILE_NO_DEVICE_SPACE"];
  for (const name of names) {
    expect(isQuotaError(named(name))).toBe(true);
    for (const other of [`${name}s`, `My${name}`]) expect(isQuotaError(named(other))).toBe(false);
    expect(isQuotaError({ name })).toBe(false);
  }
});

test("the error of a write that did not fit says how much, and is known by its code", () => {
  const cause = new Error("full");
  const error = outOfSpace("chunk-a", 12, cause);
  expect(error).toMatchObject({
    code: "quota-exceeded",
    message: "Storage quota exceeded: no room for 12 more bytes.",
    details: { name: "chunk-a", missingBytes: 12 },
    cause,
  });
  expect(isFull(error)).toBe(true);
  expect(isFull(cause)).toBe(false);
  expect(isFull(new SelvedgeError("internal", "other"))).toBe(false);
  expect(isFull({ code: "quota-exceeded" })).toBe(false);
});
