// A twin of each broken site, written after the doctor: the same fault on other hosts, by other tools, under other names.
import { changed, folderFiles, makeSite, packageFiles } from "./site.ts";
import type { App, Site } from "./site.ts";
import { app, BUNDLE, byEsbuild, byVite, copied, FULL, header, LFS, model, POLICY, without } from "./sites.ts";
import type { AssetNames, Broken } from "./sites.ts";
import { join } from "node:path";
import { ROOT } from "../support/prepare.ts";

/** Names that hold nothing but a hash, as webpack's. */
const HASHES = "static/[hash][extname]";

/** Vite's output below a folder, with a model. */
export async function hashed(
  given: Partial<Site> & { readonly base: string; readonly options?: Partial<App> },
  names?: AssetNames,
): Promise<Site> {
  const { files, script } = await byVite(given.base, names);
  const { options, ...rest } = given;
  const all = new Map([...files, model(`${given.base}model.onnx`), ...(given.files ?? [])]);
  return makeSite({ ...rest, app: app({ script, ...options }), files: all });
}

/** Code of a page without a bundler. */
export const UNBUNDLED = `import { createEngine } from "selvedge";
    try { const engine = await createEngine({ backends: ["wasm"] }); const loaded = await engine.load(new URL("model.onnx", document.baseURI).href);
    const { outputs } = await loaded.run({ a: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) }, b: { dtype: "float32", dims: [1, 3], data: new Float32Array([10, 20, 30]) } });
    document.title = "answer " + [...outputs.y.data].join(" "); } catch (error) { console.error(error); document.title = "failed: " + error; }`;

/** The package's modules as they are, by an import map. */
export async function unbundled(folder: string, given: Partial<Site> = {}, attributes = ""): Promise<Site> {
  const code = Buffer.from(UNBUNDLED);
  const head = `<script type="importmap"${attributes}>{"imports":{"selvedge":"${folder}index.js"}}</script>`;
  const dist = [...folderFiles(join(ROOT, "dist"), folder)].filter(
    ([path]) => /\.(?:js|wasm)$/.test(path) && !/\/(?:cli|compress)/.test(path),
  );
  const files = new Map([...dist, model(), ["/start.js", code] as const]);
  return makeSite({ ...given, app: app({ script: "start.js", head }), files });
}

