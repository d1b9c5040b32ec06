// Twins of the sites of page-sites.ts, one of each, on other hosts and by other tools.
import { brotliCompressSync, gzipSync } from "node:zlib";
import { app, BUNDLE, byEsbuild, copied, header, model, POLICY, without } from "./sites.ts";
import type { Broken } from "./sites.ts";
import { changed } from "./site.ts";
import { hashed, unbundled, UNBUNDLED } from "./twins.ts";
import {
  PACKED,
  serviceWorker,
  STALE,
  withServiceWorker,
  importMap,
  GZIP,
  marked,
  packageElsewhere,
  workerElsewhere,
  scriptElsewhere,
  brokenBundle,
} from "./page-sites.ts";

/** A twin of each. */
export const PAGE_TWINS: readonly Broken[] = [
  {
    name: "a worker with the engine among hashed files of a CDN",
    finding: "worker-other-origin",
    line: /new Blob\(\['import "http:\/\/127\.0\.0\.1:\d+\/assets\/v3\/inference-Bq3xYk2P\.js"'\]/,
    make: () => workerElsewhere("/assets/v3/", "inference-Bq3xYk2P.js", [header("*", "Server", "cloudflare")]),
  },
  {
    name: "a model below a path of nginx whose parts are those of its compressed form",
    finding: "range-wrong",
    line: /\/shop\/m\/weights\.onnx/,
    make: () =>
      hashed({
        base: "/shop/",
        options: { model: "m/weights.onnx" },
        files: new Map([model("/shop/m/weights.onnx")]),
        headers: [header("*", "Server", "nginx/1.27.3")],
        breaks: /weights/,
        ranges: "compressed",
      }),
  },
  {
    name: "a script with import statements whose tag has no type, behind nginx",
    finding: "script-not-module",
    isSilent: true,
    line: /<script type="module" src="\/start\.js">/,
    make: () => marked("/vendor/ai/", { isClassic: true }, [header("*", "Server", "nginx/1.27.3")]),
  },
  {
    name: "an import map with a name without quotes and a comment, on Caddy",
    finding: "import-map-invalid",
    isSilent: true,
    line: /importmap">\{"imports":\{"selvedge":"\/vendor\/ai\/index\.js"\}\}</,
    make: () =>
      marked(
        "/vendor/ai/",
        { head: `<script type="importmap">{ imports: { selvedge: "/vendor/ai/index.js" /* the engine */ } }</script>` },
        [header("*", "Server", "Caddy")],
      ),
  },
  {
    name: "sources that no bundler has seen, on Netlify",
    finding: "import-unresolved",
    isSilent: true,
    line: /"selvedge":"\/selvedge\/selvedge\.min\.js"/,
    make: () => marked("/selvedge/", { head: "" }, [header("*", "X-Nf-Request-Id", "01J")]),
  },
  {
    name: "an import map whose address is a bare name",
    finding: "import-unresolved",
    isSilent: true,
    line: /"selvedge":"\.\/vendor\/ai\/index\.js"/,
    make: () => marked("/vendor/ai/", { head: importMap("vendor/ai/index.js") }),
  },
  {
    name: "an older import map before the right one, under a single-page rule",
    finding: "script-is-html",
    isSilent: true,
    line: /importmap">\{"imports":\{"selvedge":"\/vendor\/ai\/index\.js"\}\}</,
    make: async () => {
      const head = `${importMap("/old/selvedge.js")}${importMap("/vendor/ai/index.js")}`;
      return { ...(await marked("/vendor/ai/", { head })), fallback: "missing" };
    },
  },
  {
    name: "a bundle below a sub-path that is answered as a part of a file, on Express",
    finding: "bundle-partial",
    line: /\/shop\/m\/bundle\.json that have no Range header with status 200/,
    make: () =>
      hashed({
        base: "/shop/",
        options: { model: "m/bundle.json" },
        files: BUNDLE("/shop/m/"),
        partial: /\/bundle\.json$/,
        headers: [header("*", "X-Powered-By", "Express")],
      }),
  },
  {
    name: "a policy in the markup of Vite's page that admits requests of an API alone",
    finding: "csp-connect",
    severity: "warning",
    line: /<meta [^]*connect-src https:\/\/api\.example\.com 'self'/,
    make: () =>
      hashed({
        base: "/docs/",
        headers: [{ ...header("*", POLICY, "connect-src https://api.example.com"), isMeta: true }],
      }),
  },
  {
    name: "a policy in the markup that compiles no WebAssembly of a package on a CDN with a policy of its own",
    finding: "csp-wasm",
    line: /'wasm-unsafe-eval'/,
    make: () =>
      packageElsewhere({ ...header("/", POLICY, "script-src {other}; worker-src blob: {other}"), isMeta: true }, [
        header("*", POLICY, "default-src 'none'; script-src 'wasm-unsafe-eval'; sandbox"),
        header("*", "Server", "cloudflare"),
      ]),
  },
  {
    name: "hashed workers that are compressed twice behind Apache",
    finding: "script-content",
    line: /SetEnvIf Request_URI "\^\/shop\/assets\/worker-/,
    make: async () =>
      changed(
        await hashed({
          base: "/shop/",
          headers: [
            GZIP("/shop/assets/worker-*"),
            GZIP("/shop/assets/ort-*"),
            header("*", "Server", "Apache/2.4.62 (Debian)"),
          ],
          transform: (path, body) => (/\/worker-/.test(path) ? gzipSync(body) : body),
        }),
        /\/(?:worker|ort)-[^/]*\.(?:js|wasm)$/,
        (body) => gzipSync(body, { level: 1 }),
      ),
  },
  {
    name: "hashed workers with a Content-Encoding that they do not have, on Caddy",
    finding: "script-content",
    line: /header \/shop\/assets\/worker-\S+ -Content-Encoding/,
    make: () =>
      hashed({
        base: "/shop/",
        headers: [GZIP("/shop/assets/worker-*"), header("*", "Server", "Caddy")],
        compress: new Set(["application/wasm"]),
      }),
  },
  {
    name: "hashed workers that fail on the server, on Vercel",
    finding: "worker-missing",
    line: /answer requests of \/assets\/worker-\w+-.*status 500/,
    make: () =>
      hashed({
        base: "/",
        headers: [header("*", "X-Vercel-Id", "fra1::x")],
        failing: /\/worker-(?:wasm|jspi)-[^/]*\.js$/,
      }),
  },
  {
    name: "hashed workers that are not deployed, with an engine that starts on a click",
    finding: "worker-missing",
    line: /mkdir -p public\/selvedge\/ && cp /,
    make: async () => without(await hashed({ base: "/shop/", options: { isLazy: true } }), /\/worker-[^/]*\.js$/),
  },
  {
    name: "an import map without the workers, with an engine that starts on a click",
    finding: "worker-missing",
    line: /cp node_modules\/selvedge\/dist\/worker-/,
    make: async () => {
      const site = without(await unbundled("/vendor/ai/"), /\/worker-(?:jspi|wasm|cache)\.js$/);
      site.files.set("/engine.js", Buffer.from(UNBUNDLED));
      site.files.set("/start.js", Buffer.from(`addEventListener("click", () => import("/engine.js"));`));
      site.app.isLazy = true;
      return site;
    },
  },
  {
    name: "an inline import map with a nonce that the policy of another page has, on Caddy",
    finding: "csp-inline",
    isSilent: true,
    line: /Caddyfile[^]*script-src 'self' 'wasm-unsafe-eval' 'nonce-bGFzdA' 'sha256-/,
    make: () =>
      unbundled(
        "/vendor/ai/",
        {
          headers: [
            header("*", POLICY, "default-src 'self' 'wasm-unsafe-eval' 'nonce-bGFzdA'"),
            header("*", "Server", "Caddy"),
          ],
        },
        ` nonce="Zmlyc3Q"`,
      ),
  },
  {
    name: "Vite's output whose script was cut short on its way to nginx",
    finding: "script-syntax",
    isSilent: true,
    line: /npm run build/,
    make: async () =>
      changed(
        await hashed({ base: "/shop/", headers: [header("*", "Server", "nginx/1.27.3")] }),
        /\/main-[^/]*\.js$/,
        (body) => body.subarray(0, body.length >> 1),
      ),
  },
  {
    name: "hashed workers that are brotli without a header, behind Apache",
    finding: "script-content",
    line: /AddEncoding br \.js/,
    make: async () =>
      changed(
        await hashed({ base: "/", headers: [header("*", "Server", "Apache/2.4.62 (Debian)")], ...PACKED }),
        /\/worker-wasm-[^/]*\.js$/,
        (body) => brotliCompressSync(body),
      ),
  },
  {
    name: "an empty hashed worker on Netlify",
    finding: "script-content",
    line: /deploy/,
    make: async () =>
      changed(
        await hashed({ base: "/", headers: [header("*", "X-Nf-Request-Id", "01J")] }),
        /\/worker-wasm-[^/]*\.js$/,
        () => new Uint8Array(),
      ),
  },
  {
    name: "a cache-first service worker below a folder that keeps hashed workers",
    finding: "service-worker-stale",
    line: /\/shop\/service-worker\.js[^]*delete the old cache/,
    make: async () =>
      withServiceWorker(await hashed({ base: "/shop/" }), "/shop/service-worker.js", serviceWorker(STALE)),
  },
  {
    name: "Workbox's list of hashed binaries",
    finding: "pwa-precache",
    severity: "warning",
    line: /globIgnores/,
    make: async () => {
      const list = `self.__WB_MANIFEST = [{ revision: null, url: "assets/ort-jspi-BhX1cz4k.wasm" }];`;
      return withServiceWorker(await hashed({ base: "/app/" }), "/app/sw.js", serviceWorker("", list));
    },
  },
  {
    name: "a package that Vite's dev server has pre-bundled beside a linked one",
    finding: "two-copies",
    severity: "warning",
    line: /optimizeDeps: \{ exclude: \["selvedge"\] \}/,
    make: async () => {
      const cached = "/node_modules/.vite/deps/selvedge.js";
      const linked = "/node_modules/selvedge/dist/index.js";
      const [, code = new Uint8Array()] = [...(await byEsbuild({ minify: false }))][0] ?? [];
      const site = await copied({ app: app({ script: "src/main.js" }) });
      for (const [path, body] of [...site.files])
        if (/worker-|\.wasm$/.test(path)) site.files.set(`/node_modules/selvedge/dist${path}`, body);
      const entry = (...paths: string[]): Uint8Array =>
        Buffer.from(["/@vite/client.js", ...paths].map((x) => `import "${x}";`).join("\n"));
      site.files.set("/@vite/client.js", Buffer.from("// /@vite/client\n"));
      site.files.set(cached, code).set(linked, code);
      site.files.set("/src/main.js", entry(cached, linked));
      return { ...site, mended: new Map([["/src/main.js", entry(linked)]]) };
    },
  },
  {
    name: "a bundle.json of a schema that comes later",
    finding: "bundle-invalid",
    line: /bundle\.json/,
    make: () => brokenBundle((text) => text.replace(/selvedge\/bundle@\d/, "selvedge/bundle@9")),
  },
  {
    name: "a policy with 'strict-dynamic', and a script without its nonce",
    finding: "csp-script",
    isSilent: true,
    line: /nonce=/,
    make: () =>
      copied({ headers: [header("/", POLICY, "script-src 'nonce-YWJj' 'strict-dynamic' 'wasm-unsafe-eval'")] }),
  },
  {
    name: "a policy that sandboxes the page",
    finding: "csp-sandbox",
    isSilent: true,
    line: /sandbox allow-scripts allow-same-origin/,
    make: () => copied({ headers: [header("/", POLICY, "sandbox allow-scripts")] }),
  },
  {
    name: "Vite's hashed script that IIS calls application/octet-stream",
    finding: "script-type",
    isSilent: true,
    line: /mimeMap|text\/javascript/,
    make: async () => {
      const site = await hashed({ base: "/", headers: [header("*", "Server", "Microsoft-IIS/10.0")] });
      site.headers.push(header(`/${site.app.script.replace(/^\//, "")}`, "Content-Type", "application/octet-stream"));
      return site;
    },
  },
  {
    name: "a script whose host allows another origin to read it, behind nginx",
    finding: "script-blocked",
    isSilent: true,
    line: /Access-Control-Allow-Origin/,
    make: async () =>
      scriptElsewhere(await byEsbuild({ path: "/assets/app-3f9c2d1b.js" }), "assets/app-3f9c2d1b.js", [
        header("*", "Access-Control-Allow-Origin", "https://www.example.com"),
        header("*", "Server", "nginx/1.27.3"),
      ]),
  },
  {
    name: "chunks that Cloudflare refuses for too many requests",
    finding: "chunk-limited",
    line: /limit of requests.*\/shop\/m\/chunks\//,
    make: () =>
      hashed({
        base: "/shop/",
        options: { model: "m/bundle.json", isQuiet: true },
        files: BUNDLE("/shop/m/"),
        limited: /\/chunks\//,
        headers: [header("*", "Server", "cloudflare")],
      }),
  },
  {
    name: "hashed binaries that Apache forbids",
    finding: "wasm-forbidden",
    line: /answer \/shop\/assets\/ort-\S+ to every visitor/,
    make: () =>
      hashed({ base: "/shop/", denied: /\.wasm$/, headers: [header("*", "Server", "Apache/2.4.62 (Debian)")] }),
  },
  {
    name: "a bundle below a sub-path that is redirected to a login, on Vercel",
    finding: "bundle-redirected",
    line: /\/app\/m\/bundle\.json with the file/,
    make: () =>
      hashed({
        base: "/app/",
        options: { model: "m/bundle.json", isQuiet: true },
        files: BUNDLE("/app/m/"),
        login: /\/m\//,
        headers: [header("*", "X-Vercel-Id", "fra1::x")],
      }),
  },
  {
    name: "a hashed binary that was cut short on its way to Netlify",
    finding: "wasm-content",
    line: /deploy|cp /,
    make: async () =>
      changed(
        await hashed({ base: "/", headers: [header("*", "X-Nf-Request-Id", "01J")] }),
        /\/ort-wasm-(?!rest)[^/]*\.wasm$/,
        (body) => body.subarray(0, body.length >> 2),
      ),
  },
  {
    name: "hashed binaries that hang behind Caddy",
    finding: "wasm-unreachable",
    isSilent: true,
    line: /answer requests of \/shop\/assets\/ort-.*no answer in 10 s/,
    make: () => hashed({ base: "/shop/", headers: [header("*", "Server", "Caddy")], silent: /\.wasm$/ }),
  },
  {
    name: "a bundle of another version than the app asks for, in Vite's output, which the page shows in its text alone",
    finding: "engine-error",
    line: /^$/,
    evidence: /SelvedgeError code integrity-failed, reason other-version[^]*npx selvedge explain integrity-failed/,
    mendApp: (site) => {
      delete site.app.load;
    },
    make: () =>
      hashed({
        base: "/shop/",
        options: { model: "m/bundle.json", isQuiet: true, load: { identity: "0".repeat(64) } },
        files: BUNDLE("/shop/m/"),
      }),
  },
];
