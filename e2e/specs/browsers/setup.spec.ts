// The package's own errors on faults of the deployment: real browsers, and a server that misbehaves on purpose. Each
// error has its code, a reason as one word, the line to change, and says whether waiting helps.
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { bundleJson } from "../../../lib/core/bundle-json.ts";
import { STARTER } from "../../../lib/worker/backend/identity-model.ts";
import { sample } from "../../../lib/test-support/slice.ts";
import { inExtension } from "../../apps/open.ts";
import { attempt } from "../../support/attempt.ts";
import { HTML, insecureOrigin, instead, MISSING, serveFaulty } from "../../support/faulty-server.ts";
import type { FaultyServer, Rule } from "../../support/faulty-server.ts";
import { ROOT } from "../../support/prepare.ts";
import { CHROMIUM_IN_TEST } from "../../support/suite.ts";

let server: FaultyServer;
let other: FaultyServer;

test.beforeAll(async () => {
  [server, other] = await Promise.all([serveFaulty(), serveFaulty()]);
});
test.afterAll(async () => {
  await Promise.all([server.close(), other.close()]);
});
test.beforeEach(() => {
  server.use(() => undefined);
  other.use(() => undefined);
});

async function open(page: Page, rule: Rule = () => undefined, origin: string = server.origin): Promise<void> {
  server.use(rule);
  await page.goto(`${origin}/`);
}

/** A rule that adds headers to the page alone, or to everything. */
const withHeaders =
  (headers: Readonly<Record<string, string>>, pattern = /^\/$/): Rule =>
  (path, usual) =>
    pattern.test(path) ? { headers: { ...usual.headers, ...headers } } : undefined;

/** A rule that replaces what a script holds. */
const withBody =
  (pattern: RegExp, body: string): Rule =>
  (path, { headers }) =>
    pattern.test(path) ? { headers, body } : undefined;

test("nothing is wrong: the model answers", async ({ page }) => {
  await open(page);
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [], log: [], secure: true });
});

test("plain http, not localhost: wasm answers, and the log and the device name what is missing", async ({ page }) => {
  await open(page, undefined, insecureOrigin(server));
  expect(await page.evaluate(() => isSecureContext)).toBe(false);
  const outcome = await attempt(page, { engine: { backends: undefined } });
  expect(outcome).toMatchObject({ y: [7], secure: false, unhandled: [] });
  expect(outcome.log.join()).toMatch(/https.*WebGPU.*threads.*storage/);
  const cached = await attempt(page, { run: { cache: true } });
  expect(cached).toMatchObject({ y: [7], unhandled: [] });
  expect(cached.log.filter((line) => /results are not cached/.test(line))).toHaveLength(1);
});

const REFUSED = { ...MISSING, status: 403 };
/** Compresses a file twice, under a header that says it once. */
function twice(file: RegExp): Rule {
  return (path, { headers, body }) =>
    file.test(path)
      ? { headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(gzipSync(body, { level: 1 })) }
      : undefined;
}

const POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

