// Where a host's configuration is written, and how it writes paths and values.
import type { Host, Stack } from "../evidence.ts";
import { decoded } from "../urls.ts";

/** A line of configuration, markup or code. */
export interface Line {
  /** File, command or place. */
  readonly where: string;
  readonly line: string;
}

/** Files where a host's headers are written. */
export const HEADER_FILES: Readonly<Record<Host, string>> = {
  nginx: "nginx.conf, in the server block",
  apache: ".htaccess (AllowOverride FileInfo; mod_headers)",
  caddy: "Caddyfile",
  netlify: "public/_headers",
  vercel: "vercel.json",
  "cloudflare-pages": "public/_headers",
  cloudflare: "the origin server behind Cloudflare's proxy; on Cloudflare Pages, public/_headers",
  "github-pages": "GitHub Pages sets no headers: use another host",
  firebase: "firebase.json, hosting.headers",
  serve: "serve.json, in the served folder",
  "http-server": "http-server sets no headers: npx serve, with serve.json in the served folder",
  express: "the server, before express.static",
  iis: "web.config, system.webServer/httpProtocol/customHeaders",
  vite: "vite.config",
  "webpack-dev-server": "webpack.config",
  "ng-serve": "angular.json, architect.serve.options",
  "nuxt-dev": "nuxt.config",
  "astro-dev": "astro.config",
  next: "next.config",
  python: "python -m http.server sets no headers: npx serve, with serve.json in the served folder",
};

/** Bundler and host. */
export type HostStack = Pick<Stack, "bundler" | "host">;

/** Where a host's headers are written. */
export function placeOf({ host, bundler }: HostStack & { readonly host: Host }): string {
  return host === "webpack-dev-server" && bundler === "rspack" ? "rspack.config" : HEADER_FILES[host];
}

/** Where lines of Apache's modules that are always there are written. */
export const APACHE = ".htaccess (AllowOverride FileInfo)";

/** Writes lines of Apache for a file of a name, whatever its folder. */
export function inFiles(path: string, ...lines: readonly string[]): string {
  return inTag("Files", decoded(path.slice(path.lastIndexOf("/") + 1)), ...lines);
}

/** Writes a tag of Apache around lines. Tags stand on lines of their own: what follows one is read as its value. */
export function inTag(tag: string, value: string, ...lines: readonly string[]): string {
  return [`<${tag} "${value}">`, ...lines.map((x) => `  ${x}`), `</${tag}>`].join("\n");
}

/** Writes a value of an attribute of XML. */
export function markup(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** Writes a path, as servers match it, as a regular expression. */
export function escaped(path: string): string {
  return decoded(path).replaceAll(/[.*+?^${}()|[\]\\#]/g, String.raw`\$&`);
}
