import { expect, test } from "vitest";
import type { Bundler, Change, Host } from "./evidence.ts";
import { fixOf } from "./fixes.ts";
import { BUNDLERS, CHANGES, HOSTS, fixFor, linesFor } from "./../test-support/doctor-fixes.ts";

test("each change has a line for each host and bundler, which names what is changed", () => {
  const words: Readonly<Record<string, RegExp>> = {
    header: /require-corp|no-cache/,
    type: /application\/wasm/,
    copy: /deploy|node_modules\/selvedge\/dist/,
    csp: /worker-src 'self'/,
    compress: /application\/wasm/,
    "secure-context": /https/,
    "no-header": /Content-Encoding/,
    ranges: /206|proxy_force_ranges|express\.static|npx serve/,
    allow: /\/m\/model\.onnx to every visitor/,
    whole: /\/m\/model\.onnx .*status 200/,
    https: /^"https:\/\/models\.example\/m\.onnx"/,
    "import-map": /"selvedge":"\/selvedge\/selvedge\.min\.js"/,
    module: /type="module"/,
    "worker-by-blob": /new Blob\(\['import "https:\/\/cdn\.example\/reader\.js"'\]/,
    build: /build.* && npx selvedge doctor|webpack && npx selvedge doctor|nuxt generate/,
  };
  for (const host of HOSTS)
    for (const bundler of BUNDLERS)
      for (const change of CHANGES) {
        const evidence = { stack: { host, bundler, isDev: false }, url: "http://192.168.1.4:5173/" };
        const { where, line } = fixOf(change, evidence);
        expect([host, bundler, where.length > 0, line]).toEqual([
          host,
          bundler,
          true,
          expect.stringMatching(words[change.kind] ?? /./),
        ]);
      }
});

test("an apostrophe in a worker's address does not end the text of the line", () => {
  const url = "https://cdn.example/o'brien/reader.js";
  const evidence = { stack: { host: null, bundler: null, isDev: false }, url: "https://x.example/" };
  const { line } = fixOf({ kind: "worker-by-blob", url }, evidence);
  expect(line).toContain(`new Blob(['import "https://cdn.example/o%27brien/reader.js"'],`);
});

test("a line for a shell has no braces, which sh does not expand", () => {
  for (const bundler of BUNDLERS)
    for (const change of [...CHANGES, { kind: "same-origin-files" } as const]) {
      const { line } = fixOf(change, { stack: { host: null, bundler, isDev: false }, url: "https://x.example/" });
      expect(line).not.toMatch(/\bcp [^;]*\{[^}]*\} /);
    }
});

test("files of the package are copied into a folder that is made first: the output, or that of a site without a build", () => {
  const lineFor = (bundler: Bundler | null, change: Change): readonly [where: string, line: string] => {
    const { where, line } = fixOf(change, { stack: { host: null, bundler, isDev: false }, url: "https://x.example/" });
    return [where, line];
  };
  const copy: Change = { kind: "copy", files: ["selvedge.min.js", "worker-*.js", "*.wasm"], to: "/selvedge/" };
  const cp =
    "cp node_modules/selvedge/dist/selvedge.min.js node_modules/selvedge/dist/worker-*.js node_modules/selvedge/dist/*.wasm";
  expect(lineFor("importmap", copy)).toEqual([
    "the site's folder",
    `mkdir -p <site folder>/selvedge/ && ${cp} <site folder>/selvedge/`,
  ]);
  expect(lineFor("esbuild", copy)).toEqual([
    "after the build",
    `mkdir -p <output folder>/selvedge/ && ${cp} <output folder>/selvedge/`,
  ]);
  for (const bundler of BUNDLERS)
    for (const change of [copy, { kind: "same-origin-files" } as const])
      expect(lineFor(bundler, change)[1]).toMatch(/"glob": |\bmkdir -p (\S.*?\/) && cp .* \1(?: |$)/);
  // Parcel needs no setting for the package, and has no folder that it copies.
  const lost: Change = { kind: "copy", files: ["worker-*.js", "*.wasm"], to: "/" };
  expect(lineFor("parcel", lost)).toEqual([
    "the output of parcel, and what is deployed of it",
    expect.stringMatching(
      /^deploy the output folder .*; or, after each build, mkdir -p dist\/selvedge\/ && cp .* dist\/selvedge\/ and createEngine/,
    ),
  ]);
});

