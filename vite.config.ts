// Serves and builds the site in demo/. The package itself is built by lib/build/build.ts; the site imports it by its name and
// gets dist/, so that what runs here is what ships.
//
//   PORT=8080    the port, 5173 otherwise
//   ISOLATED=0   leaves the cross-origin isolation headers out: the site must work without them too
import { createReadStream } from "node:fs";
import { cp, stat, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import type { Connect, Plugin } from "vite";
import { fillIn, PAGES } from "./demo/pages.ts";
import { search } from "./demo/search/serve.ts";
import { readEntries } from "./lib/build/entries.ts";
import { fileAt } from "./lib/compress/check/file-at.ts";
import { readVariantModel } from "./lib/compress/bundle/read-bundle.ts";

const ROOT = fileURLToPath(new URL(".", import.meta.url));
const MODELS = join(ROOT, "models/dist");
/** A model as one ONNX file, for the page that runs it by plain ONNX Runtime Web as well. */
const ONE_FILE = { bundle: "ocr-rec", variant: "f32" };

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
/** The policy of the built site; Vite's development client needs inline styles, so it goes without. */
const POLICY = {
  "Content-Security-Policy": [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    // The page /offload/ asks a server on the visitor's own machine; a worker has the policy of its own script.
    "connect-src 'self' http://127.0.0.1:* http://localhost:*",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; "),
};
const isolation = process.env["ISOLATED"] === "0" ? {} : ISOLATION;
const port = Number(process.env["PORT"] ?? 5173);

export default defineConfig({
  root: join(ROOT, "demo"),
  appType: "mpa",
  resolve: {
    alias: readEntries(ROOT).map(({ name, code }) => ({
      find: new RegExp(`^selvedge${name === "" ? "" : `/${name}`}$`),
      replacement: join(ROOT, `dist/${code}.js`),
    })),
  },
  plugins: [pages(), headersAlways(), search(ROOT, fileAt), models(), serviceWorker()],
  optimizeDeps: { include: ["comlink", "valibot"], exclude: ["onnxruntime-web/wasm"], noDiscovery: true },
  server: { port, strictPort: true, host: "127.0.0.1", headers: isolation, fs: { allow: [ROOT] } },
  preview: { port, strictPort: true, host: "127.0.0.1", headers: { ...isolation, ...POLICY } },
  worker: { format: "es" },
  build: {
    outDir: join(ROOT, "demo-dist"),
    emptyOutDir: true,
    target: "es2022",
    // Workers and wasm must stay files: a policy without data: blocks them otherwise.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      // On a busy machine it warns of the copying of models.
      checks: { bundlerTimings: false },
      input: ["", ...PAGES.map(({ folder }) => folder)].map((folder) => join(ROOT, "demo", folder, "index.html")),
    },
  },
});

/** Puts into every page what all of them have. */
function pages(): Plugin {
  return {
    name: "pages",
    transformIndexHtml: {
      order: "pre",
      handler: (html, { path }) =>
        fillIn(
          html,
          path
            .split("/")
            .slice(0, -1)
            .filter((x) => x !== "")
            .at(-1) ?? "",
        ),
    },
  };
}

/**
 * Sets headers on every response. Vite leaves them out of a 304, and WebKit judges a worker's script by the headers of
 * that 304: without the isolation headers, every second start of a worker failed there, with no message.
 */
function headersAlways(): Plugin {
  const always =
    (headers: Readonly<Record<string, string>>): Connect.NextHandleFunction =>
    (_request, response, next) => {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      next();
    };
  return {
    name: "headers-always",
    configureServer: (server) => void server.middlewares.use(always(isolation)),
    configurePreviewServer: (server) => void server.middlewares.use(always({ ...isolation, ...POLICY })),
  };
}

/** Serves the bundles and the model in one file at /models/, and copies them beside the built site. */
function models(): Plugin {
  return {
    name: "models",
    configureServer: (server) => {
      server.middlewares.use("/models", serveModels);
    },
    writeBundle: async ({ dir }) => {
      if (dir === undefined || !(await exists(MODELS))) return;
      await cp(MODELS, join(dir, "models"), { recursive: true });
      const { bundle, variant } = ONE_FILE;
      await writeFile(
        join(dir, "models", bundle, `${variant}.onnx`),
        await readVariantModel(join(MODELS, bundle), variant),
      );
    },
  };
}

/** Puts the ready-made service worker at the root of the site, which it governs then. */
function serviceWorker(): Plugin {
  const path = join(ROOT, "dist/worker-offline.js");
  return {
    name: "service-worker",
    configureServer: (server) => {
      server.middlewares.use("/service-worker.js", (_request, response) => {
        response.setHeader("Content-Type", "text/javascript");
        createReadStream(path).pipe(response);
      });
    },
    writeBundle: async ({ dir }) => {
      if (dir !== undefined) await cp(path, join(dir, "service-worker.js"));
    },
  };
}

const serveModels: Connect.NextHandleFunction = (request, response, next) => {
  // The page of the same name is Vite's.
  if (/^\/(index\.html|[a-z-]+\.ts)?($|\?)/.test(request.url ?? "/")) {
    next();
    return;
  }
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  const { bundle, variant } = ONE_FILE;
  if (pathname === `/${bundle}/${variant}.onnx`) {
    readVariantModel(join(MODELS, bundle), variant).then((bytes) => {
      response.writeHead(200, {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-cache",
        ...isolation,
      });
      response.end(bytes);
    }, next);
    return;
  }
  const path = fileAt(MODELS, pathname);
  if (path === null) {
    response.writeHead(404, { "Content-Type": "text/plain" });
    response.end("There is no such file.");
    return;
  }
  const type = extname(path) === ".json" ? "application/json" : "application/octet-stream";
  response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-cache", ...isolation });
  createReadStream(path).pipe(response);
};

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
