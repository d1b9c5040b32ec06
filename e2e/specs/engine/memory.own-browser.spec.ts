// Memory of a load beyond ONNX Runtime's own part, which it passes through once. A large model in Chromium, in a
// profile on the disk as users have it. ONNX Runtime's part is the memory that remains after the load and garbage
// collection: WebAssembly never shrinks. A measurement, so it runs in a soak only.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "@playwright/test";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { BareChromium } from "../../support/bare-chromium.ts";
import { serveLarge, startDelivery } from "../../support/delivery-server.ts";
import { Resident } from "../../support/resident.ts";
import { keep } from "../../support/suite.ts";

/** As large as the largest model that visitors are likely to load: ISNet in f16. */
const MODEL_BYTES = 88_000_000;
/** Peak of a load over the size of the model, beyond the runtime's own. */
const BOUND = 1.2;

for (const [what, path] of [
  ["bundle", "/large/bundle.json"],
  ["bare model", "/large.onnx"],
] as const) {
  if (!isSoak) continue; // a measurement
  test(`memory of a load of a large ${what}, from the network and from the store`, async () => {
    const profile = mkdtempSync(join(tmpdir(), "selvedge-memory-"));
    const { server, url } = await startDelivery();
    const browser = new BareChromium(profile);
    try {
      await serveLarge(server, MODEL_BYTES);
      const resident = new Resident(profile);
      const measured: Record<string, number> = {};
      for (const from of ["network", "store"] as const) {
        const { pages } = test.info().config.metadata as { pages: string };
        const page = await browser.open(`${pages}/delivery.html`);
        await expect.poll(() => page.evaluate("globalThis.delivery !== undefined")).toBe(true);
        await page.evaluate(`delivery.start(${JSON.stringify(url)}, "auto")`);
        await page.collectGarbage();
        await wait(3_000); // meanwhile the browser compiles hot code
        const before = resident.bytes;
        const peak = await resident.peak(async () => {
          await page.evaluate(`delivery.loadMore(${JSON.stringify(server.url + path)})`);
        });
        await page.collectGarbage();
        await wait(500);
        const after = resident.bytes;
        measured[`${from} over runtime`] = (peak - after) / MODEL_BYTES;
        measured[`${from} runtime`] = (after - before) / MODEL_BYTES;
        await page.close();
      }
      await keep(test.info(), measured);
      for (const from of ["network", "store"]) expect(measured[`${from} over runtime`]).toBeLessThanOrEqual(BOUND);
    } finally {
      await browser.close();
      server.close();
      rmSync(profile, { recursive: true, force: true });
    }
  });
}
