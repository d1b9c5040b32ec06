import { afterEach, expect, test, vi } from "vitest";
import { openCache } from "../cache.ts";
import { createToyBackend } from "../test-support/simulate/toy-backend.ts";
import { Random } from "../test-support/random.ts";
import { World } from "../test-support/simulate/world.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Storage of a browser for one site. */
function site() {
  const memos = new Map(
    ["selvedge/measured/3", "selvedge/trying/2/a/b/wasm", "selvedge/releases/1", "selvedges", "app"].map((x) => [
      x,
      "1",
    ]),
  );
  const databases = new Set(["selvedge-answers", "app"]);
  const kept = new Set(["selvedge-offline", "app"]);
  vi.stubGlobal("localStorage", {
    get length() {
      return memos.size;
    },
    key: (i: number) => [...memos.keys()][i] ?? null,
    removeItem: (key: string) => memos.delete(key),
  });
  vi.stubGlobal("indexedDB", {
    deleteDatabase: (name: string) => {
      const request: { onsuccess: (() => void) | null } = { onsuccess: null };
      queueMicrotask(() => {
        databases.delete(name);
        request.onsuccess?.();
      });
      return request;
    },
  });
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("caches", { delete: (name: string) => Promise.resolve(kept.delete(name)) });
  return { memos, databases, kept };
}

function cacheOf(): { world: World; cache: ReturnType<typeof openCache> } {
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 1,
    files: new Map(),
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });
  return { world, cache: openCache({ effects: world.effects }) };
}

test("deleting all removes answers, memos and pages kept offline, of Selvedge alone (store-B12)", async () => {
  const { memos, databases, kept } = site();
  const { world, cache } = cacheOf();
  await world.finish(cache.delete("https://app.test/m.json"));
  expect(memos.size + databases.size + kept.size).toBe(9);
  await world.finish(cache.delete());
  expect([[...memos.keys()], [...databases], [...kept]]).toEqual([
    ["selvedge/releases/1", "selvedges", "app"],
    ["app"],
    ["app"],
  ]);
  cache.close();
});

test("deleting all is no error where the browser has none of these, or denies them (store-B12)", async () => {
  const { world, cache } = cacheOf();
  await world.finish(cache.delete());
  site();
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("caches", { delete: () => Promise.reject(new DOMException("", "SecurityError")) });
  vi.stubGlobal("localStorage", undefined);
  await world.finish(cache.delete());
  cache.close();
});
