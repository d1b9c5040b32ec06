// Loads models from a server that the spec controls, and says what came of it.
import { createEngine, isSelvedgeError } from "selvedge";
import type { EngineOptions, Progress } from "selvedge";

/** What came of a load. */
export interface Delivered {
  /** Whether the model answered rightly, or the code of the error. */
  readonly result: string;
  readonly last: Progress | null;
  readonly ms: number;
}

/** What the page does for the spec, as `globalThis.delivery`. */
export interface DeliveryPage {
  /** Loads a model that adds, and asks it for a sum. */
  load(url: string, store?: EngineOptions["store"]): Promise<Delivered>;
  /** Starts a load and says when so many bytes have come; the load goes on. */
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

const page: DeliveryPage = {
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
Object.assign(globalThis, { delivery: page });
