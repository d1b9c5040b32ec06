// The first part of ONNX Runtime's split binary (lib/build/split.ts) is enough for common operators, on both builds: models
// that its profile does not know (held-out-models.ts) are loaded and run, and none may have the second part fetched.
import { expect, test } from "@playwright/test";
import { pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { heldOut } from "../../../lib/test-support/onnx/held-out-models.ts";
import { bytesOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { appSite } from "../../support/app-site.ts";

const APP = `
import { createEngine } from "selvedge";
const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, int8: Int8Array, bool: Uint8Array };
globalThis.app = {
  async run(path, inputs, backends) {
    app.engine ??= await createEngine({ backends, workers: 1, assetsBase: "/dist/", store: false });
    const feeds = Object.entries(inputs).map(([name, { dtype, dims, data }]) =>
      [name, { dtype, dims, data: new ARRAYS[dtype](Uint8Array.from(data).buffer) }]);
    const model = await app.engine.load(path, { backend: "wasm" });
    await model.run(Object.fromEntries(feeds));
    await model.unload();
  },
};`;
const models = heldOut();

let server: LocalServer;
let asked: string[] = [];

test.beforeAll(async () => {
  const files = Object.fromEntries(models.map(({ bytes }, i) => [`/${i}.onnx`, bytes]));
  const fileAt = await appSite({ app: APP, files });
  server = await startServer((request, response) => {
    const pathname = pathOf(request);
    asked.push(pathname);
    const file = fileAt(pathname);
    response.writeHead(file === null ? 404 : 200, { "content-type": file?.type ?? "text/plain" }).end(file?.body);
  });
});

test.afterAll(() => server.close());

test("there are models of 60 operators and more", () => {
  expect(new Set(models.map(({ title }) => title.split(" ")[0])).size).toBeGreaterThanOrEqual(60);
});

for (const [name, backends] of [
  ["wasm", ["wasm"]],
  ["jspi", ["webgpu", "wasm"]],
] as const)
  test(`none of the common operators has the second part fetched by the build ${name}`, async ({ page }) => {
    await page.goto(server.origin);
    await page.waitForFunction("globalThis.app !== undefined");
    asked = [];
    const fetching: string[] = [];
    for (const [i, { title, inputs }] of models.entries()) {
      const told = Object.entries(inputs).map(([key, x]) => [
        key,
        { dtype: x.dtype, dims: x.dims, data: [...bytesOf(x)] },
      ]);
      await page.evaluate(
        `app.run("/${i}.onnx", ${JSON.stringify(Object.fromEntries(told))}, ${JSON.stringify(backends)})`,
      );
      if (!asked.some((path) => path.endsWith("-rest.wasm"))) continue;
      fetching.push(title);
      // A new page, whose runtime has one part again.
      await page.reload();
      await page.waitForFunction("globalThis.app !== undefined");
      asked = [];
    }
    expect(asked.some((path) => path.includes("ort-"))).toBe(true);
    expect(fetching).toEqual([]);
  });
