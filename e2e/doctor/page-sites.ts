// Sites whose page itself is broken, before or around the package's files, each with a twin on other hosts and by other
// tools: scripts that a policy blocks or that can't be parsed, workers that are compressed without a word, service workers
// of the app, two copies of the package.
import { brotliCompressSync, gzipSync } from "node:zlib";
import { makeSite, packageFiles } from "./site.ts";
import type { App, HeaderRule, Site } from "./site.ts";
import { app, BUNDLE, byEsbuild, copied, header, model, OWN_WORKER, POLICY, without } from "./sites.ts";
import type { Broken } from "./sites.ts";
import { hashed, unbundled, UNBUNDLED } from "./twins.ts";

const SELF = "worker-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
/** A host that compresses binaries. */
const PACKED = { compress: new Set(["application/wasm"]) } as const;
const textOf = (body: Uint8Array | undefined): string => new TextDecoder().decode(body);

/** Replaces files that match, and keeps the right ones for a fix. */
export function changed(site: Site, pattern: RegExp, change: (body: Uint8Array) => Uint8Array): Site {
  const paths = [...site.files.keys()].filter((x) => pattern.test(x));
  if (paths.length === 0) throw new Error(`the site has no ${String(pattern)}`);
  for (const path of paths) {
    const body = site.files.get(path) ?? new Uint8Array();
    site.store.set(path, body);
    site.files.set(path, change(body));
  }
  return site;
}

/** Claims its pages, and does what the code of its `fetch` event says. */
const serviceWorker = (onFetch = "", head = ""): Uint8Array =>
  Buffer.from(`${head}
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  ${onFetch}
});`);

/** Answers workers with those of an older release, as a cache that outlives an update. */
const STALE = `if (/\\/worker-(jspi|wasm|cache)/.test(pathname))
    event.respondWith(fetch(event.request).then((x) => x.text()).then((text) =>
      new Response(text.replaceAll(/\\b0\\.1\\.0\\+[0-9a-f]{8}/g, "0.0.9+00000000"), { headers: { "content-type": "text/javascript" } })));`;

/** Adds a service worker: a broken one, and the right one for its fix. */
function withServiceWorker(site: Site, path: string, broken: Uint8Array): Site {
  site.files.set(path, broken);
  site.store.set(path, serviceWorker());
  site.app.serviceWorker = path;
  return site;
}

const importMap = (address: string): string =>
  `<script type="importmap">{"imports":{"selvedge":"${address}"}}</script>`;
/** A module in the page's markup. */
const INLINE = `<script type="module">${UNBUNDLED}</script>`;
export const GZIP = (path: string): HeaderRule => header(path, "Content-Encoding", "gzip");

/** A page without a bundler that has other markup than it should. */
async function marked(folder: string, change: Partial<App>, headers: HeaderRule[] = []): Promise<Site> {
  const site = await unbundled(folder, { headers });
  Object.assign(site.app, change);
  return site;
}

