// Serves the tests' own pages (e2e/pages), the built package as "selvedge", the bundles under /models/, and the corpus
// under /corpus/. `/<name>.html` is a page of the script <name>.ts where no such page lies there.
// `/expanded/<bundle>/<variant>.onnx` is a variant as one ONNX file, and `/expanded/<bundle>/<path>` an asset, for peers
// that do not read bundles. The demo has its own server; these pages are of no use there.
//
//   npx tsx e2e/support/server.ts --port 43118 [--isolated]
import { createReadStream, existsSync, statSync } from "node:fs";
import { join, normalize, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { createServer } from "vite";
import type { ViteDevServer } from "vite";
import { readBundle, readBundleFile, readVariantModel } from "../../lib/compress/bundle/read-bundle.ts";
import { contentTypeOf } from "../../lib/compress/check/local-server.ts";
import { DIST, ROOT } from "./prepare.ts";

const PAGES = join(ROOT, "e2e/pages");
/** Folder of the large models whose loads are measured (memory-page.ts). */
export const MEMORY_FOLDER: string = join(ROOT, "e2e/.cache/memory");
/** ONNX Runtime Web as bundled with transformers.js. */
const TRANSFORMERS_ORT = join(ROOT, "node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist");

/** The most that a line sends at once after a late timer, as a time. */
const LATE_MS = 20;

const ISOLATION = [
  ["cross-origin-opener-policy", "same-origin"],
  ["cross-origin-embedder-policy", "require-corp"],
] as const;

/** Options of the server. */
export interface ServeOptions {
  readonly port: number;
  /** Cross-origin isolated by header (COOP, COEP), so that threads may be used. */
  readonly isolated: boolean;
}

/** Starts the server; it runs until it is closed. */
export async function servePages(options: ServeOptions): Promise<ViteDevServer> {
  const server = await createServer({
    configFile: false,
    root: PAGES,
    cacheDir: join(ROOT, "e2e/.cache/vite"),
    logLevel: "warn",
    resolve: {
      alias: [
        { find: /^selvedge$/, replacement: join(DIST, "index.js") },
        { find: /^selvedge\/cache$/, replacement: join(DIST, "cache.js") },
      ],
    },
    // Dependencies are served unbundled: discovering them would reload a page during a test.
    optimizeDeps: { noDiscovery: true, include: [] },
    server: {
      host: "127.0.0.1",
      port: options.port,
      strictPort: true,
      hmr: false,
      watch: null,
      fs: { allow: [ROOT] },
    },
    plugins: [
      {
        name: "folders",
        configureServer(server) {
          // On every response: Vite omits its headers from a 304, and WebKit requires them there for a worker's script.
          server.middlewares.use((_request, response, next) => {
            if (options.isolated) for (const [name, value] of ISOLATION) response.setHeader(name, value);
            next();
          });
          withoutClient(server);
          shell(server);
          folder(server, "/dist/", DIST);
          folder(server, "/models/", join(ROOT, "models", "dist"));
          expanded(server, join(ROOT, "models", "dist"));
          folder(server, "/corpus/", join(ROOT, "e2e/.cache"));
          folder(server, "/memory/", MEMORY_FOLDER, { hasEtags: true });
          folder(server, "/line/", MEMORY_FOLDER, { hasEtags: true, mbitPerS: 100 });
          folder(server, "/onnxruntime-web/", join(ROOT, "node_modules", "onnxruntime-web", "dist"));
          folder(server, "/transformers-ort/", TRANSFORMERS_ORT);
        },
      },
    ],
  });
  return server.listen();
}

/**
 * Replaces Vite's client by a module that does nothing. These pages use no hot replacement, and the client's WebSocket
 * keeps a page out of Firefox's back/forward cache.
 */
function withoutClient(server: ViteDevServer): void {
  server.middlewares.use((request, response, next) => {
    if (request.url?.startsWith("/@vite/client") !== true) {
      next();
      return;
    }
    response.setHeader("content-type", "text/javascript");
    response.end("export const injectQuery = (url) => url;"); // called by each of Vite's dynamic imports
  });
}

/** Answers `/<name>.html` with a page of the script <name>.ts, where no such page lies there. */
function shell(server: ViteDevServer): void {
  server.middlewares.use((request, response, next) => {
    const url = request.url ?? "/";
    const [, name] = /^\/([a-z][a-z-]*)\.html(?:\?|$)/.exec(url) ?? [];
    if (name === undefined || existsSync(join(PAGES, `${name}.html`)) || !existsSync(join(PAGES, `${name}.ts`))) {
      next();
      return;
    }
    server.transformIndexHtml(url, shellOf(name)).then((html) => {
      response.setHeader("content-type", contentTypeOf("page.html"));
      response.setHeader("cache-control", "no-cache");
      response.end(html);
    }, next);
  });
}

function shellOf(name: string): string {
  const title = name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " ");
  return `<!doctype html>
<html lang="en">
  <meta charset="utf-8" />
  <title>${title}</title>
  <link rel="icon" href="data:," />
  <script type="module" src="./${name}.ts"></script>
</html>
`;
}