/** Twins, by the names of the sites. */
export const TWINS: readonly Broken[] = [
  {
    name: "a binary with a hash for a name that is missing behind nginx",
    finding: "wasm-missing",
    line: /deploy|cp /,
    make: async () =>
      without(
        await hashed({ base: "/shop/", headers: [header("*", "Server", "nginx/1.27.3")] }, HASHES),
        /static\/(?!.*worker).*\.wasm$/,
      ),
  },
  {
    name: "an import map without the workers, on Caddy",
    finding: "worker-missing",
    line: /cp node_modules\/selvedge\/dist/,
    make: async () =>
      without(
        await unbundled("/vendor/selvedge/", { headers: [header("*", "Server", "Caddy")] }),
        /\/worker-(?:jspi|wasm|cache)\.js$|\.wasm$/,
      ),
  },
  {
    name: "hashed workers that were not deployed to Netlify, under its single-page rule",
    finding: "worker-is-html",
    line: /_redirects|deploy/,
    make: async () =>
      without(
        await hashed({ base: "/", fallback: "missing", headers: [header("*", "X-Nf-Request-Id", "01J")] }),
        /\/worker-(?!offline)[^/]*\.js$|\.wasm$/,
      ),
  },
  {
    name: "chunks below a sub-path that Express answers with the page",
    finding: "chunk-is-html",
    line: /express\.static/,
    make: () =>
      hashed({
        base: "/a/b/",
        options: { model: "assets/models/shoes/bundle.json" },
        files: BUNDLE("/a/b/assets/models/shoes/"),
        fallback: /\/[\da-f]{64}/,
        headers: [header("*", "X-Powered-By", "Express")],
      }),
  },
  {
    name: "binaries without a type behind Apache, with hashes for names",
    finding: "wasm-type",
    severity: "warning",
    line: /AddType application\/wasm/,
    make: async () => {
      const site = await hashed({ base: "/shop/", headers: [header("*", "Server", "Apache/2.4.62 (Debian)")] }, HASHES);
      delete site.types[".wasm"];
      return site;
    },
  },
  {
    name: "workers as application/octet-stream on IIS, by assetsBase",
    finding: "script-type",
    line: /mimeMap.*text\/javascript/,
    make: async () => {
      const site = without(
        await copied({
          app: app({ assetsBase: "static/engine/" }),
          headers: [
            header("*", "Server", "Microsoft-IIS/10.0"),
            header("/static/engine/worker-*", "Content-Type", "application/octet-stream"),
            header("*", "X-Content-Type-Options", "nosniff"),
          ],
        }),
        /worker-|\.wasm$/,
      );
      for (const [path, body] of packageFiles("/static/engine/")) site.files.set(path, body);
      return site;
    },
  },
  {
    name: "a policy in the markup that lets no WebAssembly compile",
    finding: "csp-wasm",
    severity: "warning",
    line: /'wasm-unsafe-eval'/,
    make: () =>
      hashed({
        base: "/docs/",
        headers: [{ ...header("*", POLICY, "script-src 'self'; object-src 'none'"), isMeta: true }],
      }),
  },
  {
    name: "a policy whose child-src refuses workers, on Vercel",
    finding: "csp-worker",
    line: /vercel\.json[^]*worker-src 'self'/,
    make: () =>
      hashed({
        base: "/",
        headers: [
          header("*", POLICY, "script-src 'self' 'wasm-unsafe-eval'; child-src https://frames.example"),
          header("*", "X-Vercel-Id", "fra1::x"),
        ],
      }),
  },
  {
    name: "a policy without the models' origin, which has CORS",
    finding: "csp-connect",
    line: /connect-src 'self' http:\/\/127\.0\.0\.1:\d+/,
    make: () =>
      hashed({
        base: "/",
        options: { model: "{other}/m/model.onnx" },
        headers: [header("*", POLICY, FULL)],
        other: makeSite({
          app: app(),
          files: new Map([model("/m/model.onnx")]),
          headers: [header("*", "Access-Control-Allow-Origin", "*")],
        }),
      }),
  },
  {
    name: "Trusted Types that allow another library's policy alone",
    finding: "trusted-types",
    line: /trustedTypesPolicy/,
    make: () =>
      hashed({
        base: "/x/",
        headers: [header("*", POLICY, `${FULL}; trusted-types dompurify; require-trusted-types-for 'script'`)],
      }),
  },
  {
    name: "COEP credentialless on the page alone, behind nginx",
    finding: "coep-worker",
    line: /map \$uri (\$\w+) \{ [^}]*"~\^\/shop\/assets\/" "credentialless"; [^}]*\}\nadd_header Cross-Origin-Embedder-Policy \1 always;/,
    make: () =>
      hashed({
        base: "/shop/",
        headers: [
          header("/shop/", "Cross-Origin-Embedder-Policy", "credentialless"),
          header("/shop/", "Cross-Origin-Opener-Policy", "same-origin"),
          header("*", "Server", "nginx"),
        ],
      }),
  },
  {
    name: "a bundle on another origin that allows another page",
    finding: "cors",
    line: /Access-Control-Allow-Origin/,
    make: () =>
      hashed({
        base: "/",
        options: { model: "{other}/cdn/shoes/bundle.json" },
        other: makeSite({
          app: app(),
          files: BUNDLE("/cdn/shoes/"),
          headers: [header("*", "Access-Control-Allow-Origin", "https://shop.example")],
        }),
      }),
  },
  {
    name: "a built app on a network address",
    finding: "insecure-context",
    severity: "warning",
    line: /https/,
    make: () => hashed({ base: "/app/", hostname: "0.0.0.0" }),
  },
  {
    name: "a worker of another version in a folder of its own",
    finding: "version-mismatch",
    line: /cp node_modules\/selvedge\/dist|assetsBase/,
    make: async () => {
      const site = without(await copied({ app: app({ assetsBase: "/lib/ai/" }) }), /worker-|\.wasm$/);
      for (const [path, body] of packageFiles("/lib/ai/")) site.files.set(path, body);
      site.files.set("/lib/ai/worker-wasm.js", site.files.get("/lib/ai/worker-jspi.js") ?? new Uint8Array());
      return site;
    },
  },
  {
    name: "Git LFS pointers as a bundle's chunks",
    finding: "lfs-pointer",
    line: /git lfs pull/,
    make: async () => {
      const site = await hashed({ base: "/w/", options: { model: "shoes/bundle.json" }, files: BUNDLE("/w/shoes/") });
      for (const [path, body] of site.files)
        if (path.includes("/chunks/")) {
          site.store.set(path, body);
          site.files.set(path, LFS);
        }
      return site;
    },
  },
  {
    name: "chunks whose line ends a deployment has changed",
    finding: "chunk-changed",
    line: /deploy \/w\/shoes\/chunks/,
    evidence: /expected/,
    make: async () => {
      const given = { base: "/w/", options: { model: "shoes/bundle.json" }, files: BUNDLE("/w/shoes/") };
      return changed(await hashed(given), /\/chunks\//, (body) =>
        Buffer.from(Buffer.from(body).toString("latin1").replaceAll("\n", "\r\n"), "latin1"),
      );
    },
  },
  {
    name: "a package that Nuxt's dev server has pre-bundled",
    finding: "vite-prebundled",
    line: /nuxt\.config.*optimizeDeps: \{ exclude: \["selvedge"\] \}/,
    make: async () => {
      const path = "/_nuxt/@fs/home/me/shop/node_modules/.cache/vite/client/deps/selvedge.js";
      const [, code = new Uint8Array()] = [...(await byEsbuild({ minify: false, path }))][0] ?? [];
      const entry = "/_nuxt/@fs/home/me/shop/pages/index.vue.js";
      const right = "/_nuxt/@fs/home/me/shop/node_modules/selvedge/dist/";
      return makeSite({
        app: app({ script: entry.slice(1) }),
        files: new Map([
          [entry, Buffer.from(`import "/_nuxt/@vite/client.js";\nimport "${path}?v=9ab3c2d1";`)],
          ["/_nuxt/@vite/client.js", Buffer.from("")],
          [path, code],
          model(),
        ]),
        mended: new Map([
          [entry, Buffer.from(`import "/_nuxt/@vite/client.js";\nimport "${right}index.js";`)],
          [`${right}index.js`, code],
          ...packageFiles(right),
        ]),
      });
    },
  },
  {
    name: "a model on another origin without validators, which is cached for a minute",
    finding: "model-no-validator",
    severity: "warning",
    line: /ETag/,
    make: () =>
      hashed({
        base: "/",
        options: { model: "{other}/v3/weights.onnx" },
        other: makeSite({
          app: app(),
          validators: false,
          files: new Map([model("/v3/weights.onnx")]),
          headers: [header("*", "Access-Control-Allow-Origin", "*"), header("*", "Cache-Control", "max-age=60")],
        }),
      }),
  },
  {
    name: "binaries that nginx does not compress, with hashes for names",
    finding: "wasm-uncompressed",
    severity: "warning",
    line: /gzip_types .*application\/wasm/,
    make: () =>
      hashed(
        {
          base: "/shop/",
          compress: new Set(["text/javascript", "text/html"]),
          headers: [header("*", "Server", "nginx")],
        },
        HASHES,
      ),
  },
];
