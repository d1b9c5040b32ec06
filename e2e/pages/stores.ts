// Runs checks of the stores in a worker, where they run.
import type { StoreKind } from "../../lib/cache/stores/store.ts";
import type { StoreScene } from "../../lib/test-support/store-model/store-property.ts";

/** Which sequences of the store's model run: `numRuns` of a seed, a new one by default. A failure names seed and path. */
export interface ModelRuns {
  readonly numRuns: number;
  readonly seed?: number;
  readonly path?: string;
}

/** Functions of the page for the spec, as `globalThis.stores`. */
export interface StoresPage {
  /** Runs the conformance suite; returns the failures, or null if the browser has no such store. */
  check(kind: StoreKind): Promise<Record<string, string> | null>;
  /** Runs sequences of the store's model; returns the report of a failure, or null. */
  model(kind: StoreKind, runs: ModelRuns, scene?: StoreScene): Promise<string | null>;
  /** Writes entries in the format of a release with schema 1; returns how the store handles them. */
  migrate(kind: StoreKind): Promise<string[]>;
  /** Returns the browser's default store. */
  best(): Promise<StoreKind>;
  /**
   * Terminates a worker `afterMs` into writing entries, or as long after its first ones are complete; returns how many are
   * complete, and which are not.
   */
  kill(kind: StoreKind, afterMs: number, isAfterFirst: boolean): Promise<{ whole: number; torn: string[] }>;
  /** Wedges the database (see lib/cache/stores/indexed-db.ts) in at most `rounds` attempts; returns whether that happened. */
  wedge(rounds: number): Promise<boolean>;
  /** Fills a store until there is no room; returns the error's code, and which entries are then incomplete. */
  fill(kind: StoreKind): Promise<{ code: string; written: number; torn: string[] }>;
}

function start(): Worker {
  return new Worker(new URL("./stores-worker.ts", import.meta.url), { type: "module" });
}

async function ask<T>(worker: Worker, message: unknown): Promise<T> {
  worker.postMessage(message);
  return new Promise<T>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<{ value?: T; error?: string }>) => {
      if (data.error === undefined) resolve(data.value as T);
      else reject(new Error(data.error));
    };
    worker.onerror = (event) => {
      reject(new Error(event.message));
    };
  });
}

async function once<T>(message: unknown): Promise<T> {
  const worker = start();
  try {
    return await ask<T>(worker, message);
  } finally {
    worker.terminate();
  }
}

const page: StoresPage = {
  check: (kind) => once({ ask: "check", kind }),
  model: (kind, runs, scene) => once({ ask: "model", kind, runs, scene }),
  migrate: (kind) => once({ ask: "migrate", kind }),
  best: () => once({ ask: "best" }),
  fill: (kind) => once({ ask: "fill", kind }),
  async wedge(rounds) {
    for (let round = 0; round < rounds; round += 1) {
      const worker = start();
      await ask(worker, { ask: "wedge", kind: "indexeddb" });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 50));
      worker.terminate();
      // The store's own limit counts from the question to the database: a worker that starts slowly is no wedge.
      const isWedged = await once({ ask: "names", kind: "indexeddb" }).then(
        () => false,
        (error: unknown) => {
          if (String(error).includes("IndexedDB did not answer")) return true;
          throw error;
        },
      );
      if (isWedged) return true;
    }
    return false;
  },
  async kill(kind, afterMs, isAfterFirst) {
    const worker = start();
    await ask(worker, { ask: "write", kind, isAfterFirst });
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    worker.terminate();
    return once({ ask: "survey", kind });
  },
};
Object.assign(globalThis, { stores: page });
