// The first part of ONNX Runtime's split binary (lib/build/split.ts) is enough for common operators, on both builds: models
// that its profile does not know (held-out-models.ts), and graphs of exported architectures (exported-graphs.ts, of which
// the profile knows five), are loaded and run, and none may have the second part fetched.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { heldOut } from "../../../lib/test-support/onnx/held-out-models.ts";
import { bytesOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { appSite } from "../../support/app-site.ts";
import { exportedGraphs, exportedWeights, WEIGHTS } from "../../support/exported-graphs.ts";

const APP = `
import { createEngine } from "selvedge";
const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, int8: Int8Array, bool: Uint8Array };
globalThis.app = {
  async load(path, backends) {
    app.engine ??= await createEngine({ backends, workers: 1, assetsBase: "/dist/", store: false });
    return app.engine.load(path, { backend: "wasm" });
  },
  async run(path, inputs, backends) {
    const feeds = Object.entries(inputs).map(([name, { dtype, dims, data }]) =>
      [name, { dtype, dims, data: new ARRAYS[dtype](Uint8Array.from(data).buffer) }]);
    const model = await app.load(path, backends);
    await model.run(Object.fromEntries(feeds));
    await model.unload();
  },
  async runExported(path, backends) {
    const model = await app.load(path, backends);
    const feeds = model.inputs.map(({ name, dtype, dims }) => {
      const sizes = dims.map((x, axis) => (typeof x === "number" ? x : sizeOf(axis, dims.length, dtype)));
      const data = new ARRAYS[dtype](sizes.reduce((a, b) => a * b, 1));
      const whole = (i) => BigInt(name.includes("mask") ? 1 : name.includes("type") ? 0 : 3 + (i % 5));
      for (let i = 0; i < data.length; i += 1) data[i] = dtype === "int64" ? whole(i) : Math.sin(i);
      return [name, { dtype, dims: sizes, data }];
    });
    await model.run(Object.fromEntries(feeds));
    await model.unload();
  },
};
/** One item: nine tokens, 1,600 samples of a sound, or a picture of 96 × 96. */
function sizeOf(axis, rank, dtype) {
  if (axis === 0) return 1;
  if (rank === 4) return axis === 1 ? 3 : 96;
  return dtype === "float32" ? 1600 : 9;
}`;
const models = heldOut();
const exported = [...exportedGraphs()];

let server: LocalServer;
let asked: string[] = [];

test.beforeAll(async () => {
  const files = Object.fromEntries([
    ...models.map(({ bytes }, i) => [`/${i}.onnx`, bytes] as const),
    ...exported.map(([name, bytes]) => [`/${name}.onnx`, bytes] as const),
    [`/${WEIGHTS.path}`, exportedWeights()] as const,
  ]);
  const fileAt = await appSite({ app: APP, files });
  server = await startServer((request, response) => {
    const pathname = pathOf(request);
    asked.push(pathname);
    const file = fileAt(pathname);
    const body = Buffer.from(file?.body ?? "");
    const headers = { "content-type": file?.type ?? "text/plain", "content-length": body.length };
    response.writeHead(file === null ? 404 : 200, headers).end(body);
  });
});

test.afterAll(() => server.close());

test("there are models of 60 operators and more, and graphs of 20 architectures", () => {
  expect(new Set(models.map(({ title }) => title.split(" ")[0])).size).toBeGreaterThanOrEqual(60);
  expect(exported).toHaveLength(20);
});

/** Runs each in the page; returns those that had the second part fetched, after each of which the page is a new one. */
async function fetching(page: Page, runs: readonly (readonly [title: string, code: string])[]): Promise<string[]> {
  const open = async (): Promise<void> => {
    asked = [];
    await page.goto(server.origin);
    await page.waitForFunction("globalThis.app !== undefined");
  };
  await open();
  const found: string[] = [];
  for (const [title, code] of runs) {
    await page.evaluate(code);
    if (!asked.some((path) => path.endsWith("-rest.wasm"))) continue;
    found.push(title);
    await open();
  }
  expect(asked.some((path) => path.includes("ort-"))).toBe(true);
  return found;
}

for (const [name, backends] of [
  ["wasm", ["wasm"]],
  ["jspi", ["webgpu", "wasm"]],
] as const) {
  test(`none of the common operators has the second part fetched by the build ${name}`, async ({ page }) => {
    const runs = models.map(({ title, inputs }, i) => {
      const given = Object.entries(inputs).map(([key, x]) => {
        return [key, { dtype: x.dtype, dims: x.dims, data: [...bytesOf(x)] }];
      });
      const feeds = JSON.stringify(Object.fromEntries(given));
      return [title, `app.run("/${i}.onnx", ${feeds}, ${JSON.stringify(backends)})`] as const;
    });
    expect(await fetching(page, runs)).toEqual([]);
  });

  test(`no exported architecture has the second part fetched by the build ${name}`, async ({ page }) => {
    const code = (title: string): string => `app.runExported("/${title}.onnx", ${JSON.stringify(backends)})`;
    const runs = exported.map(([title]) => [title, code(title)] as const);
    expect(await fetching(page, runs)).toEqual([]);
  });
}
