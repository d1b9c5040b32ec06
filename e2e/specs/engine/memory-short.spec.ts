// A device whose memory ends early: a function in the workers refuses to let WebAssembly memory grow beyond a cap, as a
// browser does. The variant that does not fit fails softly, and a smaller one answers in a new worker. A variant that is
// predicted not to fit is refused before any of its weights is fetched.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { packBundle } from "../../../lib/compress/bundle/pack.ts";
import type { PackVariant } from "../../../lib/compress/bundle/pack.ts";
import { chunkPath } from "../../../lib/core/bundle.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { CHROMIUM_IN_TEST } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

const ROWS = 2_048;
const COLUMNS = 4_096;
/** Above the memory that int8 takes, below that of float32 (33.5 MB of weights). */
const CAP_BYTES = 72e6;
/** The first dim is free. */
const INPUT = { dtype: "float32", dims: [2, ROWS] } as const;

/** Script before the worker's own. */
const CAP = `{
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function (pages) {
    if (this.buffer.byteLength + pages * 65536 > ${CAP_BYTES}) throw new RangeError("capped by the test");
    return grow.call(this, pages);
  };
}\n`;

const q = Array.from({ length: ROWS * COLUMNS }, (_, i) => ((i * 7_919) % 255) - 127);

/** A product with the same weights in float32, and in int8 with their scale. */
function variants(more: Partial<PackVariant> = {}): PackVariant[] {
  const dims = [ROWS, COLUMNS];
  const product = { opType: "MatMul", input: ["x", "w"], output: ["y"] };
  const f32 = modelOf({
    inputs: { x: INPUT },
    isFree: true,
    constants: { w: { dtype: "float32", dims, values: q.map((x) => x / 128) } },
    outputs: ["y"],
    nodes: [product],
  });
  const int8 = modelOf({
    inputs: { x: INPUT },
    isFree: true,
    constants: { q: { dtype: "int8", dims, values: q }, s: { dtype: "float32", dims: [], values: [1 / 128] } },
    outputs: ["y"],
    nodes: [{ opType: "DequantizeLinear", input: ["q", "s"], output: ["w"] }, product],
  });
  const filesOf = (model: typeof f32) => [{ path: "model.onnx", bytes: model.write(), isModel: true }];
  return [
    { id: "f32", needs: [], files: filesOf(f32), ...more },
    { id: "int8", needs: [], files: filesOf(int8), speed: { wasm: 2 } },
  ];
}

/** Serves a bundle at /short/; returns the list of chunks that were requested. */
async function serve(page: Page, more?: Partial<PackVariant>): Promise<string[]> {
  const inputs = [{ name: "x", dtype: INPUT.dtype, dims: ["n", ROWS], batchAxis: 0 }];
  const outputs = [{ name: "y", dtype: "float32" as const, dims: ["n", COLUMNS], batchAxis: 0 }];
  const model = { name: "short", version: "1", licence: "MIT", inputs, outputs };
  const { json, chunks } = await packBundle({ model, variants: variants(more) }, { compress: false });
  const asked: string[] = [];
  await page.route("**/short/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.endsWith("bundle.json")) return route.fulfill({ json });
    asked.push(pathname);
    const found = [...chunks].find(([sha256]) => pathname.endsWith(chunkPath(2, sha256)));
    return found === undefined ? route.fulfill({ status: 404 }) : route.fulfill({ body: Buffer.from(found[1]) });
  });
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  return asked;
}

test("where memory ends during a load, a smaller variant answers in a new worker", async ({ page }) => {
  await page.route("**/worker-{jspi,wasm}.js", async (route) => {
    const response = await route.fetch({ maxRetries: 3 });
    await route.fulfill({ response, body: CAP + (await response.text()) });
  });
  await serve(page);
  const result = await page.evaluate(async (rows) => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const pinned = await engine.load("/short/bundle.json", { variant: "f32" }).catch((error: unknown) => error);
    const model = await engine.load("/short/bundle.json");
    const data = new Float32Array(rows).fill(1);
    const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [1, rows], data } });
    const [lane] = engine.stats().lanes;
    await engine.close();
    const { code } = pinned as Selvedge.SelvedgeError;
    const { variant, why } = model;
    const values = [...(outputs["y"]?.data as Float32Array)];
    return { code, variant, why: why.code, text: why.text, values, starts: lane?.starts, crashes: lane?.crashes, info };
  }, ROWS);
  expect(result).toMatchObject({ code: "out-of-memory", variant: "int8", why: "memory-short", crashes: 0 });
  expect(result.text).toContain("ran out of memory");
  expect(result.starts).toBeGreaterThan(2);
  for (const column of [0, 1, COLUMNS - 1]) {
    const sum = Array.from({ length: ROWS }, (_, row) => (q[row * COLUMNS + column] ?? 0) / 128);
    expect(result.values[column]).toBeCloseTo(
      sum.reduce((a, b) => a + b, 0),
      2,
    );
  }
});

