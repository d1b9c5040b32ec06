// `selvedge/vite` in an app as users have it: the packed package in a workspace with hoisted packages, an app at its root
// and one below, both with a worker of their own that runs an engine too. Vite 5 to 8: dev server, build, preview. The
// bytes of the wasm are counted as they travel.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { get } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import * as vite8 from "vite";
import * as vite5 from "vite-5";
import * as vite6 from "vite-6";
import * as vite7 from "vite-7";
import { doubleModel } from "../../support/double-model.ts";
import { freshApp } from "../../support/fresh-app.ts";
import type { FreshApp } from "../../support/fresh-app.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

const RUN = `import { createEngine } from "selvedge";
export async function run() {
  const engine = await createEngine({ backends: ["wasm"] });
  const model = await engine.load(new URL("/double.onnx", location.origin));
  const { outputs } = await model.run({ x: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) } });
  await engine.close();
  return [...outputs.y.data];
}
`;
/**
 * The app. Its worker is started again in Firefox where it does not answer: `new Worker` in a worker may block for ever
 * while a debugger listens, which WebDriver is. The parent's thread waits until the debugger knows of the nested worker,
 * on a condition variable that the nested worker's own thread waits on too, and only one of them is notified
 * (dom/workers: WorkerPrivate.h, SetIsDebuggerRegistered). Seen in Firefox 153 on a busy machine, in one of ten loads;
 * without a debugger nothing waits.
 */
const APP: Readonly<Record<string, string | Uint8Array>> = {
  "index.html": `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="/main.js"></script>`,
  "run.js": RUN,
  "worker.js": `import { run } from "./run.js";
run().then(postMessage, (error) => postMessage(String(error)));
`,
  "main.js": `import { run } from "./run.js";
const isFirefox = navigator.userAgent.includes("Firefox");
const PATIENCE_MS = isFirefox ? 20_000 : 100_000;
const once = () => new Promise((resolve, reject) => {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const end = (settle, value) => (worker.terminate(), settle(value));
  worker.onmessage = ({ data }) => end(resolve, data);
  worker.onerror = ({ message }) => end(reject, new Error("the app's worker failed: " + message));
  setTimeout(end, PATIENCE_MS, resolve, null);
});
const inWorker = async () => {
  for (let attempt = 1; attempt <= (isFirefox ? 4 : 1); attempt++) {
    const answer = await once();
    if (answer !== null) return answer;
    console.warn("the app's worker did not answer within " + PATIENCE_MS / 1_000 + " s");
  }
  return "no answer";
};
const tell = (result) => (document.title = JSON.stringify(result));
run()
  .then(async (page) => tell({ page, worker: await inWorker(), isIsolated: crossOriginIsolated }))
  .catch((error) => tell({ failed: error.message, reason: error.details?.reason }));
`,
  "public/double.onnx": doubleModel(),
  "vite.config.js": `import { selvedge } from "selvedge/vite";
export default { plugins: [selvedge({ isolate: true, precompress: true })] };
`,
};
const ANSWER = { page: [2, 4, 6], worker: [2, 4, 6], isIsolated: true };
/** The app below, whose `node_modules` are those of the workspace. */
const HOISTED = "packages/app";

/** The part of Vite that all versions have in the same form. */
interface Vite {
  readonly name: string;
  build(options: object): Promise<unknown>;
  createServer(options: object): Promise<{ listen(): Promise<unknown> } & Server>;
  preview(options: object): Promise<Server>;
}
interface Server {
  readonly resolvedUrls: { readonly local: readonly string[] } | null;
  close(): Promise<void>;
}
/** The newest and the oldest in each run, all of them in the soak. */
const VITES: readonly Vite[] = [
  { name: "Vite 8", ...vite8 },
  ...(isSoak
    ? [
        { name: "Vite 7", ...vite7 },
        { name: "Vite 6", ...vite6 },
      ]
    : []),
  { name: "Vite 5", ...vite5 },
];

/** Records what tells why a page does not answer: its console, errors, workers and requests, with times in ms. */
function record(page: Page): readonly string[] {
  const events: string[] = [];
  const startedMs = Date.now();
  const note = (text: string): void => void events.push(`${Date.now() - startedMs} ${text}`);
  page.on("console", (message) => {
    note(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => {
    note(`error: ${error.stack ?? error.message}`);
  });
  page.on("worker", (worker) => {
    note(`worker: ${worker.url()}`);
  });
  page.on("request", (request) => {
    note(`requested: ${request.url()}`);
  });
  page.on("requestfailed", (request) => {
    note(`failed: ${request.url()}, ${request.failure()?.errorText ?? ""}`);
  });
  page.on("requestfinished", (request) => {
    note(`finished: ${request.url()}`);
  });
  return events;
}

/** Opens the app; returns its result, and the addresses of the wasm files that it fetched. */
async function resultAt(page: Page, url: string): Promise<{ result: unknown; wasm: string[] }> {
  const wasm: string[] = [];
  page.on("response", (response) => {
    if (/\.wasm(\?|$)/.test(response.url())) wasm.push(response.url());
  });
  const events = record(page);
  await page.goto(url);
  const answered = page.waitForFunction(() => document.title !== "app", null, { timeout: 120_000 });
  await answered.catch((error: unknown) => {
    throw new Error(`no answer of ${url} within 120 s. The page's events:\n${events.join("\n")}`, { cause: error });
  });
  return { result: JSON.parse(await page.title()), wasm };
}

/** Requests a file as a browser does, and returns it as it travelled. */
function wire(url: string, accept: string): Promise<{ headers: IncomingHttpHeaders; body: Buffer }> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { "accept-encoding": accept }, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        resolve({ headers: response.headers, body: Buffer.concat(chunks) });
      });
    }).on("error", reject);
  });
}

