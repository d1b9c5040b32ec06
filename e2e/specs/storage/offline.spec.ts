// A page without a network: with the ready-made service worker, isolated, with its model stored. The server is closed,
// and the page still starts and answers. An app of its own, in one script and with a policy, served from here.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import { appSite } from "../../support/app-site.ts";
import { startDelivery } from "../../support/delivery-server.ts";
import { DIST } from "../../support/prepare.ts";
import { RARE, rareModel } from "../../support/split-site.ts";

const APP = `
import { createEngine } from "selvedge";
import { openCache } from "selvedge/cache";
const assetsBase = "/dist/";
globalThis.app = {
  async answer(url) {
    const engine = await createEngine({ backends: ["wasm"], workers: 1, assetsBase });
    try {
      const model = await engine.load(url);
      const a = { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 2, 3) };
      const { outputs } = await model.run({ a, b: a });
      return [...outputs.y.data];
    } finally {
      await engine.close();
    }
  },
  async invert(bytes) {
    const engine = await createEngine({ backends: ["wasm"], workers: 1, assetsBase });
    try {
      const model = await engine.load(Uint8Array.from(bytes));
      const { outputs } = await model.run({ x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(1, 3, 2) } });
      return [...outputs.y.data];
    } finally {
      await engine.close();
    }
  },
  keepPage: (worker) => openCache({ assetsBase }).keepPage(worker),
  forgetPage: (worker) => openCache({ assetsBase }).forgetPage(worker),
};`;

/** The site, and its requests. */
interface Site {
  readonly url: string;
  readonly asked: string[];
  /** Replaces the response to every file, or drops requests, if it is set. */
  trick: { readonly status: number; readonly body: string } | "silence" | null;
  close(): Promise<void>;
}

let site: Site;

test.beforeEach(async () => {
  site = await serveApp();
});

test.afterEach(() => site.close());

async function serveApp(): Promise<Site> {
  const fileAt = await appSite({
    app: APP,
    files: {
      "/worker.js": readFileSync(join(DIST, "worker-offline.js")),
      "/deaf.js": "// a service worker that stores nothing",
    },
  });
  const asked: string[] = [];
  const { origin, close } = await startServer((request, response) => {
    const pathname = pathOf(request);
    asked.push(pathname);
    const { trick } = site;
    if (trick === "silence") return;
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    response.setHeader("cache-control", "no-cache"); // or an offline start could come from there
    const file = fileAt(pathname);
    const type = trick === null ? file?.type : "text/html; charset=utf-8";
    response.writeHead(trick?.status ?? (file === null ? 404 : 200), { "content-type": type ?? "text/plain" });
    response.end(trick?.body ?? file?.body ?? "");
  });
  return { url: origin, asked, trick: null, close };
}

async function open(page: Page, path = "/"): Promise<void> {
  await page.goto(site.url + path);
  await page.waitForFunction("globalThis.app !== undefined");
}

/** Stores the page in the ready-made service worker; returns the paths. */
async function keepPage(page: Page): Promise<{ kept: string[]; failed: string[] }> {
  const { kept, failed } = await page.evaluate<{ kept: string[]; failed: string[] }>('app.keepPage("/worker.js")');
  return { kept: kept.map((url) => new URL(url).pathname), failed };
}

test("a page under the service worker starts and answers without a network", async ({ page, context, browserName }) => {
  const { server, url } = await startDelivery();
  try {
    await open(page);
    const answer = `app.answer(${JSON.stringify(url)})`;
    expect(await page.evaluate(answer)).toEqual([2, 4, 6]);
    const { kept, failed } = await keepPage(page);
    expect(failed).toEqual([]);
    expect(kept).toEqual(expect.arrayContaining(["/", "/app.js", "/dist/worker-cache.js"]));
    expect(kept.filter((path) => /\/ort-.*\.wasm$/.test(path))).toEqual([
      "/dist/ort-wasm.wasm",
      "/dist/ort-wasm-rest.wasm",
    ]);

    server.close();
    await site.close();
    site.asked.length = 0;
    server.asked = [];
    await open(page);
    // Pages that differ by query differ in content: none is stored, and none stands in for another.
    const another = await context.newPage();
    await expect(another.goto(`${site.url}/?again`)).rejects.toThrow();
    await another.close();
    expect(await page.evaluate("crossOriginIsolated")).toBe(true);
    expect(await page.evaluate(answer)).toEqual([2, 4, 6]);
    const later = await context.newPage();
    // Site and server are gone for every browser. Firefox, once WebDriver says that it is offline, may refuse to navigate
    // before it asks the service worker, in that tab and in others: in 2 of 7 runs, and more often after many tests.
    if (browserName === "chromium") await context.setOffline(true);
    await page.close();
    await open(later);
    expect(await later.evaluate(answer)).toEqual([2, 4, 6]);
    expect([site.asked, server.asked]).toEqual([[], []]);
  } finally {
    server.close();
  }
});

