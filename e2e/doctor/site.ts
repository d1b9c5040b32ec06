// A small site with a server of its own, described by data: what it holds, how it is served, and what is wrong with it.
// `mend` applies a change that the doctor names, whatever the change is, so that a fix is proved by the page.
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Change } from "../../lib/doctor/evidence.ts";
import { contentTypeOf, pathOf, startServer } from "../../lib/compress/check/local-server.ts";
import { ROOT } from "../support/prepare.ts";

const DIST = join(ROOT, "dist");

/** A header on paths; a glob ends with `*`. */
export interface HeaderRule {
  readonly path: string;
  readonly name: string;
  readonly value: string;
  /** Whether it stands in the page's markup instead. */
  readonly isMeta?: boolean;
}

/** A site. Changes of it are seen by the next request. */
export interface Site {
  /** Content by path. */
  readonly files: Map<string, Uint8Array>;
  /** Right content, for files that are missing or wrong in `files`. */
  readonly store: Map<string, Uint8Array>;
  readonly headers: HeaderRule[];
  readonly types: Record<string, string>;
  /** Paths that are answered with the page: null for none, those that match, or those that are missing. */
  fallback: RegExp | "missing" | null;
  /** Paths that are redirected to a page, as by a login; null for none. */
  login: RegExp | null;
  /** Paths that are redirected to themselves without end; null for none. */
  loop: RegExp | null;
  /** Paths that are refused for too many requests; null for none. */
  limited: RegExp | null;
  /** Paths that are refused with status 403; null for none. */
  denied: RegExp | null;
  /** Paths whose requests are accepted and never answered; null for none. */
  silent: RegExp | null;
  /** Paths whose connections are closed without an answer; null for none. */
  dropped: RegExp | null;
  /** Name and password, as `name:password`, without which nothing is answered; null for none. */
  basic: string | null;
  /** Paths that fail on the server with status 500; null for none. */
  failing: RegExp | null;
  /** Paths that are answered whole with status 206, where no part was asked for; null for none. */
  partial: RegExp | null;
  /** Paths whose answers to browsers break off half way, unless a part is asked for; null for none. */
  breaks: RegExp | null;
  /** How requests of a part are answered: with the whole file, with the part, or with a part of what a proxy compressed. */
  ranges: "none" | "right" | "compressed";
  /** Types that are sent by gzip to whom accepts it. */
  readonly compress: Set<string>;
  /** Changes content on its way. */
  transform: ((path: string, body: Uint8Array) => Uint8Array) | null;
  /** Whether responses have validators. */
  validators: boolean;
  /** Options that the page reads. */
  readonly app: App;
  /** Folder of the page. */
  readonly base: string;
  /** Host name by which the page is opened. */
  hostname: string;
  /** A second origin, for models or scripts. */
  readonly other: Site | null;
  /** Whether the second origin is served over https too, where the site is. */
  isOtherSecure: boolean;
  /** Replaces the page's code by one that is built otherwise. */
  readonly mended: ReadonlyMap<string, Uint8Array> | null;
}

/** Options of the page, in its markup. */
export interface App {
  /** Address of the model, relative to the page; `{other}` stands for the other origin. */
  model: string;
  /** Address of the page's module; "" for a page whose code is in its markup. */
  script: string;
  /** Whether the script's tag has no type="module". */
  isClassic?: boolean;
  assetsBase?: string;
  threads?: number;
  policy?: string;
  /** More markup of the page's head. */
  head?: string;
  /** Markup after the page's script. */
  tail?: string;
  /** Options of the load. */
  load?: Readonly<Record<string, unknown>>;
  /** Starts the engine on a click alone. */
  isLazy?: boolean;
  /** Shows an error in the page alone, and logs nothing. */
  isQuiet?: boolean;
  /** Nonce of the page's script. */
  nonce?: string;
  /** Path of a service worker that the page registers, and waits for. */
  serviceWorker?: string;
}

const ENDINGS = [".html", ".js", ".mjs", ".json", ".wasm"];

