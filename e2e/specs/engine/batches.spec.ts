// Pictures of different sizes, as pixels and as files, run in one batch on wasm and on the GPU, and each gets the same
// answer as alone; one that can't be decoded fails by itself.
import { expect, test } from "@playwright/test";
import type { BatchesPage } from "../../pages/batches.ts";

for (const backend of ["wasm", "webgpu"] as const)
  test(`concurrent images run in one batch on ${backend}, and each gets the same answer as alone`, async ({
    page,
  }, info) => {
    test.setTimeout(120_000);
    await page.goto(`${String(info.config.metadata["pages"])}/batches.html`);
    await page.waitForFunction("globalThis.page !== undefined");
    const told = await page.evaluate(
      (backend) => (globalThis as unknown as { page: BatchesPage }).page.pictures(backend, 24),
      backend,
    );
    expect(told.off).toBeLessThanOrEqual(1e-5);
    expect(told.joined).toBeGreaterThan(1);
    expect(told.failed).toBe("TypeError");
  });
