// Browsers below the minimum (docs/browsers.md), by deleting what they lack on the page or in the workers of a current
// one: each either works by another way, or gets an error with a code.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { attempt } from "../../support/attempt.ts";
import type { Outcome } from "../../support/attempt.ts";
import { serveFaulty } from "../../support/faulty-server.ts";
import type { FaultyServer } from "../../support/faulty-server.ts";

let server: FaultyServer;
test.beforeAll(async () => {
  server = await serveFaulty();
});
test.afterAll(() => server.close());

/** Loads a model where code has run before everything else, on the page and in each worker. */
async function without(page: Page, code: string): Promise<Outcome> {
  server.use((path, { body }) =>
    /worker-\w+\.js$/.test(path) ? { body: `${code};${new TextDecoder().decode(body as Uint8Array)}` } : undefined,
  );
  await page.addInitScript(code);
  await page.goto(`${server.origin}/`);
  return attempt(page);
}

const NO_OPFS = "delete StorageManager.prototype.getDirectory";
const MENDED: readonly [name: string, code: string][] = [
  ["OPFS", NO_OPFS],
  [
    "storage at all",
    `${NO_OPFS}; for (const x of ["indexedDB", "caches"]) Object.defineProperty(self, x, { value: undefined })`,
  ],
  [
    "module workers: `type` is ignored",
    "const Usual = self.Worker; if (Usual) self.Worker = class extends Usual { constructor(url, { name }) { super(url, { name }); } }",
  ],
  ["DecompressionStream", "delete self.DecompressionStream"],
  ["Web Locks", "delete (self.Navigator ?? self.WorkerNavigator).prototype.locks"],
];
for (const [name, code] of MENDED)
  test(`no ${name}: the model answers`, async ({ page }) => {
    expect(await without(page, code)).toMatchObject({ y: [7], unhandled: [] });
  });

const REFUSED: readonly [name: string, code: string, reason: string][] = [
  ["WebAssembly", "delete self.WebAssembly", "no-backends"],
  [
    "WebAssembly SIMD",
    `for (const x of ["compile", "compileStreaming"])
      WebAssembly[x] = () => Promise.reject(new WebAssembly.CompileError("Wasm SIMD unsupported"))`,
    "undefined",
  ],
  ["AbortSignal.any", "delete AbortSignal.any", "old-browser"],
];
for (const [name, code, reason] of REFUSED)
  test(`no ${name}: no-backend, and a retry is not advised`, async ({ page }) => {
    expect(await without(page, code)).toMatchObject({ code: "no-backend", reason, retryable: false, unhandled: [] });
  });