/** Makes a site that works: a page, its script, the package's files and a model. */
export function makeSite(given: Partial<Site> & { readonly app: App }): Site {
  return {
    files: new Map(),
    store: new Map(),
    headers: [],
    types: Object.fromEntries(ENDINGS.map((x) => [x, contentTypeOf(`a${x}`)])),
    fallback: null,
    login: null,
    loop: null,
    limited: null,
    denied: null,
    silent: null,
    dropped: null,
    basic: null,
    failing: null,
    partial: null,
    breaks: null,
    ranges: "none",
    compress: new Set(),
    transform: null,
    validators: true,
    base: "/",
    hostname: "127.0.0.1",
    other: null,
    isOtherSecure: false,
    mended: null,
    ...given,
  };
}

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

/** A site that is served. */
export interface Served {
  /** Address of the page; changes with the host name. */
  readonly url: string;
  close(): Promise<void>;
}

/** Serves a site, and its other origin; over https with a key and a certificate. */
export async function serveSite(
  site: Site,
  port = 0,
  tls?: { readonly key: string; readonly cert: string },
): Promise<Served> {
  const other = site.other === null ? null : await serveSite(site.other, 0, site.isOtherSecure ? tls : undefined);
  const origin = other === null ? "" : new URL(other.url).origin;
  const listener: RequestListener = (request, response) => {
    answer(site, origin, request, response);
  };
  const server = await startServer(listener, { port, host: "0.0.0.0", ...(tls !== undefined && { tls }) });
  return {
    get url() {
      return `http${tls === undefined ? "" : "s"}://${site.hostname}:${server.port}${site.base}`;
    },
    close: async () => {
      await other?.close();
      await server.close();
    },
  };
}

