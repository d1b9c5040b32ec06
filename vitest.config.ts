// Unit tests alone: no browser, no network. vite.config.ts, which serves the demo, is left out on purpose;
// `*.spec.ts` in e2e/ are Playwright's.
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { selvedge: new URL("lib/index.ts", import.meta.url).pathname } },
  test: {
    include: ["{lib,demo,models,e2e}/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**", "**/*.browser.test.ts"],
  },
});