test("files of a site below a path are copied into that path's folder, where assetsBase has them", () => {
  const lineFor = (bundler: Bundler, to: string, page: string): string => {
    const change: Change = { kind: "copy", files: ["worker-*.js", "*.wasm"], to };
    return fixOf(change, { stack: { host: null, bundler, isDev: false }, url: `https://x.example${page}` }).line;
  };
  for (const page of ["/app/", "/app", "/app/route/1"])
    expect([page, lineFor("vite", "/app/assets/", page)]).toEqual([
      page,
      expect.stringMatching(/cp .* public\/selvedge\/ and createEngine\(\{ assetsBase: "\/app\/selvedge\/" \}\)$/),
    ]);
  expect(lineFor("vite", "/assets/", "/ocr/")).toContain('assetsBase: "/selvedge/"');
  for (const bundler of ["importmap", "esbuild"] as const) {
    expect(lineFor(bundler, "/app/selvedge/", "/app/")).toMatch(/<folder that is served at \/app\/>\/selvedge\/$/);
    expect(lineFor(bundler, "/app/", "/app/")).toMatch(/<folder that is served at \/app\/>\/$/);
    expect(lineFor(bundler, "/selvedge/", "/ocr/")).toMatch(/<(?:site|output) folder>\/selvedge\/$/);
  }
});