test("where memory ends during a run, that request fails alone, and the next ones are answered", async ({ page }) => {
  await page.route("**/worker-{jspi,wasm}.js", async (route) => {
    const response = await route.fetch({ maxRetries: 3 });
    await route.fulfill({ response, body: CAP + (await response.text()) });
  });
  await serve(page);
  const result = await page.evaluate(async (columns) => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load("/short/bundle.json", { variant: "int8" });
    const ask = async (rows: number): Promise<string> => {
      const data = new Float32Array(rows * columns).fill(1);
      const ran = model.run({ x: { dtype: "float32", dims: [rows, columns], data } });
      return ran.then(
        ({ outputs }) => String(Math.round(1_000 * Number(outputs["y"]?.data[0]))),
        (error: unknown) => (error as Selvedge.SelvedgeError).code ?? String(error),
      );
    };
    const alone = await ask(1);
    const together = await Promise.all([ask(1), ask(8_000), ask(1), ask(2)]);
    const after = await ask(1);
    const { lanes, requests } = engine.stats();
    await engine.close();
    const crashes = lanes.reduce((sum, lane) => sum + lane.crashes, 0);
    return { alone, together, after, left: requests.queued + requests.running, crashes };
  }, ROWS);
  const { alone } = result;
  expect(Number(alone)).not.toBeNaN();
  expect(result).toEqual({
    alone,
    together: [alone, "out-of-memory", alone, alone],
    after: alone,
    left: 0,
    crashes: 0,
  });
});

test(
  "a device of little memory holds under the same cap what others do not, without prepacking",
  CHROMIUM_IN_TEST,
  async ({ page }) => {
    await page.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, "deviceMemory", { configurable: true, get: () => 1 });
    });
    await page.route("**/worker-{jspi,wasm}.js", async (route) => {
      const response = await route.fetch({ maxRetries: 3 });
      await route.fulfill({ response, body: CAP + (await response.text()) });
    });
    await serve(page);
    const result = await page.evaluate(async (rows) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"] });
      const model = await engine.load("/short/bundle.json", { variant: "f32" });
      const data = new Float32Array(rows).fill(1);
      const { outputs } = await model.run({ x: { dtype: "float32", dims: [1, rows], data } });
      const { lanes } = engine.stats();
      await engine.close();
      return { why: model.why, first: outputs["y"]?.data[0], lanes: lanes.length, device: engine.device.memoryBytes };
    }, ROWS);
    expect(result.why).toMatchObject({ code: "memory-short" });
    expect(result.why.text).toContain("loaded without prepacking");
    expect(result).toMatchObject({ lanes: 1, device: 2 ** 30 });
    const sum = Array.from({ length: ROWS }, (_, row) => (q[row * COLUMNS] ?? 0) / 128).reduce((a, b) => a + b, 0);
    expect(result.first).toBeCloseTo(sum, 2);
  },
);

test(
  "a tab counts what another one holds, also once the worker that fetched it there has ended",
  CHROMIUM_IN_TEST,
  async ({ page, context }) => {
    await serve(page);
    const other = await context.newPage();
    await other.addInitScript(() => {
      // A quarter of it holds one such model, not two.
      Object.defineProperty(Navigator.prototype, "deviceMemory", { configurable: true, get: () => 0.4 });
    });
    await serve(other);
    /** Whether the model fits in the second tab. */
    const fits = (): Promise<Selvedge.Availability["fits"]> =>
      other.evaluate(async () => {
        const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
        const engine = await createEngine({ backends: ["wasm"] });
        const { fits } = await engine.availability("/short/bundle.json", { variant: "f32" });
        await engine.close();
        return fits;
      });
    expect(await fits()).toBe("yes");
    await page.evaluate(async () => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const model = await engine.load("/short/bundle.json", { variant: "f32" });
      Object.assign(globalThis, { model });
    });
    const fetchers = (): number => page.workers().filter((worker) => worker.url().includes("cache")).length;
    expect(fetchers()).toBe(1);
    // It idles for a minute where it has kept time for the page, whose timers were late.
    await expect.poll(fetchers, { timeout: 150_000 }).toBe(0);
    expect(await fits()).toBe("tight");
    await page.evaluate(() => {
      (globalThis as unknown as { model: Selvedge.Model }).model.unload();
    });
    await expect.poll(fits).toBe("yes");
  },
);

test(
  "a variant that can't fit is refused before a byte of its weights is fetched",
  CHROMIUM_IN_TEST,
  async ({ page }) => {
    const asked = await serve(page, {
      memoryBytes: { wasm: 5e9, webgpu: 5e9 },
      activationBytes: { wasm: 1e8, webgpu: 1e8 },
    });
    const result = await page.evaluate(async () => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const url = "/short/bundle.json";
      const cost = await engine.availability(url);
      const unfit = await engine.availability(url, { variant: "f32" });
      const error = await engine
        .load(url, { variant: "f32" })
        .catch((error: unknown) => error as Selvedge.SelvedgeError);
      const refusal = error instanceof Error ? { code: error.code, details: error.details, text: error.message } : null;
      return { cost, unfit, refusal };
    });
    expect(asked).toEqual([]);
    expect(result.cost).toMatchObject({ state: "downloadable", variants: ["int8"], fits: "yes" });
    expect(result.cost.memoryBytes).toBeGreaterThan(ROWS * COLUMNS);
    expect(result.unfit).toMatchObject({ state: "unavailable", fits: "no", memoryBytes: 5.1e9 });
    expect(result.refusal).toMatchObject({ code: "does-not-fit", details: { reason: "wasm-limit", fitting: "int8" } });
    expect(result.refusal?.text).toContain("f32 on wasm: about 5.1 GB at its peak; WebAssembly memory ends at");
  },
);
