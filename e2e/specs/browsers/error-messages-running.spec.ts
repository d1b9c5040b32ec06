// Errors of an engine that runs, each caused for real, for the messages that the errors' pages show (docs/errors/): no
// memory, no room, a lost GPU, a run that ONNX Runtime refuses, and a state that is lost by it.
import { createHash } from "node:crypto";
import { expect, test } from "@playwright/test";
import { bundleJson } from "../../../lib/core/bundle-json.ts";
import { zerosModel } from "../../../lib/test-support/backend-models.ts";
import { errorOf } from "../../support/attempt.ts";
import { modelIs, serveFaulty } from "../../support/faulty-server.ts";
import type { FaultyServer, Rule } from "../../support/faulty-server.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";

let server: FaultyServer;
test.beforeAll(async () => {
  server = await serveFaulty();
});
test.afterAll(() => server.close());

const OPEN = `const { createEngine } = await import(origin + "/dist/index.js");`;
/** Numbers of 4 bytes: more than a WebAssembly memory has left, and fewer than overflow its addresses. */
const HUGE = 1_073_000_000;

test("a run whose tensors exceed the memory: out-of-memory", async ({ page }) => {
  server.use(modelIs(zerosModel(1)));
  await page.goto(`${server.origin}/`);
  const error = await errorOf(
    page,
    `${OPEN}
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load("/model.onnx");
    await model.run({ x: { dtype: "int64", dims: [1], data: new BigInt64Array([${HUGE}n]) } });`,
  );
  expect(error).toMatchObject({ code: "out-of-memory", reason: "undefined" });
});

/** One number in the shape `x`: another size than 1 is an error of the operator. */
const SHAPED = modelOf({
  inputs: { x: { dtype: "int64", dims: [1] } },
  constants: { one: { dtype: "float32", dims: [1] } },
  outputs: ["y"],
  nodes: [{ opType: "Reshape", input: ["one", "x"], output: ["y"] }],
}).write();
const WRONG_SIZE = `{ x: { dtype: "int64", dims: [1], data: new BigInt64Array([9n]) } }`;

test("a run that ONNX Runtime refuses: internal, with its reason", async ({ page }) => {
  server.use(modelIs(SHAPED));
  await page.goto(`${server.origin}/`);
  const error = await errorOf(
    page,
    `${OPEN}
    const engine = await createEngine({ backends: ["wasm"] });
    await (await engine.load("/model.onnx")).run(${WRONG_SIZE});`,
  );
  expect(error).toMatchObject({ code: "internal", reason: "undefined" });
  expect(error).toMatchObject({ code: "internal", reason: "undefined" });
  expect(error.message).toContain("9");
});

/** The same with a sum of the rows so far, as a state. */
const SUMS = modelOf({
  inputs: { x: { dtype: "int64", dims: [1] }, before: { dtype: "float32", dims: [1] } },
  constants: { one: { dtype: "float32", dims: [1] } },
  outputs: ["after"],
  nodes: [
    { opType: "Reshape", input: ["one", "x"], output: ["row"] },
    { opType: "Add", input: ["row", "before"], output: ["after"] },
  ],
}).write();

/** A bundle of one file, in /m/. */
function served(file: Uint8Array, model: object): Rule {
  const chunk = { sha256: createHash("sha256").update(file).digest("hex"), bytes: file.length };
  const about = { name: "cat", version: "1", licence: "MIT", ...model };
  const variants = [{ id: "f32", needs: [], files: [{ path: "m.onnx", bytes: file.length, chunks: [chunk] }] }];
  const json = JSON.stringify(bundleJson({ model: about, variants } as unknown as Parameters<typeof bundleJson>[0]));
  return (path) => {
    if (path === "/m/bundle.json") return { status: 200, headers: { "content-type": "application/json" }, body: json };
    return path.startsWith("/m/chunks/") ? { status: 200, body: file } : undefined;
  };
}

const port = (name: string, dtype: string, more: object = {}): object => ({
  ...{ name, dtype, dims: [1], batchAxis: null },
  ...more,
});

test("a step that fails for good ends its state: state-lost", async ({ page }) => {
  const inputs = [port("x", "int64"), port("before", "float32")];
  server.use(served(SUMS, { inputs, outputs: [port("after", "float32", { feeds: "before" })] }));
  await page.goto(`${server.origin}/`);
  const error = await errorOf(
    page,
    `${OPEN}
    const engine = await createEngine({ backends: ["wasm"] });
    const state = (await engine.load("/m/bundle.json")).stateful();
    await state.run({ x: { dtype: "int64", dims: [1], data: new BigInt64Array([1n]) } });
    await state.run(${WRONG_SIZE});`,
  );
  expect(error).toMatchObject({ code: "state-lost", reason: "undefined" });
});

