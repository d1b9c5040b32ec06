// Further faults, each caused for real, for the messages that the errors' pages show (docs/errors/): signatures,
// versions, files of other kinds, servers that refuse, and the errors of a running engine.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { bundleJson } from "../../../lib/core/bundle-json.ts";
import { canonicalJson } from "../../../lib/core/bundle.ts";
import { sign } from "../../../lib/core/signature.ts";
import { STARTER } from "../../../lib/worker/backend/identity-model.ts";
import { attempt, errorOf } from "../../support/attempt.ts";
import type { Call, Outcome } from "../../support/attempt.ts";
import { compareMessage } from "../../support/error-messages.ts";
import { HTML, insecureOrigin, instead, serveFaulty } from "../../support/faulty-server.ts";
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
test.beforeEach(() => {
  other.use(() => undefined);
});

async function outcomeOf(page: Page, rule: Rule, call: Call = {}): Promise<Outcome> {
  server.use(rule);
  await page.goto(`${server.origin}/`);
  return attempt(page, call);
}

const MODEL = /^\/model\.onnx$/;

const FILES: readonly [reason: string, body: Uint8Array | string][] = [
  ["text", "version: 1\nmodel: cat\n"],
  ["gzip", gzipSync(STARTER)],
  ["pickle", "PK\u0003\u0004\u0014\0\0\0archive/data.pkl"],
  ["other-format", "GGUF\u0003\0\0\0"],
  ["empty", ""],
];
for (const [reason, body] of FILES)
  test(`a model that is ${reason} is named as that`, async ({ page }) => {
    const outcome = await outcomeOf(page, instead(MODEL, { body }));
    expect(outcome).toMatchObject({ code: "model-invalid", reason, retryable: false });
  });

const ANSWERS: readonly [code: string, reason: string, pattern: RegExp, reply: Partial<Reply>][] = [
  ["download-failed", "refused", MODEL, { status: 418, body: "" }],
  ["download-failed", "refused", MODEL, { status: 206, body: "" }],
  ["download-failed", "unreachable", MODEL, { status: 302, headers: { location: "/model.onnx" } }],
  ["download-failed", "busy", MODEL, { status: 429, headers: { "retry-after": "3600" }, body: "" }],
  ["download-failed", "cut", MODEL, { headers: { "content-length": "5000", connection: "close" }, body: STARTER }],
  ["setup-failed", "wasm-invalid", /ort-wasm\.wasm/, { headers: { "content-type": "text/plain" }, body: "lfs" }],
  ["setup-failed", "wasm-unreachable", /ort-wasm\.wasm/, { status: 302, headers: { location: "http://127.0.0.1:1/" } }],
  ["setup-failed", "wasm-unreachable", /ort-wasm\.wasm/, { status: 307, headers: { location: "/dist/ort-wasm.wasm" } }],
  [
    "worker-crashed",
    "wasm-cut",
    /ort-wasm\.wasm/,
    { headers: { "content-type": "application/wasm", "content-length": "9000000", connection: "close" }, body: "" },
  ],
  ["setup-failed", "worker-redirected", /worker-wasm/, { status: 302, headers: { location: "http://127.0.0.1:1/" } }],
];
for (const [code, reason, pattern, reply] of sample(ANSWERS, 3))
  test(`${reason}: ${code}${reply.status === undefined ? "" : `, by status ${reply.status}`}`, async ({ page }) => {
    const outcome = await outcomeOf(page, instead(pattern, reply));
    expect(outcome).toMatchObject({ code, reason, unhandled: [] });
    const target = reply.headers?.["location"];
    if (target?.startsWith("/") === true) {
      expect(outcome.retryable).toBe(code === "download-failed");
      expect(outcome.message).toContain("is redirected without end, or");
    }
  });

// Chromium keeps a worker's syntax error to its console.
test("a worker script with a syntax error: worker-refused", { tag: "@chromium" }, async ({ page }) => {
  const outcome = await outcomeOf(page, (path, { headers, body }) =>
    path === "/dist/worker-wasm.js" ? { headers, body: `${new TextDecoder().decode(body as Uint8Array)}}` } : undefined,
  );
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "worker-refused", retryable: false });
});

