// Errors of sources and servers, each caused for real, for the messages that the errors' pages show (docs/errors/):
// weights that lie elsewhere, folders and repositories without the graph, models that do not fit, and inference servers that
// do not answer the page.
import { expect, test } from "@playwright/test";
import { bundleJson } from "../../../lib/core/bundle-json.ts";
import { externalModel } from "../../../lib/test-support/backend-models.ts";
import { errorOf } from "../../support/attempt.ts";
import { modelIs, serveFaulty } from "../../support/faulty-server.ts";
import type { FaultyServer, Reply, Rule } from "../../support/faulty-server.ts";
import { sample } from "../../../lib/test-support/slice.ts";

let server: FaultyServer;
let other: FaultyServer;
test.beforeAll(async () => {
  [server, other] = await Promise.all([serveFaulty(), serveFaulty()]);
});
test.afterAll(async () => {
  await Promise.all([server.close(), other.close()]);
});

/** Answers by path; other paths as usual. */
const answers =
  (replies: Readonly<Record<string, Partial<Reply>>>): Rule =>
  (path) =>
    replies[path];
const json = (value: unknown): Partial<Reply> => ({
  status: 200,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

/** A repository of graphs with these names, on a hub that is the page's own origin. */
const repository = (...names: readonly string[]): Rule =>
  answers({
    "/api/models/me/cat/tree/main": json(
      names.map((x, i) => ({ type: "file", path: `onnx/${x}.onnx`, size: 100, oid: String(i).repeat(40) })),
    ),
  });

/**
 * A bundle in /m/ whose one variant has 40 MB and takes this much memory, as it says, and whose largest tensor is of this
 * size; its weights are nowhere.
 */
function memoryIs(bytes: number, tensorBytes?: number): Rule {
  const port = { dtype: "float32", dims: [1], batchAxis: null };
  const chunks = Array.from({ length: 10 }, (_, i) => ({ sha256: String(i).padStart(64, "0"), bytes: 4_000_000 }));
  const files = [{ path: "m.onnx", bytes: 40_000_000, chunks }];
  const bundle = {
    model: {
      ...{ name: "cat", version: "1", licence: "MIT" },
      ...{ inputs: [{ name: "x", ...port }], outputs: [{ name: "y", ...port }] },
    },
    variants: [{ id: "f32", needs: [], files, memoryBytes: { wasm: bytes, webgpu: bytes }, tensorBytes }],
  };
  return answers({ "/m/bundle.json": json(bundleJson(bundle as unknown as Parameters<typeof bundleJson>[0])) });
}

/** An inference server's description of a model y(x). */
const metadata = (name: string, datatype: string, ...shape: readonly number[]) => ({
  ...{ name, versions: ["1"], platform: "any" },
  inputs: [{ name: "x", datatype, shape }],
  outputs: [{ name: "y", datatype: "FP32", shape }],
});

const OPEN = `const { createEngine } = await import(origin + "/dist/index.js");
  const engine = await createEngine({ backends: ["wasm"] });`;
const CONNECT = `const { connectRemote } = await import(origin + "/dist/remote/index.js");`;
const CASES: readonly [code: string, reason: string, rule: Rule, code: string][] = [
  [
    "model-invalid",
    "external-data",
    modelIs(externalModel("weights.bin")),
    `${OPEN} await engine.load(await (await fetch("/model.onnx")).blob());`,
  ],
  [
    "model-invalid",
    "external-path",
    modelIs(externalModel("../weights.bin")),
    `${OPEN} await engine.load("/model.onnx");`,
  ],
  [
    "bundle-invalid",
    "no-size",
    answers({ "/model.onnx": { body: externalModel("weights.bin") }, "/weights.bin": { status: 200, body: "1234" } }),
    `${OPEN} await engine.load("/model.onnx");`,
  ],
  ["model-invalid", "no-onnx", answers({}), `${OPEN} await engine.load("/models/cat/");`],
  [
    "model-invalid",
    "several-graphs",
    repository("encoder", "decoder"),
    `${OPEN} await engine.load({ repo: "me/cat", host: origin });`,
  ],
  [
    "model-invalid",
    "no-graph",
    repository("encoder", "decoder"),
    `${OPEN} await engine.load({ repo: "me/cat", host: origin, file: "vision" });`,
  ],
  ["does-not-fit", "wasm-limit", memoryIs(5e9), `${OPEN} await engine.load("/m/bundle.json");`],
  [
    "does-not-fit",
    "device-memory",
    memoryIs(2e9),
    `Object.defineProperty(navigator, "deviceMemory", { value: 1 });
    ${OPEN} await engine.load("/m/bundle.json");`,
  ],
  [
    "does-not-fit",
    "memory-budget",
    memoryIs(1e8),
    `const { createEngine } = await import(origin + "/dist/index.js");
    await (await createEngine({ backends: ["wasm"], memoryBudgetBytes: 20e6 })).load("/m/bundle.json");`,
  ],
  [
    "remote-failed",
    "timeout",
    (path) => (path === "/v2" ? { stopsAfter: 0 } : undefined),
    `${CONNECT} await connectRemote({ endpoints: [origin], timeoutMs: 500 }).metadata();`,
  ],
  [
    "remote-failed",
    "other-model",
    (path, usual) =>
      memoryIs(1e8)(path, usual) ?? answers({ "/v2/models/cat": json(metadata("cat", "INT64", 1)) })(path, usual),
    `const { createEngine } = await import(origin + "/dist/index.js");
    const engine = await createEngine({ remote: { endpoints: [origin], models: { cat: { verified: true } } } });
    await engine.load("/m/bundle.json", { placement: "remote" });`,
  ],
  [
    "remote-failed",
    "no-binary",
    answers({ "/v2/models/brain": json(metadata("brain", "BF16", -1, 1)) }),
    `${CONNECT} const model = await connectRemote({ endpoints: [origin], binary: "never" }).model("brain");
    await model.infer({ x: { dtype: "float32", dims: [1, 1], data: new Float32Array(1) } });`,
  ],
];
for (const [code, reason, rule, text] of sample(CASES, 3))
  test(`${code}, ${reason}: as its page shows it`, async ({ page }) => {
    server.use(rule);
    await page.goto(`${server.origin}/`);
    expect(await errorOf(page, text)).toMatchObject({ code, reason });
  });

test("an inference server of another origin that does not let the page read its answers: remote-failed, cors", async ({
  page,
}) => {
  server.use(() => undefined);
  other.use(answers({ "/v2": json({ name: "triton", version: "1", extensions: [] }) }));
  await page.goto(`${server.origin}/`);
  const text = `${CONNECT} await connectRemote({ endpoints: ["${other.origin}"], timeoutMs: 5000 }).metadata();`;
  expect(await errorOf(page, text)).toMatchObject({ code: "remote-failed", reason: "cors" });
});

// Firefox's software GPU is no adapter that the engine takes by itself.
test("a tensor that no buffer of the GPU holds: does-not-fit, gpu-buffer", { tag: "@chromium" }, async ({ page }) => {
  server.use(memoryIs(1e8, 9e9));
  await page.goto(`${server.origin}/`);
  const text = `const { createEngine } = await import(origin + "/dist/index.js");
    await (await createEngine({ backends: ["webgpu"] })).load("/m/bundle.json");`;
  expect(await errorOf(page, text)).toMatchObject({ code: "does-not-fit", reason: "gpu-buffer" });
});