const WORKERS: readonly [name: string, rule: Rule, reason: string, fix: RegExp, retryable?: boolean][] = [
  ["404", instead(/worker-wasm/, MISSING), "worker-missing", /status 404.*assetsBase/],
  ["403", instead(/worker-wasm/, REFUSED), "worker-missing", /status 403.*the server refuses it/],
  ["gzip twice, declared once", twice(/worker-wasm/), "worker-invalid", /compressed twice.*Compress it once/],
  ["an HTML page", instead(/worker-wasm/, HTML), "worker-html", /HTML page.*assetsBase/],
  [
    "a wrong type",
    (path, { headers, body }) =>
      /worker-wasm/.test(path) ? { headers: { ...headers, "content-type": "text/plain" }, body } : undefined,
    "worker-type",
    /text\/plain.*text\/javascript/,
  ],
  ["503", instead(/worker-wasm/, { status: 503, body: "" }), "server", /status 503/, true],
  [
    "404 below a policy that keeps its address from being asked",
    (path, answer) =>
      path === "/"
        ? { headers: { ...answer.headers, "content-security-policy": "connect-src https://api.example.com" } }
        : instead(/worker-wasm/, MISSING)(path, answer),
    "worker-unreachable",
    /assetsBase/,
  ],
  ["0 bytes", withBody(/worker-wasm/, ""), "worker-invalid", /it is empty\. Copy the package's dist/],
  ["a Git LFS pointer", withBody(/worker-wasm/, POINTER), "worker-invalid", /a Git LFS pointer: run `git lfs pull`/],
  [
    "another script in its place",
    withBody(/worker-wasm/, "console.log(1);"),
    "worker-invalid",
    /another script.*Copy the package's dist/,
  ],
  ["broken code", withBody(/worker-wasm/, "const = 1;"), "worker-invalid", /not all of this one.*Copy/],
  [
    "code before its own that throws",
    (path, { headers, body }) =>
      path.endsWith("/worker-wasm.js")
        ? { headers, body: `undefinedName();\n${new TextDecoder().decode(body as Uint8Array)}` }
        : undefined,
    "worker-invalid",
    /its code fails \(.*undefinedName/,
  ],
  [
    "no COEP below a page with COEP",
    withHeaders({ "cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin" }),
    "worker-coep",
    /Cross-Origin-Embedder-Policy: require-corp/,
  ],
  [
    "a policy without it",
    withHeaders({ "content-security-policy": "script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'none'" }),
    "worker-csp",
    /worker-src 'self'/,
  ],
];
for (const [name, rule, reason, fix, retryable = false] of sample(WORKERS, 3))
  test(`the worker script has ${name}: ${reason}`, async ({ page }) => {
    await open(page, rule);
    const outcome = await attempt(page, { engine: { store: false } });
    const code = retryable ? "worker-crashed" : "setup-failed";
    expect(outcome).toMatchObject({ code, reason, retryable, help: `npx selvedge explain ${code}`, unhandled: [] });
    expect(outcome.message).toMatch(fix);
    expect(outcome.message).toContain("did not load");
  });

test("an empty script of the worker that fetches models is named too, well before a minute", async ({ page }) => {
  await open(page, withBody(/worker-cache/, ""));
  const startMs = performance.now();
  expect(await attempt(page)).toMatchObject({ code: "setup-failed", reason: "worker-invalid", unhandled: [] });
  expect(performance.now() - startMs).toBeLessThan(40_000);
});

test("a worker that comes late is no fault: the model answers", async ({ page }) => {
  await open(page);
  await page.route("**/worker-wasm.js", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 8_000));
    await route.continue();
  });
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [] });
});

const TRUSTED = { "content-security-policy": "require-trusted-types-for 'script'; trusted-types mine" };

test("Trusted Types without a policy: the error names the option and the header's line", async ({ page }) => {
  await open(page, withHeaders(TRUSTED));
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "trusted-types", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(/trustedTypesPolicy.*trusted-types /);
  expect(await attempt(page, { policy: "mine" })).toMatchObject({ y: [7] });
});

test("no workers, as in jsdom: createEngine rejects, and names the environment", async ({ page }) => {
  await open(page);
  await page.evaluate(() => Reflect.deleteProperty(globalThis, "Worker"));
  expect(await attempt(page)).toMatchObject({ code: "setup-failed", reason: "no-worker", retryable: false });
});

for (const entry of ["index.js", "selvedge.min.js", "wasm.js"])
  test(`${entry} in the background service worker of an extension: no-worker, and use an offscreen document @chromium`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-extension-"));
    cpSync(join(ROOT, "dist"), join(folder, "selvedge"), { recursive: true });
    const background = { service_worker: "background.js", type: "module" };
    const manifest = { manifest_version: 3, name: "test", version: "1.0", background };
    writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
    writeFileSync(
      join(folder, "background.js"),
      `import { createEngine } from "./selvedge/${entry}";
globalThis.outcome = createEngine().then(() => "an engine", ({ code, details, retryable, message }) => ({ code, reason: details.reason, retryable, message }));`,
    );
    const outcome = await inExtension(folder, (worker) =>
      worker.evaluate(() => Reflect.get(globalThis, "outcome") as unknown),
    );
    expect(outcome).toMatchObject({ code: "setup-failed", reason: "no-worker", retryable: false });
    expect((outcome as { message: string }).message).toMatch(/Web Workers.*extension.* offscreen document/);
    rmSync(folder, { recursive: true });
  });

const CORS = withHeaders({ "access-control-allow-origin": "*" }, /./);

test("the package on another origin with CORS: the model answers", async ({ page }) => {
  other.use(CORS);
  await open(page);
  expect(await attempt(page, { from: other.origin })).toMatchObject({ y: [7], unhandled: [] });
});

