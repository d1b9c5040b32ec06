// The names of drafts, as eviction reads them.
import { expect, test } from "vitest";
import { makeRoom } from "./room.ts";
import { MemoryStore } from "./stores/memory.ts";

const hash = (n: number): string => n.toString(16).padStart(64, "0");
const nothing = new Uint8Array(0);

async function storeOf(...names: string[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const name of names) await store.write(name, nothing);
  return store;
}

test("of two drafts the one that was begun first goes first, at times of any length", async () => {
  const heads = [`draft-${hash(50)}-head-10000`, `draft-${hash(51)}-head-9000`];
  const parts = [`draft-${hash(50)}-10-${hash(1)}-100`, `draft-${hash(51)}-11-${hash(2)}-100`];
  const store = await storeOf(...heads, ...parts, `chunk-${hash(1)}-100`, `chunk-${hash(2)}-100`);
  expect(await makeRoom(store, 1, new Set(), 1)).toBe(100);
  expect(await store.names()).toEqual([heads[0], parts[0], `chunk-${hash(1)}-100`]);
});

test("names that only look like a draft's keep nothing", async () => {
  const names = [`xdraft-${hash(50)}-1-${hash(1)}-100`, `draft-${hash(50)}-1-${hash(2)}-100x`];
  const store = await storeOf(...names, `chunk-${hash(1)}-100`, `chunk-${hash(2)}-100`);
  expect(await makeRoom(store, 1, new Set([hash(50)]), 1)).toBe(200);
});
