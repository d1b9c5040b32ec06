// ONNX Runtime in two parts (lib/build/split.ts): the rest is fetched when one of its functions is called; where it is missing that
// is told, and what needs none of it goes on. From a server of the test's own, that notes what it was asked for, and when.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { build } from "esbuild";
import { buildGraph } from "../../../models/graph.ts";
import { ROOT } from "../../support/prepare.ts";

const APP = `
import { createEngine } from "selvedge";
globalThis.app = {
  async answer(path, threads, rows) {
    app.engine ??= await createEngine({ backends: ["wasm"], workers: 1, threads, assetsBase: "/dist/", store: false });
    const model = await app.engine.load(path);
    await fetch("/loaded");
    const data = Float32Array.from({ length: rows * 3 }, (_, i) => [1, 3, 2][i % 3]);
    const { outputs } = await model.run({ x: { dtype: "float32", dims: [rows, 3], data } });
    await fetch("/answered");
    const first = [...outputs.y.data.slice(0, 3)];
    if (outputs.y.data.some((x, i) => x !== first[i % 3])) throw new Error("not each row is answered as the first");
    return first;
  },
};`;
const TYPES: Readonly<Record<string, string>> = { ".js": "text/javascript", ".wasm": "application/wasm" };
const REST = /-rest\.wasm$/;

/** A model of one operator over a row of numbers. */
function modelOf(opType: string): Uint8Array {
  const port = (name: string) => ({ name, dtype: "float32", dims: ["n", 3], batchAxis: 0 }) as const;
  const ports = { inputs: [port("x")], outputs: [port("y")] };
  return buildGraph(ports, [{ opType, input: ["x"], output: ["y"] }], {}).write();
}

let server: Server;
let asked: string[] = [];
let isMissing = false;

test.beforeEach(async ({ page }) => {
  const { outputFiles } = await build({
    stdin: { contents: APP, resolveDir: ROOT },
    alias: { selvedge: join(ROOT, "dist/index.js") },
    bundle: true,
    write: false,
    format: "esm",
  });
  const own: Readonly<Record<string, string | Uint8Array>> = {
    "/": '<!doctype html><title>App</title><link rel="icon" href="data:,"><script type="module" src="/app.js"></script>',
    "/app.js": outputFiles[0]?.contents ?? "",
    "/usual.onnx": modelOf("Relu"),
    "/rare.onnx": modelOf("Hardmax"),
    "/spread.onnx": modelOf("Softsign"),
    "/loaded": "",
    "/answered": "",
  };
  [asked, isMissing] = [[], false];
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    asked.push(pathname);
    const body = own[pathname] ?? (pathname.startsWith("/dist/") ? readFileSync(join(ROOT, pathname)) : null);
    response.writeHead(body === null || (isMissing && REST.test(pathname)) ? 404 : 200, {
      "content-type": TYPES[extname(pathname)] ?? (pathname === "/" ? "text/html" : "application/octet-stream"),
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    response.end(body ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.waitForFunction("globalThis.app !== undefined");
});

test.afterEach(() => {
  server.close();
  server.closeAllConnections();
});

const answer = (page: Page, path: string, threads = 1, rows = 1): Promise<number[]> =>
  page.evaluate(`app.answer(${JSON.stringify(path)}, ${threads}, ${rows})`);
const restAt = (): number => asked.findIndex((path) => REST.test(path));

test("what usually runs needs the first part alone", async ({ page }) => {
  expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
  expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
  expect(restAt()).toBe(-1);
});

test("an operator that hardly ever runs has the rest linked, and answers", async ({ page }) => {
  expect(await answer(page, "/rare.onnx")).toEqual([0, 1, 0]);
  expect(restAt()).toBeGreaterThan(0);
  expect(restAt()).toBeLessThan(asked.indexOf("/answered"));
  expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
});

test("threads have both parts from the start, and each links the rest itself", async ({ page }) => {
  expect(await answer(page, "/rare.onnx", 2)).toEqual([0, 1, 0]);
  expect(restAt()).toBeLessThan(asked.indexOf("/loaded"));
  // So much is spread over the threads, and what each of them then calls is rare as well.
  for (let i = 0; i < 5; i += 1)
    expect(await answer(page, "/spread.onnx", 2, 400_000)).toEqual([1 / 2, 3 / 4, 2 / 3].map(Math.fround));
});

test("where the rest is missing that is told, and what needs none of it goes on", async ({ page }) => {
  isMissing = true;
  await expect(answer(page, "/rare.onnx")).rejects.toThrow(/ort-wasm-rest\.wasm did not load \(status 404\)/);
  expect(await answer(page, "/usual.onnx")).toEqual([1, 3, 2]);
});
