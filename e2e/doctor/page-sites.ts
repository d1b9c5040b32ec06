// Sites whose page itself is broken, before or around the package's files, each with a twin (page-twins.ts) on other hosts
// and by other tools: scripts that a policy blocks or that can't be parsed, workers that are compressed without a word,
// service workers of the app, two copies of the package.
import { gzipSync } from "node:zlib";
import { changed, makeSite, packageFiles } from "./site.ts";
import type { App, HeaderRule, Site } from "./site.ts";
import { app, BUNDLE, byEsbuild, copied, header, model, OWN_WORKER, POLICY, without } from "./sites.ts";
import type { Broken } from "./sites.ts";
import { hashed, unbundled, UNBUNDLED } from "./twins.ts";

const SELF = "worker-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
/** A host that compresses binaries. */
export const PACKED = { compress: new Set(["application/wasm"]) } as const;
const textOf = (body: Uint8Array | undefined): string => new TextDecoder().decode(body);

/** Claims its pages, and does what the code of its `fetch` event says. */
export const serviceWorker = (onFetch = "", head = ""): Uint8Array =>
  Buffer.from(`${head}
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  ${onFetch}
});`);

/** Answers workers with those of an older release, as a cache that outlives an update. */
export const STALE = `if (/\\/worker-(jspi|wasm|cache)/.test(pathname))
    event.respondWith(fetch(event.request).then((x) => x.text()).then((text) =>
      new Response(text.replaceAll(/\\b0\\.1\\.0\\+[0-9a-f]{8}/g, "0.0.9+00000000"), { headers: { "content-type": "text/javascript" } })));`;

/** Adds a service worker: a broken one, and the right one for its fix. */
export function withServiceWorker(site: Site, path: string, broken: Uint8Array): Site {
  site.files.set(path, broken);
  site.store.set(path, serviceWorker());
  site.app.serviceWorker = path;
  return site;
}

export const importMap = (address: string): string =>
  `<script type="importmap">{"imports":{"selvedge":"${address}"}}</script>`;
/** A module in the page's markup. */
const INLINE = `<script type="module">${UNBUNDLED}</script>`;
export const GZIP = (path: string): HeaderRule => header(path, "Content-Encoding", "gzip");

/** A page without a bundler that has other markup than it should. */
export async function marked(folder: string, change: Partial<App>, headers: HeaderRule[] = []): Promise<Site> {
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
    line: /connect-src 'self' http:\/\/127\.0\.0\.1:\d+/,
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
    line: /script-src 'self' 'wasm-unsafe-eval' 'sha256-[\w+/]{43}='/,
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
    line: /script-src https:\/\/cdn\.example\.com 'wasm-unsafe-eval' 'self'/,
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
    line: /sandbox allow-same-origin allow-forms allow-scripts/,
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
export async function packageElsewhere(policy: HeaderRule, headers: readonly HeaderRule[] = []): Promise<Site> {
  const files = new Map([...(await byEsbuild()), ...packageFiles("/")]);
  return makeSite({
    app: app({ script: "{other}/main.js" }),
    files: new Map([model()]),
    headers: [policy],
    other: makeSite({ app: app(), files, headers: [CORS, ...headers] }),
  });
}

/** A page whose script and own worker, with the engine, are on another origin. */
export async function workerElsewhere(
  folder: string,
  worker: string,
  headers: readonly HeaderRule[] = [],
): Promise<Site> {
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
export function scriptElsewhere(files: Map<string, Uint8Array>, script: string, headers: HeaderRule[]): Promise<Site> {
  const other = makeSite({ app: app(), files, headers });
  return copied({ app: app({ script: `{other}/${script}`, assetsBase: "/" }), other });
}

/** A bundle that is broken, on a page that shows the error in its text alone. */
export async function brokenBundle(change: (text: string) => string): Promise<Site> {
  const site = await copied({ files: BUNDLE("/m/"), app: app({ model: "m/bundle.json", isQuiet: true }) });
  return changed(site, /\/bundle\.json$/, (body) => Buffer.from(change(textOf(body))));
}
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
