import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SiteFile } from "./evidence.ts";
import { readProject, recognise } from "./stack.ts";

function file(
  url: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
  role: SiteFile["role"] = "document",
): SiteFile {
  const answer = { url, status: 200, headers, body: Buffer.from(text), isWhole: true, redirects: [] };
  return { url, role, source: "requested", answer, packed: null, range: null, seen: null };
}

test.each([
  ['<script src="/_next/static/chunks/1.js">', "next"],
  ['<script type="module" src="/_nuxt/a.js">', "nuxt"],
  ['<link href="/_app/immutable/x.js">', "sveltekit"],
  ['<script src="/_astro/p.js">', "astro"],
  ["<app-root ng-version=20></app-root>", "angular"],
  ["(self.webpackChunkapp=self.webpackChunkapp||[])", "webpack"],
  ["(self.rspackChunkapp=self.rspackChunkapp||[])", "rspack"],
  ["parcelRequire94c2", "parcel"],
  ['<script type="module" src="/@vite/client">', "vite"],
  ['<script type="module" src="/assets/index-DiwrgTda.js">', "vite"],
  ['<script type="importmap">', "importmap"],
  ['<script src="app.js">', null],
])("%s is made by %s", (text, bundler) => {
  expect(recognise("https://x.example/", [file("https://x.example/", text)], null).bundler).toBe(bundler);
});

test.each([
  [{ server: "nginx/1.27" }, "nginx"],
  [{ server: "Apache/2.4" }, "apache"],
  [{ server: "Caddy" }, "caddy"],
  [{ server: "Netlify", "x-nf-request-id": "1" }, "netlify"],
  [{ "x-vercel-id": "fra1" }, "vercel"],
  [{ server: "cloudflare", "cf-ray": "1" }, "cloudflare"],
  // Cloudflare Pages, on a domain of its own.
  [
    {
      ...{
        server: "cloudflare",
        "cf-ray": "1",
        "access-control-allow-origin": "*",
        "x-content-type-options": "nosniff",
      },
      ...{
        "cache-control": "public, max-age=0, must-revalidate",
        "referrer-policy": "strict-origin-when-cross-origin",
      },
    },
    "cloudflare-pages",
  ],
  // Origins behind Cloudflare's proxy.
  [{ server: "cloudflare", "cf-ray": "1", "x-powered-by": "Express" }, "express"],
  [{ server: "cloudflare", "cf-ray": "1", "x-github-request-id": "1" }, "github-pages"],
  [{ server: "cloudflare", "cf-ray": "1", "x-vercel-id": "fra1" }, "vercel"],
  [{ server: "cloudflare", "cf-ray": "1", "x-powered-by": "ASP.NET" }, "iis"],
  [{ server: "cloudflare", "cf-ray": "1", via: "1.1 Caddy" }, "caddy"],
  [{ server: "GitHub.com" }, "github-pages"],
  [{ "content-disposition": 'inline; filename="index.html"' }, "serve"],
  [{ etag: 'W/"1-2-2026"', "cache-control": "max-age=3600" }, "http-server"],
  [{ "x-powered-by": "Express" }, "express"],
  [{ server: "Microsoft-IIS/10.0" }, "iis"],
  [{ server: "Apache-Coyote/1.1" }, null],
  [{}, null],
] as const)("%o comes from %s", (headers, host) => {
  expect(recognise("https://x.example/", [file("https://x.example/", "", headers)], null).host).toBe(host);
});

