// Runs forms in a browser: the built package loads a bundle's variant, pinned to a backend, in a page served from this
// machine, and runs it; node placement is read from ONNX Runtime's log. The browser is driven by playwright-core, an
// optional package. The caller names the browser; SELVEDGE_CHROMIUM or SELVEDGE_FIREFOX holds its path.
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { canonicalJson } from "../../core/bundle.ts";
import type { Assignment } from "../../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import type { RunAttempt } from "../run/child-process.ts";
import type { Feed } from "../run/feeds.ts";
import { fileAt } from "./file-at.ts";
import { contentTypeOf, pathOf, startServer } from "./local-server.ts";
import type { LocalServer } from "./local-server.ts";
import type { Outputs } from "../run/metric.ts";
import type { PackedBundle } from "../bundle/pack.ts";
import { loadPlaywright } from "../run/optional-peers.ts";
import { numbersOf } from "../run/session.ts";

/** Browsers that can be driven. */
export type BrowserName = "chromium" | "firefox";

/** Result of running a variant in the browser. */
export interface BrowserRun {
  readonly backend: "webgpu" | "wasm";
  readonly assignment: Assignment | null;
  readonly outputs: readonly Outputs[];
  /** Outputs of the last feed, which may fail, or the reason why there are none; absent without one. */
  readonly last?: RunAttempt;
  /** ONNX Runtime's log, line by line. */
  readonly log: readonly string[];
}

const PATHS: Readonly<Record<BrowserName, readonly string[]>> = {
  chromium: ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
  firefox: ["/usr/bin/firefox-esr", "/usr/bin/firefox"],
};
const PAGE = `<!doctype html><meta charset="utf-8"><title>check</title>
<script type="module">import * as selvedge from "/dist/index.js"; globalThis.selvedge = selvedge;</script>`;
const TIMEOUT_MS = 120_000;
/** Playwright ends this process with a code of its own on a signal; the command line's handlers do more. */
const OWN_SIGNALS = { handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false } as const;

/** A browser with the package's page open. */
export class CheckBrowser {
  readonly #close: () => Promise<void>;
  readonly #page: Awaited<ReturnType<typeof openPage>>["page"];
  readonly #files: Map<string, Uint8Array>;
  /** Name and version. */
  readonly name: string;

  private constructor({ page, close, name, files }: Awaited<ReturnType<typeof openPage>>) {
    this.#page = page;
    this.#files = files;
    this.#close = close;
    this.name = name;
  }

  /**
   * Starts a browser.
   * @throws SelvedgeError where the package is not built, or playwright-core or the browser is missing; the message
   * says how to fix it
   */
  static async start(browser: BrowserName): Promise<CheckBrowser> {
    try {
      return new CheckBrowser(await openPage(browser));
    } catch (error) {
      if (isSelvedgeError(error)) throw error;
      const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
      const fix = `set SELVEDGE_${browser.toUpperCase()} to its path, or: npx playwright-core install ${browser}`;
      const details = { reason: "package", package: browser };
      throw new SelvedgeError("setup-failed", `${browser} did not start (${reason}); ${fix}`, details, error);
    }
  }