test("a model that needs the second part of ONNX Runtime's binary answers without a network", async ({ page }) => {
  await open(page);
  await keepPage(page);
  await site.close();
  await open(page);
  expect(await page.evaluate(`app.invert(${JSON.stringify([...rareModel()])})`)).toEqual(RARE);
});

test("WebAssembly is compiled while it streams, from the stored copy too", async ({ page }) => {
  await open(page);
  const { kept } = await keepPage(page);
  const wasm = kept.find((path) => path.endsWith(".wasm"));
  await site.close();
  await open(page);
  const compile = `WebAssembly.compileStreaming(fetch("${wasm}")).then((x) => WebAssembly.Module.exports(x).length > 0)`;
  expect(await page.evaluate(compile)).toBe(true);
});

test("a newer page is shown where there is a network, and no failure takes the place of a page", async ({ page }) => {
  await open(page);
  await keepPage(page);
  site.trick = { status: 502, body: "a gateway's page" };
  await open(page);
  // The start page in place of every file, as hosts of apps respond: the stored script must not change.
  const newer =
    '<!doctype html><title>Newer</title><link rel="icon" href="data:,"><script type="module" src="/app.js"></script>';
  site.trick = { status: 200, body: newer };
  await page.goto(site.url);
  expect(await page.title()).toBe("Newer");
  await site.close();
  await open(page);
  expect(await page.title()).toBe("Newer");
});

test("a stalled network is not waited for where a copy is stored", async ({ page }) => {
  await open(page);
  await keepPage(page);
  site.trick = "silence";
  await open(page);
  expect(site.asked.filter((path) => path === "/app.js").length).toBeGreaterThan(1);
});

test("forgetPage removes every copy, and with its address the service worker too (store-B2)", async ({ page }) => {
  await open(page);
  const state = `Promise.all([
    caches.open("selvedge-offline").then((cache) => cache.keys()).then((keys) => keys.length > 0),
    navigator.serviceWorker.getRegistrations().then((list) => list.length),
  ])`;
  await keepPage(page);
  expect(await page.evaluate(state)).toEqual([true, 1]);
  expect(await page.evaluate("app.forgetPage()")).toBe(true);
  expect(await page.evaluate(state)).toEqual([false, 1]);
  await keepPage(page);
  expect(await page.evaluate('app.forgetPage("/worker.js")')).toBe(true);
  expect(await page.evaluate(state)).toEqual([false, 0]);
  expect(await page.evaluate('app.forgetPage("/worker.js")')).toBe(true); // the check above recreated the cache
  expect(await page.evaluate('app.forgetPage("/worker.js")')).toBe(false);
  await site.close();
  await expect(page.goto(site.url)).rejects.toThrow();
});

test("a service worker that stores nothing, or is out of scope, is an error that names the fix", async ({ page }) => {
  await open(page);
  await expect(page.evaluate('app.keepPage("/dist/worker-offline.js")')).rejects.toThrow(/root of the site/);
  await expect(page.evaluate('app.keepPage("/deaf.js")')).rejects.toThrow(/Call keepOffline\(self\)/);
});

// Firefox under WebDriver's offline state may refuse to navigate (above), and the site's server serves other tests too.
test("/spam/ classifies a mail without a network: model and tokenizer are read from the store @chromium", async ({
  page,
  context,
}) => {
  const { baseURL = "" } = test.info().project.use;
  await page.goto(`${baseURL}/models/`);
  await expect(page.getByTestId("status")).toHaveAttribute("data-state", "ready", { timeout: 60_000 });
  await page.getByRole("button", { name: "Go offline" }).click();
  await expect(page.getByTestId("status")).toContainText("now works offline", { timeout: 60_000 });
  const judge = async (): Promise<string> => {
    await page.goto(`${baseURL}/spam/`); // no page with a query is stored
    const status = page.getByTestId("status");
    await expect(status).toHaveAttribute("data-state", "ready", { timeout: 60_000 });
    await page.getByRole("button", { name: "A prize" }).click();
    await expect(status).toHaveAttribute("data-state", "done", { timeout: 60_000 });
    return (await page.getByTestId("verdict").textContent()) ?? "";
  };
  const online = await judge();
  expect(online).toMatch(/^Spam/);
  await context.setOffline(true);
  expect(await judge()).toBe(online);
});