/** How a folder is served. */
interface FolderOptions {
  /** Whether answers have an ETag. Default false. */
  readonly hasEtags?: boolean;
  /** Rate of the line that the answers share. Default: none. */
  readonly mbitPerS?: number;
}

function folder(server: ViteDevServer, prefix: string, path: string, options: FolderOptions = {}): void {
  const { hasEtags = false, mbitPerS = Infinity } = options;
  const line = new Line(mbitPerS);
  server.middlewares.use((request, response, next) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    if (!pathname.startsWith(prefix)) {
      next();
      return;
    }
    const file = normalize(join(path, decodeURIComponent(pathname.slice(prefix.length))));
    if (!file.startsWith(path + sep) || !existsSync(file) || !statSync(file).isFile()) {
      response.statusCode = 404;
      response.end();
      return;
    }
    response.setHeader("content-type", contentTypeOf(file));
    const { size, mtimeMs } = statSync(file);
    response.setHeader("content-length", size);
    if (hasEtags) response.setHeader("etag", `"${size}-${mtimeMs}"`);
    response.setHeader("cross-origin-resource-policy", "same-origin");
    const bytes = createReadStream(file);
    if (mbitPerS === Infinity) bytes.pipe(response);
    else pipeline(bytes, (parts) => line.pass(parts), response).catch(() => response.destroy());
  });
}

/** A line, by the time at which it is free again. */
class Line {
  readonly #bytesPerMs: number;
  #freeAtMs = 0;

  constructor(mbitPerS: number) {
    this.#bytesPerMs = mbitPerS * 125;
  }

  /** Passes bytes on at the line's rate. */
  async *pass(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of parts) {
      const now = performance.now();
      this.#freeAtMs = Math.max(this.#freeAtMs, now - LATE_MS) + part.length / this.#bytesPerMs;
      if (this.#freeAtMs > now) await wait(this.#freeAtMs - now);
      yield part;
    }
  }
}

/** Serves variants and assets of the bundles in a folder, each as one file. */
function expanded(server: ViteDevServer, bundles: string): void {
  server.middlewares.use((request, response, next) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const [, bundle, path] = /^\/expanded\/([\w-]+)\/([\w.-]+)$/.exec(pathname) ?? [];
    if (bundle === undefined || path === undefined) {
      next();
      return;
    }
    const folder = join(bundles, bundle);
    const read = path.endsWith(".onnx") ? readVariantModel(folder, path.slice(0, -5)) : readAsset(folder, path);
    read.then(
      (bytes) => response.end(bytes),
      (error: unknown) => {
        response.statusCode = 404;
        response.end(String(error));
      },
    );
  });
}

async function readAsset(folder: string, path: string): Promise<Uint8Array> {
  const read = await readBundle(folder);
  const file = read.bundle.assets?.find((x) => x.path === path);
  if (file === undefined) throw new TypeError(`${folder} has no asset "${path}"`);
  return readBundleFile(read, file);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { port: { type: "string" }, isolated: { type: "boolean" } } });
  const server = await servePages({ port: Number(values.port ?? 43118), isolated: values.isolated ?? false });
  console.log(server.resolvedUrls?.local[0] ?? "");
}
