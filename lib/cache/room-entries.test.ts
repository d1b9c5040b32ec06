// Eviction by the entries of a store: which are removed, in which order, how many, and the bytes that are reported.
import { beforeEach, describe, expect, test } from "vitest";
import { canonicalJson } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import { pieceName } from "./names.ts";
import { countStored, makeRoom, removeBundle } from "./room.ts";
import type { Room } from "./room.ts";
import { MemoryStore } from "./stores/memory.ts";

const hash = (n: number): string => n.toString(16).padStart(64, "0");
/** The n-th chunk: of 100 bytes and n more, so that sums tell which are meant. */
const chunk = (n: number): BundleChunk => ({ sha256: hash(n), bytes: 100 + n });
const entryOf = (n: number): string => `chunk-${hash(n)}-${100 + n}`;
const encode = (json: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(canonicalJson(json));
const nothing = new Uint8Array(0);
const none: ReadonlySet<string> = new Set();

let store: MemoryStore;

beforeEach(() => {
  store = new MemoryStore();
});

/** Sizes of chunks are in their names, so they need no bytes here. */
async function put(...names: string[]): Promise<void> {
  for (const name of names) await store.write(name, nothing);
}

/** Stores the description of a model of chunks, last used at `usedMs`, and those of its chunks that are `here`. */
async function bundle(usedMs: number, numbers: readonly number[], here: readonly number[] = numbers): Promise<string> {
  const manifest = bareManifest(numbers.map(chunk));
  const identity = await identityOf(manifest);
  await store.write(`bundle-${identity}`, encode(manifest));
  await put(`used-${identity}-${usedMs}`, ...here.map(entryOf));
  return identity;
}

const draftName = (address: number, n: number): string => `draft-${hash(address)}-${n}-${hash(n)}-${100 + n}`;

async function draft(address: number, begunMs: number, numbers: readonly number[]): Promise<void> {
  await put(`draft-${hash(address)}-head-${begunMs}`);
  await put(...numbers.map((n) => draftName(address, n)), ...numbers.map(entryOf));
}

/** The numbers of the chunks that are stored. */
const chunks = async (): Promise<number[]> =>
  (await store.names())
    .filter((x) => x.startsWith("chunk-"))
    .map((x) => Number(x.split("-")[2]) - 100)
    .sort((a, b) => a - b);
const has = async (name: string): Promise<boolean> => (await store.names()).includes(name);

describe("what nothing names", () => {
  test("is removed first, however little is asked for, and all of it", async () => {
    await bundle(1, [1]);
    await put(entryOf(2), entryOf(3));
    expect(await makeRoom(store, 1, none, 1)).toBe(102 + 103);
    expect(await chunks()).toEqual([1]);
    expect(await makeRoom(store, 0, none, 0)).toBe(0);
  });

  test("stays where it is to be kept by its hash, in a draft, or in the text of a newer release's description", async () => {
    await put(entryOf(1), entryOf(2));
    await draft(50, 1, [3]);
    const newer = { schema: "selvedge/bundle@9", of: [hash(4)] };
    await store.write(`bundle-${await identityOf(newer)}`, encode(newer));
    await put(entryOf(4));
    expect(await makeRoom(store, 1, new Set([hash(1), hash(50)]), 1)).toBe(102);
    expect(await chunks()).toEqual([1, 3, 4]);
  });

  test("of a file in pieces is its record, and the pieces; those of a file in use stay", async () => {
    await bundle(1, [1], []);
    const own = { sha256: hash(1), bytes: 101 };
    await put(pieceName(own, 0, chunk(2)), pieceName(own, 1, chunk(3)), entryOf(2), entryOf(3));
    const other = { sha256: hash(9), bytes: 109 };
    await put(pieceName(other, 0, chunk(4)), entryOf(4));
    expect(await makeRoom(store, 1, none, 1)).toBe(104);
    expect(await chunks()).toEqual([2, 3]);
    expect(await has(pieceName(own, 0, chunk(2)))).toBe(true);
    expect(await has(pieceName(other, 0, chunk(4)))).toBe(false);
  });

  test("counts only where it is gone then", async () => {
    await put(entryOf(1), entryOf(2));
    const remove = store.remove.bind(store);
    store.remove = (name) => (name === entryOf(1) ? Promise.resolve() : remove(name));
    expect(await makeRoom(store, 1, none, 1)).toBe(102);
  });
});

describe("parts of chunks in flight", () => {
  const part = (n: number): string => `part-${hash(n)}-0`;

  test("are removed before any bundle, no more of them than needed, and by their own sizes", async () => {
    await bundle(1, [1]);
    for (const n of [7, 8, 9]) await store.write(part(n), new Uint8Array(n));
    expect(await makeRoom(store, 8, none, 8)).toBe(7 + 8);
    expect(await has(part(9))).toBe(true);
    expect(await chunks()).toEqual([1]);
  });

  test("stay where what nothing names is enough, and only the rest is taken from them", async () => {
    await put(entryOf(1));
    for (const n of [7, 8]) await store.write(part(n), new Uint8Array(n));
    expect(await makeRoom(store, 101, none, 101)).toBe(101);
    expect([await has(part(7)), await has(part(8))]).toEqual([true, true]);
    await put(entryOf(1));
    expect(await makeRoom(store, 101 + 7, none, 1)).toBe(101 + 7);
    expect([await has(part(7)), await has(part(8))]).toEqual([false, true]);
  });

  test("count only where they are gone then, and as nothing where they can't be read", async () => {
    for (const n of [7, 8, 9]) await store.write(part(n), new Uint8Array(n));
    const [remove, read] = [store.remove.bind(store), store.read.bind(store)];
    store.remove = (name) => (name === part(7) ? Promise.resolve() : remove(name));
    store.read = (name) => (name === part(8) ? Promise.reject(new Error("busy")) : read(name));
    expect(await makeRoom(store, 1_000, none, 1)).toBe(9);
    expect(await has(part(8))).toBe(false);
  });
});

describe("bundles", () => {
  test("go by their last use, and no more of them than needed", async () => {
    await bundle(30, [3]);
    await bundle(10, [1]);
    await bundle(20, [2]);
    expect(await makeRoom(store, 101, none, 101)).toBe(101);
    expect(await chunks()).toEqual([2, 3]);
    expect(await makeRoom(store, 103, none, 103)).toBe(102 + 103);
    expect(await chunks()).toEqual([]);
    expect(await store.names()).toEqual([]);
  });

  test("go after drafts, the oldest of which goes first, and bundles of an older release before both", async () => {
    await bundle(1, [1]);
    await draft(50, 8, [2]);
    await draft(51, 7, [3]);
    const old = await bundle(99, [4]);
    Object.assign(store, { oldNames: () => Promise.resolve([`bundle-${old}`]) });
    for (const left of [[1, 2, 3], [1, 2], [1], []]) {
      expect(await makeRoom(store, 1, none, 1)).toBeGreaterThan(100);
      expect(await chunks()).toEqual(left);
    }
    expect(await store.names()).toEqual([]);
  });

  test("that are kept or pinned stay, and drafts that are kept", async () => {
    const kept = await bundle(1, [1]);
    const pinned = await bundle(2, [2]);
    await put(`pin-${pinned}`);
    await draft(50, 3, [3]);
    await draft(51, 4, [4]);
    await bundle(5, [5]);
    expect(await makeRoom(store, 1_000, new Set([kept, hash(50)]), 1)).toBe(104 + 105);
    expect(await chunks()).toEqual([1, 2, 3]);
    expect(await has(`draft-${hash(50)}-head-3`)).toBe(true);
    expect((await store.names()).filter((x) => x.startsWith(`draft-${hash(51)}`))).toEqual([]);
  });

  test("stay where all that may go would not be enough; exactly enough is", async () => {
    await bundle(1, [1, 2]);
    await draft(50, 1, [3]);
    const all = 101 + 102 + 103;
    expect(await makeRoom(store, 1, none, all + 1)).toBe(0);
    expect(await chunks()).toEqual([1, 2, 3]);
    await put(entryOf(4));
    expect(await makeRoom(store, 1_000, none, all + 105)).toBe(104);
    expect(await chunks()).toEqual([1, 2, 3]);
    expect(await makeRoom(store, all, none, all)).toBe(all);
  });

  test("free what they alone name: chunks that one that stays names don't count, nor go", async () => {
    const kept = await bundle(1, [1, 2]);
    await bundle(2, [2, 3]);
    expect(await makeRoom(store, 1, new Set([kept]), 104)).toBe(0);
    expect(await makeRoom(store, 1, new Set([kept]), 103)).toBe(103);
    expect(await chunks()).toEqual([1, 2]);
  });

  test("that share a chunk free it with the last of them", async () => {
    await bundle(1, [1, 2]);
    await bundle(2, [2, 3]);
    expect(await makeRoom(store, 1, none, 306)).toBe(101);
    expect(await chunks()).toEqual([2, 3]);
    expect(await makeRoom(store, 1, none, 205)).toBe(102 + 103);
  });

  test("do not free chunks that are kept by their hashes", async () => {
    await bundle(1, [1, 2]);
    expect(await makeRoom(store, 1, new Set([hash(1)]), 103)).toBe(0);
    expect(await makeRoom(store, 1, new Set([hash(1)]), 102)).toBe(102);
    expect(await chunks()).toEqual([1]);
  });

  test("of files in pieces free those, with their records, but for what another one has", async () => {
    const [a, b] = [chunk(1), chunk(2)];
    await bundle(1, [1], []);
    const other = await bundle(2, [2], []);
    await put(pieceName(a, 0, chunk(3)), pieceName(a, 1, chunk(4)), pieceName(b, 0, chunk(4)), entryOf(3), entryOf(4));
    expect(await makeRoom(store, 1, new Set([other]), 104)).toBe(0);
    expect(await makeRoom(store, 1, new Set([other]), 103)).toBe(103);
    expect((await store.names()).filter((x) => x.startsWith("file-"))).toEqual([pieceName(b, 0, chunk(4))]);
    expect(await chunks()).toEqual([4]);
    expect(await makeRoom(store, 1, none, 104)).toBe(104);
    expect((await store.names()).filter((x) => x.startsWith("file-"))).toEqual([]);
  });

  test("are all left alone while one description can't be read; one that was removed meanwhile is none", async () => {
    const first = await bundle(1, [1]);
    const second = await bundle(2, [2]);
    await put(entryOf(3));
    const read = store.read.bind(store);
    store.read = (name) => (name === `bundle-${first}` ? Promise.reject(new Error("busy")) : read(name));
    expect(await makeRoom(store, 1_000, none, 1)).toBe(0);
    expect(await chunks()).toEqual([1, 2, 3]);
    store.read = (name) => (name === `bundle-${first}` ? Promise.resolve(null) : read(name));
    expect(await makeRoom(store, 1_000, new Set([second]), 1)).toBe(101 + 103);
    expect(await chunks()).toEqual([2]);
  });

  test("of a newer release stay, with what their text names; damaged ones go", async () => {
    const newer = { schema: "selvedge/bundle@9", of: [hash(1)] };
    const identity = await identityOf(newer);
    await store.write(`bundle-${identity}`, encode(newer));
    await store.write(`bundle-${hash(77)}`, encode({ of: [hash(2)] }));
    await put(entryOf(1), entryOf(2));
    expect(await makeRoom(store, 1_000, none, 1)).toBe(102);
    expect((await store.names()).sort()).toEqual([`bundle-${identity}`, entryOf(1)].sort());
  });
});

describe("a removed bundle", () => {
  const source = (url: string, identity: string) => ({ url, identity, validator: null, signature: null });

  test("goes with all of its records, and what it alone names", async () => {
    const other = await bundle(1, [2, 3]);
    const identity = await bundle(2, [1, 2]);
    await put(`pin-${identity}`, `pin-${other}`, `used-${identity}-9`);
    const address = hash(60);
    await store.write(`source-${address}-1`, encode(source("https://a.example/", identity)));
    await store.write(`source-${address}-2`, encode(source("https://a.example/", other)));
    await store.write(`source-${address}-3`, new TextEncoder().encode("{"));
    await put(entryOf(9)); // nothing names it, but only room is made of it
    expect(await removeBundle(store, identity)).toBe(101);
    expect((await store.names()).sort()).toEqual(
      [
        ...[`bundle-${other}`, `used-${other}-1`, `pin-${other}`, `source-${address}-2`, `source-${address}-3`],
        ...[2, 3, 9].map(entryOf),
      ].sort(),
    );
  });

  test("though pinned or newer, goes, and no other one", async () => {
    const newer = { schema: "selvedge/bundle@9", of: [hash(1)] };
    const identity = await identityOf(newer);
    await store.write(`bundle-${identity}`, encode(newer));
    await put(`pin-${identity}`, entryOf(1));
    expect(await removeBundle(store, identity)).toBe(101);
    expect(await store.names()).toEqual([]);
  });

  test("that is not stored, or beside one that can't be read, loses its records alone", async () => {
    await draft(50, 1, [1]);
    await put(`used-${hash(50)}-5`, entryOf(7));
    expect(await removeBundle(store, hash(50))).toBe(0);
    expect(await has(`used-${hash(50)}-5`)).toBe(false);
    expect(await chunks()).toEqual([1, 7]);
    const identity = await bundle(1, [2]);
    await store.write(`source-${hash(60)}-1`, encode(source("https://a.example/", identity)));
    const unread = await bundle(2, [3]);
    const read = store.read.bind(store);
    store.read = (name) =>
      name === `bundle-${unread}` || name.startsWith("source-") ? Promise.reject(new Error("busy")) : read(name);
    expect(await removeBundle(store, identity)).toBe(0);
    expect([await has(`bundle-${identity}`), await has(`source-${hash(60)}-1`)]).toEqual([false, true]);
    expect(await chunks()).toEqual([1, 2, 3, 7]);
  });
});

test("a chunk is counted as stored once, and each time where the missing ones are unknown", () => {
  const room = (missing: Room["missing"]): Room => ({
    ...{ id: "", url: "", missing, missingBytes: 1_000, slackBytes: 0 },
    ...{ isTight: null, isWhole: false, fullUntilMs: 0 },
  });
  const known = room(new Set([`${hash(1)}-101`]));
  for (const n of [1, 1, 2]) countStored(known, chunk(n));
  expect([known.missingBytes, known.missing?.size]).toEqual([1_000 - 101, 0]);
  const unknown = room(null);
  for (const n of [1, 1]) countStored(unknown, chunk(n));
  expect(unknown.missingBytes).toBe(1_000 - 202);
});
