import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SiteFile } from "./evidence.ts";
import { readProject, recognise } from "./stack.ts";

function file(url: string, text: string, headers: Readonly<Record<string, string>> = {}): SiteFile {
  const answer = { url, status: 200, headers, body: Buffer.from(text), isWhole: true, redirects: [] };
  return { url, role: "document", source: "requested", answer, packed: null, range: null, seen: null };
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
  [{ server: "cloudflare", "cf-ray": "1" }, "cloudflare-pages"],
  [{ server: "GitHub.com" }, "github-pages"],
  [{ "content-disposition": 'inline; filename="index.html"' }, "serve"],
  [{ etag: 'W/"1-2-2026"', "cache-control": "max-age=3600" }, "http-server"],
  [{ "x-powered-by": "Express" }, "express"],
  [{ server: "Microsoft-IIS/10.0" }, "iis"],
  [{}, null],
] as const)("%o comes from %s", (headers, host) => {
  expect(recognise("https://x.example/", [file("https://x.example/", "", headers)], null).host).toBe(host);
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
