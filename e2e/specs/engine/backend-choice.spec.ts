// The choice of a backend by measurement, on a GPU that hides that it is a software adapter: the engine must find out
// by itself that wasm is faster, and cache that over a reload. Only the page's view of the adapter is changed, nothing
// of Selvedge.
import { expect, test } from "@playwright/test";
import type * as Selvedge from "selvedge";

test("an unnamed software GPU loses to wasm by measurement, and the next page remembers", async ({ page }) => {
  await page.addInitScript(() => {
    const info = { vendor: "acme", architecture: "", description: "", isFallbackAdapter: false };
    Object.defineProperty(GPUAdapter.prototype, "info", { get: () => info });
    Reflect.deleteProperty(GPUAdapter.prototype, "isFallbackAdapter");
  });
  const { pages } = test.info().config.metadata as { pages: string };
  const load = async () => {
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    return page.evaluate(async () => {
      const { selvedge } = globalThis as unknown as { selvedge: typeof Selvedge };
      const engine = await selvedge.createEngine();
      const model = await engine.load("/models/ocr-cls/bundle.json");
      const data = new Float32Array(3 * 48 * 192);
      const run = () => model.run({ x: { dtype: "float32", dims: [1, 3, 48, 192], data } });
      let { info } = await run();
      // A load waits some seconds for the measurement, which continues while requests run on wasm.
      while (info.why.code === "not-measured") {
        await new Promise((resolve) => setTimeout(resolve, 500));
        ({ info } = await run());
      }
      const gpuStarts = engine.stats().lanes.find((lane) => lane.backend === "webgpu")?.starts;
      await engine.close();
      return { software: engine.device.gpu?.software, backend: info.backend, why: info.why.code, gpuStarts };
    });
  };
  const measured = await load();
  expect(measured).toMatchObject({ software: false, backend: "wasm", gpuStarts: 1 });
  expect(["measured", "measurement-failed"]).toContain(measured.why);
  expect(await load()).toEqual({ ...measured, gpuStarts: 0 });
});
