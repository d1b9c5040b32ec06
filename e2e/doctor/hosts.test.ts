// The lines that the doctor gives for hosts and tools that npm or Debian has, in the files that they name: what each
// changes by HTTP, or in what the tool writes. Of Vercel and Netlify, the code that reads their files. Soak alone
// (vitest.config.ts), since their packages are a minute's download.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import type { IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { buffer } from "node:stream/consumers";
import { brotliCompressSync, brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Bundler, Change, Host } from "../../lib/doctor/evidence.ts";
import { fixOf } from "../../lib/doctor/fixes.ts";
import { installed } from "../apps/workplace.ts";
import { findPackage, startProgram } from "../support/debian.ts";
import type { DebianServer } from "../support/debian.ts";
import { freePort } from "../support/free-port.ts";

const PACKAGES = {
  "@angular/core": "20.3.32",
  "@angular/service-worker": "20.3.32",
  "@serwist/build": "9.5.13",
  "@vercel/routing-utils": "6.6.0",
  compression: "1.8.1",
  express: "5.2.1",
  "netlify-headers-parser": "7.1.4",
  "netlify-redirector": "0.5.0",
  serve: "14.2.7",
  superstatic: "10.0.0",
  wrangler: "4.60.0",
};
const BYTES = Buffer.from(Array.from({ length: 2_000 }, (_, i) => `${i * i} `).join(""));
const PAGE = "<title>page</title>";
const ODD_NAME = "m [1]/@(a)+(b),{c}!e&$~ü.js";
const FILES = [
  "m.js",
  "m.wasm",
  "a/deep.wasm",
  "assets/m-12345678.js",
  "m/bundle.json",
  ODD_NAME,
  "x/m.js",
  "x/n.txt",
  "x/bare",
];
const ODD = new URL(`http://x/${ODD_NAME}`).pathname;
const YEAR = "public, max-age=31536000, immutable";

const header = (path: string, name: string, value: string): Change => ({ kind: "header", path, name, value });
const COOP = header("/*", "Cross-Origin-Opener-Policy", "same-origin");
const COEP = header("/*", "Cross-Origin-Embedder-Policy", "require-corp");
const ISOLATED = [COOP, COEP];
/** A rule that is there already. */
const OWN_RULE =
  '{ "source": "**", "headers": [{ "key": "Cache-Control", "value": "max-age=9" }, { "key": "Cross-Origin-Opener-Policy", "value": "unsafe-none" }] }';
/** Both of them, as a file of a host has them. */
const BOTH = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const ASSETS = header("/assets/*", "Cache-Control", YEAR);
const BUNDLE = header("/m/bundle.json", "Cache-Control", "no-cache");
const ODD_FILE = header(ODD, "X-File", "1");
const ODD_FOLDER = header("/m%20[1]/*", "X-Folder", "1");
const CODING = header("/br.js", "Content-Encoding", "br");
const HEADERS = [...ISOLATED, ASSETS, BUNDLE, ODD_FILE, ODD_FOLDER];
/** Signs that a host's configuration takes for its own. */
const SIGNS = `a {x} lone { {path} {$HOME} { $uri $\{uri} "q" 'r' }`;
/** No server's own type, so that it is the line's. */
const TYPE: Change = { kind: "type", extension: ".wasm", type: "application/x-wasm" };
const POLICY: Change = {
  ...({ kind: "csp", path: "/", directive: "worker-src", sources: ["blob:"] } as const),
  seen: { policies: ["default-src 'self'"], index: 0, isMeta: false },
};
const NO_FALLBACK: Change = { kind: "no-fallback", paths: ["/missing.js"] };

let packages = "";
let root = "";
let site = "";
let server: DebianServer | undefined;

beforeAll(() => {
  packages = join(installed(PACKAGES), "node_modules");
  root = mkdtempSync(join(tmpdir(), "selvedge-hosts-"));
  site = join(root, "site");
  write("site/index.html", PAGE);
  for (const file of FILES) write(`site/${file}`, BYTES);
  write("site/br.js", brotliCompressSync(BYTES));
}, 300_000);