test("the package on another origin, isolated page and threads: the model answers", async ({ page }) => {
  other.use(withHeaders({ "access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin" }, /./));
  await open(
    page,
    withHeaders({ "cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin" }),
  );
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  expect(await attempt(page, { from: other.origin, engine: { threads: 2 } })).toMatchObject({ y: [7], unhandled: [] });
});

test("the workers on another origin without CORS: the error names both ways out", async ({ page }) => {
  await open(page);
  const outcome = await attempt(page, { engine: { assetsBase: `${other.origin}/dist/` } });
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "cross-origin", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(/assetsBase.*Access-Control-Allow-Origin.*worker-src blob:/);
});

test("the workers on another origin, and no worker-src blob: the error names the directive", async ({ page }) => {
  other.use(CORS);
  const policy = `script-src 'self' ${other.origin} 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'self' ${other.origin}`;
  await open(page, withHeaders({ "content-security-policy": policy }));
  const outcome = await attempt(page, { engine: { assetsBase: `${other.origin}/dist/` } });
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "cross-origin", unhandled: [] });
  expect(outcome.message).toMatch(/\(worker-src\).*worker-src blob:/);
});

test("the workers on another origin, below the policy that the error prints: the model answers", async ({ page }) => {
  other.use(CORS);
  const own = `'self' ${other.origin}`;
  const policy = `script-src ${own} 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'self' blob: ${other.origin}; connect-src ${own}`;
  await open(page, withHeaders({ "content-security-policy": policy }));
  expect(await attempt(page, { engine: { assetsBase: `${other.origin}/dist/` } })).toMatchObject({
    y: [7],
    unhandled: [],
  });
});

test("the workers on another origin that connect-src has not: the error names the directive", async ({ page }) => {
  other.use(CORS);
  const policy = `script-src 'self' ${other.origin} 'wasm-unsafe-eval' 'unsafe-eval'; worker-src 'self' blob:; connect-src 'self'`;
  await open(page, withHeaders({ "content-security-policy": policy }));
  const outcome = await attempt(page, { engine: { assetsBase: `${other.origin}/dist/` } });
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "cross-origin", unhandled: [] });
  expect(outcome.message).toMatch(/\((connect|worker)-src\).*worker-src blob: http/);
});

test("a page opened with a user name and a password: relative addresses work, and no message shows them", async ({
  page,
}) => {
  await open(page, undefined, server.origin.replace("//", "//ann:pa55word@"));
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [] });
  expect(await attempt(page, { engine: { assetsBase: "/dist/" } })).toMatchObject({ y: [7], unhandled: [] });
  server.use(instead(/worker-wasm/, MISSING));
  const outcome = await attempt(page, { engine: { assetsBase: "/dist/" } });
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "worker-missing", unhandled: [] });
  expect(outcome.message).not.toMatch(/pa55word|ann:/);
});

const SANDBOX = { "content-security-policy": "sandbox allow-scripts" };

test("a sandboxed page has no origin and no storage: the model answers from memory", async ({ page }) => {
  const sandboxed: Rule = (path, usual) => withHeaders(path === "/" ? SANDBOX : {}, /./)(path, usual);
  await open(page, (path, usual) => CORS(path, { ...usual, ...sandboxed(path, usual) }));
  expect(await page.evaluate(() => self.origin)).toBe("null");
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [] });
});

test("a sandboxed frame: the model answers from memory", async ({ page }) => {
  await open(page, CORS);
  const y = await page.evaluate(async () => {
    const code = `
      import { createEngine } from "${location.origin}/dist/index.js";
      const engine = await createEngine({ backends: ["wasm"] });
      const model = await engine.load("${location.origin}/model.onnx");
      const { outputs } = await model.run({ x: { dtype: "float32", dims: [1], data: new Float32Array([7]) } });
      parent.postMessage([...outputs.y.data], "*");`;
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts");
    frame.srcdoc = `<script type="module">${code}</script>`;
    const answer = new Promise((resolve) => {
      addEventListener("message", ({ data }) => {
        resolve(data);
      });
    });
    document.body.append(frame);
    return answer;
  });
  expect(y).toEqual([7]);
});

