// `selvedge/react` in an app of its own: React 18 and 19, on Vite's dev server with Fast Refresh. The server holds back
// and refuses models as a test says, and counts requests.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import react from "@vitejs/plugin-react";
import { createServer } from "vite";
import type { Plugin, ViteDevServer } from "vite";
import type { TestPage } from "../../pages/react-app/main.tsx";
import { doubleModel } from "../../support/double-model.ts";
import { freshApp } from "../../support/fresh-app.ts";
import type { FreshApp } from "../../support/fresh-app.ts";
import { ROOT } from "../../support/prepare.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

const HTML = `<!doctype html><meta charset="utf-8"><title>app</title><div id="root"></div>
<script type="module" src="/main.tsx"></script>`;
const source = (name: string): string => readFileSync(join(ROOT, "e2e/pages/react-app", name), "utf8");

/** Renders the app to a string in Node, and names what the markup shows. */
const SERVER_SIDE = `import { createElement, Suspense } from "react";
import { renderToString } from "react-dom/server";
import { EngineProvider, useEngine, useModel, useRun } from "selvedge/react";
function Plain() {
  const { status, model } = useModel("/double.onnx");
  return createElement("p", null, status, " ", useRun(model).status, " ", String(useEngine()));
}
const Waits = () => (useModel("/double.onnx", { suspense: true }), "never");
const suspended = createElement(Suspense, { fallback: "fallback" }, createElement(Waits));
console.log(renderToString(createElement(EngineProvider, null, createElement(Plain), suspended)).replace(/<!--.*?-->/g, ""));
`;

/** The server's models: /double.onnx, /held-N.onnx (until it is released) and /failing-N.onnx (404 until mended). */
class Models {
  readonly requests: string[] = [];
  /** Requests that the client gave up. */
  readonly aborted: string[] = [];
  readonly mended: Set<string> = new Set();
  readonly #held: Map<string, ServerResponse> = new Map();
  readonly #bytes: Uint8Array = doubleModel();

