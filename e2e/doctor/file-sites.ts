// Sites with one file that is lost, empty, redirected to itself or sent as something else: files of the package, of models
// and of the app, whose addresses the fix must have.
import { gzipSync } from "node:zlib";
import { addModel } from "../../lib/test-support/backend-models.ts";
import { GZIP } from "./page-sites.ts";
import { changed, makeSite, packageFiles } from "./site.ts";
import type { Site } from "./site.ts";
import { app, BUNDLE, byEsbuild, copied, FULL, header, LFS, model, POLICY, without } from "./sites.ts";
import type { Broken } from "./sites.ts";
import { hashed, unbundled } from "./twins.ts";

const LABELS = new Map([["/data/labels.txt", Buffer.from("red\ngreen\nblue\n")]]);
/** A page that loads its model with labels from an address. */
const labelled = (given: Partial<Site> = {}, labels = "/data/labels.txt"): Promise<Site> =>
  copied({ files: LABELS, app: app({ load: { labels } }), ...given });
/** A page that loads a bundle, whose chunks are brotli. */
const bundled = (given: Partial<Site> = {}): Promise<Site> =>
  copied({ files: BUNDLE("/m/"), app: app({ model: "m/bundle.json" }), ...given });
/** Each kind of file: its name in ids, the files, and a page that needs them. */
const FILES = [
  ["a binary", "wasm", /\/ort-wasm\.wasm$/, () => copied()],
  ["a model", "model", /\.onnx$/, () => copied()],
  ["a bundle's description", "bundle", /bundle\.json$/, bundled],
  ["a chunk", "chunk", /\/chunks\//, bundled],
  ["a file of labels", "file", /labels/, labelled],
  ["a worker", "worker", /\/worker-wasm\.js$/, () => copied()],
  ["the page's script", "script", /\/main\.js$/, () => copied()],
] as const;
/** Each failure of a request that all kinds of files have alike. */
const FAILURES = [
  ["redirected to itself", "redirected", "loop", /answer \S+ with the file, without a redirect to \S+$/],
  ["forbidden", "forbidden", "denied", /answer \S+ to every visitor/],
  ["refused for too many requests", "limited", "limited", /raise it for \//],
  ["never answered", "unreachable", "silent", /answer requests of \/.*no answer in 10 s/],
] as const;
/** A model with more than 1 MB of text in it. */
const LARGE = Buffer.concat([addModel(), Buffer.from([0x32, 0x80, 0x80, 0x60]), Buffer.alloc(0x60 << 14, "a")]);
/** The broken sites. */
export const FILE_SITES: readonly Broken[] = [
  {
    name: "a file of labels that is missing",
    finding: "file-missing",
    line: /deploy \/data\/labels\.txt/,
    make: async () => without(await labelled(), /labels/),
  },
  {
    name: "a file of labels that is answered with the page",
    finding: "file-is-html",
    line: /answer \/data\/labels\.txt with the file/,
    make: () => labelled({ fallback: /labels/ }),
  },
  {
    name: "a file of labels on another origin without CORS",
    finding: "cors",
    line: /Access-Control-Allow-Origin/,
    evidence: /:\d+\/data\/labels\.txt: Access-Control-Allow-Origin: \(none\)/,
    make: () => labelled({ other: makeSite({ app: app(), files: new Map(LABELS) }) }, "{other}/data/labels.txt"),
  },
  {
    name: "a Git LFS pointer in place of each binary",
    finding: "lfs-pointer",
    line: /git lfs pull.*\/ort-wasm\.wasm/,
    make: async () => changed(await copied(), /\.wasm$/, () => LFS),
  },
  {
    name: "a Git LFS pointer in place of the workers",
    finding: "lfs-pointer",
    line: /git lfs pull.*\/worker-wasm\.js/,
    make: async () => changed(await copied(), /\/worker-.*\.js$/, () => LFS),
  },
  {
    name: "a Git LFS pointer in place of the page's script",
    finding: "lfs-pointer",
    isSilent: true,
    line: /git lfs pull.*\/main\.js/,
    make: async () => changed(await copied(), /\/main\.js$/, () => LFS),
  },
  {
    name: "a policy of the worker that fetches bundles without 'wasm-unsafe-eval'",
    finding: "csp-wasm",
    line: /\(on \/worker-cache\.js\): [^]*connect-src 'self'; script-src 'wasm-unsafe-eval'/,
    make: () => bundled({ headers: [header("/worker-cache.js", POLICY, "default-src 'none'; connect-src 'self'")] }),
  },
  {
    name: "a bundle without the brotli decoder",
    finding: "wasm-missing",
    line: /cp node_modules\/selvedge\/dist.* <output folder>\/selvedge\//,
    make: async () => {
      const site = without(
        await bundled({ app: app({ model: "m/bundle.json", assetsBase: "/selvedge/" }) }),
        /\.wasm$|worker-/,
      );
      for (const [path, body] of packageFiles("/selvedge/")) site.files.set(path, body);
      site.store.clear();
      return without(site, /\/brotli\.wasm$/);
    },
  },
  ...FILES.flatMap(([name, id, pattern, make]) =>
    // The engine waits for labels for longer than the doctor for a page.
    FAILURES.filter(([, , option]) => id !== "file" || option !== "silent").map(
      ([failure, kind, option, line]): Broken => {
        return {
          name: `${name} that is ${failure}`,
          finding: `${id}-${kind}`,
          line,
          ...((id === "script" || kind === "unreachable") && { isSilent: true }),
          make: async () => Object.assign(await make(), { [option]: pattern }),
        };
      },
    ),
  ),
  {
    name: "a file of labels whose connection the server closes",
    finding: "file-unreachable",
    line: /answer requests of \/data\/labels\.txt.*socket hang up/,
    make: () => labelled({ dropped: /labels/ }),
  },
  {
    name: "chunks that are answered as parts of files",
    finding: "chunk-partial",
    line: /\/m\/chunks\/\S+ that have no Range header with status 200/,
    make: () => bundled({ partial: /\/chunks\// }),
  },
  {
    name: "a large model that can't be requested in parts, on Python's server",
    finding: "no-ranges",
    severity: "hint",
    line: /npx serve/,
    evidence: /Range: bytes=0-15 → status 200/,
    make: () =>
      copied({
        files: new Map([["/model.onnx", LARGE]]),
        compress: new Set(["application/wasm"]),
        headers: [header("*", "Server", "SimpleHTTP/0.6 Python/3.13.5")],
      }),
  },
  {
    name: "hashed files in two folders behind nginx that are not cached for long",
    finding: "assets-not-cached",
    severity: "hint",
    line: /\{ "~\^\/shop\/static\/" "[^"]*immutable"; "~\^\/shop\/wasm\/" "[^"]*immutable"; \}\nadd_header Cache-Control \$selvedge_shop_static_/,
    make: () =>
      hashed(
        {
          base: "/shop/",
          compress: new Set(["application/wasm"]),
          headers: [header("*", "Server", "nginx/1.27.3"), header("*", "Cache-Control", "max-age=600")],
        },
        ({ names }) => `${names[0]?.endsWith(".wasm") === true ? "wasm" : "static"}/[name]-[hash][extname]`,
      ),
  },
  {
    name: "the package's module in a folder that is compressed twice",
    finding: "script-content",
    isSilent: true,
    line: /serve \/selvedge\/index\.js as stored/,
    make: async () => {
      const headers = [GZIP("/selvedge/index.js"), GZIP("/selvedge/ort-*")];
      const transform = (path: string, body: Uint8Array) => (/\/index\.js$/.test(path) ? gzipSync(body) : body);
      return changed(await unbundled("/selvedge/", { headers, transform }), /\/(?:index\.js|ort-.*\.wasm)$/, (body) =>
        gzipSync(body, { level: 1 }),
      );
    },
  },
  {
    name: "a page's script that is gzip without a header",
    finding: "script-content",
    isSilent: true,
    line: /Content-Encoding: gzip/,
    make: async () =>
      changed(await copied({ compress: new Set(["application/wasm"]) }), /\/main\.js$/, (body) => gzipSync(body)),
  },
  {
    name: "a page's script in UTF-16",
    finding: "script-content",
    isSilent: true,
    line: /iconv .*main\.js/,
    make: async () =>
      changed(await copied(), /\/main\.js$/, (body) =>
        Buffer.from(`\ufeff${new TextDecoder().decode(body)}`, "utf16le"),
      ),
  },
  {
    name: "the package's module that was cut short",
    finding: "script-syntax",
    isSilent: true,
    line: /cp node_modules\/selvedge\/dist\/index\.js .* <site folder>\/selvedge\//,
    make: async () => changed(await unbundled("/selvedge/"), /\/selvedge\/index\.js$/, (body) => body.subarray(0, -20)),
  },
  {
    name: "chunks of 0 bytes",
    finding: "chunk-changed",
    line: /deploy \/m\/chunks\/\*/,
    evidence: /: 0 bytes, \d+ expected/,
    make: async () => changed(await bundled(), /\/chunks\//, () => new Uint8Array()),
  },
  {
    name: "chunks that were cut short",
    finding: "chunk-changed",
    line: /deploy \/m\/chunks\/\*/,
    make: async () => changed(await bundled(), /\/chunks\//, (body) => body.subarray(0, body.byteLength >> 1)),
  },
  {
    name: "a model of 0 bytes",
    finding: "model-content",
    line: /deploy \/model\.onnx/,
    make: async () => changed(await copied(), /\.onnx$/, () => new Uint8Array()),
  },
  {
    name: "a binary of 0 bytes",
    finding: "wasm-content",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () => changed(await copied(), /\/ort-wasm\.wasm$/, () => new Uint8Array()),
  },
  {
    name: "a model that was not deployed",
    finding: "model-missing",
    line: /deploy \/model\.onnx/,
    make: async () => without(await copied(), /\.onnx$/),
  },
  {
    name: "a model that is answered with the page",
    finding: "model-is-html",
    line: /answer \/model\.onnx with the file/,
    make: () => copied({ fallback: /\.onnx$/ }),
  },
  {
    name: "binaries that are answered with the page",
    finding: "wasm-is-html",
    line: /answer \/ort-wasm\.wasm, \/ort-wasm-rest\.wasm with the file/,
    make: () => copied({ fallback: /\/ort-.*\.wasm$/ }),
  },
  {
    name: "a bundle's description that was not deployed",
    finding: "bundle-missing",
    line: /deploy \/m\/bundle\.json/,
    make: async () => without(await bundled(), /\/bundle\.json$/),
  },
  {
    name: "a bundle's description that is answered with the page",
    finding: "bundle-is-html",
    line: /answer \/m\/bundle\.json with the file/,
    make: () => bundled({ fallback: /\/bundle\.json$/ }),
  },
  {
    name: "chunks that were not deployed",
    finding: "chunk-missing",
    line: /deploy \/m\/chunks\//,
    make: async () => without(await bundled(), /\/chunks\//),
  },
  {
    name: "a bundle's description that is cached for a month",
    finding: "bundle-cached",
    severity: "warning",
    line: /Cache-Control: no-cache/,
    make: () => bundled({ headers: [header("/m/bundle.json", "Cache-Control", "public, max-age=2592000")] }),
  },
  {
    name: "threads on a page without isolation",
    finding: "threads-not-isolated",
    severity: "warning",
    line: /Cross-Origin-Opener-Policy: same-origin[^]*Cross-Origin-Embedder-Policy: require-corp/,
    make: async () =>
      changed(await copied(), /\/main\.js$/, (body) =>
        Buffer.from(
          Buffer.from(body)
            .toString()
            .replace(/\bthreads:\w+(?=,trustedTypesPolicy)/, "threads:2"),
        ),
      ),
  },
  {
    name: "esbuild's IIFE, in which the package has no address",
    finding: "files-moved",
    line: /assetsBase: "\/selvedge\/"/,
    make: async () =>
      makeSite({
        app: app({ isClassic: true }),
        files: new Map([...(await byEsbuild({ format: "iife" })), model()]),
      }),
  },
  {
    name: "a page whose sources were deployed",
    finding: "not-built",
    isSilent: true,
    line: /build/,
    mendApp: (site) => {
      site.app.script = "main.js";
    },
    make: async () => {
      const site = await copied({ app: app({ script: "main.ts" }) });
      site.files.set(
        "/main.ts",
        Buffer.from(`import { createEngine } from "selvedge";\nconst engine: unknown = createEngine();\n`),
      );
      site.types[".ts"] = "video/mp2t";
      return site;
    },
  },
];

/** Sites on which nothing is wrong. */
export const FILE_GOOD: readonly { readonly name: string; make(): Promise<Site> }[] = [
  { name: "a model with labels from a file", make: () => labelled() },
  {
    name: "a plain model, no brotli decoder, and a policy of the worker that fetches without 'wasm-unsafe-eval'",
    make: async () =>
      without(
        await copied({
          headers: [
            header("*", POLICY, FULL),
            header("/worker-cache.js", POLICY, "default-src 'none'; connect-src 'self'"),
          ],
        }),
        /\/brotli\.wasm$/,
      ),
  },
];