function answer(site: Site, other: string, request: IncomingMessage, response: ServerResponse): void {
  const pathname = pathOf(request);
  if (site.silent?.test(pathname) === true) return;
  if (site.dropped?.test(pathname) === true) {
    request.socket.destroy();
    return;
  }
  if (site.basic !== null && request.headers.authorization !== `Basic ${btoa(site.basic)}`) {
    response.writeHead(401, { "WWW-Authenticate": "Basic", "Content-Type": "text/plain" }).end("login");
    return;
  }
  if (site.loop?.test(pathname) === true) {
    response.writeHead(302, { Location: `${pathname}?${Math.random()}` }).end();
    return;
  }
  if (site.limited?.test(pathname) === true) {
    response.writeHead(429, { "Retry-After": "3600", "Content-Type": "text/plain" }).end("too many requests");
    return;
  }
  if (site.denied?.test(pathname) === true) {
    response.writeHead(403, { "Content-Type": "text/plain" }).end("forbidden");
    return;
  }
  if (site.failing?.test(pathname) === true) {
    response.writeHead(500, { "Content-Type": "text/plain" }).end("failed");
    return;
  }
  if (site.login?.test(pathname) === true) {
    response.writeHead(302, { Location: `${site.base}login` }).end();
    return;
  }
  if (pathname === `${site.base}login`) {
    response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>log in</title>");
    return;
  }
  const isPage = pathname === site.base;
  const file = isPage ? page(site, other) : site.files.get(pathname);
  const isFallback =
    !isPage &&
    site.fallback !== null &&
    (site.fallback === "missing" ? file === undefined : site.fallback.test(pathname));
  const path = isPage || isFallback ? "/index.html" : pathname;
  let body = isFallback ? page(site, other) : file;
  response.statusCode = body === undefined ? 404 : site.partial?.test(pathname) === true ? 206 : 200;
  if (body !== undefined && !isFallback && !isPage) body = site.transform?.(pathname, body) ?? body;
  const type = body === undefined ? "text/plain" : site.types[extname(path)];
  if (type !== undefined) response.setHeader("Content-Type", type);
  if (site.validators && body !== undefined) response.setHeader("ETag", `"${body.byteLength}-${pathname.length}"`);
  for (const rule of site.headers)
    if (covers(rule.path, pathname) && !rule.isMeta)
      response.setHeader(rule.name, rule.value.replaceAll("{other}", other));
  const accepts = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
  if (body !== undefined && accepts && site.compress.has((type ?? "").split(";")[0] ?? "")) {
    response.setHeader("Content-Encoding", "gzip");
    body = gzipSync(body, { level: 1 });
  }
  const [, from, to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (body !== undefined && from !== undefined && site.ranges !== "none") {
    const size = body.byteLength;
    const end = Math.min(size, to === "" ? size : Number(to) + 1);
    response.statusCode = 206;
    response.setHeader("Content-Range", `bytes ${from}-${end - 1}/${size}`);
    const content = site.ranges === "right" ? body : Buffer.concat([gzipSync(body), body]);
    body = content.subarray(Number(from), end);
  } else if (
    body !== undefined &&
    site.breaks?.test(pathname) === true &&
    /Mozilla/.test(request.headers["user-agent"] ?? "")
  ) {
    response.setHeader("Content-Length", body.byteLength);
    response.write(body.subarray(0, body.byteLength / 2), () => response.destroy());
    return;
  }
  response.setHeader("Content-Length", body?.byteLength ?? 0);
  response.end(body);
}

function covers(rule: string, path: string): boolean {
  return rule.endsWith("*") ? path.startsWith(rule.slice(0, -1)) : rule === path;
}

function page({ app, base, headers }: Site, other: string): Uint8Array {
  const meta = headers
    .filter((x) => x.isMeta === true)
    .map((x) => `<meta http-equiv="${x.name}" content="${x.value.replaceAll("{other}", other)}">`)
    .join("");
  const content = JSON.stringify(app).replaceAll("{other}", other).replaceAll('"', "&quot;");
  const script = app.script.replace("{other}", other);
  return Buffer.from(
    `<!doctype html><meta charset="utf-8"><title>app</title><link rel="icon" href="data:,"><meta name="app" content="${content}">${meta}<base href="${base}">${app.head ?? ""}${script === "" ? "" : `<script${app.isClassic === true ? "" : ` type="module"`}${app.nonce === undefined ? "" : ` nonce="${app.nonce}"`} crossorigin src="${script}"></script>`}${app.tail ?? ""}`,
  );
}

/** Makes a change that the doctor named. */
export function mend(site: Site, change: Change): void {
  switch (change.kind) {
    case "header": {
      const isOther = /^https?:/.test(change.path) && site.other !== null;
      const path = change.path.replace(/^https?:\/\/[^/]+/, "");
      (isOther ? site.other : site).headers.push({ ...change, path });
      return;
    }
    case "type":
      site.types[change.extension] = change.type;
      drop(site, /^content-type$/i);
      return;
    case "copy":
      copy(site, change.files, change.to);
      return;
    case "no-fallback":
      site.fallback = null;
      return;
    case "no-redirect":
      site.fallback = site.login = site.loop = null;
      return;
    case "answer":
      site.silent = site.dropped = site.failing = null;
      return;
    case "whole":
      site.partial = null;
      return;
    case "no-header":
      drop(site, new RegExp(`^${change.name}$`, "i"), change.path);
      return;
    case "https":
      site.isOtherSecure = true;
      // The doctor accepts a certificate that nobody has signed from this machine alone.
      if (site.other !== null) site.other.hostname = "localhost";
      return;
    case "import-map": {
      const map = `<script type="importmap">${JSON.stringify({ imports: change.imports, ...change.rest })}</script>`;
      const withoutMaps = (html = ""): string => html.replaceAll(/<script type="importmap">[^]*?<\/script>/g, "");
      site.app.head = `${map}${withoutMaps(site.app.head)}`;
      site.app.tail = withoutMaps(site.app.tail);
      return;
    }
    case "module":
      site.app.isClassic = false;
      return;
    case "allow":
      site.denied = null;
      return;
    case "no-limit":
      site.limited = null;
      return;
    case "csp":
      addSources(site, change);
      return;
    case "trusted-types":
      site.app.policy = "selvedge";
      return;
    case "nonce":
      site.app.nonce = change.nonce ?? "";
      return;
    case "secure-context":
      site.hostname = "localhost";
      return;
    case "replace":
      site.files.set(change.url, held(site, change.url));
      return;
    case "as-stored":
      site.transform = null;
      site.compress.clear();
      if (site.ranges === "compressed") site.ranges = "right";
      return;
    case "ranges":
      site.ranges = "right";
      return;
    case "compress":
      site.compress.add(change.type);
      return;
    case "build":
    case "exclude-prebundle":
    case "one-copy":
      for (const [path, body] of site.mended ?? []) site.files.set(path, body);
      return;
    case "worker-by-blob":
      for (const [path, body] of site.mended ?? []) site.other?.files.set(path, body);
      return;
    case "assets-base":
      site.app.assetsBase = change.to;
      return;
    case "same-origin-files":
      copy(site, ["worker-*.js", "*.wasm"], "/selvedge/");
      site.app.assetsBase = "/selvedge/";
      return;
    case "refresh-service-worker":
      site.files.set(change.url, held(site, change.url));
      return;
    case "keep-out-of-precache":
      site.files.set(site.app.serviceWorker ?? "", held(site, site.app.serviceWorker ?? ""));
  }
}

function drop(site: Site, name: RegExp, path?: string): void {
  const kept = site.headers.filter((x) => !name.test(x.name) || (path !== undefined && !covers(x.path, path)));
  site.headers.splice(0, site.headers.length, ...kept);
}

function held(site: Site, path: string): Uint8Array {
  const body = site.store.get(path);
  if (body === undefined) throw new Error(`the site has no right content for ${path}`);
  return body;
}

function copy(site: Site, files: readonly string[], to: string): void {
  for (const name of files) {
    if (name.endsWith("/*")) {
      for (const [path, body] of site.store) if (covers(name, path)) site.files.set(path, body);
      continue;
    }
    if (name.startsWith("/")) {
      site.files.set(name, held(site, name));
      continue;
    }
    const pattern = new RegExp(`^${name.replaceAll(".", "\\.").replaceAll("*", "[\\w-]*")}$`);
    for (const [path, body] of site.store) {
      // A bundler's output is deployed again, with its hashes.
      const [base = ""] = path.split("/").slice(-1);
      const plain = base.replace(/-[A-Za-z\d_]{8}\./, ".");
      if (path.startsWith(to) && pattern.test(plain)) site.files.set(path, body);
    }
    for (const base of readdirSync(DIST))
      if (pattern.test(base)) site.files.set(`${to}${base}`, readFileSync(join(DIST, base)));
  }
}

function addSources(
  site: Site,
  {
    path,
    directive,
    sources,
  }: { readonly path: string; readonly directive: string; readonly sources: readonly string[] },
): void {
  const name = "Content-Security-Policy";
  site.headers.forEach((rule, i) => {
    if (rule.name !== name || !covers(rule.path, path)) return;
    const parts = rule.value.split(";").map((x) => x.trim().split(/\s+/));
    const part = parts.find(([x]) => x === directive);
    if (part === undefined) parts.push([directive, ...sources]);
    else part.splice(1, part.length, ...new Set([...part.slice(1).filter((x) => x !== "'none'"), ...sources]));
    site.headers[i] = { ...rule, value: parts.map((x) => x.join(" ")).join("; ") };
  });
}

/** Reads the workers and binaries of the package, as files of a folder of a site. */
export function packageFiles(to: string): Map<string, Uint8Array> {
  const names = readdirSync(DIST).filter((x) => /^worker-(?:cache|jspi|wasm)\.js$|\.wasm$/.test(x));
  return new Map(names.map((name) => [`${to}${name}`, readFileSync(join(DIST, name))]));
}

/** Reads a folder as files of a site. */
export function folderFiles(folder: string, to: string): Map<string, Uint8Array> {
  if (!existsSync(folder)) throw new Error(`${folder} is missing: npm run build, npm run models`);
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((x) => x.isFile());
  return new Map(
    names.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [`${to}${path.slice(folder.length + 1)}`, readFileSync(path)];
    }),
  );
}
