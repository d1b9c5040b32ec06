// Into the back/forward cache and out of it, with requests in flight: all are answered, and no healthy worker is
// terminated. Playwright disables the cache in Chromium, so this starts browsers of its own. Firefox excludes from its
// cache every page that had an open WebSocket when it was left, as Vite's client does: server.ts serves the tests'
// pages without it.
import { chromium, expect, firefox, test } from "@playwright/test";
import type { Browser, Page } from "@playwright/test";
import { slice } from "../../../lib/test-support/slice.ts";
import { chromiumLaunch, firefoxLaunch } from "../../support/browsers.ts";
import { keep } from "../../support/suite.ts";
import type { Lived } from "../../pages/page-lifecycle.ts";

const ROUNDS = slice(5, 50);
const AWAY_MS = 300;

const BROWSERS: Readonly<Record<string, () => Promise<Browser>>> = {
  Chromium: () => chromium.launch({ ...chromiumLaunch(), ignoreDefaultArgs: ["--disable-back-forward-cache"] }),
  Firefox: () => firefox.launch(firefoxLaunch()),
};

/**
 * Returns a list that fills with Chromium's reasons for not restoring a page, of which the page itself sees most as
 * "masked".
 */
async function chromiumReasons(page: Page): Promise<string[]> {
  const reasons: string[] = [];
  const devtools = await page.context().newCDPSession(page);
  devtools.on("Page.backForwardCacheNotUsed", ({ notRestoredExplanations }) => {
    reasons.push(...notRestoredExplanations.map((x) => `${x.type}: ${x.reason}`));
  });
  await devtools.send("Page.enable");
  return reasons;
}

for (const [name, launch] of Object.entries(BROWSERS)) {
  for (const backend of ["wasm", "webgpu"] as const) {
    test(`${ROUNDS} times into the back/forward cache of ${name} and back, on ${backend}`, async () => {
      const browser = await launch();
      try {
        const page = await browser.newPage();
        const reasons = name === "Chromium" ? await chromiumReasons(page) : [];
        const { pages } = test.info().config.metadata as { pages: string };
        await page.goto(`${pages}/blank.html`);
        const query = `rounds=${ROUNDS}&backend=${backend}&away=${AWAY_MS}`;
        await page.goto(`${pages}/page-lifecycle.html?${query}`);
        // Not polled meanwhile: a call into a page that is leaving keeps it out of the cache.
        await expect.poll(() => page.url(), { timeout: 240_000 }).toMatch(/\?done$/);
        const lived = JSON.parse((await page.evaluate(() => localStorage.getItem("life"))) ?? "null") as Lived;
        await keep(test.info(), { ...lived, failed: lived.failed.join(), own: reasons.join(), backend, in: name });
        const why = `reasons for not restoring the page: ${lived.reasons || "none"}, Chromium's own: ${reasons.join() || "none"}`;
        // The engine's own doing: a lock granted, say, while the page was being frozen.
        expect(reasons).not.toContain("Circumstantial: JavaScriptExecution");
        expect(lived, why).toMatchObject({ restored: ROUNDS, failed: [], restarts: 0, sent: lived.right });
      } finally {
        await browser.close();
      }
    });
  }
}
