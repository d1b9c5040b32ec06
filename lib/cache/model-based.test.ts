// The store against its model (lib/test-support/store-model/), over memory and over OPFS's code in a stand-in folder.
import fc from "fast-check";
import { test } from "vitest";
import { Folder } from "../test-support/fake-folder.ts";
import { CHUNK } from "../test-support/store-model/publisher.ts";
import { checkEntries } from "../test-support/store-model/store-step.ts";
import { storeProperty } from "../test-support/store-model/store-property.ts";
import { StoreWorld } from "../test-support/store-model/store-world.ts";
import type { Tab } from "../test-support/store-model/store-world.ts";
import { MemoryStore } from "./stores/memory.ts";
import { openFolder } from "./stores/opfs.ts";
import type { Store } from "./stores/store.ts";

/** The gate runs the same stories each time, each seed from its `path` on; the soak runs others each time. */
const isSoak = process.env["SELVEDGE_SOAK"] === "1";
const RUNS: readonly fc.Parameters<unknown>[] = isSoak
  ? [{ numRuns: 400 }]
  : [
      { numRuns: 15, seed: 1 },
      { numRuns: 5, seed: -2076748871, path: "21" }, // a quota that shrinks below the stored bytes
      { numRuns: 2, seed: 1, path: "26" }, // a model in use is the one least recently used
      { numRuns: 5, seed: 20_261_128 },
    ];
const SIGNED_RUNS: readonly fc.Parameters<unknown>[] = isSoak ? [{ numRuns: 400 }] : [{ numRuns: 16, seed: 1 }];
const OLDER_RUNS: readonly fc.Parameters<unknown>[] = isSoak ? [{ numRuns: 400 }] : [{ numRuns: 6, seed: 1 }];

/** Stores; `turn` precedes each effect on a folder. */
type Make = (turn?: () => Promise<unknown>) => Store;
const STORES: readonly (readonly [string, Make])[] = [
  ["memory", () => new MemoryStore()],
  [
    "OPFS's code",
    (turn) => {
      const folder = new Folder();
      if (turn !== undefined) folder.turn = turn;
      return openFolder(folder.handle(), () => 0);
    },
  ],
];

test.each(STORES)(
  "whatever happens, %s keeps its promises (store-A1, store-A2, store-B1, store-B3)",
  async (_, make) => {
    const property = storeProperty(() => ({ store: make(), old: null }));
    for (const runs of RUNS) await fc.assert(property, runs);
  },
  600_000,
);

test.each(STORES)(
  "whatever servers sign, %s keeps what was signed, and loads nothing else (store-signed)",
  async (_, make) => {
    const property = storeProperty(() => ({ store: make(), old: null }), { isSigned: true });
    for (const runs of SIGNED_RUNS) await fc.assert(property, runs);
  },
  600_000,
);

test.each(STORES)(
  "beside an older release, signed or not, %s reads and moves what that stores (store-older)",
  async (_, make) => {
    for (const isSigned of [false, true]) {
      const property = storeProperty(() => ({ store: make(), old: make() }), { isSigned, hasOlder: true });
      for (const runs of OLDER_RUNS) await fc.assert(property, runs);
    }
  },
  600_000,
);

test.each(STORES)(
  "two tabs in a tight store, %s, load the right bytes in whatever order their effects take place (store-A2)",
  async (_, make) => {
    const property = fc.asyncProperty(fc.scheduler(), fc.integer({ min: 2, max: 7 }), async (scheduler, room) => {
      let isScheduled = false;
      const turn = (): Promise<unknown> => (isScheduled ? scheduler.schedule(Promise.resolve()) : Promise.resolve());
      const world = await StoreWorld.make({ store: make(turn), old: null });
      world.quotaBytes = room * CHUNK;
      for (const { store } of world.tabs) {
        const [write, remove] = [store.write.bind(store), store.remove.bind(store)];
        store.write = (name, bytes) => turn().then(() => write(name, bytes));
        store.remove = (name) => turn().then(() => remove(name));
      }
      const [first, second] = world.tabs as [Tab, Tab];
      isScheduled = true;
      await scheduler.waitFor(Promise.all([world.load(first, "a", "first"), world.load(second, "b", "first")]));
      isScheduled = false;
      await checkEntries(world);
    });
    for (const runs of RUNS) await fc.assert(property, { ...runs, path: "" });
  },
  60_000,
);