/** Pages and scripts as development servers answer them: Vite 8, Nuxt 4, Astro 5, Angular 20, webpack 5, Rspack 2. */
const VITE_CLIENT = '<script type="module" src="/@vite/client"></script>';
const EXPRESS = { "x-powered-by": "Express", "cross-origin-resource-policy": "same-origin" };
const MAIN = '<!doctype html><title>a</title><script src="main.js"></script>';
test.each([
  ["vite", "vite", `${VITE_CLIENT}<script type="module" src="/main.js"></script>`, "", {}],
  // A dependency that webpack has built.
  ["vite", "vite", `${VITE_CLIENT}<script src="/a.js">`, "__webpack_require__(1)", {}],
  ["sveltekit", "vite", `<script>__sveltekit_dev = {};</script>${VITE_CLIENT}`, "", {}],
  [
    ...(["nuxt", "nuxt-dev"] as const),
    '<script type="module" src="/_nuxt/@vite/client" crossorigin></script><script>window.__NUXT__={}</script>',
    ...(["", { "x-powered-by": "Nuxt" }] as const),
  ],
  [
    ...(["astro", "astro-dev"] as const),
    `<html lang="en">${VITE_CLIENT}
<script type="module" src="/@fs/app/node_modules/astro/dist/runtime/client/dev-toolbar/entrypoint.js?v=0584658b"></script>
<script>window.__astro_dev_toolbar__ = {"root":"/app/","version":"5.18.2"}</script>`,
    ...(["", {}] as const),
  ],
  // Without the toolbar.
  [
    ...(["astro", "astro-dev"] as const),
    `${VITE_CLIENT}<script type="module" src="/src/pages/index.astro?astro&type=script&index=0&lang.ts"></script>`,
    ...(["", {}] as const),
  ],
  [
    ...(["angular", "ng-serve"] as const),
    `<html lang="en" data-beasties-container><head>
  ${VITE_CLIENT}
<base href="/"></head><body><app-root></app-root><script src="main.js" type="module"></script></body></html>`,
    ...(["", {}] as const),
  ],
  // Its older builder, by webpack.
  [
    ...(["angular", "ng-serve"] as const),
    '<app-root></app-root><script src="vendor.js" type="module"></script>',
    ...(["self.webpackHotUpdateapp = 1; webpack-dev-server", EXPRESS] as const),
  ],
  ["angular", "vite", `${VITE_CLIENT}<app-root></app-root><script type="module" src="/src/main.ts">`, "", {}],
  [
    ...(["webpack", "webpack-dev-server", MAIN] as const),
    '"./node_modules/webpack-dev-server/client/index.js?protocol=ws%3A"; __webpack_require__("./main.js")',
    EXPRESS,
  ],
  ["webpack", "webpack-dev-server", MAIN, 'self["webpackHotUpdate"] = 1; __webpack_require__.c', {}],
  [
    ...(["rspack", "webpack-dev-server", MAIN] as const),
    '__webpack_require__("./node_modules/@rspack/dev-server/client/utils/log.js"); self["rspackHotUpdate"] = (chunkId) => 1',
    {},
  ],
  ["next", "next", '<script src="/_next/static/chunks/webpack.js"></script>', "webpackHotUpdate_N_E next-hmr", {}],
] as const)("a development server of %s is %s", (bundler, host, html, script, headers) => {
  const files = [file("http://localhost/", html, headers), file("http://localhost/main.js", script, headers, "script")];
  expect(recognise("http://localhost/", files, null)).toEqual({ bundler, host, isDev: true });
});

test.each([
  ["<p>Vite adds /@vite/client, and we used webpack-dev-server.</p>", ""],
  ['<script type="application/json">{"text": "Vite adds /@vite/client"}</script>', ""],
  ["<!-- <script src='/@vite/client'></script> -->", ""],
  ["", 'console.log("not by webpack-dev-server"); if (typeof webpackHotUpdate === "undefined") start();'],
])("a page that names a development server is not of one: %s %s", (html, script) => {
  const files = [
    file("https://x.example/", html, { server: "nginx" }),
    file("https://x.example/main.js", script, {}, "script"),
  ];
  expect(recognise("https://x.example/", files, null)).toMatchObject({ host: "nginx", isDev: false });
});

test("a page whose scripts alone come from Vite's server is of its own server", () => {
  const html = `<script type="module" src="http://localhost:5173/@vite/client"></script>`;
  const page = file("http://localhost/", html, { server: "Apache/2.4" });
  expect(recognise("http://localhost/", [page], null)).toEqual({ bundler: "vite", host: "apache", isDev: true });
});

test("behind Cloudflare's proxy, files of the app tell the host: those of Pages, or of the origin", () => {
  const page = file("https://x.example/", "", { server: "cloudflare", "cf-ray": "1" });
  const hostOf = (...names: readonly string[]): string | null => {
    const configs = Object.fromEntries(names.map((x) => [x, ""]));
    return recognise("https://x.example/", [page], { folder: "/app", packages: {}, configs }).host;
  };
  expect(hostOf("_headers")).toBe("cloudflare-pages");
  expect(hostOf("wrangler.toml")).toBe("cloudflare-pages");
  expect(hostOf("netlify.toml", "_headers")).toBe("netlify");
  expect(hostOf("nginx.conf")).toBe("nginx");
  expect(recognise("https://x.pages.dev/", [file("https://x.pages.dev/", "")], null).host).toBe("cloudflare-pages");
});

test("a model of another origin does not tell the page's host", () => {
  const page = file("https://x.example/", "", { server: "Caddy" });
  const model = file("https://cdn.example/m.onnx", "", { server: "nginx", "x-vercel-id": "fra1" });
  expect(recognise("https://x.example/", [page, model], null).host).toBe("caddy");
});

test("where the site says nothing, the app's files do", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-stack-"));
  try {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ devDependencies: { esbuild: "1" } }));
    writeFileSync(join(folder, "vercel.json"), "{}");
    mkdirSync(join(folder, "dist"));
    const project = readProject(join(folder, "dist"));
    expect(recognise("http://127.0.0.1/", [file("http://127.0.0.1/", "")], project)).toEqual({
      bundler: "esbuild",
      host: "vercel",
      isDev: false,
    });
    writeFileSync(join(folder, "package.json"), "{ torn");
    expect(readProject(folder)?.packages).toEqual({});
  } finally {
    rmSync(folder, { recursive: true });
  }
});
