// Rules by host, and those of hosts that have none of their own. A new host has its id in evidence.ts, its traces in
// stack.ts, its name in explain/explain.ts, its rules in a file of hosts/, and its entry here.
import type { Change, Host, Stack } from "../evidence.ts";
import { pathOf } from "../urls.ts";
import type { HeaderChange, HostRules, Line, Site } from "./host-rules.ts";
import { apache } from "./hosts/apache.ts";
import { caddy } from "./hosts/caddy.ts";
import { devServers } from "./hosts/dev-servers.ts";
import { express } from "./hosts/express.ts";
import { githubPages } from "./hosts/github-pages.ts";
import { iis } from "./hosts/iis.ts";
import { netlifyAndCloudflare } from "./hosts/netlify-cloudflare.ts";
import { nginx } from "./hosts/nginx.ts";
import { serveAndFirebase } from "./hosts/serve-firebase.ts";
import { next, vercel } from "./hosts/vercel-next.ts";

const HOSTS: Readonly<Record<Host, HostRules>> = {
  nginx,
  apache,
  caddy,
  express,
  iis,
  vercel,
  "github-pages": githubPages,
  next,
  ...netlifyAndCloudflare,
  ...serveAndFirebase,
  ...devServers,
};

const UNKNOWN: HostRules = {
  place: "the server",
  header: ({ path, name, value }) => ({ where: `the server, on ${path}`, line: `${name}: ${value}` }),
};

const DEFAULTS: Required<Omit<HostRules, "place">> = {
  hasNoHeaders: false,
  hasSections: false,
  header: ({ name, value }, { where }) => ({ where, line: `${name}: ${value}` }),
  noHeader: ({ path, name, value }) => ({
    where: "the server, or its rules of headers",
    line: `send ${path} without ${name}: ${value}  (remove the rule that adds it)`,
  }),
  type: ({ extension, type }) => ({
    where: "the server, or a proxy before it",
    line: `*${extension}: Content-Type: ${type}`,
  }),
  fallback: ({ paths }) => ({
    where: "the rewrite rule of the host",
    line: `answer ${paths.join(", ")} with the file, and 404 where there is none`,
  }),
  stored: ({ path }) => ({
    where: "the host",
    line: `serve ${path} as stored: no compression, no decompression, no rewriting`,
  }),
  ranges: ({ path }) => ({
    where: "the server, or a proxy or CDN before it",
    line: `answer requests of ${path} that have a Range header with status 206 and that part`,
  }),
  compress: ({ extension, type }) => ({
    where: "the host's compression",
    line: `add ${type} (${extension}) to the compressed types`,
  }),
};

/** Returns the rules of a host; null: of one that is not known. */
export function rulesOf(host: Host | null): Required<HostRules> {
  return { ...DEFAULTS, ...(host === null ? UNKNOWN : HOSTS[host]) };
}

/** Returns the facts that lines of a report depend on. */
export function siteOf({ host, bundler }: Stack, all: readonly Change[]): Site {
  const { place } = rulesOf(host);
  return { where: typeof place === "string" ? place : place(bundler), bundler, all };
}

/** Returns the line that sets a header. `all`: the changes of the report. */
export function headerFix(change: HeaderChange, stack: Stack, all: readonly Change[]): Line {
  const { path, name, value } = change;
  // The page's host says nothing of another origin's.
  if (/^https?:/.test(path))
    return { where: `the server of ${new URL(path).host}, on ${pathOf(path)}`, line: `${name}: ${value}` };
  return rulesOf(stack.host).header(change, siteOf(stack, all));
}
