// The store against its model (lib/test-support/store-model.ts), over memory and over OPFS's code in a stand-in folder.
import fc from "fast-check";
import { test } from "vitest";
import { Folder } from "../test-support/fake-folder.ts";
import { checkEntries, CHUNK, storeProperty, StoreWorld } from "../test-support/store-model.ts";
import type { Tab } from "../test-support/store-model.ts";
import { MemoryStore } from "./stores/memory.ts";
import { openFolder } from "./stores/opfs.ts";
import type { Store } from "./stores/store.ts";

/** The gate runs the same stories each time, each seed from its `path` on; the soak runs others each time. */
const RUNS: readonly fc.Parameters<unknown>[] =
  process.env["SELVEDGE_SOAK"] === "1"
    ? [{ numRuns: 400 }]
    : [
        { numRuns: 15, seed: 1 },
        { numRuns: 5, seed: -2076748871, path: "21" }, // a quota that shrinks below the stored bytes
        { numRuns: 2, seed: 1, path: "26" }, // a model in use is the one least recently used
        { numRuns: 5, seed: 20_261_128 },
      ];

const STORES: readonly (readonly [string, () => Store])[] = [
  ["memory", () => new MemoryStore()],
  ["OPFS's code", () => openFolder(new Folder().handle(), () => 0)],
];

test.each(STORES)(
  "whatever happens, %s keeps its promises (store-A1, store-A2, store-B1, store-B3)",
  async (_, make) => {
    const property = storeProperty(make);
    for (const runs of RUNS) await fc.assert(property, runs);
  },
  600_000,
);

test("two tabs in a tight store load the right bytes in whatever order their reads and writes take effect (store-A2)", async () => {
  const property = fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 7 }), async (scheduler, room) => {
    const world = await StoreWorld.make(new MemoryStore());
    world.quotaBytes = room * CHUNK;
    for (const { store } of world.tabs) {
      const [write, remove] = [store.write.bind(store), store.remove.bind(store)];
      store.write = (name, bytes) => scheduler.schedule(Promise.resolve(), name).then(() => write(name, bytes));
      store.remove = (name) => scheduler.schedule(Promise.resolve(), name).then(() => remove(name));
    }
    const [first, second] = world.tabs as [Tab, Tab];
    const loads = Promise.all([world.load(first, "a", "first"), world.load(second, "b", "first")]);
    await scheduler.waitFor(loads);
    await checkEntries(world);
  });
  for (const runs of RUNS) await fc.assert(property, { ...runs, path: "" });
}, 60_000);
