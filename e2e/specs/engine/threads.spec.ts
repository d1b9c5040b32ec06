// Threads against workers: a single stream of requests gets the wide lane after it is detected, and its answers equal
// those of the other lanes; two concurrent ones get the other lanes.
import { expect, test } from "@playwright/test";
import { keep } from "../../support/suite.ts";
import type { ThreadsPage } from "../../pages/threads.ts";

test("one stream of requests gets the wide lane, two get the others, and each answer is right", async ({
  page,
}, info) => {
  test.setTimeout(180_000);
  await page.goto(`${String(info.config.metadata["pages"])}/threads.html`);
  await page.waitForFunction("globalThis.page !== undefined");
  const told = await page.evaluate(() => (globalThis as unknown as { page: ThreadsPage }).page.streams());
  await keep(info, { turns: told.turns, wide: told.wide, off: told.off });
  expect(new Set(told.firstLanes)).toEqual(new Set(["wasm-0"]));
  expect(told.wide).toBeGreaterThanOrEqual(2);
  expect(told.isWhy).toBe(true);
  expect(told.bothLanes).not.toContain("wasm-wide");
  expect(told.off).toBeLessThan(1e-5);
});