const WASM: readonly [name: string, rule: Rule, code: string, reason: string, text: RegExp][] = [
  ["404", instead(/ort-.*wasm$/, MISSING), "setup-failed", "wasm-missing", /^ort-wasm\.wasm is missing \(status 404/],
  ["403", instead(/ort-.*wasm$/, REFUSED), "setup-failed", "wasm-missing", /^ort-wasm\.wasm is refused \(status 403/],
  [
    "gzip twice, declared once",
    twice(/ort-.*wasm$/),
    "setup-failed",
    "wasm-encoding",
    /^ort-wasm\.wasm is gzip: compressed twice/,
  ],
  ["an HTML page", instead(/ort-.*wasm$/, HTML), "setup-failed", "wasm-html", /^ort-wasm\.wasm is an HTML page/],
  ["503", instead(/ort-.*wasm$/, { status: 503, body: "" }), "worker-crashed", "server", /status 503/],
  [
    "a Git LFS pointer",
    (path, { headers }) => (/ort-.*wasm$/.test(path) ? { headers, body: POINTER } : undefined),
    "setup-failed",
    "wasm-invalid",
    /^ort-wasm\.wasm is a Git LFS pointer, not the file itself: .*Run `git lfs pull`/,
  ],
  [
    "its first half",
    (path, { headers, body }) =>
      /ort-.*wasm$/.test(path) ? { headers, body: (body as Uint8Array).subarray(0, 2 ** 20) } : undefined,
    "setup-failed",
    "wasm-invalid",
    /^ort-wasm\.wasm is not WebAssembly, or not all of it \(1048576 bytes\)/,
  ],
  [
    "an end before its length",
    (path, { headers, body }) =>
      /ort-.*wasm$/.test(path)
        ? {
            headers: { ...headers, "content-length": String(body.length), connection: "close" },
            body: (body as Uint8Array).subarray(0, 2 ** 20),
          }
        : undefined,
    "worker-crashed",
    "wasm-cut",
    /^ort-wasm\.wasm did not come whole: the response ended early/,
  ],
  [
    "a Content-Encoding that it does not have",
    withHeaders({ "content-encoding": "br" }, /ort-.*wasm$/),
    "setup-failed",
    "wasm-encoding",
    /^ort-wasm\.wasm is not compressed as its header says \(`Content-Encoding: br`\)/,
  ],
  [
    "no 'wasm-unsafe-eval'",
    withHeaders({ "content-security-policy": "script-src 'self'" }, /^\/$|worker-/),
    "setup-failed",
    "wasm-csp",
    /script-src 'self' 'wasm-unsafe-eval'/,
  ],
];
for (const [name, rule, code, reason, text] of sample(WASM, 3))
  test(`the wasm has ${name}: ${reason}, and ONNX Runtime's own lines stay out of the console`, async ({ page }) => {
    const lines: string[] = [];
    page.on("console", (line) => lines.push(line.text()));
    await open(page, rule);
    const outcome = await attempt(page);
    expect(outcome).toMatchObject({ code, reason, retryable: code === "worker-crashed", unhandled: [] });
    expect(outcome.message).toMatch(text);
    expect(lines.filter((line) => /wasm streaming|Aborted|instantiat/i.test(line))).toEqual([]);
  });

for (const script of ["worker-wasm.js", "worker-cache.js"])
  test(
    `the request of ${script} is accepted and never answered: worker-stalled, after half a minute`,
    CHROMIUM_IN_TEST,
    async ({ page }) => {
      await open(page, (path) => (path.endsWith(`/${script}`) ? { stopsAfter: 0 } : undefined));
      const startMs = performance.now();
      const outcome = await attempt(page);
      expect(outcome).toMatchObject({
        code: "worker-crashed",
        reason: "worker-stalled",
        retryable: true,
        unhandled: [],
      });
      expect(outcome.message).toMatch(new RegExp(`${script} did not load .*no data for \\d+ s`));
      expect(performance.now() - startMs).toBeLessThan(55_000);
    },
  );

const SILENT: readonly [name: string, stopsAfter: number][] = [
  ["never answers", 0],
  ["stops after 64 kB", 65_536],
];
for (const [name, stopsAfter] of sample(SILENT, 2))
  test(
    `the request of the wasm is accepted, and the server ${name}: wasm-stalled, after half a minute`,
    CHROMIUM_IN_TEST,
    async ({ page }) => {
      await open(page, (path) => (/ort-.*wasm$/.test(path) ? { stopsAfter } : undefined));
      const startMs = performance.now();
      const outcome = await attempt(page);
      expect(outcome).toMatchObject({ code: "worker-crashed", reason: "wasm-stalled", retryable: true, unhandled: [] });
      expect(outcome.message).toMatch(/^ort-wasm\.wasm stalled: no data for 20 s/);
      expect(performance.now() - startMs).toBeLessThan(55_000);
    },
  );

test("a wasm that comes slowly is no fault, however long it takes, and is fetched once", async ({ page }) => {
  await open(page, (path, { body }) =>
    /ort-wasm\.wasm$/.test(path) ? { bytesPerSecond: body.length / 14 } : undefined,
  );
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [] });
  expect(server.requested.filter((path) => path.endsWith("ort-wasm.wasm"))).toHaveLength(1);
});