test("a page in place of files is taken off by the host's own rule", () => {
  const change: Change = { kind: "no-fallback", paths: ["/worker-wasm.js"] };
  expect(fixFor("firebase", change)).toEqual([
    'firebase.json, in "hosting": { "rewrites": [ ] }, in place of the entry whose destination is the page',
    '{ "regex": "^/(.*/)?[^/.]*$", "destination": "/index.html" }',
  ]);
  // A rule for all paths alone answers missing files with the page, too.
  expect(fixFor("netlify", { kind: "no-fallback", paths: ["/worker-wasm.js", "/models/"] })).toEqual([
    "public/_redirects, in this order and without !, so that files come first",
    "/worker-wasm.js /404.html 404\n/models/* /404.html 404\n/* /index.html 200",
  ]);
  expect(fixFor("iis", change)).toEqual([
    "web.config, the conditions (logicalGrouping MatchAll) of the rule that rewrites to the page",
    '<add input="{URL}" pattern="\\.(js|mjs|wasm|json|onnx|bin)$" negate="true" />',
  ]);
  expect(fixFor("github-pages", change)[1]).toMatch(/^deploy \/worker-wasm\.js, and an empty \.nojekyll/);
  expect(fixFor("http-server", change)[1]).toMatch(/^npx http-server dist {2}\(without --proxy/);
  expect(fixFor("webpack-dev-server", change)).toEqual([
    "webpack.config, in devServer: { }",
    expect.stringMatching(/^historyApiFallback: true, {2}\(without disableDotRule/),
  ]);
});

test("a rule for missing files has their endings, and chunks without one; nginx's is where its root is", () => {
  const change: Change = { kind: "no-fallback", paths: ["/m/labels.txt", "/m/chunks/*", "/m/a.onnx_data"] };
  const pattern = "(\\.(js|mjs|wasm|json|onnx|bin|txt|onnx_data)|/chunks/[^./]+)$";
  // Inside a location it comes before a location of the server block that has the headers of scripts.
  expect(fixFor("nginx", change)).toEqual([
    "nginx.conf, inside the location that has the root, or whose try_files or error_page leads to the page; in the server block where none does; where error_page 404 =200 leads there, with error_page 404 /404.html; inside the braces",
    String.raw`location ~ (\.(txt|onnx_data)|/chunks/[^./]+)$ { try_files $uri =404; }`,
  ]);
  for (const [path, own] of [
    ["/m/chunks/*", "/chunks/[^./]+$"],
    ["/m/a.wasm", String.raw`\.(wasm)$`],
    ["/m/", String.raw`\.(js|mjs|wasm|json|onnx|bin)$`],
  ] as const)
    expect(fixFor("nginx", { ...change, paths: [path] })[1]).toBe(`location ~ ${own} { try_files $uri =404; }`);
  expect(fixFor("apache", change)[1]).toContain(`!${pattern}\n`);
  expect(fixFor("apache", change)[1]).toContain(`m#${pattern}#`);
  expect(fixFor("iis", change)[1]).toContain(`pattern="${pattern}"`);
  expect(fixFor("caddy", change)[1]).toContain("*.bin *.txt *.onnx_data */chunks/*\n");
  // A route of the app may have a dot, as /users/a.b has.
  expect(fixFor("express", change)).toEqual([
    "the server, after express.static and directly before the route of the page",
    expect.stringContaining(`app.get(/${pattern.replaceAll("/", String.raw`\/`)}/, `),
  ]);
});

test("binaries are kept out of a precache, and the package out of pre-bundling, in the bundler's own configuration", () => {
  const fixOn = (bundler: Bundler | null, kind: "keep-out-of-precache" | "exclude-prebundle"): readonly string[] => {
    const { where, line } = fixOf(
      { kind },
      { stack: { host: null, bundler, isDev: false }, url: "https://x.example/" },
    );
    return [where, line];
  };
  const exclude = "exclude: [/\\.wasm$/, /\\.map$/, /^manifest.*\\.js$/]";
  for (const [bundler, where, line] of [
    ["vite", "vite.config, VitePWA, in workbox: { }", 'globIgnores: ["**/*.wasm"]'],
    ["sveltekit", "vite.config, SvelteKitPWA, in workbox: { }", 'globIgnores: ["**/*.wasm"]'],
    ["astro", "astro.config, AstroPWA, in workbox: { }", 'globIgnores: ["**/*.wasm"]'],
    ["nuxt", "nuxt.config, pwa, in workbox: { }", 'globIgnores: ["**/*.wasm"]'],
    ["webpack", "webpack.config, GenerateSW", exclude],
    ["rspack", "rspack.config, GenerateSW", exclude],
    ["next", "next.config, withSerwistInit", `${exclude}  (next-pwa: buildExcludes: [/\\.wasm$/]`],
    ["angular", "ngsw-config.json", '"!/**/*.wasm"'],
    ["esbuild", "workbox-config.js", 'globIgnores: ["**/node_modules/**/*", "**/*.wasm"]'],
    [null, "workbox-config.js", 'globIgnores: ["**/node_modules/**/*", "**/*.wasm"]'],
  ] as const)
    expect([bundler, ...fixOn(bundler, "keep-out-of-precache")]).toEqual([
      bundler,
      expect.stringContaining(where),
      expect.stringContaining(line),
    ]);
  for (const [bundler, where] of [
    ["vite", "vite.config"],
    ["sveltekit", "vite.config"],
    ["astro", "astro.config, vite"],
    ["nuxt", "nuxt.config, vite"],
  ] as const)
    expect(fixOn(bundler, "exclude-prebundle")).toEqual([where, 'optimizeDeps: { exclude: ["selvedge"] }']);
});

test("a header of another origin is set there, by the name of its host, not in the files of the page's", () => {
  const path = "https://cdn.example/models/*";
  for (const host of HOSTS) {
    const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
    const { where, line } = fixOf({ kind: "header", path, name: "Access-Control-Allow-Origin", value: "*" }, evidence);
    expect([where, line]).toEqual(["the server of cdn.example, on /models/*", "Access-Control-Allow-Origin: *"]);
  }
});

test("lines of one report go into one file: entries of its list, or one block of a path's headers", () => {
  const all = [
    { kind: "header", path: "/*", name: "A", value: "1" },
    { kind: "header", path: "/*", name: "B", value: "2" },
    { kind: "header", path: "/m/*", name: "A", value: "3" },
    { kind: "header", path: "/m/*", name: "B", value: "4" },
  ] as const;
  const linesOf = (host: Host): string[] => {
    const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
    return [...new Set(all.map((x) => fixOf(x, evidence, all).line))];
  };
  for (const host of ["vercel", "firebase", "serve"] as const) {
    const rules = JSON.parse(`[${linesOf(host).join(",")}]`) as { source: string; headers: object[] }[];
    expect([host, rules.map((x) => x.headers.length)]).toEqual([host, [1, 1, 1, 1]]);
  }
  // Pages takes the last block of a path, and joins the values of blocks that match, but for those that it detaches.
  expect(linesOf("cloudflare-pages")).toEqual([
    "/*\n  ! A\n  A: 1\n  ! B\n  B: 2",
    "/m/*\n  ! A\n  A: 3\n  ! B\n  B: 4",
  ]);
  expect(linesOf("netlify")).toEqual(["/*\n  A: 1\n  B: 2", "/m/*\n  A: 3\n  B: 4"]);
  expect(linesOf("iis").filter((x) => x.startsWith("<location"))).toHaveLength(1);
  expect(linesOf("next").every((x) => /^\{ source: "\S+", (?:basePath: false, )?headers: \[.*\] \},$/.test(x))).toBe(
    true,
  );
});

test("what a host has once has all changes of a report: its fallback, compression, types, and a header of nginx", () => {
  const missing = ["/w.js", "/m.onnx_data"].map((x) => ({ kind: "no-fallback", paths: [x] }) as const);
  for (const host of HOSTS) if (host !== null) expect([host, linesFor(host, ...missing).length]).toEqual([host, 1]);
  // The first rule that matches holds.
  expect(linesFor("netlify", ...missing)).toEqual([
    "/w.js /404.html 404\n/m.onnx_data /404.html 404\n/* /index.html 200",
  ]);
  // Names of one build.
  const hashed = ["/a/w-1234abcd.js", "/a/x-1234abcd.wasm", "/y-1234abcd.js"];
  expect(linesFor("netlify", { kind: "no-fallback", paths: hashed })).toEqual([
    "/a/* /404.html 404\n/y-1234abcd.js /404.html 404\n/* /index.html 200",
  ]);
  const types = [".js", ".wasm"].map((extension) => ({ kind: "type", extension, type: `a/b${extension}` }) as const);
  expect(linesFor("express", ...types)).toEqual([expect.stringMatching(/"\.js".*"a\/b\.js".*"\.wasm".*"a\/b\.wasm"/)]);
  expect(linesFor("webpack-dev-server", ...types)).toEqual(['js: "a/b.js",', 'wasm: "a/b.wasm",']);
  const stored = ["/a/*", "/b.bin"].map((path) => ({ kind: "as-stored", path }) as const);
  expect(linesFor("express", ...stored, { kind: "compress", extension: ".wasm", type: "application/wasm" })).toEqual([
    'app.use(compression({ filter: (request, response) => !request.originalUrl.startsWith("/a/") && request.originalUrl.split("?")[0] !== "/b.bin" && (response.getHeader("Content-Type") === "application/wasm" || compression.filter(request, response)) }));',
  ]);
  // A file of the folder has its own, whatever the order.
  const cached = ["/a/b.json", "/a/*"].map(
    (path) => ({ kind: "header", path, name: "Cache-Control", value: path }) as const,
  );
  expect(linesFor("express", ...cached)).toEqual([
    'app.use(express.static(folder, { setHeaders: (response, path) => { if (response.req.originalUrl.startsWith("/a/")) response.setHeader("Cache-Control", "/a/*"); if (response.req.originalUrl.split("?")[0] === "/a/b.json") response.setHeader("Cache-Control", "/a/b.json"); } }));',
  ]);
  // One variable for two maps would have the entries of the second alone.
  const set = (path: string, value: string): Change => ({ kind: "header", path, name: "Cache-Control", value });
  expect(linesFor("nginx", set("/a-b/*", "1"), set("/*", "4"), set("/a/b/*", "2"), set("/a/b/c.js", "3"))).toEqual([
    'map $uri $selvedge_a_b_c_js_cc { "~^/a/b/c\\.js$" "3"; "~^/a-b/" "1"; "~^/a/b/" "2"; default "4"; }\nadd_header Cache-Control $selvedge_a_b_c_js_cc;',
  ]);
});

test("a line for a name with a hash says that it is that build's", () => {
  const header = { kind: "header", name: "Cache-Control", value: "immutable" } as const;
  const whereOf = (path: string): string => fixFor("vercel", { ...header, path })[0];
  expect(whereOf("/w-1234abcd.js")).toBe(`${whereOf("/a/*")}; again after a build that changes the name`);
  expect(whereOf("/worker-wasm.js")).toBe(whereOf("/a/*"));
});
