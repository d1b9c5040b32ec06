// Playwright's test runner with a WebKitGTK window, driven by WebDriver, in place of its own page.
import { test as base } from "@playwright/test";
import { WebDriver } from "./webdriver.ts";

/** Provides `webkit`, one window per worker of a test file, and `pages`, the URL of the tests' own pages. */
export const test = base.extend<{ pages: string }, { webkit: WebDriver }>({
  webkit: [
    async ({}, use) => {
      const webkit = await WebDriver.start();
      await use(webkit);
      await webkit.close();
    },
    { scope: "worker" },
  ],
  pages: async ({}, use, info) => {
    await use((info.config.metadata as { pages: string }).pages);
  },
});

export { expect } from "@playwright/test";
