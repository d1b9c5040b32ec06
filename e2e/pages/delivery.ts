// Loads models from a server that the spec controls, and reports the results.
import { createEngine, isSelvedgeError } from "selvedge";
import type { Availability, Engine, EngineOptions, Progress, Updated } from "selvedge";
import { openCache } from "selvedge/cache";
import type { StoreContents } from "selvedge/cache";

/** Result of a load. */
export interface Delivered {
  /** "right" or "wrong" by the model's answer, or the code of the error. */
  readonly result: string;
  readonly last: Progress | null;
  readonly ms: number;
}

/** Functions of the page for the spec, as `globalThis.delivery`. */
export interface DeliveryPage {
  /** Loads a model that adds, and runs it. */
  load(url: string, store?: EngineOptions["store"]): Promise<Delivered>;
  /**
   * Loads a model as an app that asks its user; returns the cost that it was to show, if it was asked, and how the load
   * ended.
   */
  askFirst(url: string, answer: boolean): Promise<{ cost: Availability | null; result: string }>;
  /** Returns a model's availability. */
  look(url: string, deadlineMs: number): Promise<Availability>;
  /** Stores the newest version. */
  update(url: string): Promise<Updated>;
  /** Runs twice with persistent answers; returns for each run whether the answer was cached, and the answer. */
  answers(url: string, persist: boolean): Promise<{ isCached: boolean; sum: number }[]>;
  /** Lists the stored models, pins the one at the URL, exports it, and deletes it. */
  manage(
    url: string,
  ): Promise<{ before: StoreContents; isPinned: boolean; sizes: number[]; freed: number; left: number }>;
  /** Loads a model, deletes its stored files, and runs it once its worker has idled out. */
  outlive(url: string): Promise<number>;
  /** Starts an engine and its workers, which are kept. */
  start(url: string, store: EngineOptions["store"]): Promise<void>;
  /** Loads one more model in it, which is kept too. */
  loadMore(url: string): Promise<void>;
  /** Starts a load and resolves once so many bytes have arrived; the load continues. */
  begin(url: string, bytes: number): Promise<number>;
}

async function load(url: string, store: EngineOptions["store"], onProgress: (x: Progress) => void): Promise<string> {
  const engine = await createEngine({ backends: ["wasm"], workers: 1, store });
  try {
    const model = await engine.load(url, { onProgress });
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } as const;
    const { outputs } = await model.run({ a, b: a });
    return Number(outputs["y"]?.data[2]) === 6 ? "right" : "wrong";
  } catch (error) {
    return isSelvedgeError(error) ? error.code : String(error);
  } finally {
    await engine.close();
  }
}

let engine: Engine | null = null;

const page: DeliveryPage = {
  async outlive(url) {
    const engine = await createEngine({ backends: ["wasm"], workers: 1, idleMs: 0 });
    const model = await engine.load(url);
    const cache = openCache();
    await cache.delete(url);
    cache.close();
    while (engine.stats().lanes.some(({ state }) => state !== "off")) await new Promise((next) => setTimeout(next, 20));
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } as const;
    const { outputs } = await model.run({ a, b: a });
    await engine.close();
    return Number(outputs["y"]?.data[2]);
  },
  async start(url, store) {
    engine = await createEngine({ backends: ["wasm"], workers: 1, store });
    const model = await engine.load(url);
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } as const;
    await model.run({ a, b: a });
  },
  async loadMore(url) {
    await engine?.load(url);
  },
  async askFirst(url, answer) {
    let cost: Availability | null = null;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const onSaveData = (told: Availability): boolean => {
      cost = told;
      return answer;
    };
    const result = await engine.load(url, { onSaveData }).then(
      () => "loaded",
      (error: unknown) => (error instanceof Error ? error.name : String(error)),
    );
    await engine.close();
    return { cost, result };
  },
  async look(url, deadlineMs) {
    const engine = await createEngine({ backends: ["wasm"] });
    try {
      return await engine.availability(url, { deadlineMs });
    } finally {
      await engine.close();
    }
  },
  async update(url) {
    const engine = await createEngine({ backends: ["wasm"] });
    try {
      return await engine.update(url);
    } finally {
      await engine.close();
    }
  },
  async answers(url, persist) {
    const engine = await createEngine({ backends: ["wasm"], workers: 1, results: { persist } });
    const model = await engine.load(url, { cache: true });
    const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) } as const;
    const given: { isCached: boolean; sum: number }[] = [];
    for (let i = 0; i < 2; i += 1) {
      const { outputs, info } = await model.run({ a, b: a });
      given.push({ isCached: info.isCached, sum: Number(outputs["y"]?.data[2]) });
    }
    await engine.close();
    if (persist) await answersWritten();
    return given;
  },
  async manage(url) {
    const cache = openCache();
    const before = await cache.list();
    await cache.pin(url);
    const isPinned = (await cache.has(url))?.isPinned ?? false;
    const sizes = (await cache.export(url)).map((x) => x.data.size);
    const freed = await cache.delete(url);
    const left = (await cache.list()).bundles.length;
    cache.close();
    return { before, isPinned, sizes, freed, left };
  },
  async load(url, store) {
    let last: Progress | null = null;
    const startMs = performance.now();
    const result = await load(url, store, (progress) => {
      last = progress;
    });
    return { result, last, ms: performance.now() - startMs };
  },
  begin: (url, bytes) =>
    new Promise((resolve) => {
      void load(url, "auto", ({ loadedBytes }) => {
        if (loadedBytes >= bytes) resolve(loadedBytes);
      });
    }),
};
/** Waits until pending answers are written to disk: nothing else does, and a page may leave first. */
function answersWritten(): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("selvedge-answers");
    request.onsuccess = () => {
      const { result } = request;
      // Starts after the pending writes.
      const transaction = result.transaction([...result.objectStoreNames], "readwrite");
      transaction.objectStore([...result.objectStoreNames][0] ?? "").count().onsuccess = () => {
        result.close();
        resolve();
      };
    };
    request.onerror = () => {
      reject(request.error ?? new Error("the answers did not open"));
    };
  });
}

Object.assign(globalThis, { delivery: page });
