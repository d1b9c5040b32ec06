import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Bundler, Change, Host } from "./evidence.ts";
import { fixOf } from "./fixes.ts";

const HOSTS: readonly (Host | null)[] = [
  ...(["nginx", "apache", "caddy", "netlify", "vercel", "cloudflare-pages", "github-pages", "firebase"] as const),
  ...(["serve", "http-server", "express", "iis", "vite", "webpack-dev-server", "next", "python"] as const),
  ...(["ng-serve", "nuxt-dev", "astro-dev", "cloudflare"] as const),
  null,
];
const BUNDLERS: readonly (Bundler | null)[] = [
  ...(["vite", "webpack", "rspack", "next", "nuxt", "sveltekit", "angular", "parcel", "rollup", "esbuild"] as const),
  ...(["astro", "importmap"] as const),
  null,
];
const CHANGES: readonly Change[] = [
  { kind: "header", path: "/*", name: "Cross-Origin-Embedder-Policy", value: "require-corp" },
  { kind: "header", path: "/m/model.onnx", name: "Cache-Control", value: "no-cache" },
  { kind: "type", extension: ".wasm", type: "application/wasm" },
  { kind: "copy", files: ["worker-*.js", "*.wasm"], to: "/selvedge/" },
  { kind: "copy", files: ["/models/x.onnx"], to: "/models/" },
  { kind: "no-fallback", paths: ["/worker-wasm.js"] },
  { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"] },
  { kind: "as-stored", path: "/m/chunks/*" },
  { kind: "ranges", path: "/m/model.onnx" },
  { kind: "compress", extension: ".wasm", type: "application/wasm" },
  { kind: "secure-context" },
  { kind: "no-header", path: "/ort-wasm.wasm", name: "Content-Encoding", value: "gzip" },
  { kind: "whole", path: "/m/model.onnx" },
  { kind: "allow", path: "/m/model.onnx", status: 403 },
  { kind: "https", url: "http://models.example/m.onnx" },
  { kind: "import-map", imports: { selvedge: "/selvedge/selvedge.min.js" } },
  { kind: "module", script: null },
  { kind: "build" },
  { kind: "worker-by-blob", url: "https://cdn.example/reader.js" },
];

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

test("a header is written in the host's own syntax", () => {
  const change: Change = { kind: "header", path: "/*", name: "Cross-Origin-Embedder-Policy", value: "require-corp" };
  const lineFor = (host: Host): string =>
    fixOf(change, { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" }).line;
  expect(lineFor("nginx")).toBe("add_header Cross-Origin-Embedder-Policy 'require-corp' always;");
  expect(lineFor("netlify")).toBe("/*\n  Cross-Origin-Embedder-Policy: require-corp");
  expect(lineFor("vercel")).toContain('"source": "/(.*)"');
  expect(lineFor("serve")).toContain('"source": "**"');
  expect(lineFor("apache")).toBe(
    'Header onsuccess unset Cross-Origin-Embedder-Policy\nHeader always set Cross-Origin-Embedder-Policy "require-corp"',
  );
});

test("a header of a development server is written in its own configuration", () => {
  const change: Change = { kind: "header", path: "/*", name: "X", value: "y" };
  const fixOn = (host: Host, bundler: Bundler): readonly [where: string, line: string] => {
    const { where, line } = fixOf(change, { stack: { host, bundler, isDev: true }, url: "http://localhost/" });
    return [where, line];
  };
  const entry = '"X": "y",';
  expect(fixOn("vite", "vite")).toEqual([
    "vite.config, in server: { headers: { } } and preview: { headers: { } }",
    entry,
  ]);
  // SvelteKit answers with pages, and with files of static/, without Vite's headers.
  expect(fixOn("vite", "sveltekit")).toEqual([
    "vite.config, in plugins: [ ], before sveltekit(); for vite preview a second time, with configurePreviewServer; of adapter-node, the middleware alone, before its handler in a server of your own",
    expect.stringMatching(/^\{\n {2}name: "headers",\n {2}configureServer: .*\n {4}response\.setHeader\("X", "y"\);\n/),
  ]);
  expect(fixOn("webpack-dev-server", "webpack")).toEqual(["webpack.config, in devServer: { headers: { } }", entry]);
  expect(fixOn("webpack-dev-server", "rspack")).toEqual(["rspack.config, in devServer: { headers: { } }", entry]);
  expect(fixOn("ng-serve", "angular")).toEqual([
    'angular.json, architect.serve.options, in "headers": { }',
    '"X": "y"',
  ]);
  expect(fixOn("astro-dev", "astro")).toEqual(["astro.config, in server: { headers: { } }", entry]);
  expect(fixOn("nuxt-dev", "nuxt")).toEqual([
    'nuxt.config, in routeRules: { "/**": { headers: { } } } and vite: { server: { headers: { } } }',
    entry,
  ]);
});

test("a development server's headers, which all files have, get none that is one file's", () => {
  const dev = ["vite", "webpack-dev-server", "ng-serve", "nuxt-dev", "astro-dev"] as const;
  const path = "/w.js";
  for (const host of dev) {
    for (const [name, value] of [
      ["Content-Encoding", "br"],
      ["Content-Type", "text/javascript"],
      ["Cache-Control", "public, max-age=31536000, immutable"],
    ] as const)
      expect(fixFor(host, { kind: "header", path, name, value })).toEqual([
        "the server, on /w.js alone",
        `${name}: ${value}`,
      ]);
    for (const name of ["Cache-Control", "Cross-Origin-Embedder-Policy"])
      expect(fixFor(host, { kind: "header", path, name, value: "no-cache" })[0]).toContain("headers");
  }
});

test("SvelteKit's plugin has all headers of a report, each once", () => {
  const set = (path: string, name: string, value: string): Change => ({ kind: "header", path, name, value });
  const seen = { policies: ["default-src 'self'"], index: 0, isMeta: false };
  const all: readonly Change[] = [
    set("/*", "A", "1"),
    set("/w.js", "Content-Encoding", "br"),
    set("/*", "B", '"2"'),
    { kind: "csp", path: "/", directive: "worker-src", sources: ["blob:"], seen },
  ];
  const stack = { host: "vite", bundler: "sveltekit", isDev: true } as const;
  const lines = all.map((x) => fixOf(x, { stack, url: "https://x.example/" }, all).line);
  expect(new Set(lines)).toEqual(new Set([lines[0], "Content-Encoding: br"]));
  const [plugin] = runInNewContext(`[${lines[0]}]`) as [{ configureServer(server: unknown): unknown }];
  const sent: unknown[] = [];
  const response = { setHeader: (...words: unknown[]) => sent.push(words) };
  const middlewares = { use: (run: (...words: unknown[]) => void) => run({}, response, () => sent.push("next")) };
  // A function would be called once more, after Vite's own.
  expect(plugin.configureServer({ middlewares })).toBe(undefined);
  const policy = "default-src 'self'; worker-src blob:";
  expect(sent).toEqual([["A", "1"], ["B", '"2"'], ["Content-Security-Policy", policy], "next"]);
});

test("a header of a folder, or of a kind of file, is not set on the whole site", () => {
  const value = "public, max-age=31536000, immutable";
  const changes = [
    { kind: "header", path: "/assets/*", name: "Cache-Control", value },
    { kind: "type", extension: ".wasm", type: "application/wasm" },
  ] as const;
  // These servers, of this machine alone, set a header on all that they send, or know the types themselves.
  const single: readonly (Host | null)[] = [
    ...(["vite", "webpack-dev-server", "ng-serve", "nuxt-dev", "astro-dev", "github-pages", "cloudflare"] as const),
    null,
  ];
  for (const host of HOSTS)
    for (const change of changes) {
      const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
      const { where, line } = fixOf(change, evidence);
      const scope = change.kind === "type" ? /wasm/ : single.includes(host) ? /./ : /\bassets\b/;
      expect([host, line]).toEqual([host, expect.stringMatching(scope)]);
      expect([host, where, line]).not.toEqual([host, where, expect.stringMatching(/"source": "(?:\*\*|\/\(\.\*\))"/)]);
    }
});

test("a policy is written whole, with what all findings add to it, in the host's own syntax", () => {
  const seen = { policies: ["default-src 'none'; script-src 'self'; img-src data:"], index: 0, isMeta: false };
  const wasm: Change = { kind: "csp", path: "/", directive: "script-src", sources: ["'wasm-unsafe-eval'"], seen };
  const worker: Change = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"], seen };
  const connect: Change = { ...worker, path: "/worker-wasm.js", directive: "connect-src" };
  const other: Change = { ...wasm, path: "/worker-wasm.js", seen: { ...seen, policies: ["script-src https:"] } };
  const whole =
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; img-src data:; worker-src 'self'; connect-src 'self'";
  const lineOf = (host: Host | null, change: Change = wasm): string => {
    const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
    return fixOf(change, evidence, [wasm, worker, connect, other]).line;
  };
  const name = "Content-Security-Policy";
  const rule = `"headers": [{ "key": "${name}", "value": "${whole}" }]`;
  expect(lineOf("nginx")).toBe(`add_header ${name} "${whole}" always;`);
  expect(lineOf("apache")).toBe(`Header onsuccess unset ${name}\nHeader always set ${name} "${whole}"`);
  expect(lineOf("caddy")).toBe(`header /* {\n  ${name} "${whole}"\n  defer\n}`);
  expect(lineOf("netlify")).toBe(`/*\n  ${name}: ${whole}`);
  expect(lineOf("cloudflare-pages")).toBe(`/*\n  ! ${name}\n  ${name}: ${whole}`);
  expect(lineOf("vercel")).toBe(`{ "source": "/(.*)", ${rule} }`);
  expect(lineOf("firebase")).toBe(`{ "source": "**", ${rule} }`);
  expect(lineOf("iis")).toBe(`<remove name="${name}" /><add name="${name}" value="${whole}" />`);
  expect(lineOf("next")).toContain(`headers: [{ key: "${name}", value: "${whole}" }]`);
  expect(lineOf("express")).toMatch(
    /setHeader\(.*\); next\(\); \}\); {2}\(with helmet: contentSecurityPolicy: \{ useDefaults: false, directives: \{.*"script-src":\["'self'","'wasm-unsafe-eval'"\]/,
  );
  expect(lineOf("github-pages")).toBe(`<meta http-equiv="${name}" content="${whole}">`);
  expect(lineOf(null)).toBe(`${name}: ${whole}`);
  // Each finding has the same line, and another response has its own where its policy is another.
  expect(lineOf("nginx", worker)).toBe(lineOf("nginx"));
  expect(lineOf("nginx", other)).toBe(`add_header ${name} "script-src https: 'wasm-unsafe-eval'" always;`);
});

test("a policy of several responses is one rule, which gets what each of them needs", () => {
  const seen = (nonce: string) => ({ policies: [`default-src 'none' 'nonce-${nonce}'`], index: 0, isMeta: false });
  const kind = "csp";
  const all: Change[] = [
    { kind, path: "/", directive: "worker-src", sources: ["'self'"], seen: seen("a") },
    { kind, path: "/w.js", directive: "script-src", sources: ["'nonce-b'", "'wasm-unsafe-eval'"], seen: seen("b") },
    { kind, path: "/c.js", directive: "connect-src", sources: ["'self'"], seen: seen("c") },
  ];
  const stack = { host: "netlify", bundler: null, isDev: false } as const;
  const whole =
    "default-src 'none' 'nonce-a'; worker-src 'self'; script-src 'nonce-a' 'wasm-unsafe-eval'; connect-src 'self'";
  for (const change of all)
    expect(fixOf(change, { stack, url: "https://x.example/" }, all)).toEqual({
      change,
      where: "public/_headers, in place of the policy that is there, with the nonce of each response",
      line: `/*\n  Content-Security-Policy: ${whole}`,
    });
});

test("a policy is replaced where it stands, whatever the order of rules", () => {
  const seen = { policies: ["default-src 'none'"], index: 0, isMeta: false };
  const csp = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"] } as const;
  const added = (host: Host): string => fixFor(host, csp)[0].replace("the Content-Security-Policy, ", "");
  for (const [host, place] of [
    ["netlify", "public/_headers"],
    ["cloudflare-pages", "public/_headers"],
    ["vercel", "vercel.json"],
    ["firebase", 'firebase.json, in "hosting"'],
    ["serve", "serve.json in the served folder"],
    ["next", "next.config"],
    ["caddy", "Caddyfile"],
    ["express", "the server, directly before express.static"],
    ["nginx", "nginx.conf, in the server block and in each location that has an add_header"],
  ] as const) {
    expect(fixFor(host, { ...csp, seen })[0]).toBe(`${place}, in place of the policy that is there`);
    expect(added(host)).toBe(place);
  }
  // These send no header.
  for (const host of ["github-pages", "http-server", "python"] as const) {
    expect(fixFor(host, { ...csp, seen })[0]).toBe("the page's markup, in place of the policy that is there");
    expect(added(host)).toBe("the page's markup");
  }
});

test("a policy that SvelteKit writes is changed in its configuration", () => {
  for (const isMeta of [false, true]) {
    const seen = { policies: ["default-src 'none'"], index: 0, isMeta };
    const change: Change = { kind: "csp", path: "/", directive: "worker-src", sources: ["'self'"], seen };
    const stack = { host: "vite", bundler: "sveltekit", isDev: true } as const;
    expect(fixOf(change, { stack, url: "https://x.example/" }).where).toMatch(
      /, in place of the policy that is there, or in svelte\.config where kit\.csp writes that$/,
    );
  }
});

test("a policy keeps the signs that a host reads otherwise", () => {
  const seen = { policies: ["script-src 'self'; report-uri /csp?a=%20"], index: 0, isMeta: false };
  const change: Change = { kind: "csp", path: "/", directive: "script-src", sources: ["'wasm-unsafe-eval'"], seen };
  const value = "script-src 'self' 'wasm-unsafe-eval'; report-uri /csp?a=%20";
  expect(fixFor("apache", change)[1]).toContain(`always set Content-Security-Policy "${value.replace("%", "%%")}"`);
  expect(fixFor("nginx", { ...change, seen: { ...seen, policies: [`report-to "a"; script-src 'self'`] } })[1]).toBe(
    `add_header Content-Security-Policy "report-to \\"a\\"; script-src 'self' 'wasm-unsafe-eval'" always;`,
  );
  // Without default-src helmet throws, unless an option allows that.
  expect(fixFor("express", change)[1]).toContain(
    `"report-uri":["/csp?a=%20"],"default-src":helmet.contentSecurityPolicy.dangerouslyDisableDefaultSrc} })`,
  );
});

test("a policy of the markup is changed there, and the others of a header are kept", () => {
  const stack = { host: "nginx", bundler: null, isDev: false } as const;
  const fix = (policies: readonly string[], index: number, isMeta: boolean): readonly [string, string] => {
    const sources = ["'wasm-unsafe-eval'"];
    const seen = { policies, index, isMeta };
    const change: Change = { kind: "csp", path: "/", directive: "script-src", sources, seen };
    const { where, line } = fixOf(change, { stack, url: "https://x.example/" });
    return [where, line];
  };
  expect(fix(["script-src 'none'"], 0, true)).toEqual([
    "the page's markup, in place of the policy that is there",
    `<meta http-equiv="Content-Security-Policy" content="script-src 'wasm-unsafe-eval'">`,
  ]);
  expect(fix(["frame-ancestors 'none'", "script-src 'nonce-abc'"], 1, false)).toEqual([
    "nginx.conf, in the server block and in each location that has an add_header, in place of the policy that is there, with the nonce of each response",
    `add_header Content-Security-Policy "frame-ancestors 'none', script-src 'nonce-abc' 'wasm-unsafe-eval'" always;`,
  ]);
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

test("behind Cloudflare's proxy, a line names both places where its header may be written", () => {
  const header: Change = { kind: "header", path: "/*", name: "X", value: "y" };
  expect(fixFor("cloudflare", header)).toEqual([
    "the origin server behind Cloudflare's proxy; on Cloudflare Pages, public/_headers",
    "X: y",
  ]);
  // Pages answers index.html for what is missing until the site has a 404.html.
  expect(fixFor("cloudflare-pages", { kind: "no-fallback", paths: ["/a.js"] })).toEqual([
    "the deployed folder",
    expect.stringMatching(/^deploy \/a\.js, and a 404\.html beside index\.html /),
  ]);
});

/** Line and place for a host. */
function fixFor(host: Host, change: Change): readonly [where: string, line: string] {
  const { where, line } = fixOf(change, { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" });
  return [where, line];
}

test("a line for nginx takes no location from what serves its files, nor headers from the server block", () => {
  const header = { kind: "header", name: "Cache-Control", value: "public, immutable" } as const;
  const where =
    'nginx.conf, map in the http block and add_header in the server block and in each location that has an add_header or expires, in place of another of that name and of expires; where a proxied server sends one, with proxy_hide_header  (in the map, default "…"; keeps its value for other paths, default $upstream_http_cache_control; a proxied server\'s)';
  expect(fixFor("nginx", { ...header, path: "/a.b/*" })).toEqual([
    where,
    'map $uri $selvedge_a_b_cc { "~^/a\\.b/" "public, immutable"; }\nadd_header Cache-Control $selvedge_a_b_cc;',
  ]);
  expect(fixFor("nginx", { ...header, path: "/sw.js" })).toEqual([
    where,
    'map $uri $selvedge_sw_js_cc { "~^/sw\\.js$" "public, immutable"; }\nadd_header Cache-Control $selvedge_sw_js_cc;',
  ]);
  const [, long] = fixFor("nginx", {
    ...header,
    path: `/${"folder/".repeat(20)}*`,
    name: "Cross-Origin-Embedder-Policy",
  });
  expect(/\$(\w+)/.exec(long)?.[1]?.length).toBeLessThanOrEqual(46);
  // Of two types, one beside the server's own, tools read the first.
  expect(fixFor("nginx", { ...header, path: "/w%20%22x", name: "Content-Type", value: "text/javascript" })).toEqual([
    "nginx.conf, inside the location that serves /w%20%22x; in the server block where none does",
    String.raw`location ~ "^/w \x22x$" { default_type text/javascript; types { } }`,
  ]);
  // A second gzip is an error, and one for all files of a location takes compression from each.
  const own = ", in place of gzip and gunzip there; where that serves other files, in a copy of it for /m/model.onnx";
  for (const [kind, rest] of [
    ["ranges", ""],
    ["as-stored", own],
  ] as const)
    expect(fixFor("nginx", { kind, path: "/m/model.onnx" })).toEqual([
      `nginx.conf, in the location that serves /m/model.onnx${rest}`,
      expect.not.stringContaining("location"),
    ]);
});

test("tags of Apache stand on lines of their own, and a folder is no regular expression", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  const lines = '  Header onsuccess unset X\n  Header always set X "y"\n';
  const [, folder] = fixFor("apache", { ...header, path: "/a.b/c+(1)%20/*" });
  expect(folder).toBe(`<If "%{REQUEST_URI} =~ m#^/a\\.b/c\\+\\(1\\) /#">\n${lines}</If>`);
  const [, file] = fixFor("apache", { ...header, path: "/m/x%20%.bin" });
  expect(file).toBe(`<Files "x%20%.bin">\n${lines}</Files>`);
  const [, odd] = fixFor("apache", { ...header, path: "/m/[1]%22.bin" });
  expect(odd).toBe(String.raw`<Files "[[]1]\".bin">` + `\n${lines}</Files>`);
  const [, unset] = fixFor("apache", { kind: "no-header", path: "/m/x.bin", name: "X", value: "y" });
  expect(unset).toBe('<Files "x.bin">\n  Header onsuccess unset X\n  Header always unset X\n</Files>');
});

test("elements of IIS stand in sections that web.config may have, and replace what a parent configuration has", () => {
  const header = { kind: "header", name: "X", value: 'a&"b"' } as const;
  const elements = '<remove name="X" /><add name="X" value="a&amp;&quot;b&quot;" />';
  const section = "web.config, system.webServer/httpProtocol/customHeaders";
  expect(fixFor("iis", { ...header, path: "/*" })).toEqual([section, elements]);
  // A location is invalid inside system.webServer.
  expect(fixFor("iis", { ...header, path: "/a%20b/*" })).toEqual([
    "web.config, configuration",
    `<location path="a b"><system.webServer><httpProtocol><customHeaders>${elements}</customHeaders></httpProtocol></system.webServer></location>`,
  ]);
  expect(fixFor("iis", { kind: "type", extension: ".js", type: "text/javascript" })).toEqual([
    "web.config, system.webServer/staticContent",
    '<remove fileExtension=".js" /><mimeMap fileExtension=".js" mimeType="text/javascript" />',
  ]);
  // httpCompression is locked above web.config.
  expect(fixFor("iis", { kind: "compress", extension: ".wasm", type: "application/wasm" })[1]).toMatch(
    /^appcmd set config .*mimeType='application\/wasm'.* \/commit:apphost$/,
  );
});

test("lines for Caddy go into one Caddyfile: matchers of names of their own, and blocks on lines of their own", () => {
  const matchers = [".js", ".wasm"].map((extension) => fixFor("caddy", { kind: "type", extension, type: "a/b" })[1]);
  expect(matchers).toEqual([
    "@js path *.js\nheader @js {\n  Content-Type a/b\n  defer\n}",
    "@wasm path *.wasm\nheader @wasm {\n  Content-Type a/b\n  defer\n}",
  ]);
  expect(fixFor("caddy", { kind: "compress", extension: ".wasm", type: "a/b" })[1]).toBe(
    "encode {\n  zstd\n  gzip\n  match {\n    header Content-Type a/b\n  }\n}",
  );
  expect(fixFor("caddy", { kind: "no-fallback", paths: ["/worker-wasm.js"] })).toEqual([
    "Caddyfile, in place of try_files",
    "@page {\n  not path *.js *.mjs *.wasm *.json *.onnx *.bin\n  file {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}",
  ]);
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

/** Lines of a report for a host, each once. */
function linesFor(host: Host, ...all: readonly Change[]): string[] {
  const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
  return [...new Set(all.map((x) => fixOf(x, evidence, all).line))];
}

test("a policy stands in the block that the other headers of its path have", () => {
  const seen = { policies: ["default-src 'self'"], index: 0, isMeta: false };
  const all: readonly Change[] = [
    { kind: "header", path: "/*", name: "A", value: "1" },
    { kind: "csp", path: "/", directive: "worker-src", sources: ["blob:"], seen },
  ];
  const policy = "Content-Security-Policy: default-src 'self'; worker-src blob:";
  expect(linesFor("cloudflare-pages", ...all)).toEqual([`/*\n  ! A\n  A: 1\n  ! Content-Security-Policy\n  ${policy}`]);
  expect(linesFor("netlify", ...all)).toEqual([`/*\n  A: 1\n  ${policy}`]);
  expect(linesFor("nginx", ...all)).toHaveLength(2);
  // One of the markup is no header.
  const meta: Change = { kind: "csp", path: "/", directive: "x", sources: [], seen: { ...seen, isMeta: true } };
  expect(linesFor("netlify", all[0] as Change, meta)[0]).toBe("/*\n  A: 1");
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

test("a rule of a host whose last one holds goes to the end of its list", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "y" } as const;
  for (const host of ["vercel", "firebase", "serve", "http-server", "python", "next"] as const)
    expect(fixFor(host, header)[0]).toMatch(/\bat the end of "?headers"?: /);
  expect(fixFor("apache", header)[0]).toBe(".htaccess (AllowOverride FileInfo; mod_headers), at its end");
});

test("a missing file's 404 is a page of its own where serve would cache its error for a year", () => {
  const header = { kind: "header", path: "/a/*", name: "Cache-Control", value: "public, immutable" } as const;
  for (const host of ["serve", "http-server", "python"] as const) {
    expect(fixFor(host, header)[0]).toMatch(/ in the served folder, and a 404\.html there$/);
    expect(fixFor(host, { ...header, value: "no-cache" })[0]).toMatch(/ in the served folder$/);
  }
  expect(fixFor("firebase", header)[0]).not.toContain("404");
});

test("lines for Pages say that a path's own block is not left beside a second one, which would replace it", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "y" } as const;
  expect(fixFor("cloudflare-pages", header)[0]).toContain(
    "in the block that the path has, in place of these headers there, or else at its end",
  );
});

test("a path of Next.js has the app's basePath already", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  expect(fixFor("next", { ...header, path: "/app/w.js" })[1]).toContain('source: "/app/w.js", basePath: false, ');
  expect(fixFor("next", { ...header, path: "/*" })[1]).not.toContain("basePath");
});

test("lines of any header are JSON, JavaScript or XML, with that value", () => {
  const text = fc.string({ unit: fc.constantFrom(..."aü \\\"'`$,;=/()[]+.%<>&") });
  const paths = fc.array(text).map((x) => new URL(`http://x/${x.map(encodeURIComponent).join("/")}`).pathname);
  fc.assert(
    fc.property(paths, text, fc.boolean(), (at, value, isFolder) => {
      const change: Change = { kind: "header", path: isFolder ? at.replace(/\/?$/, "/*") : at, name: "X", value };
      const lineOf = (host: Host): string => fixFor(host, change)[1];
      for (const host of ["vercel", "firebase", "serve"] as const)
        expect(JSON.parse(lineOf(host))).toMatchObject({ headers: [{ key: "X", value }] });
      expect(JSON.parse(`{${lineOf("ng-serve")}}`)).toEqual({ X: value });
      const [rule] = runInNewContext(`[${lineOf("next")}]`) as [{ headers: unknown }];
      expect(JSON.stringify(rule.headers)).toBe(JSON.stringify([{ key: "X", value }]));
      const sent: unknown[] = [];
      const app = {
        use: (run: (...words: unknown[]) => void) =>
          run(
            { path: at.replace(/\/?$/, isFolder ? "/" : "$&") },
            { setHeader: (...words: unknown[]) => sent.push(words) },
            () => {},
          ),
      };
      runInNewContext(lineOf("express"), { app });
      expect(sent).toEqual([["X", value]]);
      expect(lineOf("iis").replaceAll(/<(?:[^<>"]|"[^<"]*")*>/g, "")).toBe("");
    }),
  );
});

test("a path with characters of patterns is written as the host matches it", () => {
  const header = { kind: "header", path: "/m%20(1)/a+b.js", name: "X", value: "y" } as const;
  for (const host of ["vercel", "next"] as const)
    expect(fixFor(host, header)[1]).toContain(
      String.raw`ource${host === "vercel" ? '"' : ""}: "/m%20\\(1\\)/a\\+b.js"`,
    );
  expect(fixFor("firebase", header)[1]).toContain('"source": "/m%20(1)/a+b.js"');
  expect(fixFor("serve", header)[1]).toContain('"source": "/m (1)/a+b.js"');
  expect(fixFor("express", header)[1]).toContain('request.path === "/m%20(1)/a+b.js"');
});

test("a path with characters of globs is written with any character in their place, where a bracket begins a class", () => {
  const header = { kind: "header", name: "X", value: "y" } as const;
  for (const [path, glob] of [
    ["/m[1]/@(a)(b)+(c)[(d).js", "/m?1]/@?a)(b)+?c)??d).js"],
    ["/m[1]/*", "/m?1]/**"],
  ] as const)
    expect(fixFor("firebase", { ...header, path })[1]).toContain(`"source": "${glob}"`);
  expect(fixFor("serve", { ...header, path: "/%7Ba,b%7D.js" })[1]).toContain('"source": "/?a,b}.js"');
  for (const [path, matcher] of [
    ["/m[1].js", "/m?1].js"],
    // Caddy compares the beginning as it is.
    ["/m[1]/*", "/m[1]/*"],
    ["/m%20[1]/*", "/m%20?1]/*"],
  ] as const)
    expect(fixFor("caddy", { ...header, path })[1]).toContain(`header ${matcher} {`);
});

test("a value keeps the signs that nginx and Caddy take for variables", () => {
  const header = { kind: "header", path: "/*", name: "X", value: "{a} $b" } as const;
  expect(fixFor("nginx", header)).toEqual([
    "nginx.conf, geo in the http block and add_header in the server block and in each location that has an add_header, in place of another of that name; where a proxied server sends one, with proxy_hide_header",
    "geo $selvedge_dollar { default \"$\"; }\nadd_header X '{a} ${selvedge_dollar}b' always;",
  ]);
  expect(fixFor("caddy", header)[1]).toContain(String.raw`X "\{a\} $b"`);
  // Caddy sends a backslash before a brace where no other one begins.
  expect(fixFor("caddy", { ...header, value: "a}" })[1]).toContain('X "a}"');
  expect(fixFor("nginx", { ...header, value: String.raw`a\"` })[1]).toContain(String.raw`X 'a\\"' always`);
  expect(fixFor("apache", { ...header, value: String.raw`a\"` })[1]).toContain(String.raw`X "a\\\\\""`);
});

test("a year in Caddy's caches is none of a page that try_files has put in a file's place", () => {
  const header = { kind: "header", path: "/a/*", name: "Cache-Control", value: "public, immutable" } as const;
  expect(fixFor("caddy", header)).toEqual([
    "Caddyfile, before the site's other header lines; of files of a proxied server, there: its errors would have it, too",
    String.raw`map {path} {selvedge_cache} {
  ~\.html?$ no-cache
  default "public, immutable"
}
header /a/* {
  Cache-Control {selvedge_cache}
  defer
}`,
  ]);
  expect(fixFor("caddy", { ...header, value: "no-cache" })[1]).toBe(
    'header /a/* {\n  Cache-Control "no-cache"\n  defer\n}',
  );
});

test("a coding that Caddy sets is there before its compression looks", () => {
  const header = { kind: "header", path: "/m.js", name: "Content-Encoding", value: "br" } as const;
  expect(fixFor("caddy", header)[1]).toBe('header /m.js Content-Encoding "br"');
});

test("hosts that compress by themselves take no Content-Encoding of a file", () => {
  const header = { kind: "header", path: "/m.js", name: "Content-Encoding", value: "br" } as const;
  for (const host of ["netlify", "cloudflare-pages"] as const)
    expect(fixFor(host, header)).toEqual([
      "where the site is deployed",
      expect.stringMatching(/^deploy \/m\.js uncompressed {2}\(/),
    ]);
});