/** The broken sites. */
export const PAGE_SITES: readonly Broken[] = [
  {
    name: "a bundled script whose tag has no type",
    finding: "script-not-module",
    isSilent: true,
    line: /<script type="module" src="\/main\.js">/,
    make: () => copied({ app: app({ isClassic: true }) }),
  },
  {
    name: "an import map with a comma too many",
    finding: "import-map-invalid",
    isSilent: true,
    line: /importmap">\{"imports":\{"selvedge":"\/selvedge\/index\.js"\}\}</,
    make: () => marked("/selvedge/", { head: importMap("/selvedge/index.js").replace("}}", ",}}") }),
  },
  {
    name: "an inline module, and no import map",
    finding: "import-unresolved",
    isSilent: true,
    line: /"selvedge":"\/selvedge\/selvedge\.min\.js"/,
    make: () => marked("/selvedge/", { head: INLINE, script: "" }),
  },
  {
    name: "an import map after the module that needs it",
    finding: "import-unresolved",
    isSilent: true,
    line: /before its first module[^]*"selvedge":"\/selvedge\/index\.js"/,
    make: () => marked("/selvedge/", { head: INLINE, script: "", tail: importMap("/selvedge/index.js") }),
  },
  {
    name: "an import map that leads to another folder",
    finding: "script-missing",
    isSilent: true,
    line: /importmap">\{"imports":\{"selvedge":"\/selvedge\/selvedge\.min\.js"\}\}</,
    make: () => marked("/selvedge/", { head: importMap("/lib/selvedge.min.js") }),
  },
  {
    name: "a model that is answered as a part of a file",
    finding: "model-partial",
    line: /\/model\.onnx that have no Range header with status 200/,
    make: () => copied({ partial: /\.onnx$/ }),
  },
  {
    name: "a policy of the page alone without requests, while workers have none",
    finding: "csp-connect",
    severity: "warning",
    line: /connect-src 'self'/,
    make: () =>
      copied({
        headers: [header("/", POLICY, "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; img-src data:")],
      }),
  },
  {
    name: "a package on another origin, from which the policy lets nothing be fetched",
    finding: "csp-connect",
    line: /connect-src http:\/\/127\.0\.0\.1:\d+/,
    make: () =>
      packageElsewhere(
        header(
          "/",
          POLICY,
          "script-src {other} 'wasm-unsafe-eval'; worker-src 'self' blob: {other}; connect-src 'self'",
        ),
      ),
  },
  {
    name: "binaries that are stored by gzip, and that the host compresses again",
    finding: "wasm-content",
    line: /serve \/ort-wasm\.wasm as stored/,
    make: async () =>
      changed(
        await copied({ ...PACKED, compress: new Set(PACKED.compress), headers: [GZIP("/ort-*")] }),
        /\/ort-.*\.wasm$/,
        (body) => gzipSync(body, { level: 1 }),
      ),
  },
  {
    name: "binaries with a Content-Encoding that they do not have",
    finding: "wasm-content",
    line: /send \/ort-wasm\.wasm without Content-Encoding: gzip/,
    make: () => copied({ headers: [GZIP("/ort-*")] }),
  },
  {
    name: "a binary that fails on the server",
    finding: "wasm-missing",
    line: /answer requests of \/ort-wasm\.wasm.*status 500/,
    make: () => copied({ failing: /\/ort-wasm\.wasm$/ }),
  },
  {
    name: "an inline import map under a policy that admits files alone",
    finding: "csp-inline",
    isSilent: true,
    line: /script-src 'sha256-[\w+/]{43}='/,
    make: () => unbundled("/selvedge/", { headers: [header("*", POLICY, SELF)] }),
  },
  {
    name: "a page's script with a syntax error",
    finding: "script-syntax",
    isSilent: true,
    line: /npm run build.*\/main\.js/,
    make: async () => changed(await copied(), /^\/main\.js$/, (body) => Buffer.from(`${textOf(body)}\n}`)),
  },
  {
    name: "workers that are gzip without a header",
    finding: "script-content",
    line: /Content-Encoding: gzip/,
    make: async () => changed(await copied(PACKED), /worker-wasm\.js$/, (body) => gzipSync(body)),
  },
  {
    name: "a worker of 0 bytes",
    finding: "script-content",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () => changed(await copied(), /worker-cache\.js$/, () => new Uint8Array()),
  },
  {
    name: "a service worker that answers with the workers of an older release",
    finding: "service-worker-stale",
    line: /delete the old cache/,
    make: async () => withServiceWorker(await copied(), "/sw.js", serviceWorker(STALE)),
  },
  {
    name: "a service worker that precaches the binaries",
    finding: "pwa-precache",
    severity: "warning",
    line: /globIgnores/,
    make: async () =>
      withServiceWorker(
        await copied(),
        "/sw.js",
        serviceWorker("", `const files = [{ url: "/main.js" }, { url: "/ort-wasm.wasm" }];`),
      ),
  },
  {
    name: "two scripts with a copy of the package each",
    finding: "two-copies",
    severity: "warning",
    line: /npm dedupe selvedge/,
    make: async () => {
      const widget = await byEsbuild({ path: "/widget.js" });
      const head = `<script type="module" src="/widget.js"></script>`;
      const mended = new Map([["/widget.js", Buffer.from(`import "./main.js";`)]]);
      return copied({ app: app({ head }), files: widget, mended });
    },
  },
  {
    name: "a bundle.json that begins with a comment",
    finding: "bundle-invalid",
    line: /bundle\.json/,
    make: () => brokenBundle((text) => `// made by us\n${text}`),
  },
  {
    name: "a policy that admits another host's scripts alone",
    finding: "csp-script",
    isSilent: true,
    line: /script-src 'self'/,
    make: () =>
      copied({
        headers: [header("/", POLICY, "script-src https://cdn.example.com 'wasm-unsafe-eval'; worker-src 'self'")],
      }),
  },
  {
    name: "a page's script that the server calls text/plain",
    finding: "script-type",
    isSilent: true,
    line: /text\/javascript/,
    make: () => copied({ headers: [header("/main.js", "Content-Type", "text/plain")] }),
  },
  {
    name: "a policy that sandboxes the page without its scripts",
    finding: "csp-sandbox",
    isSilent: true,
    line: /sandbox allow-scripts/,
    make: () => copied({ headers: [header("/", POLICY, "sandbox allow-same-origin allow-forms")] }),
  },
  {
    name: "a worker of the app on another origin, which holds the engine",
    finding: "worker-other-origin",
    line: /new Blob\(\['import "http:\/\/127\.0\.0\.1:\d+\/reader\.js"'\]/,
    evidence: /new Worker\("http\S+reader\.js"\): SecurityError/,
    make: () => workerElsewhere("/", "reader.js"),
  },
  {
    name: "workers and binaries on another origin, which allows the page's script alone",
    finding: "cors",
    line: /Access-Control-Allow-Origin/,
    evidence: /worker-(?:wasm|cache)\.js: Access-Control-Allow-Origin: \(none\)/,
    make: async () => {
      const files = new Map([...(await byEsbuild()), ...packageFiles("/")]);
      const other = makeSite({ app: app(), files, headers: [{ ...CORS, path: "/main.js" }] });
      return makeSite({ app: app({ script: "{other}/main.js" }), files: new Map([model()]), other });
    },
  },
  {
    name: "a line that breaks, and a proxy that cuts parts out of what it compressed",
    finding: "range-wrong",
    line: /\/model\.onnx/,
    evidence: /bytes=0-15 → 206, bytes 0-15\/\d+/,
    make: () => copied({ breaks: /\.onnx$/, ranges: "compressed" }),
  },
  {
    name: "a script on another origin without CORS",
    finding: "script-blocked",
    isSilent: true,
    line: /Access-Control-Allow-Origin: http:\/\/127\.0\.0\.1:\d+/,
    make: async () => scriptElsewhere(await byEsbuild(), "main.js", []),
  },
  {
    name: "a model that the host refuses for too many requests",
    finding: "model-limited",
    line: /limit of requests.*\/model\.onnx/,
    make: () => copied({ limited: /\.onnx$/, app: app({ isQuiet: true }) }),
  },
  {
    name: "a model that the host forbids",
    finding: "model-forbidden",
    line: /answer \/model\.onnx to every visitor/,
    make: () => copied({ denied: /\.onnx$/, app: app({ isQuiet: true }) }),
  },
  {
    name: "a model that is redirected to a login",
    finding: "model-redirected",
    line: /\/model\.onnx with the file, without a redirect to \/login/,
    make: () => copied({ login: /\.onnx$/, app: app({ isQuiet: true }) }),
  },
  {
    name: "a binary that was cut short",
    finding: "wasm-content",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () => changed(await copied(), /\/ort-wasm\.wasm$/, (body) => body.subarray(0, 2 ** 20)),
  },
  {
    name: "binaries whose requests the server never answers",
    finding: "wasm-unreachable",
    isSilent: true,
    line: /proxy before it: answer requests of \/ort-.*no answer in 10 s/,
    make: () => copied({ silent: /\/ort-.*\.wasm$/ }),
  },
  {
    name: "a model that ONNX Runtime refuses, which the page shows in its text alone",
    finding: "engine-error",
    line: /^$/,
    evidence: /SelvedgeError code model-invalid, reason onnx[^]*npx selvedge explain model-invalid/,
    mendApp: restore,
    make: async () => changed(await copied({ app: app({ isQuiet: true }) }), /\.onnx$/, (body) => body.subarray(0, -9)),
  },
];

/** Puts the right content in the place of all that is wrong. */
function restore(site: Site): void {
  for (const [path, body] of site.store) site.files.set(path, body);
}

const CORS = header("*", "Access-Control-Allow-Origin", "*");

/** A page whose script and package are on another origin, from which its workers start by blob: addresses. */
async function packageElsewhere(policy: HeaderRule, headers: readonly HeaderRule[] = []): Promise<Site> {
  const files = new Map([...(await byEsbuild()), ...packageFiles("/")]);
  return makeSite({
    app: app({ script: "{other}/main.js" }),
    files: new Map([model()]),
    headers: [policy],
    other: makeSite({ app: app(), files, headers: [CORS, ...headers] }),
  });
}

/** A page whose script and own worker, with the engine, are on another origin. */
async function workerElsewhere(folder: string, worker: string, headers: readonly HeaderRule[] = []): Promise<Site> {
  const script = (start: string): Uint8Array =>
    Buffer.from(`const url = new URL("./${worker}", import.meta.url).href;
try {
  const worker = ${start};
  worker.onmessage = ({ data }) => { document.title = data; };
  worker.postMessage(new URL("model.onnx", document.baseURI).href);
} catch (error) {
  console.error(error);
  document.title = \`failed: \${error}\`;
}`);
  const blob = "URL.createObjectURL(new Blob([`import ${JSON.stringify(url)}`], { type: 'text/javascript' }))";
  const files = new Map([
    [`${folder}main.js`, script('new Worker(url, { type: "module" })')],
    ...(await byEsbuild({ entry: OWN_WORKER, path: `${folder}${worker}` })),
    ...packageFiles(folder),
  ]);
  return makeSite({
    app: app({ script: `{other}${folder}main.js` }),
    files: new Map([model()]),
    mended: new Map([[`${folder}main.js`, script(`new Worker(${blob}, { type: "module" })`)]]),
    other: makeSite({ app: app(), files, headers: [CORS, ...headers] }),
  });
}

/** A page whose script is on another origin; the workers are on its own. */
function scriptElsewhere(files: Map<string, Uint8Array>, script: string, headers: HeaderRule[]): Promise<Site> {
  const other = makeSite({ app: app(), files, headers });
  return copied({ app: app({ script: `{other}/${script}`, assetsBase: "/" }), other });
}

/** A bundle that is broken, on a page that shows the error in its text alone. */
async function brokenBundle(change: (text: string) => string): Promise<Site> {
  const site = await copied({ files: BUNDLE("/m/"), app: app({ model: "m/bundle.json", isQuiet: true }) });
  return changed(site, /\/bundle\.json$/, (body) => Buffer.from(change(textOf(body))));
}

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
    line: /connect-src 'self'/,
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
    line: /SetEnvIf Request_URI "\/shop\/assets\/worker-/,
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
    line: /sandbox allow-same-origin/,
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

/** Sites on which nothing is wrong. */
export const PAGE_GOOD: readonly { readonly name: string; make(): Promise<Site> }[] = [
  {
    name: "a package on another origin whose engine starts on a click",
    make: async () => {
      const site = await packageElsewhere(header("/", "X-Frame-Options", "DENY"));
      site.app.isLazy = true;
      return site;
    },
  },
  {
    name: "a folder and a model that code computes, with an engine that starts on a click",
    make: async () => {
      const tail = "<script>const open = (name) => fetch(`/models/${name}.onnx`); const names = ['cat.onnx'];</script>";
      const site = without(
        await copied({ app: app({ assetsBase: "/selvedge/", isLazy: true, tail }) }),
        /worker-|\.wasm$/,
      );
      for (const [path, body] of packageFiles("/selvedge/")) site.files.set(path, body);
      return site;
    },
  },
  {
    name: "a script of another host that this machine does not reach",
    make: () => copied({ app: app({ head: `<script async src="http://127.0.0.1:1/measure.js"></script>` }) }),
  },
  {
    name: "binaries that are answered whole with status 206",
    make: () => copied({ partial: /\.wasm$/ }),
  },
  {
    name: "hashed workers and binaries that are answered whole with status 206, behind nginx",
    make: () =>
      hashed(
        { base: "/shop/", headers: [header("*", "Server", "nginx/1.27.3")], partial: /\.wasm$|worker-[^/]*\.js$/ },
        "static/[name]-[hash][extname]",
      ),
  },
  {
    name: "an import map with the policy's nonce",
    make: () =>
      unbundled("/selvedge/", { headers: [header("*", POLICY, `${SELF} 'nonce-Zmlyc3Q'`)] }, ` nonce="Zmlyc3Q"`),
  },
  {
    name: "a script with the nonce of a strict policy, and another policy in a comment",
    make: () => {
      const head = `<!-- <meta http-equiv="Content-Security-Policy" content="default-src 'none'"> -->`;
      return copied({
        app: app({ nonce: "YWJj", head }),
        headers: [header("/", POLICY, "script-src 'nonce-YWJj' 'strict-dynamic' 'wasm-unsafe-eval'")],
      });
    },
  },
  {
    name: "a service worker that leaves requests alone",
    make: async () => withServiceWorker(await copied(), "/sw.js", serviceWorker()),
  },
];
