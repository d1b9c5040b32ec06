// Where a host's configuration is written, and how it writes paths and values.
import type { Host, Stack } from "../evidence.ts";
import { decoded } from "../urls.ts";

/** A line of configuration, markup or code. */
export interface Line {
  /** File, command or place. */
  readonly where: string;
  readonly line: string;
}

/** Where else nginx needs a header: one add_header in a location, and it has none of the server block's. */
export const NGINX_OWN = "and in each location that has an add_header";

/** nginx sends both headers of two add_header. */
export const NGINX_OLD = ", in place of another of that name";

/** Where serve has its headers. */
const SERVE = 'serve.json (at the end of "headers": [ ])';

/**
 * Where a host's headers are written. Places and lines are made for several lines in one file: of two keys of an object,
 * a list of rules or a map of headers, the first would be lost, so a line is an entry of the one that is there.
 */
export const HEADER_FILES: Readonly<Record<Host, string>> = {
  nginx: `nginx.conf, in the server block ${NGINX_OWN}${NGINX_OLD}`,
  apache: ".htaccess (AllowOverride FileInfo; mod_headers)",
  // Of two directives that wait for the answer, as one does that takes a header off, the first is the last to change it.
  caddy: "Caddyfile, before the site's other header lines",
  netlify: "public/_headers, at its end",
  // Of two rules that set a header, the last holds: of Vercel, Firebase, serve and Next.js.
  vercel: 'vercel.json, at the end of "headers": [ ]',
  // Of two headers of a name in a block, it sends both values.
  "cloudflare-pages":
    "public/_headers, in the block that the path has, in place of these headers there, or else at its end: of two blocks of a path, Pages takes the last alone",
  cloudflare: "the origin server behind Cloudflare's proxy; on Cloudflare Pages, public/_headers",
  "github-pages": "GitHub Pages sets no headers: use another host",
  firebase: 'firebase.json, in "hosting": at the end of "headers": [ ]',
  serve: `${SERVE} in the served folder`,
  "http-server": `http-server sets no headers: npx serve, with ${SERVE} in the served folder`,
  express: "the server, before express.static",
  iis: "web.config, system.webServer/httpProtocol/customHeaders",
  vite: "vite.config, in server: { headers: { } } and preview: { headers: { } }",
  "webpack-dev-server": "webpack.config, in devServer: { headers: { } }",
  "ng-serve": 'angular.json, architect.serve.options, in "headers": { }',
  // Nitro answers with the page, and Vite with the files below /_nuxt/.
  "nuxt-dev": 'nuxt.config, in routeRules: { "/**": { headers: { } } } and vite: { server: { headers: { } } }',
  "astro-dev": "astro.config, in server: { headers: { } }",
  next: "next.config, at the end of headers: async () => [ ]",
  python: `python -m http.server sets no headers: npx serve, with ${SERVE} in the served folder`,
};

/** Takes out of a place what it says of the order: a policy that is there is replaced where it stands. */
export function withoutOrder(where: string): string {
  return where.replace(
    / \(at the end[^)]*\)|(?:, in the block|, in place of|[,:] at (?:its|the) end|, before the site's).*$/,
    "",
  );
}

const RSPACK = HEADER_FILES["webpack-dev-server"].replace("webpack", "rspack");

/** Bundler and host. */
export type HostStack = Pick<Stack, "bundler" | "host">;

/** Where a host's headers are written. */
export function placeOf({ host, bundler }: HostStack & { readonly host: Host }): string {
  return host === "webpack-dev-server" && bundler === "rspack" ? RSPACK : HEADER_FILES[host];
}

/** Where lines of Apache's modules that are always there are written. */
export const APACHE = ".htaccess (AllowOverride FileInfo)";

/** Writes lines of Apache for a file of a name, whatever its folder. */
export function inFiles(path: string, ...lines: readonly string[]): string {
  // The name is a pattern, in which a bracket begins a class.
  return inTag("Files", decoded(path.slice(path.lastIndexOf("/") + 1)).replaceAll("[", "[[]"), ...lines);
}

/** Writes a tag of Apache around lines. Tags stand on lines of their own: what follows one is read as its value. */
export function inTag(tag: string, value: string, ...lines: readonly string[]): string {
  return [`<${tag} "${value.replaceAll('"', String.raw`\"`)}">`, ...lines.map((x) => `  ${x}`), `</${tag}>`].join("\n");
}

/** Writes a value of an attribute of XML. */
export function markup(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** Writes a path, as servers match it, as a regular expression that stands between quotes or `#`. */
export function escaped(path: string): string {
  return decoded(path).replaceAll(/[.*+?^${}()|[\]\\#"]/g, (x) =>
    /[\\#"]/.test(x) ? String.raw`\x` + x.charCodeAt(0).toString(16) : `\\${x}`,
  );
}

/** Writes a path as a glob: what begins a class, a list or a group there is any one character. */
export function globOf(path: string): string {
  return path.replaceAll(/[[{]|(?<=[!*+?@[{])\(/g, "?");
}

/** Characters that path-to-regexp takes for its own: of Vercel and Next.js. */
const PATTERN = /[\\():*+?{}]/g;

/** Writes a path as a pattern of path-to-regexp, in a text of JSON or JavaScript; Vercel refuses to deploy an invalid one. */
export function patternOf(path: string): string {
  return path.replaceAll(PATTERN, String.raw`\\$&`);
}