/** Expects a wasm file to be sent with each coding, and without one, and all to be the same file. */
async function expectCompressed(url: string): Promise<void> {
  const whole = await wire(url, "identity");
  expect(whole.headers["content-encoding"]).toBeUndefined();
  for (const [coding, expand] of [
    ["br", brotliDecompressSync],
    ["gzip", gunzipSync],
  ] as const) {
    const { headers, body } = await wire(url, `deflate, ${coding}`);
    expect(headers).toMatchObject({ "content-encoding": coding, "content-type": "application/wasm" });
    expect(headers.vary).toContain("Accept-Encoding");
    expect(headers["cross-origin-embedder-policy"]).toBe("require-corp");
    expect(body.byteLength).toBeLessThan(whole.body.byteLength / 2);
    expect(expand(body).equals(whole.body)).toBe(true);
  }
}

/** Lists the files of a build that have no copy of an ending. */
function withoutCopy(folder: string, ending: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.filter(
    (name) =>
      /\.(wasm|js)$/.test(name) &&
      readFileSync(join(folder, name)).byteLength >= 1_024 &&
      !existsSync(join(folder, name + ending)),
  );
}

test.describe("selvedge/vite", () => {
  test.describe.configure({ timeout: 300_000 });
  let app: FreshApp;
  /** An app whose packages are links to folders outside of its workspace, as pnpm's global store has them. */
  let linked: string;

  test.beforeAll(() => {
    const workspace = { name: "workspace", private: true, type: "module", workspaces: ["packages/*"] };
    app = freshApp({
      files: {
        ...APP,
        ...Object.fromEntries(Object.entries(APP).map(([path, content]) => [`${HOISTED}/${path}`, content])),
        "package.json": JSON.stringify(workspace),
        [`${HOISTED}/package.json`]: JSON.stringify({ name: "app", private: true, type: "module" }),
      },
    });
    linked = mkdtempSync(join(tmpdir(), "selvedge-linked-"));
    for (const [path, content] of Object.entries({ ...APP, "package.json": `{ "type": "module" }` })) {
      mkdirSync(dirname(join(linked, path)), { recursive: true });
      writeFileSync(join(linked, path), content);
    }
    mkdirSync(join(linked, "node_modules"));
    symlinkSync(join(app.folder, "node_modules/selvedge"), join(linked, "node_modules/selvedge"));
  });
  test.afterAll(() => {
    app.remove();
    rmSync(linked, { recursive: true });
  });

  for (const { name, build, createServer, preview } of VITES) {
    const configFile = (root: string): string => join(root, "vite.config.js");
    // The cache of pre-bundled packages is each version's own.
    const common = (root: string): object => ({
      ...{ root, configFile: configFile(root), logLevel: "error" },
      cacheDir: join(root, `node_modules/.${name.replace(" ", "-")}`),
    });

    for (const [place, rootOf] of [
      ["at the root", () => app.folder],
      ["with hoisted packages", () => join(app.folder, HOISTED)],
      ["with linked packages", () => linked],
    ] as const)
      test(`${name}: the dev server runs an app ${place}`, async ({ page }) => {
        const root = rootOf();
        const server = await createServer({ ...common(root), server: { port: 0 } });
        try {
          await server.listen();
          const { result, wasm } = await resultAt(page, server.resolvedUrls?.local[0] ?? "");
          expect(result).toEqual(ANSWER);
          expect(wasm.length).toBeGreaterThan(0);
          await expectCompressed(wasm[0] ?? "");
        } finally {
          await server.close();
        }
      });

    test(`${name}: without the plugin, hoisted packages are found, or the error names it`, async ({ page }) => {
      const root = join(app.folder, HOISTED);
      const server = await createServer({ ...common(root), configFile: false, server: { port: 0 } });
      try {
        await server.listen();
        const { result } = await resultAt(page, server.resolvedUrls?.local[0] ?? "");
        if (name === "Vite 8") expect(result).toMatchObject({ page: [2, 4, 6], isIsolated: false });
        else {
          const { failed, reason } = result as { failed: string; reason: string };
          expect(failed).toMatch(/optimizeDeps: \{ exclude: \["selvedge"\] \}.*selvedge\/vite/);
          expect(reason).toBe("worker-html");
        }
      } finally {
        await server.close();
      }
    });

    test(`${name}: a build has compressed copies, which preview sends`, async ({ page }) => {
      const root = join(app.folder, HOISTED);
      const outDir = `dist-${name.replace(" ", "-")}`;
      await build({ ...common(root), build: { outDir } });
      for (const ending of [".br", ".gz"]) expect(withoutCopy(join(root, outDir), ending)).toEqual([]);
      const server = await preview({ ...common(root), build: { outDir }, preview: { port: 0 } });
      try {
        const { result, wasm } = await resultAt(page, server.resolvedUrls?.local[0] ?? "");
        expect(result).toEqual(ANSWER);
        expect(wasm.length).toBeGreaterThan(0);
        await expectCompressed(wasm[0] ?? "");
      } finally {
        await server.close();
      }
    });
  }
});