test("no network: a retry is advised, for a model and for a worker", async ({ page, context }) => {
  // Loads the parts that are imported when something fails; in an app its bundle has them.
  await outcomeOf(page, instead(/worker-wasm/, { status: 404, body: "" }));
  server.use(() => undefined);
  await page.evaluate(async (path) => {
    const { createEngine } = (await import(path)) as typeof import("../../../lib/index.ts");
    const engine = await createEngine({ backends: ["wasm"] });
    await engine.load("/model.onnx");
    Object.assign(globalThis, { engine });
  }, "/dist/index.js");
  await context.setOffline(true);
  // A worker that starts meanwhile can be online for its first request, and the server would answer.
  await context.route("**/*", (route) => route.abort("internetdisconnected"));
  const model = await page.evaluate(async () => {
    const { engine } = globalThis as unknown as { engine: { load(source: string): Promise<unknown> } };
    const failed = (error: unknown) => {
      const { code, message, details } = error as { code: string; message: string; details: { reason: string } };
      return { code, message, reason: details.reason };
    };
    return engine.load("/other.onnx").then(() => ({ code: "", message: "", reason: "" }), failed);
  });
  compareMessage(page, model);
  expect(model).toMatchObject({ code: "download-failed", reason: "offline" });
  expect(await attempt(page)).toMatchObject({ code: "worker-crashed", reason: "offline", retryable: true });
});

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");
const LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

/** A bundle of the small model. */
function bundle({ name = "cat", needs = [], dtype = "float32" } = {}): string {
  const port = { dtype, dims: [1], batchAxis: null };
  const chunk = { sha256: sha256(STARTER), bytes: STARTER.length };
  return JSON.stringify(
    bundleJson({
      model: {
        ...{ name, version: "1", licence: "MIT" },
        inputs: [{ name: "x", ...port }],
        outputs: [{ name: "y", ...port }],
      },
      variants: [{ id: "f32", needs, files: [{ path: "m.onnx", bytes: STARTER.length, chunks: [chunk] }] }],
    } as Parameters<typeof bundleJson>[0]),
  );
}

/** Serves a bundle in /m/: bundle.json, its signature where there is one, and chunks. */
const served =
  (json: string, signature?: unknown, chunk: Partial<Reply> = { status: 200, body: STARTER }): Rule =>
  (path) => {
    if (path === "/m/bundle.json") return { status: 200, headers: { "content-type": "application/json" }, body: json };
    if (path === "/m/signature.json")
      return signature === undefined ? { status: 404 } : { status: 200, body: JSON.stringify(signature) };
    return path.startsWith("/m/chunks/") ? chunk : undefined;
  };

const BUNDLE: Call = { model: "/m/bundle.json" };
const BUNDLES: readonly [code: string, reason: string, rule: () => Rule, load?: NonNullable<Call["load"]>][] = [
  ["bundle-invalid", "html", () => instead(/^\/m\/bundle/, HTML)],
  ["bundle-invalid", "git-lfs", () => instead(/^\/m\/bundle/, { status: 200, body: LFS })],
  ["bundle-invalid", "not-json", () => instead(/^\/m\/bundle/, { status: 200, body: "name: cat" })],
  ["bundle-invalid", "schema", () => instead(/^\/m\/bundle/, { status: 200, body: '{"format":2}' })],
  ["download-failed", "too-large", () => instead(/^\/m\/bundle/, { status: 200, body: " ".repeat(2 ** 24) })],
  ["download-failed", "git-lfs", () => served(bundle(), undefined, { status: 200, body: LFS.slice(0, 50) })],
  [
    "integrity-failed",
    "hash",
    () => served(bundle(), undefined, { status: 200, body: Uint8Array.from(STARTER).reverse() }),
  ],
  ["integrity-failed", "other-version", () => served(bundle()), { identity: "0".repeat(64) }],
  ["no-backend", "no-variant", () => served(bundle({ needs: ["shader-f16"] as never[] }))],
  ["no-backend", "newer", () => served(bundle({ dtype: "float6" }))],
];
for (const [code, reason, rule, load] of sample(BUNDLES, 3))
  test(`a bundle, ${reason}: ${code}`, async ({ page }) => {
    const outcome = await outcomeOf(page, rule(), { ...BUNDLE, load: load ?? {} });
    expect(outcome).toMatchObject({ code, reason, retryable: false, unhandled: [] });
  });

for (const [name, body, words] of [
  ["empty", () => "", "it is empty"],
  ["cut short", () => bundle().slice(0, 50), "it is cut short or altered (SyntaxError: "],
] as const)
  test(`a bundle.json that is ${name}`, async ({ page }) => {
    const outcome = await outcomeOf(page, instead(/^\/m\/bundle/, { status: 200, body: body() }), BUNDLE);
    expect(outcome).toMatchObject({ code: "bundle-invalid", reason: "not-json", unhandled: [] });
    expect(outcome.message).toContain(words);
  });

