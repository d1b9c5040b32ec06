// The line that makes a change, for the bundler and the host that were found. Unknown hosts get the change itself.
import type { Bundler, Change, Evidence, Stack } from "./evidence.ts";
import { copyFix, copyTo } from "./fixes/files.ts";
import type { Line } from "./fixes/host-rules.ts";
import { headerFix, rulesOf, siteOf } from "./fixes/hosts.ts";
import { policyFix, withPolicies } from "./fixes/policy.ts";
import { precacheFix } from "./fixes/precache.ts";
import { isHashed } from "./urls.ts";

/** Where to write what. */
export interface Fix extends Line {
  readonly change: Change;
}

/** Words a change for a stack. `all`: the changes of the report, of which some may be of the same line. */
export function fixOf(change: Change, evidence: Pick<Evidence, "stack" | "url">, all: readonly Change[] = []): Fix {
  return { change, ...worded(change, evidence, all) };
}

function worded(change: Change, { stack, url }: Pick<Evidence, "stack" | "url">, all: readonly Change[]): Line {
  const rules = rulesOf(stack.host);
  const site = siteOf(stack, all);
  switch (change.kind) {
    case "header": {
      const { where, line } = headerFix(change, stack, withPolicies(all, stack.host, url));
      return { where: isHashed(change.path) ? `${where}; again after a build that changes the name` : where, line };
    }
    case "type":
      return rules.type(change, site);
    case "copy":
      return copyFix(change, stack, url);
    case "no-fallback":
      return rules.fallback({ ...change, paths: pathsOf(change, all) }, site);
    case "no-redirect":
      return {
        where: "the host's login, or its redirects",
        line: `answer ${change.path} with the file, without a redirect to ${change.to}`,
      };
    case "answer":
      return {
        where: "the server, or a proxy before it",
        line: `answer requests of ${change.path}  (${change.reason}; its log says more)`,
      };
    case "allow":
      return {
        where: "the host's rules of access, or its login",
        line: `answer ${change.path} to every visitor${change.status === 403 ? "  (object stores answer 403 where a file is missing, too: see that it is there)" : ", without a login"}`,
      };
    case "whole":
      return {
        where: "the server, or a proxy or CDN before it",
        line: `answer requests of ${change.path} that have no Range header with status 200 and the whole file`,
      };
    case "no-header":
      return rules.noHeader(change, site);
    case "https":
      return {
        where: `the app's code; ${new URL(change.url).host} must answer over https`,
        line: `"${change.url.replace(/^http:/, "https:")}"  (in place of "${change.url}")`,
      };
    case "import-map":
      return {
        where: "the page's markup, before its first module; one import map, which is JSON",
        line: `<script type="importmap">${JSON.stringify({ imports: change.imports, ...change.rest })}</script>`,
      };
    case "build":
      return {
        where: "the app's folder, or the address of its development server in place of one",
        line:
          (stack.bundler === null ? undefined : BUILDS[stack.bundler]) ??
          "npm run build && npx selvedge doctor <output folder>",
      };
    case "module":
      return {
        where: "the page's markup",
        line:
          change.script === null ? `<script type="module">` : `<script type="module" src="${change.script}"></script>`,
      };
    case "no-limit":
      return {
        where: "the host's limit of requests, or its protection against bots",
        line: `raise it for ${change.path}: a page with models requests dozens of files at once`,
      };
    case "csp":
      return policyFix(change, stack, url, all);
    case "nonce":
      return {
        where: "the page's markup, and each script of it",
        line: `<script type="module" src="${change.script}" nonce="${change.nonce === null ? "…" : "<the nonce of this response's policy>"}">${change.nonce === null ? "  and  'nonce-…' in script-src" : ""}`,
      };
    case "trusted-types":
      return {
        where:
          change.isAllowed === true
            ? "createEngine"
            : "createEngine, and the Content-Security-Policy: trusted-types selvedge",
        line: 'createEngine({ trustedTypesPolicy: trustedTypes.createPolicy("selvedge", { createScriptURL: (url) => url }) })',
      };
    case "secure-context":
      return secureFix(url, stack);
    case "replace":
      return {
        where: "where the site is built and deployed",
        line: `${change.command}  (then deploy ${change.url} again)`,
      };
    case "as-stored":
      return rules.stored(change, site);
    case "ranges":
      return rules.ranges(change, site);
    case "compress":
      return rules.compress(change, site);
    case "exclude-prebundle":
      return {
        where: isViteOf(stack.bundler) ? `${stack.bundler}.config, vite` : "vite.config",
        line: 'optimizeDeps: { exclude: ["selvedge"] }',
      };
    case "assets-base":
      return { where: "createEngine", line: `createEngine({ assetsBase: "${change.to}" })` };
    case "same-origin-files":
      return {
        where: "the page's own origin",
        line: `${copyTo("public/selvedge/")}  and  createEngine({ assetsBase: "/selvedge/" })`,
      };
    case "worker-by-blob":
      return {
        where: "where the app starts that worker",
        line: `new Worker(URL.createObjectURL(new Blob(['import "${change.url.replaceAll("'", "%27")}"'], { type: "text/javascript" })), { type: "module" })  (or serve its scripts from the page's origin)`,
      };
    case "one-copy":
      return {
        where: stack.bundler === "vite" ? "vite.config" : "the app's dependencies",
        line:
          stack.bundler === "vite"
            ? 'resolve: { dedupe: ["selvedge"] }'
            : "npm dedupe selvedge  (npm ls selvedge shows both)",
      };
    case "keep-out-of-precache":
      return precacheFix(stack.bundler);
    case "refresh-service-worker":
      return {
        where: change.url,
        line: "delete the old cache in `activate` (a cache name per release), and fetch /worker-*.js and *.wasm from the network first",
      };
  }
}

/** Returns the paths of all changes of a report that narrow the rule of a host: it has one such rule. */
function pathsOf(change: Change & { readonly kind: "no-fallback" }, all: readonly Change[]): readonly string[] {
  const changes = all.filter((x) => x.kind === "no-fallback");
  return [...new Set((changes.includes(change) ? changes : [change]).flatMap((x) => x.paths))];
}

/** Whether a bundler's own configuration has one of Vite in it. */
function isViteOf(bundler: Bundler | null): bundler is "nuxt" | "astro" {
  return bundler === "nuxt" || bundler === "astro";
}

/** Commands that build a site and diagnose it. */
const BUILDS: Readonly<Partial<Record<Bundler, string>>> = {
  vite: "npx vite build && npx selvedge doctor dist",
  webpack: "npx webpack && npx selvedge doctor dist",
  rspack: "npx rspack build && npx selvedge doctor dist",
  parcel: "npx parcel build && npx selvedge doctor dist",
  astro: "npx astro build && npx selvedge doctor dist",
  sveltekit: "npx vite build && npx selvedge doctor build",
  nuxt: "npx nuxt generate && npx selvedge doctor .output/public",
};

function secureFix(url: string, { bundler }: Stack): Line {
  const { port } = new URL(url);
  const line = `serve it over https; on this machine open http://localhost${port === "" ? "" : `:${port}`}/`;
  return bundler === "vite"
    ? { where: "vite.config: plugins: [basicSsl()] of @vitejs/plugin-basic-ssl; or", line }
    : { where: "the server", line };
}
