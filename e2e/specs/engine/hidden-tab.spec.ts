// A hidden page's timers are clamped to a second and more; the scheduler's tick in a worker too.
import { expect, test } from "@playwright/test";
import type { HiddenTabPage } from "../../pages/hidden-tab.ts";

test("a request that waits for others on a page with timers clamped to 1.5 s waits no longer than its limit", async ({
  page,
}, info) => {
  await page.goto(`${String(info.config.metadata["pages"])}/hidden-tab.html`);
  await page.waitForFunction("globalThis.page !== undefined");
  const told = await page.evaluate(() => (globalThis as unknown as { page: HiddenTabPage }).page.wait(1_500));
  expect(told.timer).toBeGreaterThan(1_400);
  expect(told.before).toBeGreaterThan(20);
  expect(told.clamped).toBeGreaterThan(20);
  expect(told.clamped).toBeLessThan(1_000);
});
