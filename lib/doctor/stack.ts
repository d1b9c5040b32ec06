// Bundler and host of a site, by the traces that they leave in files and headers, and by the app's configuration where
// the site says nothing.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { HttpAnswer, Bundler, Host, Project, SiteFile, Stack } from "./evidence.ts";
import { textOf } from "./http.ts";
import { isCode, scriptTags } from "./markup.ts";

/** Traces in the addresses and texts of a page, most specific first. */
const TRACES: readonly (readonly [RegExp, Bundler])[] = [
  [/\/_next\/static\/|__NEXT_DATA__|self\.__next_f/, "next"],
  [/\/_nuxt\/|__NUXT/, "nuxt"],
  [/\/_app\/immutable\/|__sveltekit/, "sveltekit"],
  [/\/_astro\/|<astro-island|\b__astro_dev_toolbar__|\.astro\?astro&/, "astro"],
  [/\bng-version=|<app-root\b|\bng-app-id\b/, "angular"],
  // A dependency that webpack has built says nothing of a page of Vite's development server.
  [/\/@vite\/client/, "vite"],
  [/\bparcelRequire/, "parcel"],
  [/rspackChunk|rspackHotUpdate|rspack-dev-server|__rspack|\brspack\//, "rspack"],
  [/webpackChunk|__webpack_require__|webpack-dev-server/, "webpack"],
  [/\/\.vite\/deps|__vite__|vite\/modulepreload-polyfill|vite:preloadError/, "vite"],
  [/<script[^>]+type=["']?importmap/, "importmap"],
];

/** Traces that another tool's output may have too. */
const FAINT: readonly (readonly [RegExp, Bundler])[] = [
  [/\bassets\/[\w-]+-[\w-]{8}\.js\b/, "vite"],
  [
    /\bchunk-[A-Z\d]{8}\.js\b|\b__defProp\b|\/\/ node_modules\/selvedge\/|\b__(?:publicField|commonJS|export|esm)\b/,
    "esbuild",
  ],
];

const CONFIGS: readonly (readonly [RegExp, Bundler])[] = [
  [/^next\.config\./, "next"],
  [/^nuxt\.config\./, "nuxt"],
  [/^svelte\.config\./, "sveltekit"],
  [/^astro\.config\./, "astro"],
  [/^angular\.json$/, "angular"],
  [/^rspack\.config\./, "rspack"],
  [/^webpack\.config\./, "webpack"],
  [/^vite\.config\./, "vite"],
  [/^\.parcelrc$/, "parcel"],
  [/^rollup\.config\./, "rollup"],
  [/^(?:esbuild\.config|build)\.m?js$/, "esbuild"],
];

const PACKAGES: readonly (readonly [string, Bundler])[] = [
  ["next", "next"],
  ["nuxt", "nuxt"],
  ["@sveltejs/kit", "sveltekit"],
  ["astro", "astro"],
  ["@angular/core", "angular"],
  ["@rspack/core", "rspack"],
  ["webpack", "webpack"],
  ["vite", "vite"],
  ["parcel", "parcel"],
  ["rollup", "rollup"],
  ["esbuild", "esbuild"],
];

/** Header values that name a host. */
const HEADERS: readonly (readonly [name: string, RegExp, Host])[] = [
  ["x-nf-request-id", /./, "netlify"],
  ["server", /^netlify/i, "netlify"],
  ["x-vercel-id", /./, "vercel"],
  ["server", /^vercel/i, "vercel"],
  ["server", /^github\.com/i, "github-pages"],
  ["x-github-request-id", /./, "github-pages"],
  ["server", /nginx|openresty/i, "nginx"],
  ["server", /^apache(?:\/|\s*\(|$)/i, "apache"],
  ["server", /caddy/i, "caddy"],
  ["server", /iis/i, "iis"],
  ["server", /^SimpleHTTP/i, "python"],
  // A proxy before the host replaces `server`, and keeps these.
  ["via", /\bcaddy\b/i, "caddy"],
  ["x-powered-by", /^asp\.net/i, "iis"],
  ["x-powered-by", /next\.js/i, "next"],
  ["content-disposition", /^inline; filename=/, "serve"],
  ["x-powered-by", /express/i, "express"],
];

/** Headers that Cloudflare Pages sends with each file by default; its proxy adds none of them. */
const PAGES_HEADERS: Readonly<Record<string, string>> = {
  "access-control-allow-origin": "*",
  "cache-control": "public, max-age=0, must-revalidate",
  "referrer-policy": "strict-origin-when-cross-origin",
  "x-content-type-options": "nosniff",
};

/** Marks of development servers in addresses and scripts of a page: of their clients, which texts may name, too. */
const DEV =
  /\/@vite\/client|\b(?:self|window|globalThis)(?:\.|\[["'])(?:webpack|rspack)HotUpdate|(?:webpack-|@rspack\/)dev-server\/client\b|["'](?:webpack|rspack)-dev-server["']|\/_next\/webpack-hmr|next-hmr/;

/** Configuration files that name a host. */
const HOST_FILES: readonly (readonly [RegExp, Host])[] = [
  [/^netlify\.toml$/, "netlify"],
  [/^vercel\.json$/, "vercel"],
  [/^wrangler\.(?:toml|jsonc?)$/, "cloudflare-pages"],
  [/^firebase\.json$/, "firebase"],
  [/^serve\.json$/, "serve"],
  [/^web\.config$/i, "iis"],
  [/^Caddyfile$/, "caddy"],
  [/^\.htaccess$/, "apache"],
  [/nginx.*\.conf$/, "nginx"],
  [/^(?:_headers|_redirects)$/, "netlify"],
];

/** Recognises bundler and host. */
export function recognise(url: string, files: readonly SiteFile[], project: Project | null): Stack {
  const pages = files.filter(({ role }) => role === "document" || role === "script");
  const textsOf = (some: readonly SiteFile[]): string => some.map((x) => textOf(x.answer)).join("\n");
  const urls = pages.map((x) => x.url).join("\n");
  const text = `${urls}\n${textsOf(pages)}`;
  // A model or a script may come from another host.
  const { origin } = new URL(url);
  const answers = files.filter((x) => new URL(x.url).origin === origin).map((x) => x.answer);
  // Prose of a page may name a development server.
  const documents = pages.filter(({ role }) => role === "document");
  const tags = documents.flatMap((x) => scriptTags(textOf(x.answer), x.url)).filter(isCode);
  const code = textsOf(pages.filter(({ role }) => role === "script"));
  const isDev = DEV.test([urls, ...tags.map((x) => x.url ?? x.text), code].join("\n"));
  // A server of its own, as PHP's frameworks have, may have the scripts alone from Vite.
  const client = tags.find((x) => x.url?.endsWith("/@vite/client"))?.url ?? url;
  const isOfServer = isDev && new URL(client).origin === origin;
  // A script may hold the names of tools that did not make it.
  const markup = `${urls}\n${textsOf(documents)}`;
  const host = isOfServer ? devHostOf(markup, answers) : hostOf(url, answers, project);
  const first = (traces: readonly (readonly [RegExp, Bundler])[]): Bundler | undefined =>
    traces.find(([trace]) => trace.test(text))?.[1];
  return { bundler: first(TRACES) ?? bundlerOf(project) ?? first(FAINT) ?? null, host, isDev };
}

/** Recognises a development server by the page's markup and the addresses of its scripts. */
function devHostOf(markup: string, answers: readonly HttpAnswer[]): Host {
  if (answers.some((x) => /next\.js/i.test(x.headers["x-powered-by"] ?? ""))) return "next";
  const framework = TRACES.find(([trace]) => trace.test(markup))?.[1];
  // Vite alone serves an Angular app from its sources.
  if (framework === "angular" && !/\bsrc="\/?src\/[^"]+\.ts\b/.test(markup)) return "ng-serve";
  if (framework === "next") return "next";
  if (framework === "nuxt") return "nuxt-dev";
  if (framework === "astro") return "astro-dev";
  return /\/@vite\/client/.test(markup) ? "vite" : "webpack-dev-server";
}

function bundlerOf(project: Project | null): Bundler | undefined {
  if (project === null) return undefined;
  const names = Object.keys(project.configs);
  return (
    CONFIGS.find(([pattern]) => names.some((x) => pattern.test(x)))?.[1] ??
    PACKAGES.find(([name]) => name in project.packages)?.[1]
  );
}

function hostOf(url: string, answers: readonly HttpAnswer[], project: Project | null): Host | null {
  const { hostname } = new URL(url);
  if (/\.github\.io$/.test(hostname)) return "github-pages";
  if (/\.pages\.dev$/.test(hostname)) return "cloudflare-pages";
  const told = HEADERS.find(([name, value]) => answers.some((x) => value.test(x.headers[name] ?? "")))?.[2];
  if (told !== undefined) return told;
  const isBehindCloudflare = answers.some((x) => "cf-ray" in x.headers);
  const isPages = answers.some((x) =>
    Object.entries(PAGES_HEADERS).every(([name, value]) => x.headers[name] === value),
  );
  if (isBehindCloudflare && isPages) return "cloudflare-pages";
  // http-server: a weak tag of inode, size and time, and an hour.
  if (
    answers.some((x) => /^W\/"\d+-\d+-/.test(x.headers["etag"] ?? "") && x.headers["cache-control"] === "max-age=3600")
  )
    return "http-server";
  const names = Object.keys(project?.configs ?? {});
  const file = HOST_FILES.find(([pattern]) => names.some((x) => pattern.test(x)))?.[1];
  // `_headers` and `_redirects` are files of both.
  if (file === "netlify" && isBehindCloudflare && !names.includes("netlify.toml")) return "cloudflare-pages";
  if (file !== undefined) return file;
  if (isBehindCloudflare) return "cloudflare";
  // Vite's preview: sirv's weak tag of size and time.
  const isPreview = answers.some((x) => /^W\/"\d+-\d{13}"$/.test(x.headers["etag"] ?? ""));
  return isPreview ? "vite" : null;
}

/** Reads the app around a folder: its package.json and configuration files; null where there is none. */
export function readProject(folder: string): Project | null {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return projectAt(at, resolve(folder));
    if (dirname(at) === at) return null;
  }
}

function projectAt(root: string, folder: string): Project {
  const wanted = [...CONFIGS, ...HOST_FILES].map(([pattern]) => pattern);
  const configs: Record<string, string> = {};
  for (const at of new Set([root, folder, join(root, "public")]))
    for (const name of existsSync(at) ? readdirSync(at) : [])
      if (wanted.some((x) => x.test(name))) configs[name] ??= read(join(at, name));
  const packages: Record<string, string> = {};
  try {
    const json = JSON.parse(read(join(root, "package.json"))) as Record<string, Record<string, string> | undefined>;
    Object.assign(packages, json["devDependencies"], json["dependencies"]);
  } catch {
    // A package.json that can't be read names nothing.
  }
  return { folder: root, packages, configs };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