/** A policy of the page alone: its workers may compile WebAssembly, and it may not. */
const PAGE_POLICY = withHeaders({ "content-security-policy": "script-src 'self' 'unsafe-inline'" });

test("a policy of the page that forbids WebAssembly there, and not in workers, is no fault", async ({ page }) => {
  await open(page, PAGE_POLICY);
  expect(await attempt(page)).toMatchObject({ y: [7], unhandled: [] });
});

test(
  "a wasm that comes slowly to the worker alone is no fault, below a policy of the page",
  CHROMIUM_IN_TEST,
  async ({ page }) => {
    await open(page, (path, usual) =>
      /ort-wasm\.wasm$/.test(path) ? { bytesPerSecond: usual.body.length / 24 } : PAGE_POLICY(path, usual),
    );
    const outcome = await attempt(page, { engine: { callTimeoutMs: 15_000 } });
    expect(outcome).toMatchObject({ y: [7], unhandled: [] });
  },
);

test("a wasm with a wrong type is fetched once, and the console says so once", async ({ page }) => {
  const warned: string[] = [];
  page.on("console", (line) => {
    if (line.text().includes("application/wasm")) warned.push(line.text());
  });
  await open(page, (path, { headers }) =>
    path.endsWith(".wasm") ? { headers: { ...headers, "content-type": "application/octet-stream" } } : undefined,
  );
  expect(await attempt(page)).toMatchObject({ y: [7] });
  expect(server.requested.filter((path) => path.endsWith("ort-wasm.wasm"))).toHaveLength(1);
  expect(warned).toHaveLength(1);
});

test("worker files of another build are refused: copy dist again", async ({ page }) => {
  await open(page, (path, { body }) =>
    /worker-(wasm|cache)/.test(path)
      ? { body: new TextDecoder().decode(body as Uint8Array).replaceAll(/0\.1\.0\+[0-9a-f]{8}/g, "0.0.9+00000000") }
      : undefined,
  );
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "version", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(
    /page 0\.1\.0\+[0-9a-f]{8}, worker 0\.0\.9\+00000000.*copy the package's dist\/ again/,
  );
});

const FILES: readonly [name: string, body: Uint8Array | string, reason: string, text: RegExp][] = [
  ["a Git LFS pointer", POINTER, "git-lfs", /model\.onnx is a Git LFS pointer.*git lfs pull/],
  ["a picture", new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0]), "picture", /model\.onnx is a picture/],
  ["a ZIP archive", "PK\u0003\u0004\u0014\0\0\0model.onnx", "zip", /model\.onnx is a ZIP archive/],
  ["an HTML page", HTML.body ?? "", "html", /model\.onnx is an HTML page/],
  ["safetensors", '\u0040\0\0\0\0\0\0\0{"w":{"dtype":"F32"}}', "safetensors", /safetensors.*ONNX/],
];
for (const [name, body, reason, text] of sample(FILES, 4))
  test(`${name} as a model is named as that, by address and by bytes`, async ({ page }) => {
    await open(page, instead(/^\/model/, { body }));
    const byAddress = await attempt(page);
    expect(byAddress).toMatchObject({ code: "model-invalid", reason, retryable: false, unhandled: [] });
    expect(byAddress.message).toMatch(text);
    const byBytes = await page.evaluate(async (path) => {
      const { createEngine } = (await import(path)) as typeof import("../../../lib/index.ts");
      const engine = await createEngine({ backends: ["wasm"] });
      const file = new File([await (await fetch("/model.onnx")).arrayBuffer()], "picked.onnx");
      return engine.load(file).catch((error: unknown) => (error as { details: { reason: string } }).details.reason);
    }, "/dist/index.js");
    expect(byBytes).toBe(reason);
  });

