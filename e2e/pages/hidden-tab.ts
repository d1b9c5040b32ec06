// A page whose own timers are clamped, as a hidden page's are: requests queued in the scheduler must not wait for them.
import { createEngine } from "selvedge";

const DIMS = [1, 1, 28, 28] as const;
/** A request that did not wait for others was in the queue for less. */
const WAITED_MS = 20;
const TRIES_MAX = 10;

const page = {
  /**
   * Returns how long a request waits that may wait 40 ms for others to join it, once every timer of the page takes
   * `clampMs`.
   */
  async wait(clampMs: number): Promise<{ before: number; clamped: number; timer: number }> {
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const batching = { maxQueueDelayMs: 40 };
    const model = await engine.load("/models/fashion-mlp/bundle.json", { variant: "f32", batching });
    const data = (): Float32Array => Float32Array.from({ length: 784 }, () => Math.random());
    const run = () => model.run({ image: { dtype: "float32", dims: DIMS, data: data() } });
    let before = 0;
    // Learns that batches pay; on a busy machine it may measure at first that they do not.
    for (let i = 0; i < TRIES_MAX && before < WAITED_MS; i += 1) {
      for (let round = 0; round < 4; round += 1) await Promise.all(Array.from({ length: 64 }, run));
      before = (await run()).info.queuedMs;
    }
    const own = setTimeout;
    Reflect.set(globalThis, "setTimeout", (callback: () => void, ms = 0) => own(callback, Math.max(ms, clampMs)));
    const clamped = (await run()).info.queuedMs;
    const startMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1));
    const timer = performance.now() - startMs;
    await engine.close();
    return { before, clamped, timer };
  },
};
export type HiddenTabPage = typeof page;

Object.assign(globalThis, { page });
