// Conformance of ONNX Runtime in the browsers to the contract of lib/rpc/backend.ts: the shipped workers, each build and
// each backend.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type { BackendPage, Setup } from "../../pages/backend.ts";

const SETUPS: readonly Setup[] = [
  { build: "jspi", backend: "wasm", threads: 1 },
  { build: "jspi", backend: "wasm", threads: 2 },
  { build: "jspi", backend: "webgpu", threads: 1 },
  { build: "wasm", backend: "wasm", threads: 1 },
  { build: "wasm", backend: "wasm", threads: 2 },
];
const WASM = SETUPS[0] as Setup;
const WEBGPU = SETUPS[2] as Setup;

test.beforeEach(async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/backend.html`);
  await page.waitForFunction("globalThis.backendPage !== undefined");
});

for (const setup of SETUPS) {
  test(`the ${setup.build} worker on ${setup.backend} with ${setup.threads} threads conforms to the backend contract`, async ({
    page,
  }) => {
    const workers: string[] = [];
    page.on("worker", (worker) => workers.push(worker.url()));
    const outcomes = await ask(page, "conform", setup);
    expect(workers).toHaveLength(setup.threads);
    expect(outcomes.filter(({ error }) => error !== null)).toEqual([]);
    expect(outcomes.length).toBeGreaterThan(40);
  });
}

test("a run that never ends is ended by the watchdog, within its bound", async ({ page }) => {
  const { code, ms } = await ask(page, "hang", WASM, 2_000);
  expect(code).toBe("worker-crashed");
  expect(ms).toBeLessThan(10_000);
});

test("a verbose worker reports where an operator runs", async ({ page }) => {
  expect(await ask(page, "assign", WEBGPU)).toEqual({ device: 1, shape: 0, cpu: 0, copies: 0 });
  expect(await ask(page, "assign", WASM)).toEqual({ device: 1, shape: 0, cpu: 0, copies: 0 });
});

test("an ImageBitmap becomes the same tensor as its pixels", async ({ page }) => {
  const { bitmap, pixels } = await ask(page, "paint", WASM);
  expect(pixels).toEqual([0, 10, 20, 40, 50, 60, 255, 255, 255, 120, 130, 140, 160, 170, 180, 200, 210, 220]);
  expect(bitmap).toEqual(pixels);
});

test("a wasm that is not there is named, with what the server said", async ({ page }) => {
  const { code, message } = await ask(page, "startFails", WASM, "missing.wasm");
  expect(code).toBe("setup-failed");
  expect(message).toMatch(/^missing\.wasm is missing \(status 404/);
});

test("the wasm build has no WebGPU and says so", async ({ page }) => {
  const setup: Setup = { build: "wasm", backend: "webgpu", threads: 1 };
  expect((await ask(page, "startFails", setup, "ort-wasm.wasm")).code).toBe("no-backend");
});

test("threads start under a policy that enforces Trusted Types", async ({ page }) => {
  const policy = "script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'; trusted-types selvedge";
  await page.route("**/*", async (route) => {
    const response = await route.fetch({ maxRetries: 3 });
    await route.fulfill({ response, headers: { ...response.headers(), "content-security-policy": policy } });
  });
  await page.reload();
  await page.waitForFunction(() => Reflect.has(globalThis, "backendPage"));
  await ask(page, "startPlain", { build: "jspi", backend: "wasm", threads: 2 });
});

/** Calls a function of the page. */
async function ask<Name extends keyof BackendPage>(
  page: Page,
  name: Name,
  ...given: Parameters<BackendPage[Name]>
): Promise<Awaited<ReturnType<BackendPage[Name]>>> {
  return page.evaluate<Awaited<ReturnType<BackendPage[Name]>>>(
    `globalThis.backendPage.${name}(...${JSON.stringify(given)})`,
  );
}