const AWAY: readonly [name: string, own: Rule, foreign: Rule, reason: string, text: RegExp][] = [
  ["without CORS", () => undefined, () => undefined, "cors", /another origin.*Access-Control-Allow-Origin/],
  [
    "that the policy does not allow",
    withHeaders({ "content-security-policy": "connect-src 'self'" }, /^\/$|worker-/),
    CORS,
    "csp",
    /connect-src http:\/\/127\.0\.0\.1:\d+/,
  ],
];
for (const [name, own, foreign, reason, text] of sample(AWAY, 3))
  test(`a model on another origin ${name}: ${reason}, at once, and waiting does not help`, async ({ page }) => {
    other.use(foreign);
    await open(page, own);
    const began = Date.now();
    const outcome = await attempt(page, { model: `${other.origin}/model.onnx` });
    expect(outcome).toMatchObject({ code: "download-failed", reason, retryable: false, unhandled: [] });
    expect(outcome.message).toMatch(text);
    // The load, and the two that find the cause.
    expect(other.requested.length).toBeLessThanOrEqual(3);
    expect(Date.now() - began).toBeLessThan(60_000);
  });

test("a model that is redirected to an origin without CORS: cors, and not that the network is away", async ({
  page,
}) => {
  const headers = { location: `${other.origin}/model.onnx` };
  await open(page, instead(/^\/model/, { status: 302, headers, body: "" }));
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "download-failed", reason: "cors", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(/redirected to another origin.*Access-Control-Allow-Origin/);
});