  readonly plugin: Plugin = {
    name: "models",
    configureServer: (server) => {
      server.middlewares.use((request, response, next) => {
        const url = request.url ?? "";
        if (!url.endsWith(".onnx")) {
          next();
          return;
        }
        if (request.method === "GET") this.requests.push(url);
        response.on("close", () => {
          if (!response.writableFinished) this.aborted.push(url);
        });
        response.setHeader("content-type", "application/octet-stream");
        if (url.startsWith("/failing") && !this.mended.has(url)) response.writeHead(404).end();
        else if (url.startsWith("/held") && !this.mended.has(url)) this.#held.set(url, response);
        else response.end(this.#bytes);
      });
    },
  };

  release(url: string): void {
    this.mended.add(url);
    this.#held.get(url)?.end(this.#bytes);
  }

  count(url: string): number {
    return this.requests.filter((x) => x === url).length;
  }
}

/** Where a run is started in an effect, under Suspense or not, in StrictMode or not. */
const EFFECTS = (["own", "layout", "child", "early-child"] as const).flatMap((runner, i) =>
  [0, 1, 2, 3].map((n) => ({ runner, suspense: n >= 2, strict: (n + i) % 2 === 1 })),
);

for (const [version, folder] of [
  ["19", "node_modules"],
  ["18", "e2e/react-18/node_modules"],
] as const)
  test.describe(`with React ${version}`, () => {
    test.describe.configure({ timeout: 120_000 });
    let app: FreshApp;
    let server: ViteDevServer;
    const models = new Models();
    let url = "";

    test.beforeAll(async () => {
      app = freshApp({
        files: {
          "index.html": HTML,
          "main.tsx": source("main.tsx"),
          "app.tsx": source("app.tsx"),
          "server-side.js": SERVER_SIDE,
        },
        links: {
          react: `${folder}/react`,
          "react-dom": `${folder}/react-dom`,
          scheduler: `${folder}/scheduler`,
        },
      });
      // A build by Vite, in an earlier spec of this process, leaves "production" there, which this server would follow.
      process.env["NODE_ENV"] = "development";
      server = await createServer({
        ...{ root: app.folder, configFile: false, logLevel: "error" },
        plugins: [react(), models.plugin],
        server: { port: 0, host: "127.0.0.1" },
        // Named, since Vite reloads the page, or leaves a request of it unanswered, when it discovers one late.
        optimizeDeps: {
          include: ["react", "react/jsx-dev-runtime", "react-dom", "react-dom/client"],
          exclude: ["selvedge"],
          noDiscovery: true,
        },
      });
      await server.listen();
      url = server.resolvedUrls?.local[0] ?? "";
    });
    test.afterAll(async () => {
      await server.close();
      app.remove();
    });

    test("StrictMode loads once, on one engine, and runs", async ({ page }) => {
      await open(page, url, { url: "/double.onnx", copies: 1, strict: true });
      await expect(page.locator("p.model")).toHaveText("ready ");
      await page.locator("button.run").click();
      await expect(page.locator("p.run")).toHaveText("done 2,4,6 ");
      expect(models.count("/double.onnx")).toBe(1);
      expect(await seen(page)).toEqual({ engines: 1, models: 1, rejections: [] });
    });

    test("two components share a load, which is freed with the second of them", async ({ page }) => {
      await open(page, url, { url: "/held-shared.onnx", copies: 2 });
      await expect.poll(() => models.count("/held-shared.onnx")).toBe(1);
      models.release("/held-shared.onnx");
      await expect(page.locator("p.model")).toHaveText(["ready ", "ready "]);
      await show(page, { url: "/held-shared.onnx", copies: 1 });
      await page.locator("button.run").click();
      await expect(page.locator("p.run")).toHaveText("done 2,4,6 ");
      expect(models.count("/held-shared.onnx")).toBe(1);
      await show(page, { url: "/held-shared.onnx", copies: 0 });
      await expect.poll(async () => (await seen(page)).models).toBe(0);
    });

    test("unmounting during a load aborts it, with no stray rejection; the next mount is answered", async ({
      page,
    }) => {
      await open(page, url, { url: "/held-left.onnx", copies: 1, strict: true });
      await expect.poll(() => models.count("/held-left.onnx")).toBe(1);
      await show(page, { url: "/held-left.onnx", copies: 0, strict: true });
      await expect.poll(() => models.aborted).toContain("/held-left.onnx");
      expect(await seen(page)).toEqual({ engines: 1, models: 0, rejections: [] });
      await show(page, { url: "/held-left.onnx", copies: 1, strict: true });
      await expect.poll(() => models.count("/held-left.onnx")).toBe(2);
      models.release("/held-left.onnx");
      await expect(page.locator("p.model")).toHaveText("ready ");
      await page.locator("button.run").click();
      await expect(page.locator("p.run")).toHaveText("done 2,4,6 ");
      expect(await seen(page)).toEqual({ engines: 1, models: 1, rejections: [] });
    });

    test("a failed load shows its error, and retry loads again", async ({ page }) => {
      await open(page, url, { url: "/failing-once.onnx", copies: 2 });
      await expect(page.locator("p.model")).toHaveText(["failed download-failed", "failed download-failed"]);
      models.mended.add("/failing-once.onnx");
      await page.locator("button.retry").first().click();
      await expect(page.locator("p.model")).toHaveText(["ready ", "ready "]);
      expect((await seen(page)).rejections).toEqual([]);
    });

    test("a newer run aborts the one before, and unmounting aborts what runs", async ({ page }) => {
      await open(page, url, { url: "/double.onnx", copies: 1 });
      await expect(page.locator("p.model")).toHaveText("ready ");
      await page.locator("button.twice").click();
      await expect(page.locator("p.run")).toHaveText("done 10,4,6 ");
      const cancelled = () => page.evaluate(() => hold().engines[0]?.stats().requests.cancelled);
      expect(await cancelled()).toBe(1);
      await page.evaluate(() => {
        document.querySelector<HTMLButtonElement>("button.run")?.click();
        // In the same task, since the run may be answered before the next one.
        hold().show({ url: "/double.onnx", copies: 0, isSync: true });
      });
      await expect.poll(cancelled).toBe(2);
      expect(await seen(page)).toEqual({ engines: 1, models: 0, rejections: [] });
    });

    // A quarter of the cases with each React in each run, all with both in the soak.
    const effects = EFFECTS.filter((_, i) => isSoak || i % 4 === Number(version) % 4);
    for (const { runner, suspense, strict } of effects)
      test(`a run in an effect is answered: ${runner}${suspense ? ", suspense" : ""}${strict ? ", strict" : ""}`, async ({
        page,
      }) => {
        await open(page, url, { url: "/double.onnx", copies: 1, runner, suspense, strict });
        await expect(page.locator("p.first")).toHaveText("2,4,6");
        await expect(page.locator("p.run")).toHaveText("done");
        expect((await seen(page)).rejections).toEqual([]);
      });

    test("a source that each render makes anew is named by a TypeError", async ({ page }) => {
      for (const suspense of [false, true]) {
        await open(page, url, { url: "", copies: 1, isInline: true, suspense });
        await expect(page.locator("button.again")).toHaveText(/^TypeError: useModel: the source is new/);
      }
    });

    test("with Suspense the fallback stands until the model is ready", async ({ page }) => {
      await open(page, url, { url: "/held-suspense.onnx", copies: 2, suspense: true, strict: true });
      await expect(page.locator("p.fallback")).toBeVisible();
      await expect.poll(() => models.count("/held-suspense.onnx")).toBe(1);
      models.release("/held-suspense.onnx");
      await expect(page.locator("p.model")).toHaveText(["ready ", "ready "]);
      expect(models.count("/held-suspense.onnx")).toBe(1);
    });

    test("with Suspense a component that goes away meanwhile and comes back shares the load", async ({ page }) => {
      const shown = { url: "/held-back.onnx", copies: 1, suspense: true, strict: true };
      await open(page, url, shown);
      await expect.poll(() => models.count("/held-back.onnx")).toBe(1);
      await show(page, { ...shown, copies: 0 });
      await expect(page.locator("p.fallback")).toHaveCount(0);
      await show(page, shown);
      models.release("/held-back.onnx");
      await page.locator("button.run").click();
      await expect(page.locator("p.run")).toHaveText("done 2,4,6 ");
      expect(models.count("/held-back.onnx")).toBe(1);
      expect(await seen(page)).toEqual({ engines: 1, models: 1, rejections: [] });
    });

    test("with Suspense a failure reaches the error boundary, which loads again", async ({ page }) => {
      await open(page, url, { url: "/failing-suspense.onnx", copies: 1, suspense: true });
      await expect(page.locator("button.again")).toHaveText("download-failed");
      models.mended.add("/failing-suspense.onnx");
      await page.locator("button.again").click();
      await expect(page.locator("p.model")).toHaveText("ready ");
    });

    test("a hot update keeps the engine and the model", async ({ page }) => {
      await open(page, url, { url: "/double.onnx", copies: 1, strict: true });
      await expect(page.locator("p.model")).toHaveText("ready ");
      const before = models.count("/double.onnx");
      writeFileSync(join(app.folder, "app.tsx"), source("app.tsx").replace("run twice", "run two"));
      await expect(page.locator("button.twice")).toHaveText("run two");
      await page.locator("button.run").click();
      await expect(page.locator("p.run")).toHaveText("done 2,4,6 ");
      expect(models.count("/double.onnx")).toBe(before);
      expect(await seen(page)).toEqual({ engines: 1, models: 1, rejections: [] });
      writeFileSync(join(app.folder, "app.tsx"), source("app.tsx"));
    });

    test("unmounting the provider closes the engine", async ({ page }) => {
      await open(page, url, { url: "/double.onnx", copies: 1 });
      await expect(page.locator("p.model")).toHaveText("ready ");
      await page.evaluate(() => {
        hold().show(null);
      });
      const load = () =>
        page.evaluate(() =>
          hold()
            .engines[0]?.load("/double.onnx")
            .then(
              () => "open",
              (error: unknown) => Reflect.get(error as Error, "code") as string,
            ),
        );
      await expect.poll(load).toBe("closed");
    });

    test("is rendered on the server without an engine", () => {
      const html = execFileSync(process.execPath, ["server-side.js"], { cwd: app.folder, encoding: "utf8" });
      expect(html).toContain("<p>loading idle null</p>");
      expect(html).toContain("fallback");
      expect(html).not.toContain("never");
    });
  });

type Shown = Parameters<TestPage["show"]>[0];

/** The page's own `page`, as code inside it sees it; installed by `open`. */
declare function hold(): TestPage;

async function open(page: Page, url: string, shown: Shown): Promise<void> {
  await page.goto(url);
  await page.waitForFunction(() => "page" in window);
  await page.evaluate(() => {
    Object.assign(window, { hold: () => Reflect.get(window, "page") as unknown });
  });
  await show(page, shown);
}

async function show(page: Page, shown: Shown): Promise<void> {
  await page.evaluate((x) => {
    hold().show(x);
  }, shown);
}

/** Counts the engines that the page has had, the models on the first, and lists rejections that nobody caught. */
async function seen(page: Page): Promise<{ engines: number; models: number | undefined; rejections: string[] }> {
  return page.evaluate(() => {
    const { engines, rejections } = hold();
    return { engines: engines.length, models: engines[0]?.stats().models, rejections: [...rejections] };
  });
}
