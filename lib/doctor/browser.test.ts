// `startBrowser` over packages that stand for a driver; e2e/specs/site/doctor has real browsers.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startServer } from "../compress/check/local-server.ts";
import { startBrowser } from "./browser.ts";
import type { DoctorBrowser } from "./browser.ts";
import { diagnose } from "./doctor.ts";
import { SERVICE_WORKER_READY } from "./page-script.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-driver-"));
});
afterEach(() => {
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a driver of a name into the folder, and starts its browser. */
async function startWith(driver: "playwright-core" | "puppeteer-core", browser: object): Promise<DoctorBrowser> {
  const at = join(folder, "node_modules", driver);
  const code = driver === "playwright-core" ? "export const chromium = driver;" : "export const { launch } = driver;";
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "package.json"), `{"name":"${driver}","type":"module","exports":"./index.js"}`);
  writeFileSync(join(at, "index.js"), `const driver = globalThis.driverOfTest; ${code}`);
  vi.stubGlobal("driverOfTest", { launch: () => Promise.resolve({ version: () => "1", ...browser }) });
  const started = await startBrowser([folder], process.execPath);
  if (typeof started === "string") throw new Error(started);
  return started;
}

/** A page whose load event does not come in time. */
function slowPage(url: string): { readonly page: object; readonly visits: string[] } {
  const visits: string[] = [];
  const late = (visit: string) => () => {
    visits.push(visit);
    return Promise.reject(Object.assign(new Error("Timeout 100ms exceeded."), { name: "TimeoutError" }));
  };
  const page = {
    on: () => undefined,
    addInitScript: () => Promise.resolve(),
    goto: late("goto"),
    reload: late("reload"),
    url: () => url,
    evaluate: (code: string) => Promise.resolve(code === SERVICE_WORKER_READY),
  };
  return { page, visits };
}

const contextOf = (page: object) => () =>
  Promise.resolve({ newPage: () => Promise.resolve(page), close: () => Promise.resolve() });

test("a page that is there, and never loaded whole, is opened, and again with its service worker", async () => {
  const { page, visits } = slowPage("https://x.example/");
  const browser = await startWith("playwright-core", { newContext: contextOf(page) });
  await browser.open("https://x.example/", 100);
  expect(visits).toEqual(["goto", "reload"]);
});

test("a page that goes to another address while it is asked is asked again there", async () => {
  const { page } = slowPage("https://x.example/");
  const evaluate = vi
    .fn(() => Promise.resolve<unknown>(false))
    .mockRejectedValueOnce(
      new Error("page.evaluate: Execution context was destroyed, most likely because of a navigation"),
    );
  const browser = await startWith("playwright-core", { newContext: contextOf({ ...page, evaluate }) });
  await browser.open("https://x.example/", 100);
  expect(evaluate).toHaveBeenCalledTimes(3);
});

test("an alert of a page, which Puppeteer leaves open, is closed", async () => {
  const { page } = slowPage("https://x.example/");
  const dismiss = vi.fn(() => Promise.resolve());
  const on = (event: string, listener: (dialog: object) => void): void => {
    if (event === "dialog") listener({ dismiss });
  };
  const createBrowserContext = contextOf({ ...page, on });
  await (await startWith("puppeteer-core", { createBrowserContext })).open("https://x.example/", 100);
  expect(dismiss).toHaveBeenCalledOnce();
});

test("a page of which nothing comes in time is not opened", async () => {
  const browser = await startWith("playwright-core", { newContext: contextOf(slowPage("about:blank").page) });
  await expect(browser.open("https://x.example/", 100)).rejects.toThrow("Timeout");
});

test("a login is given to no driver that would send it to every origin", async () => {
  const newPage = vi.fn();
  const createBrowserContext = vi.fn(() => Promise.resolve({ newPage, close: () => Promise.resolve() }));
  const browser = await startWith("puppeteer-core", { createBrowserContext });
  const server = await startServer((request, response) => {
    response.writeHead(request.headers.authorization === undefined ? 401 : 200, { "content-type": "text/html" }).end();
  });
  try {
    const address = `http://me:secret@127.0.0.1:${server.port}/`;
    const { notes } = await diagnose(address, { project: null, browser });
    expect(notes.join()).toMatch(
      /no browser was used: .*every origin that asks; npm install --save-dev playwright-core/,
    );
    expect(createBrowserContext).not.toHaveBeenCalled();
  } finally {
    await server.close();
  }
});
