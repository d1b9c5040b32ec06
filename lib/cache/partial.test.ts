// Parts of a chunk in flight: what is stored of them, when, and how an interrupted download goes on.
import { expect, test } from "vitest";
import { weights } from "../test-support/cache-fixtures.ts";
import { ModelStore } from "./model-store.ts";
import { PartialChunk } from "./partial.ts";
import { MemoryStore } from "./stores/memory.ts";

const PART = 32 * 1024;
const all = weights(5 * PART, 1);
const chunk = { sha256: "a".repeat(64), bytes: all.length };

/** A page with a clock, over a store that lasts. */
function page(memory: MemoryStore | null = new MemoryStore()) {
  const clock = { ms: 1_000 };
  const modelStore = memory === null ? null : new ModelStore(memory, () => 0);
  const partial = new PartialChunk(chunk, new Uint8Array(chunk.bytes), modelStore, () => clock.ms);
  /** Receives the next bytes, `ms` after the last ones. */
  const receive = async (bytes: number, ms: number): Promise<void> => {
    clock.ms += ms;
    await partial.add(all.subarray(partial.size, partial.size + bytes));
  };
  const stored = async (): Promise<string[]> => ((await memory?.names()) ?? []).map((x) => x.slice(-7));
  return { memory, partial, receive, stored };
}

test("a part is stored once it is 32 KiB large and 50 ms have passed since the last", async () => {
  const { receive, stored } = page();
  await receive(PART - 1, 60);
  expect(await stored()).toEqual([]);
  await receive(1, 0);
  expect(await stored()).toEqual(["aaaaa-0"]);
  await receive(PART, 49);
  expect(await stored()).toHaveLength(1);
  await receive(1, 1);
  expect(await stored()).toEqual(["aaaaa-0", `a-${PART}`]);
  await receive(PART - 1, 1_000);
  expect(await stored()).toHaveLength(2);
});

test("an earlier page's parts are restored, and the next one is stored behind them", async () => {
  const { memory, receive } = page();
  await receive(PART, 50);
  await receive(PART + 5, 50);
  await receive(9, 50); // never stored
  const later = page(memory);
  expect(await later.partial.restore()).toBe(2 * PART + 5);
  expect(later.partial.size).toBe(2 * PART + 5);
  expect(Buffer.compare(later.partial.bytes.subarray(0, 2 * PART + 5), all.subarray(0, 2 * PART + 5))).toBe(0);
  await later.receive(PART - 1, 50);
  expect(await later.stored()).toHaveLength(2);
  await later.receive(1, 0);
  expect(await later.stored()).toContain(`a-${2 * PART + 5}`);
  expect(await page(memory).partial.restore()).toBe(3 * PART + 5);
});

test("the last bytes of a chunk are not stored as a part: the chunk is, once it is checked", async () => {
  const { partial, receive, stored } = page();
  await receive(all.length, 1_000);
  expect(partial.size).toBe(all.length);
  expect(Buffer.compare(partial.bytes, all)).toBe(0);
  expect(await stored()).toEqual([]);
});

test("what is discarded is gone from the store too, and a part begins at 0 again", async () => {
  const { partial, receive, stored } = page();
  await receive(PART, 50);
  await receive(7, 0);
  expect(await partial.reset()).toBe(PART + 7);
  expect([partial.size, await stored()]).toEqual([0, []]);
  await receive(PART, 50);
  expect(await stored()).toEqual(["aaaaa-0"]);
});

test("where nothing was received, discarding leaves the store as it is", async () => {
  const { memory, receive } = page();
  await receive(PART, 50);
  const { partial, stored } = page(memory);
  expect(await partial.reset()).toBe(0);
  expect(await stored()).toEqual(["aaaaa-0"]);
});

test("without a store, and over one that fails, bytes are received all the same", async () => {
  const failing = new MemoryStore();
  const fail = (): Promise<never> => Promise.reject(new Error("broken"));
  Object.assign(failing, { names: fail, write: fail, remove: fail });
  for (const memory of [null, failing]) {
    const { partial, receive } = page(memory);
    expect(await partial.restore()).toBe(0);
    await receive(PART, 50);
    await receive(PART, 50);
    expect(partial.size).toBe(2 * PART);
    expect(await partial.reset()).toBe(2 * PART);
  }
});

test("a part that could not be stored is not tried again: the next one is", async () => {
  const { memory, receive, stored } = page();
  const write = MemoryStore.prototype.write.bind(memory);
  if (memory === null) throw new Error("a store");
  memory.write = () => Promise.reject(new Error("busy"));
  await receive(PART, 50);
  memory.write = write;
  await receive(PART, 50);
  expect(await stored()).toEqual([`a-${PART}`]);
});
