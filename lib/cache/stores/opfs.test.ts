// Opening OPFS, and its code in a folder that fails: store.test.ts has the suite of all stores.
import { afterEach, expect, test, vi } from "vitest";
import { Folder } from "../../test-support/fake-folder.ts";
import { openFolder, openOpfs } from "./opfs.ts";
import { OLD_STORE_NAME, STORE_NAME } from "./store.ts";

const BYTES = Uint8Array.of(1, 2, 3);
const NOTHING = (): void => undefined;

/** Replaces the page's file system by one with these folders, whose files have these methods. */
function stubFiles(folders: Map<string, Folder>, methods: object): void {
  vi.stubGlobal("FileSystemFileHandle", { prototype: methods });
  const getDirectoryHandle = async (name: string, options?: { create?: boolean }): Promise<object> => {
    if (!folders.has(name) && options?.create !== true) throw new DOMException("not there", "NotFoundError");
    const folder = folders.get(name) ?? new Folder();
    folders.set(name, folder);
    return Promise.resolve(folder.handle());
  };
  vi.stubGlobal("navigator", { storage: { getDirectory: () => Promise.resolve({ getDirectoryHandle }) } });
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test("a page without a file system, without sync handles or without renaming has no such store", async () => {
  vi.stubGlobal("FileSystemFileHandle", undefined);
  expect(await openOpfs(() => 0)).toBeNull();
  for (const methods of [{ createSyncAccessHandle: NOTHING }, { move: NOTHING }]) {
    stubFiles(new Map(), methods);
    expect(await openOpfs(() => 0)).toBeNull();
  }
});

test("an older release's folder is read beside the own one, and not created", async () => {
  const folders = new Map<string, Folder>();
  stubFiles(folders, { createSyncAccessHandle: NOTHING, move: NOTHING });
  const store = await openOpfs(() => 0);
  expect(store?.kind).toBe("opfs");
  await store?.write("check-a", BYTES);
  expect([...folders.keys()]).toEqual([STORE_NAME]);
  const old = new Folder();
  folders.set(OLD_STORE_NAME, old);
  await openFolder(old.handle(), () => 0).write("check-old", BYTES);
  const both = await openOpfs(() => 0);
  expect(await both?.names()).toEqual(["check-a", "check-old"]);
  expect(await both?.read("check-old")).toEqual(BYTES);
});

test("the temporary file of a page that died is removed ten minutes later, and no entry with a similar name", async () => {
  const folder = new Folder();
  const names = ["temp-500-x", "my-temp-500-x", "temp-x"];
  for (const name of names) folder.files.set(name, BYTES);
  expect(await openFolder(folder.handle(), () => 600_500).names()).toEqual(names.slice(1));
  expect([...folder.files.keys()]).toEqual(names);
  await openFolder(folder.handle(), () => 600_501).names();
  expect([...folder.files.keys()]).toEqual(names.slice(1));
});

test("a temporary file that can't be removed does not fail the list", async () => {
  const folder = new Folder();
  folder.files.set("temp-1234-x", BYTES);
  folder.files.set("check-a", BYTES);
  folder.dieAt = 1;
  expect(await openFolder(folder.handle(), () => 1_000_000).names()).toEqual(["check-a"]);
});

test("a write that another tab did first succeeds, and leaves no temporary file", async () => {
  const folder = new Folder();
  const store = openFolder(folder.handle(), () => 0);
  await store.write("check-a", BYTES);
  folder.claimed = 0; // out of space by now
  await store.write("check-a", BYTES);
  expect([...folder.files.keys()]).toEqual(["check-a"]);
});

test("a write that throws for want of space is quota-exceeded", async () => {
  const folder = new Folder();
  const full = new DOMException("full", "QuotaExceededError");
  const handle = folder.handle();
  const getFileHandle: typeof handle.getFileHandle = (name, options) =>
    options?.create === true ? Promise.reject(full) : Folder.prototype.handle.call(folder).getFileHandle(name);
  const store = openFolder(Object.assign(handle, { getFileHandle }), () => 0);
  await expect(store.write("check-a", BYTES)).rejects.toMatchObject({
    code: "quota-exceeded",
    cause: full,
    details: { name: "check-a", missingBytes: 3 },
  });
});

test("a removal that fails rejects, unless the entry is not there", async () => {
  const folder = new Folder();
  const store = openFolder(folder.handle(), () => 0);
  await store.remove("check-none");
  await store.write("check-a", BYTES);
  folder.dieAt = 1;
  await expect(store.remove("check-a")).rejects.toThrow("The page is gone.");
});

test("an entry that another tab removes while it is read is not there; one that can't be read rejects", async () => {
  const folder = new Folder();
  const handle = folder.handle();
  const store = openFolder(handle, () => 0);
  await store.write("check-a", BYTES);
  const get = handle.getFileHandle.bind(handle);
  const disk = new DOMException("disk", "NotReadableError");
  let isRemoved = false;
  handle.getFileHandle = async (name) => {
    const file = await get(name);
    return Object.assign(file, {
      getFile: () => {
        if (isRemoved) folder.files.delete(name);
        return Promise.reject(disk);
      },
    });
  };
  await expect(store.read("check-a")).rejects.toBe(disk);
  await expect(store.blob?.("check-a")).rejects.toBe(disk);
  isRemoved = true;
  expect(await store.read("check-a")).toBeNull();
  folder.files.set("check-a", BYTES);
  expect(await store.blob?.("check-a")).toBeNull();
});