test("a URL with a user name and a password: one error at once that shows neither, and no request", async ({
  page,
}) => {
  await open(page);
  const { host } = new URL(server.origin);
  const began = Date.now();
  const outcome = await attempt(page, { model: `http://me:secret@${host}/model.onnx` });
  expect(outcome).toMatchObject({ code: "download-failed", reason: "credentials", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(/Take them out: .*pass its bytes to `load`/);
  expect(outcome.message).not.toMatch(/secret|me[:@]/);
  expect(Date.now() - began, "without retries").toBeLessThan(10_000);
  expect(server.requested.filter((x) => x === "/model.onnx")).toEqual([]);
});

test("a model over http on a page over https: mixed-content, and no request", async ({ browser }) => {
  const secure = await serveFaulty({ isSecure: true });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  try {
    const page = await context.newPage();
    await page.goto(`${secure.origin}/`);
    const outcome = await attempt(page, { model: "http://models.example/model.onnx" });
    expect(outcome).toMatchObject({
      code: "download-failed",
      reason: "mixed-content",
      retryable: false,
      unhandled: [],
    });
    expect(outcome.message).toMatch(/https/);
    expect(await attempt(page)).toMatchObject({ y: [7], secure: true });
  } finally {
    await context.close();
    await secure.close();
  }
});

test("a server that is away may come back: a retry is advised", async ({ page }) => {
  const gone = await serveFaulty();
  await gone.close();
  await open(page);
  const outcome = await attempt(page, { model: `${gone.origin}/model.onnx` });
  expect(outcome).toMatchObject({ code: "download-failed", reason: "unreachable", retryable: true, unhandled: [] });
});

test("a model that is not there, and one that needs a login, are not retryable; 503 is", async ({ page }) => {
  const reasons: unknown[] = [];
  for (const status of [404, 410, 204, 401, 503]) {
    await open(page, instead(/^\/model/, { status, headers: { "retry-after": "3600" }, body: "" }));
    const { code, reason, retryable } = await attempt(page);
    reasons.push([status, code, reason, retryable]);
  }
  expect(reasons).toEqual([
    [404, "download-failed", "not-found", false],
    [410, "download-failed", "not-found", false],
    [204, "download-failed", "not-found", false],
    [401, "download-failed", "denied", false],
    [503, "download-failed", "server", true],
  ]);
});

test("labels that are not there are named as labels", async ({ page }) => {
  await open(page);
  const outcome = await attempt(page, { load: { labels: "/labels.txt" } });
  expect(outcome).toMatchObject({ code: "download-failed", reason: "not-found", retryable: false, unhandled: [] });
  expect(outcome.message).toMatch(/^labels: .*\/labels\.txt answered with status 404/);
});

/** A bundle of the small model, with an asset: both chunks are needed. */
const LABELS = "a\nb\n";
const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");
const chunkOf = (bytes: Uint8Array | string) => ({ sha256: sha256(bytes), bytes: bytes.length });
const BUNDLE = JSON.stringify(
  bundleJson({
    model: {
      name: "m",
      version: "1",
      licence: "MIT",
      inputs: [{ name: "x", dtype: "float32", dims: [1], batchAxis: null }],
      outputs: [{ name: "y", dtype: "float32", dims: [1], batchAxis: null }],
    },
    assets: [{ path: "labels.txt", bytes: LABELS.length, chunks: [chunkOf(LABELS)] }],
    variants: [
      { id: "f32", needs: [], files: [{ path: "m.onnx", bytes: STARTER.length, chunks: [chunkOf(STARTER)] }] },
    ],
  }),
);

test("chunks answered as HTML are named so, and no rejection stays unhandled", async ({ page }) => {
  const chunks: Rule = (path) =>
    path === "/m/bundle.json"
      ? { status: 200, headers: { "content-type": "application/json" }, body: BUNDLE }
      : path.startsWith("/m/")
        ? HTML
        : undefined;
  await open(page, chunks);
  const html = await attempt(page, { model: "/m/bundle.json" });
  expect(html.message).toMatch(/chunks\/.* is an HTML page/);
  expect(html).toMatchObject({ code: "download-failed", reason: "html", retryable: false, unhandled: [] });
  await open(page, (path, usual) => (path === "/m/bundle.json" ? chunks(path, usual) : undefined));
  const missing = await attempt(page, { model: "/m/bundle.json" });
  expect(missing).toMatchObject({ code: "download-failed", reason: "not-found", retryable: false, unhandled: [] });
});

for (const encoding of ["gzip", "br"])
  test(`a plain model as Content-Encoding ${encoding}: the header is named, and waiting does not help`, async ({
    page,
  }) => {
    await open(page, withHeaders({ "content-encoding": encoding }, /^\/model/));
    const outcome = await attempt(page);
    expect(outcome).toMatchObject({ code: "download-failed", reason: "encoding", retryable: false, unhandled: [] });
    expect(outcome.message).toContain(`Content-Encoding: ${encoding}`);
  });

test("a worker script that is redirected to another origin: the error names the origin", async ({ page }) => {
  other.use(CORS);
  await open(page, (path) =>
    path.endsWith("/worker-wasm.js")
      ? { status: 302, headers: { location: other.origin + path }, body: "" }
      : undefined,
  );
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "worker-redirected", retryable: false, unhandled: [] });
  expect(outcome.message).toContain(`redirected to ${other.origin}`);
});

test("a worker script that is redirected to itself: the error says that it has no end", async ({ page }) => {
  await open(page, (path) =>
    path.endsWith("/worker-wasm.js") ? { status: 302, headers: { location: path }, body: "" } : undefined,
  );
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "setup-failed", reason: "worker-redirected", retryable: false, unhandled: [] });
  expect(outcome.message).toContain("redirected without an end");
});

test("WebGPU alone without a GPU: the error says why it is not there", async ({ page }) => {
  await open(page);
  await page.evaluate(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
  const outcome = await attempt(page, { engine: { backends: ["webgpu"] } });
  expect(outcome).toMatchObject({ code: "no-backend", reason: "no-backends", retryable: false });
  expect(outcome.message).toMatch(/`backends`.*webgpu: this browser (gives no GPU adapter|has no JSPI)/);
});

test("a backend that was asked for by name and is absent is named", async ({ page }) => {
  await open(page);
  await page.evaluate(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
  const outcome = await attempt(page, { engine: { backends: undefined }, load: { backend: "webgpu" } });
  expect(outcome).toMatchObject({ code: "no-backend", reason: "pinned", retryable: false });
  expect(outcome.message).toMatch(/webgpu/);
});

test("a file that ONNX Runtime refuses is named in the message", async ({ page }) => {
  await open(page, instead(/^\/model/, { body: new Uint8Array([8, 8, 58, 4, 255, 255, 255, 255, 9]) }));
  const outcome = await attempt(page);
  expect(outcome).toMatchObject({ code: "model-invalid", reason: "onnx", retryable: false });
  expect(outcome.message).toContain("model.onnx");
});