/** NaN for each number from 89: the difference of two infinities. */
const OVERFLOW = modelOf({
  inputs: { x: { dtype: "float32", dims: [1, 3, 2, 2] } },
  outputs: ["y"],
  nodes: [
    { opType: "Exp", input: ["x"], output: ["e"] },
    { opType: "Sub", input: ["e", "e"], output: ["y"] },
  ],
}).write();

test("an answer of NaN where key points are read: wrong-result, nan", async ({ page }) => {
  const dims = { dims: [1, 3, 2, 2] };
  const decode = { op: "points", form: "heatmaps", image: "x" };
  server.use(
    served(OVERFLOW, { inputs: [port("x", "float32", dims)], outputs: [port("y", "float32", { ...dims, decode })] }),
  );
  await page.goto(`${server.origin}/`);
  const error = await errorOf(
    page,
    `${OPEN}
    const engine = await createEngine({ backends: ["wasm"] });
    await (await engine.load("/m/bundle.json")).run({ x: new Float32Array(12).fill(1000) });`,
  );
  expect(error).toMatchObject({ code: "wrong-result", reason: "nan" });
});

// Only Chromium lets a test set the quota.
test("an update without room: quota-exceeded", { tag: "@chromium" }, async ({ page, context }) => {
  const large = new Uint8Array(4_000_000).map((_, i) => (i * i) >> 3);
  server.use(served(large, { inputs: [port("x", "float32")], outputs: [port("y", "float32")] }));
  await page.goto(`${server.origin}/`);
  const session = await context.newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: server.origin, quotaSize: 1_000_000 });
  const error = await errorOf(page, `${OPEN} await (await createEngine()).update("/m/bundle.json");`);
  expect(error).toMatchObject({ code: "quota-exceeded", reason: "undefined" });
});

/** Before the worker's own script: destroys each of its GPU devices when the page says so. */
const DESTROYER = `if (self.GPUAdapter) {
  const { requestDevice } = GPUAdapter.prototype;
  const channel = new BroadcastChannel("destroy");
  GPUAdapter.prototype.requestDevice = async function (...words) {
    const device = await requestDevice.apply(this, words);
    channel.addEventListener("message", () => device.destroy());
    return device;
  };
}\n`;

// Firefox's software GPU is no adapter that the engine takes by itself.
test("a GPU that is lost again and again: device-lost", { tag: "@chromium" }, async ({ page }) => {
  server.use((path, { headers, body }) =>
    path === "/dist/worker-jspi.js"
      ? { headers, body: DESTROYER + new TextDecoder().decode(body as Uint8Array) }
      : undefined,
  );
  await page.goto(`${server.origin}/`);
  const error = await errorOf(
    page,
    `${OPEN}
    const engine = await createEngine({ backends: ["webgpu"] });
    const model = await engine.load("/model.onnx");
    const channel = new BroadcastChannel("destroy");
    for (let i = 0; i < 5; i += 1) {
      await model.run({ x: new Float32Array([i]) });
      channel.postMessage("");
      await new Promise((resolve) => setTimeout(resolve, 500));
    }`,
  );
  expect(error).toMatchObject({ code: "device-lost", reason: "undefined" });
});

/** Zeros, more than a WebAssembly memory holds, whatever small number `x` is. */
const ZEROS = modelOf({
  inputs: { x: { dtype: "int64", dims: [1] } },
  constants: { huge: { dtype: "int64", dims: [1], values: [HUGE] } },
  outputs: ["y"],
  nodes: [
    { opType: "Add", input: ["x", "huge"], output: ["count"] },
    { opType: "ConstantOfShape", input: ["count"], output: ["y"] },
  ],
}).write();

test("a GPU's answers that wasm can't check: wrong-result, unverified", { tag: "@chromium" }, async ({ page }) => {
  server.use(modelIs(ZEROS));
  await page.goto(`${server.origin}/`);
  const error = await errorOf(page, `${OPEN} await (await createEngine()).load("/model.onnx", { backend: "webgpu" });`);
  expect(error).toMatchObject({ code: "wrong-result", reason: "unverified" });
});