test("bundle.json that is redirected to another origin is refused", async ({ page }) => {
  other.use((path) => ({
    ...served(bundle())(path, { status: 200, headers: {}, body: "" }),
    headers: { "access-control-allow-origin": "*" },
  }));
  const location = `${other.origin}/m/bundle.json`;
  const outcome = await outcomeOf(page, instead(/^\/m\/bundle/, { status: 302, headers: { location } }), BUNDLE);
  expect(outcome).toMatchObject({ code: "integrity-failed", reason: "redirected" });
});

test("signatures: each fault has its reason", async ({ page }) => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const key = Buffer.from(await crypto.subtle.exportKey("raw", pair.publicKey)).toString("base64url");
  const call = { ...BUNDLE, engine: { trustedKeys: [key], store: false } };
  const signed = (of: Readonly<Record<string, unknown>> = {}, name = "cat"): ReturnType<typeof sign> => {
    const identity = sha256(canonicalJson(JSON.parse(bundle({ name }))));
    return sign({ identity, model: name, release: 2, expires: "2099-01-01T00:00:00Z", ...of }, pair);
  };
  const good = await signed();
  const strange = Buffer.alloc(32, 7).toString("base64url");
  const cases: readonly [reason: string, rule: Rule][] = [
    ["unsigned", served(bundle())],
    ["malformed", served(bundle(), {})],
    ["altered", served(bundle(), await signed({ identity: "0".repeat(64) }))],
    ["expired", served(bundle(), await signed({ expires: "2020-01-01T00:00:00Z" }))],
    [
      "wrong-key",
      served(bundle(), { ...good, signatures: [{ key: strange, signature: good.signatures[0]?.signature }] }),
    ],
    ["undefined", served(bundle(), good)],
    ["older", served(bundle(), await signed({ release: 1 }))],
    ["other-model", served(bundle({ name: "dog" }), await signed({}, "dog"))],
  ];
  for (const [reason, rule] of cases) {
    const outcome = await outcomeOf(page, rule, call);
    if (reason === "undefined") expect(outcome).toMatchObject({ y: [7] });
    else expect(outcome).toMatchObject({ code: "integrity-failed", reason, retryable: false });
  }
});

test("trusted keys on a page that is not secure: the error asks for https", async ({ page }) => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const identity = sha256(canonicalJson(JSON.parse(bundle())));
  const signature = await sign({ identity, model: "cat", release: 1, expires: "2099-01-01T00:00:00Z" }, pair);
  server.use(served(bundle(), signature));
  await page.goto(`${insecureOrigin(server)}/`);
  const outcome = await attempt(page, {
    ...BUNDLE,
    engine: { trustedKeys: [Buffer.alloc(32, 7).toString("base64url")] },
  });
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "insecure-context" });
});

const OPEN = `const { createEngine } = await import(origin + "/dist/index.js");
  const engine = await createEngine({ backends: ["wasm"], queue: { maxSize: 100 } });
  const model = await engine.load("/model.onnx");
  const run = (options) => model.run({ x: new Float32Array([1]) }, options);`;
const CALLS: readonly [code: string, reason: string, code: string][] = [
  ["closed", "undefined", `${OPEN} await engine.close(); await run();`],
  [
    "overloaded",
    "undefined",
    `${OPEN} await Promise.all(Array.from({ length: 500 }, (_, i) => model.run({ x: new Float32Array([i]) })));`,
  ],
  [
    "deadline-exceeded",
    "undefined",
    `${OPEN} await run(); await Promise.all(Array.from({ length: 50 }, (_, i) => model.run({ x: new Float32Array([i]) }, { deadlineMs: 1 })));`,
  ],
  [
    "download-failed",
    "not-stored",
    `const { openCache } = await import(origin + "/dist/cache.js");
    await openCache().export("none");`,
  ],
  [
    "setup-failed",
    "bundler",
    `const code = await (await fetch("/dist/selvedge.min.js")).blob();
    const { createEngine } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    await (await createEngine()).load("/model.onnx");`,
  ],
];
for (const [code, reason, text] of sample(CALLS, 3))
  test(`${code}, ${reason}: as its page shows it`, async ({ page }) => {
    server.use(() => undefined);
    await page.goto(`${server.origin}/`);
    expect(await errorOf(page, text)).toMatchObject({ code, reason });
  });