afterEach(async () => {
  await server?.stop();
  server = undefined;
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(join(root, path, ".."), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** The lines of changes of one report, each once. */
function linesOf(host: Host, ...changes: readonly Change[]): string[] {
  const evidence = { stack: { host, bundler: null, isDev: false }, url: "https://x.example/" };
  return [...new Set(changes.map((x) => fixOf(x, evidence, changes).line))];
}

async function start(program: string, words: (port: number) => readonly string[]): Promise<void> {
  await server?.stop();
  const port = await freePort();
  const env = { WRANGLER_SEND_METRICS: "false", CI: "1", NO_COLOR: "1", HOME: root, XDG_CONFIG_HOME: root };
  server = await startProgram(program, words(port), port, env, 45_000);
}

async function ask(path: string, accepts = "identity"): Promise<IncomingMessage & { readonly body: Buffer }> {
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { "accept-encoding": accepts };
    get(`${server?.url}${path}`, { headers, agent: false }, resolve).once("error", reject);
  });
  return Object.assign(message, { body: await buffer(message) });
}

async function expectHeaders(): Promise<void> {
  for (const path of ["/", "/m.js"])
    expect((await ask(path)).headers).toMatchObject({
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
  const cacheOf = async (path: string): Promise<string | undefined> => (await ask(path)).headers["cache-control"];
  expect(await cacheOf("/assets/m-12345678.js")).toBe(YEAR);
  expect(await cacheOf("/m/bundle.json")).toBe("no-cache");
  expect((await cacheOf("/m.js")) ?? "").not.toMatch(/immutable|no-cache/);
  expect((await ask(ODD)).headers).toMatchObject({ "x-file": "1", "x-folder": "1" });
  const { headers } = await ask("/m.js");
  expect([headers["x-file"], headers["x-folder"]]).toEqual([undefined, undefined]);
}

async function expectTypes(): Promise<void> {
  for (const path of ["/m.wasm", "/a/deep.wasm"])
    expect([path, (await ask(path)).headers["content-type"]]).toEqual([path, "application/x-wasm"]);
  expect((await ask("/m.js")).headers["content-type"]).toMatch(/javascript/);
}

/** Expects a file that is stored compressed to be readable: with one coding, or with all that were added. */
async function expectCoding(): Promise<void> {
  const { body, headersDistinct } = await ask("/br.js", "gzip, br");
  const codings = headersDistinct["content-encoding"] ?? [];
  expect(codings).toContain("br");
  expect(codings.reduceRight((x, coding) => (coding === "br" ? brotliDecompressSync : gunzipSync)(x), body)).toEqual(
    BYTES,
  );
}

/** Expects files as they are, 404 for a missing one, and the page for routes. */
async function expectNoFallback(...routes: readonly string[]): Promise<void> {
  expect((await ask("/missing.js")).statusCode).toBe(404);
  expect((await ask("/m.wasm")).body).toEqual(BYTES);
  for (const route of routes) expect([route, (await ask(route)).body.toString()]).toEqual([route, PAGE]);
}
/** Expects that no 404 stays in caches for a year: the file may come with the next deployment. */
async function expectErrorsNotCached(): Promise<void> {
  const { statusCode, headers } = await ask("/assets/missing.js");
  expect([statusCode, headers["cache-control"] ?? ""]).toEqual([404, expect.not.stringContaining("immutable")]);
}

test("Firebase: all lines in one firebase.json", async () => {
  const rules = [OWN_RULE, ...linesOf("firebase", ...HEADERS, TYPE)].join(",");
  write(
    "firebase.json",
    `{ "hosting": { "public": "site", "headers": [${rules}], "rewrites": [${linesOf("firebase", NO_FALLBACK).join(",")}] } }`,
  );
  const bin = join(packages, "superstatic/lib/bin/server.js");
  const folder = relative(process.cwd(), root);
  await start(process.execPath, (port) => [
    bin,
    folder,
    "--config",
    join(root, "firebase.json"),
    "--port",
    String(port),
  ]);
  await expectHeaders();
  await expectTypes();
  await expectNoFallback("/route", "/deep/route", "/v1.2/route", "/");
});

test("serve: all lines in one serve.json, and no fallback without -s", async () => {
  write("site/serve.json", `{ "headers": [${[OWN_RULE, ...linesOf("serve", CODING, ...HEADERS, TYPE)].join(",")}] }`);
  const bin = join(packages, "serve/build/main.js");
  await start(process.execPath, (port) => [bin, site, "-l", String(port)]);
  rmSync(join(site, "serve.json"));
  await expectHeaders();
  await expectCoding();
  await expectTypes();
  await expectNoFallback("/");
});

test("Vercel: all lines in one vercel.json, which it takes", () => {
  const config = `{ "headers": [${linesOf("vercel", ...HEADERS, TYPE).join(",")}], "rewrites": [${linesOf("vercel", NO_FALLBACK).join(",")}] }`;
  const { getTransformedRoutes } = createRequire(packages)(join(packages, "@vercel/routing-utils")) as {
    getTransformedRoutes(config: unknown): {
      error: unknown;
      routes: { src?: string; dest?: string; headers?: Record<string, string> }[];
    };
  };
  const { error, routes } = getTransformedRoutes(JSON.parse(config));
  expect(error).toBe(null);
  const of = (path: string): typeof routes => routes.filter(({ src }) => src !== undefined && RegExp(src).test(path));
  const headersOf = (path: string): unknown => Object.assign({}, ...of(path).map((x) => x.headers));
  expect(headersOf("/")).toEqual(BOTH);
  expect(headersOf("/assets/a/m.js")).toEqual({ ...BOTH, "Cache-Control": YEAR });
  expect(headersOf("/m/bundle.json")).toEqual({ ...BOTH, "Cache-Control": "no-cache" });
  expect(headersOf("/m/bundle-json")).toEqual(BOTH);
  expect(headersOf(ODD)).toEqual({ ...BOTH, "X-File": "1", "X-Folder": "1" });
  expect(headersOf("/a/m.wasm")).toEqual({ ...BOTH, "Content-Type": "application/x-wasm" });
  const destOf = (path: string): (string | undefined)[] => of(path).flatMap((x) => x.dest ?? []);
  for (const path of ["/", "/route", "/deep/route", "/v1.2/route"]) expect(destOf(path)).toEqual(["/index.html"]);
  for (const path of ["/missing.js", "/a/missing.wasm"]) expect(destOf(path)).toEqual([]);
});

test("Netlify: all lines in one _headers and one _redirects", async () => {
  write("_headers", linesOf("netlify", ...HEADERS, TYPE).join("\n"));
  const require = createRequire(join(packages, "x.js"));
  const { parseAllHeaders } = (await import(require.resolve("netlify-headers-parser"))) as {
    parseAllHeaders(options: object): Promise<{
      headers: { forRegExp: RegExp; values: Record<string, string> }[];
      errors: unknown[];
    }>;
  };
  const { headers, errors } = await parseAllHeaders({ headersFiles: [join(root, "_headers")], minimal: false });
  expect(errors).toEqual([]);
  const headersOf = (path: string): unknown =>
    Object.assign({}, ...headers.filter((x) => x.forRegExp.test(path)).map((x) => x.values));
  expect(headersOf("/")).toEqual(BOTH);
  expect(headersOf("/assets/m.js")).toEqual({ ...BOTH, "Cache-Control": YEAR });
  expect(headersOf(ODD)).toEqual({ ...BOTH, "X-File": "1", "X-Folder": "1" });
  expect(headersOf("/a/m.wasm")).toEqual({ ...BOTH, "Content-Type": "application/x-wasm" });
  const { parsePlain } = require("netlify-redirector") as {
    parsePlain(
      text: string,
      options: object,
    ): Promise<{
      match(request: object): { to: string; status: number; force: boolean };
    }>;
  };
  const missing = ["/missing.js", "/models/"].map((x) => ({ kind: "no-fallback", paths: [x] }) as const);
  const matcher = await parsePlain(linesOf("netlify", ...missing).join("\n"), {});
  const ruleOf = (path: string): unknown => matcher.match({ scheme: "https", host: "x.example", path, query: "" });
  for (const path of ["/missing.js", "/models/a/b.onnx"])
    expect(ruleOf(path)).toMatchObject({ status: 404, to: "/404.html", force: false });
  expect(ruleOf("/route")).toMatchObject({ status: 200, to: "/index.html", force: false });
});

test("Cloudflare Pages: all lines at the end of one _headers replace what other rules set", async () => {
  const own = "/assets/*\n  X-Own: 1\n/m/*\n  Cache-Control: no-store\n/*.wasm\n  Content-Type: text/plain\n";
  const rules = linesOf("cloudflare-pages", ...HEADERS, POLICY, TYPE);
  write("site/_headers", `${own}${rules.join("\n")}\n`);
  write("site/404.html", "missing");
  write("site/_redirects", "/route / 200\n/deep/* / 200\n");
  const bin = join(packages, "wrangler/bin/wrangler.js");
  const words = ["pages", "dev", site, "--ip", "127.0.0.1", "--compatibility-date", "2026-01-01", "--port"];
  await start(process.execPath, (port) => [bin, ...words, String(port)]);
  await expectHeaders();
  await expectTypes();
  expect((await ask("/")).headers["content-security-policy"]).toBe("default-src 'self'; worker-src blob:");
  await expectNoFallback("/route", "/deep/route", "/");
  await expectErrorsNotCached();
  for (const file of ["_headers", "404.html", "_redirects"]) rmSync(join(site, file));
});

test("Caddy: all lines in one Caddyfile replace what a general rule and a proxied server set", async () => {
  const caddy = join(await findPackage("caddy", "usr/bin/caddy"), "usr/bin/caddy");
  const lines = [
    ...linesOf("caddy", CODING, ...HEADERS, header("/x/*", "X-Signs", SIGNS), header("/*", "X-Sign", "a}"), TYPE),
    'header Cache-Control "no-store"',
  ].join("\n");
  const files = `root * ${site}\nfile_server`;
  const fallback = linesOf("caddy", NO_FALLBACK).join("\n");
  // Compression looks at the type before the line's is set.
  const compress = linesOf("caddy", { kind: "compress", extension: ".wasm", type: "application/wasm" }).join("\n");
  const upstream = await freePort();
  const behind = `:${upstream} {\nheader Cache-Control up\nheader Content-Type text/javascript\n${files}\n}`;
  const run = (body: string): Promise<void> =>
    start(caddy, (port) => {
      write("Caddyfile", `{\nadmin off\nauto_https off\n}\n:${port} {\n${body}\n}\n${behind}\n`);
      return ["run", "--config", join(root, "Caddyfile")];
    });
  await run(`${lines}\nencode gzip\n${files}`);
  await expectCoding();
  await run(`${lines}\n${fallback}\n${compress}\n${files}`);
  await expectHeaders();
  await expectTypes();
  await expectNoFallback("/route", "/deep/route", "/");
  await expectErrorsNotCached();
  expect((await ask("/x/m.js")).headers).toMatchObject({ "x-signs": SIGNS, "x-sign": "a}" });
  expect((await ask("/m.wasm", "gzip")).headers["content-encoding"]).toBe("gzip");
  expect((await ask("/m.js", "gzip")).headers["content-encoding"]).toBe(undefined);
  const waiting = "header /m/bundle.json {\n-Server\nCache-Control no-store\n}";
  await run(`${lines}\n${waiting}\nreverse_proxy localhost:${upstream}`);
  expect((await ask("/m/bundle.json")).headersDistinct["cache-control"]).toEqual(["no-cache"]);
  await expectTypes();
});

test("Caddy: a coding that is taken off is taken off alone, beside compression", async () => {
  const caddy = join(await findPackage("caddy", "usr/bin/caddy"), "usr/bin/caddy");
  const [line = ""] = linesOf("caddy", { kind: "no-header", path: "/m.js", name: "Content-Encoding", value: "br" });
  for (const fault of ["", "header /m.js Content-Encoding br", "header /m.js {\nContent-Encoding br\ndefer\n}"]) {
    await start(caddy, (port) => {
      const body = `${line}\n${fault}\nencode gzip\nroot * ${site}\nfile_server`;
      write("Caddyfile", `{\nadmin off\nauto_https off\n}\n:${port} {\n${body}\n}\n`);
      return ["run", "--config", join(root, "Caddyfile")];
    });
    const { body, headers } = await ask("/m.js", "gzip");
    expect([fault, headers["content-encoding"], body.equals(BYTES)]).toEqual([fault, undefined, true]);
    expect((await ask("/x/m.js", "gzip")).headers["content-encoding"]).toBe("gzip");
  }
});

test("Express: all lines in one server", async () => {
  const compress: Change = { kind: "compress", extension: ".wasm", type: "application/x-wasm" };
  const stored = ["/assets/*", "/x/m.js"].map((path) => ({ kind: "as-stored", path }) as const);
  const script: Change = { kind: "type", extension: ".js", type: "text/javascript; a=b" };
  const lines = linesOf("express", compress, ...stored, CODING, ...HEADERS, script, TYPE);
  const isOfFiles = (line: string): boolean => line.includes("express.static");
  expect(lines.filter(isOfFiles)).toHaveLength(1);
  write(
    "server.cjs",
    [
      `const [express, compression] = ["express", "compression"].map((x) => require(${JSON.stringify(`${packages}/`)} + x));`,
      `const app = express(); const folder = ${JSON.stringify(site)};`,
      ...[...lines.filter((x) => !isOfFiles(x)), ...lines.filter(isOfFiles), ...linesOf("express", NO_FALLBACK)],
      'app.get(/./, (_request, response) => response.sendFile("index.html", { root: folder }));',
      "app.listen(Number(process.argv[2]));",
    ].join("\n"),
  );
  await start(process.execPath, (port) => [join(root, "server.cjs"), String(port)]);
  await expectHeaders();
  await expectTypes();
  await expectNoFallback("/route", "/");
  await expectErrorsNotCached();
  await expectCoding();
  expect((await ask("/m.js")).headers["content-type"]).toBe("text/javascript; a=b");
  for (const path of ["/m.wasm", "/m.js"])
    expect([path, (await ask(path, "gzip")).headers["content-encoding"]]).toEqual([path, "gzip"]);
  for (const path of ["/assets/m-12345678.js", "/x/m.js"])
    expect([path, (await ask(path, "gzip")).headers["content-encoding"]]).toEqual([path, undefined]);
});

test("nginx: all lines in one nginx.conf, beside a location with a header of its own", async () => {
  const folder = await findPackage("nginx", "usr/sbin/nginx");
  // Their names for nginx's variables would be the same.
  const twins = [
    header("/x/*", "X-Twin", "folder"),
    header("/x/m.js", "X-Twin", 'a "b"'),
    header("/x-m.js", "X-Twin", "c"),
    header("/c%23%22%5C/*", "X-Twin", "d"),
    header("/*", "X-Signs", SIGNS),
    header("/x/*", "X-Sign", String.raw`$1 \\"\'`),
  ];
  const lines = linesOf("nginx", CODING, ...HEADERS, ...twins, POLICY).flatMap((x) => x.split("\n"));
  const [bare = ""] = linesOf("nginx", header("/x/bare", "Content-Type", "text/javascript"));
  const maps = lines.filter((x) => /^(?:map|geo) /.test(x));
  const headers = lines.filter((x) => x.startsWith("add_header "));
  expect(headers.length + maps.length).toBe(lines.length);
  const compress = linesOf("nginx", { kind: "compress", extension: ".wasm", type: "application/x-wasm" });
  const [types = ""] = linesOf("nginx", TYPE);
  await start(join(folder, "usr/sbin/nginx"), (port) => {
    const body = [
      `listen 127.0.0.1:${port}; root ${JSON.stringify(site)};`,
      ...[...headers, ...compress],
      `location / { try_files $uri $uri/ /index.html; ${bare} ${linesOf("nginx", NO_FALLBACK).join("\n")} }`,
      // The line for missing scripts leaves it other files.
      `location ~ \\.json$ { add_header X-Json 1; ${headers.join("\n")} }`,
      `location /assets/ { add_header X-Own 1; ${headers.join("\n")} }`,
    ];
    const own = "types { text/html html; text/javascript js; text/plain wasm; } gzip on; gzip_types text/css;";
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((x) => `${x}_temp_path ${root}/temp;`);
    const http = [own, types, ...temporary, "access_log off;", ...maps, `server { ${body.join("\n")} }`].join("\n");
    write("nginx.conf", `user root; daemon off; pid ${root}/pid; error_log stderr; events { } http { ${http} }\n`);
    return ["-e", "stderr", "-p", root, "-c", join(root, "nginx.conf")];
  });
  await expectHeaders();
  await expectTypes();
  await expectNoFallback("/route", "/deep/route", "/");
  await expectCoding();
  const { headersDistinct: typed } = await ask("/x/bare");
  expect([typed["content-type"], typed["x-twin"]]).toEqual([["text/javascript"], ["folder"]]);
  const { headersDistinct } = await ask("/x/m.js");
  expect(headersDistinct["x-twin"]).toEqual(['a "b"']);
  expect((await ask("/x/n.txt")).headers).toMatchObject({
    "x-twin": "folder",
    "x-signs": SIGNS,
    "x-sign": String.raw`$1 \\"\'`,
  });
  await expectErrorsNotCached();
  const own = (await ask("/assets/m-12345678.js")).headers;
  expect([own["x-own"], own["cross-origin-opener-policy"]]).toEqual(["1", "same-origin"]);
  expect((await ask("/m/bundle.json")).headers["x-json"]).toBe("1");
  expect(own["content-security-policy"]).toBe("default-src 'self'; worker-src blob:");
  expect((await ask("/m.wasm", "gzip")).headers["content-encoding"]).toBe("gzip");
});

test("precaches of Angular and Serwist have scripts, and no binaries", () => {
  const lineFor = (bundler: Bundler | null): string =>
    fixOf({ kind: "keep-out-of-precache" }, { stack: { host: null, bundler, isDev: false }, url: "https://x.example/" })
      .line;
  const files = (line: string): string => `"files": ["/*.js", "/**/*.wasm"${line}]`;
  const precachedBy = (line: string): string[] => {
    write(
      "ngsw-config.json",
      `{ "index": "/index.html", "assetGroups": [{ "name": "app", "resources": { ${files(line)} } }] }`,
    );
    const bin = join(packages, "@angular/service-worker/ngsw-config.js");
    execFileSync(process.execPath, [bin, "site", "ngsw-config.json"], { cwd: root });
    const json = JSON.parse(readFileSync(join(site, "ngsw.json"), "utf8")) as { assetGroups: [{ urls: string[] }] };
    rmSync(join(site, "ngsw.json"));
    return json.assetGroups[0].urls;
  };
  expect(precachedBy("")).toEqual(["/a/deep.wasm", "/br.js", "/m.js", "/m.wasm"]);
  expect(precachedBy(`, ${lineFor("angular")}`)).toEqual(["/br.js", "/m.js"]);
  const [globIgnores] = lineFor(null).split("  ");
  const script = (line: string): string =>
    `import { getManifest } from "@serwist/build"; const { manifestEntries } = await getManifest({ globDirectory: ${JSON.stringify(site)}, globPatterns: ["**/*.{js,wasm}"], ${line} }); console.log(manifestEntries.map((x) => x.url).sort().join(" "));`;
  const manifest = (line: string): string =>
    execFileSync(process.execPath, ["--input-type=module", "-e", script(line)], {
      cwd: packages,
      encoding: "utf8",
    }).trim();
  expect(manifest("")).toContain(".wasm");
  expect(manifest(globIgnores ?? "")).toBe(`assets/m-12345678.js br.js ${ODD_NAME} m.js x/m.js`);
});