  /** Whether the browser has WebGPU here. */
  async hasWebGpu(): Promise<boolean> {
    return this.#page.evaluate<boolean>(`(async () => {
      const engine = await selvedge.createEngine();
      const has = engine.device.gpu !== null;
      await engine.close();
      return has;
    })()`);
  }

  /** Runs a variant of a bundle on feeds, pinned to a backend; on `last` after them, which may fail or be late. */
  async run(
    { json, chunks }: PackedBundle,
    variant: string,
    backend: "webgpu" | "wasm",
    feeds: readonly Feed[],
    last?: Feed,
  ): Promise<BrowserRun> {
    this.#files.clear();
    this.#files.set("/bundle/bundle.json", new TextEncoder().encode(canonicalJson(json)));
    for (const [sha256, bytes] of chunks) this.#files.set(`/bundle/chunks/${sha256}.bin`, bytes);
    const told = [...feeds, ...(last ? [last] : [])].map((feed) =>
      Object.entries(feed).map(([name, { dtype, dims, data }]) => ({
        name,
        dtype,
        dims,
        data: Array.from(data, String),
      })),
    );
    const asked = JSON.stringify({ variant, backend, feeds: told, count: feeds.length, ms: TIMEOUT_MS });
    const ran = await this.#page.evaluate<{
      assignment: Assignment | null;
      log: string[];
      outputs: { name: string; dtype: string; dims: number[]; data: string[] }[][];
      why: string | null;
    }>(`(${RUN})(${asked})`);
    const outputs = ran.outputs.map((list) =>
      Object.fromEntries(
        list.map(({ name, dtype, dims, data }) => [
          name,
          { dims, data: dtype === "string" ? numbersOf("string", data) : data.map(Number) },
        ]),
      ),
    );
    const [answer] = outputs.splice(feeds.length);
    const attempt = answer === undefined ? { why: ran.why ?? "" } : { outputs: answer };
    return { backend, assignment: ran.assignment, outputs, ...(last && { last: attempt }), log: ran.log };
  }

  /** Closes the browser. */
  async close(): Promise<void> {
    await this.#close();
  }
}

/** Function that runs in the page; source text, since the page has no module for it. */
const RUN = `async ({ variant, backend, feeds, count, ms }) => {
  const types = { float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array };
  const log = [];
  const onLog = (line) => void log.push(line);
  const engine = await selvedge.createEngine({ backends: [backend], workers: 1, verbose: true, onLog });
  try {
    const model = await engine.load("/bundle/bundle.json", { variant, backend });
    const outputs = [];
    const run = async (feed, options) => {
      const inputs = Object.fromEntries(feed.map(({ name, dtype, dims, data }) => {
        const isWide = dtype === "int64" || dtype === "uint64";
        const values = dtype === "string" ? data : types[dtype].from(data, isWide ? BigInt : Number);
        return [name, { dtype, dims, data: values }];
      }));
      const result = await model.run(inputs, options);
      if (result.info.backend !== backend) throw new Error("it ran on " + result.info.backend + ", not " + backend);
      outputs.push(Object.entries(result.outputs).map(([name, { dtype, dims, data }]) => ({ name, dtype, dims, data: Array.from(data, String) })));
    };
    for (const feed of feeds.slice(0, count)) await run(feed);
    let why = null;
    for (const feed of feeds.slice(count))
      await run(feed, { signal: AbortSignal.timeout(ms) }).catch((error) => {
        why = String(error.message);
      });
    return { assignment: model.assignment, outputs, log, why };
  } finally {
    await engine.close();
  }
}`;

async function openPage(browser: BrowserName) {
  const dist = distFolder();
  const playwright = await loadPlaywright();
  const files = new Map<string, Uint8Array>();
  const server = await serve(dist, files);
  try {
    const started = await playwright[browser].launch(launchOf(browser));
    const close = async (): Promise<void> => {
      await started.close();
      await server.close();
    };
    try {
      const page = await started.newPage();
      page.setDefaultTimeout(TIMEOUT_MS);
      await page.goto(`${server.origin}/`);
      await page.waitForFunction("globalThis.selvedge !== undefined");
      return { page, close, files, name: `${browser} ${started.version()}` };
    } catch (error) {
      await started.close();
      throw error;
    }
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** Finds the built package: next to this file in the package, in dist/ in a checkout. */
function distFolder(): string {
  const places = ["./", "../", "../../../dist/"].map((x) => fileURLToPath(new URL(x, import.meta.url)));
  const found = places.find((x) => existsSync(join(x, "worker-jspi.js")));
  if (found === undefined)
    throw new SelvedgeError("internal", "--browser needs the built package: npm run build", { package: "selvedge" });
  return found;
}

/** Returns Playwright's options to launch a browser; exported for its test. */
export function launchOf(browser: BrowserName): Record<string, unknown> {
  const told = process.env[`SELVEDGE_${browser.toUpperCase()}`];
  const executablePath = told ?? PATHS[browser].find((x) => existsSync(x));
  const at = { ...OWN_SIGNALS, ...(executablePath !== undefined && { executablePath }) };
  if (browser === "firefox") {
    const firefoxUserPrefs = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true };
    return { ...at, ...(executablePath !== undefined && { channel: "moz-firefox" }), firefoxUserPrefs };
  }
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  if (sandbox.length > 0)
    process.emitWarning(
      "Chromium runs without its sandbox, since root started it: check models of strangers as another user.",
    );
  return { ...at, args: [...sandbox, "--enable-unsafe-webgpu", "--no-first-run", "--disable-background-networking"] };
}

/** Serves the built package and the current in-memory files, to this server's own page only. */
export function serve(dist: string, files: ReadonlyMap<string, Uint8Array>): Promise<LocalServer> {
  return startServer((request, response) => {
    const pathname = pathOf(request);
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    response.setHeader("cross-origin-resource-policy", "same-origin");
    response.setHeader("cache-control", "no-store");
    response.setHeader("content-type", contentTypeOf(pathname === "/" ? "page.html" : pathname));
    const held = pathname === "/" ? PAGE : files.get(pathname);
    if (held !== undefined) {
      response.end(held);
      return;
    }
    const path = pathname.startsWith("/dist/") ? fileAt(dist, pathname.slice("/dist".length)) : null;
    if (path === null) {
      response.statusCode = 404;
      response.end();
      return;
    }
    createReadStream(path)
      .on("error", () => response.destroy())
      .pipe(response);
  });
}
