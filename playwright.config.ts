// Browser tests: Chromium and Firefox by Playwright, WebKitGTK by WebDriver inside tests of the `webkit` project. Two at a
// time, since much of a test waits; one in the soak, which judges times, on machines of two cores that draw WebGPU too.
import { defineConfig } from "@playwright/test";
import { chromiumLaunch, firefoxLaunch } from "./e2e/support/browsers.ts";
import { isSoak } from "./lib/test-support/slice.ts";

const DEMO_PORT = Number(process.env["SELVEDGE_DEMO_PORT"] ?? 43117);
const PAGES_PORT = Number(process.env["SELVEDGE_PAGES_PORT"] ?? 43118);
const { channel, ...firefox } = firefoxLaunch();

/** Suites of WebGPU, which the soak also runs in Chromium on SwiftShader. */
const GPU_SUITES = ["backend", "golden", "compressed", "batches", "external-data", "operators"].map(
  (x) => `engine/${x}.spec.ts`,
);

/** Tests that are run once, not in each of the browsers that Playwright drives. */
const BY_THEMSELVES = ["*.webkit.spec.ts", "*.own-browser.spec.ts"];

/**
 * Suites that `npm test` runs in Firefox too: storage, workers, the network and WebGPU's ways differ there. The other
 * suites show much the same in each browser; the soak runs all of them in both.
 */
const FIREFOX_IN_TEST = [
  "browsers/features",
  "browsers/minimum",
  "browsers/setup",
  ...[
    "backend",
    "bare-model",
    "batches",
    "compressed",
    "external-data",
    "faults",
    "golden",
    "golden-ways",
    "half",
    "hidden-tab",
    "memory-short",
    "observe",
    "operators",
    "threads",
    "wasm-split",
  ].map((x) => `engine/${x}`),
  "remote/placement",
  "site/entries",
  "site/vad",
  ...["delivery", "hub", "offline", "stores"].map((x) => `storage/${x}`),
].map((x) => `**/${x}.spec.ts`);

export default defineConfig({
  testDir: "e2e",
  testMatch: "*.spec.ts",
  outputDir: "test-results",
  workers: isSoak ? 1 : 2,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 300_000,
  // On two cores, beside another test, a page may take longer to show something than Playwright's 5 s.
  expect: { timeout: 15_000 },
  reporter: [["list"], ["json", { outputFile: "test-results/playwright.json" }]],
  use: { baseURL: `http://127.0.0.1:${DEMO_PORT}`, trace: "off" },
  metadata: { pages: `http://127.0.0.1:${PAGES_PORT}` },
  webServer: [
    {
      // The built site as users start it, under its content security policy.
      command: "npx tsx demo/start.ts",
      env: { PORT: String(DEMO_PORT) },
      url: `http://127.0.0.1:${DEMO_PORT}/`,
      timeout: 600_000,
    },
    {
      command: `npx tsx e2e/support/server.ts --port ${PAGES_PORT} --isolated`,
      url: `http://127.0.0.1:${PAGES_PORT}/blank.html`,
      timeout: 300_000,
    },
  ],
  projects: [
    {
      name: "chromium",
      testIgnore: BY_THEMSELVES,
      // Tests that take SwiftShader a minute, and Firefox's software GPU seconds, run in the soak.
      ...(isSoak ? {} : { grepInvert: /@swiftshader/ }),
      use: { browserName: "chromium", launchOptions: chromiumLaunch() },
    },
    {
      name: "firefox",
      testIgnore: BY_THEMSELVES,
      ...(isSoak ? {} : { testMatch: FIREFOX_IN_TEST }),
      // Tests of what only Chromium lets a test do.
      grepInvert: /@chromium/,
      use: { browserName: "firefox", ...(channel === undefined ? {} : { channel }), launchOptions: firefox },
    },
    ...(isSoak
      ? [
          {
            name: "swiftshader",
            testMatch: GPU_SUITES.map((x) => `**/${x}`),
            use: { browserName: "chromium" as const, launchOptions: chromiumLaunch("swiftshader") },
          },
        ]
      : []),
    { name: "webkit", testMatch: "*.webkit.spec.ts" },
    // Tests that compare browsers start them themselves.
    { name: "own-browser", testMatch: "*.own-browser.spec.ts" },
  ],
});
