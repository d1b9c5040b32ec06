// A page whose own timers are clamped, as a hidden page's are: requests queued in the scheduler must not wait for them.
import { createEngine } from "selvedge";

const DIMS = [1, 1, 28, 28] as const;

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
    for (let i = 0; i < 4; i += 1) await Promise.all(Array.from({ length: 64 }, run)); // learns that batches pay
    const before = (await run()).info.queuedMs;
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
