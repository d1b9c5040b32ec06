// Into the back/forward cache and out of it, with requests in flight: all are answered, and no healthy worker is ended.
// Playwright turns the cache off in Chromium, so this starts a browser of its own. Firefox driven by WebDriver BiDi
// keeps no page in its cache, whatever its preferences say, so it can't be tried here.
import { chromium, expect, test } from "@playwright/test";
import { chromiumLaunch } from "./browsers.ts";
import { keep, slice } from "./slice.ts";
import type { Lived } from "./pages/life.ts";

const ROUNDS = slice(5, 50);
const AWAY_MS = 300;

for (const backend of ["wasm", "webgpu"] as const) {
  test(`${ROUNDS} times into the back/forward cache and back, on ${backend}`, async () => {
    const browser = await chromium.launch({
      ...chromiumLaunch(),
      ignoreDefaultArgs: ["--disable-back-forward-cache"],
    });
    try {
      const page = await browser.newPage();
      const { pages } = test.info().config.metadata as { pages: string };
      await page.goto(`${pages}/blank.html`);
      const query = `rounds=${ROUNDS}&backend=${backend}&away=${AWAY_MS}`;
      await page.goto(`${pages}/life.html?${query}`);
      // Not asked meanwhile: a call into a page that is leaving keeps it out of the cache.
      await expect.poll(() => page.url(), { timeout: 120_000 }).toMatch(/\?done$/);
      const lived = JSON.parse((await page.evaluate(() => localStorage.getItem("life"))) ?? "null") as Lived;
      await keep(test.info(), { ...lived, failed: lived.failed.join(), backend });
      expect(lived).toMatchObject({ restored: ROUNDS, failed: [], restarts: 0, sent: lived.right });
    } finally {
      await browser.close();
    }
  });
}
