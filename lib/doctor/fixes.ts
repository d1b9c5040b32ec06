// The line that makes a change, for the bundler and the host that were found. Unknown hosts get the change itself.
import { parsePolicies, withSources, written } from "./csp.ts";
import type { Bundler, Change, Evidence, Host, Stack } from "./evidence.ts";
import { pathOf } from "./urls.ts";

/** Where to write what. */
export interface Fix {
  readonly change: Change;
  /** File, command or place. */
  readonly where: string;
  readonly line: string;
}

/** Files where a host's headers are written. */
const HEADER_FILES: Readonly<Record<Host, string>> = {
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
type HostStack = Pick<Stack, "bundler" | "host">;

/** Where a host's headers are written. */
function placeOf({ host, bundler }: HostStack & { readonly host: Host }): string {
  return host === "webpack-dev-server" && bundler === "rspack" ? "rspack.config" : HEADER_FILES[host];
}

/** Hosts on which a policy stands in the markup, since no header can be set. */
const NO_HEADERS: ReadonlySet<Host> = new Set(["github-pages", "http-server", "python"]);

/** Where lines of Apache's modules that are always there are written. */
const APACHE = ".htaccess (AllowOverride FileInfo)";

/** Folders whose files a bundler copies to the output as they are. */
const PUBLIC: Readonly<Partial<Record<Bundler, string>>> = {
  vite: "public",
  next: "public",
  nuxt: "public",
  astro: "public",
  sveltekit: "static",
  angular: "public",
};

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

const PACKAGE = "node_modules/selvedge/dist";
/** Without braces, which `sh` does not expand. */
const PACKAGE_FILES = `${PACKAGE}/worker-*.js ${PACKAGE}/*.wasm`;

/** Words a change for a stack. `all`: the changes of the report, of which some may be of the same line. */
export function fixOf(change: Change, evidence: Pick<Evidence, "stack" | "url">, all: readonly Change[] = []): Fix {
  return { change, ...worded(change, evidence, all) };
}

function worded(
  change: Change,
  { stack, url }: Pick<Evidence, "stack" | "url">,
  all: readonly Change[],
): Omit<Fix, "change"> {
  switch (change.kind) {
    case "header":
      return headerFix(change, stack);
    case "type":
      return typeFix(change, stack);
    case "copy":
      return copyFix(change, stack, url);
    case "no-fallback":
      return fallbackFix(change.paths, stack);
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
      return noHeaderFix(change, stack.host);
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
        where: "createEngine, and the Content-Security-Policy: trusted-types selvedge",
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
      return storedFix(change.path, stack.host);
    case "ranges":
      return rangesFix(change.path, stack.host);
    case "compress":
      return compressFix(change, stack.host);
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

const POLICY = "Content-Security-Policy";

/** Writes the whole policy, since a host's line or tag has all of it. */
function policyFix(
  change: Change & { kind: "csp" },
  stack: HostStack,
  url: string,
  all: readonly Change[],
): Omit<Fix, "change"> {
  const { path, directive, sources, seen } = change;
  const { host } = stack;
  const isPage = path === new URL(url).pathname;
  const on = isPage ? "" : ` (on ${path})`;
  if (seen === undefined) {
    const place = host === null ? "" : `, ${placeOf({ ...stack, host })}`;
    return { where: `the ${POLICY}${place}${on}`, line: `${directive} ${sources.join(" ")}  (added to what it has)` };
  }
  const header = JSON.stringify([path, seen.policies, seen.isMeta]);
  const added = [change, ...all].flatMap((x) =>
    x.kind === "csp" && x.seen !== undefined && JSON.stringify([x.path, x.seen.policies, x.seen.isMeta]) === header
      ? { ...x, index: x.seen.index }
      : [],
  );
  const policies = seen.policies.map((text, i) =>
    added
      .filter((x) => x.index === i)
      .reduce(
        (policy, x) => withSources(policy, x.directive, x.sources),
        parsePolicies(text)[0] ?? new Map<string, readonly string[]>(),
      ),
  );
  const value = policies.map(written).join(", ");
  const replaced = `in place of the policy that is there${/'nonce-/.test(value) ? ", with the nonce of each response" : ""}${on}`;
  if (seen.isMeta || (host !== null && NO_HEADERS.has(host)))
    return {
      where: `the page's markup, ${replaced}`,
      line: `<meta http-equiv="${POLICY}" content="${markup(value)}">`,
    };
  // Of these, the line that is replaced says for which paths it is.
  const isPlaced = host !== null && ["nginx", "apache", "iis"].includes(host);
  const { where, line } = headerFix(
    { kind: "header", path: isPage || isPlaced ? "/*" : path, name: POLICY, value },
    stack,
  );
  const directives = Object.fromEntries(policies[0] ?? []);
  const helmet = `  (with helmet: contentSecurityPolicy: { useDefaults: false, directives: ${JSON.stringify(directives)} })`;
  return {
    where: `${host === null ? "the server" : where}, ${replaced}`,
    line: host === "express" && policies.length === 1 ? `${line}${helmet}` : line,
  };
}

/** Whether a bundler's own configuration has one of Vite in it. */
function isViteOf(bundler: Bundler | null): bundler is "nuxt" | "astro" {
  return bundler === "nuxt" || bundler === "astro";
}

/** Plugins of Vite that make a service worker by Workbox. */
const PWA: Readonly<Partial<Record<Bundler, string>>> = {
  vite: "vite.config, VitePWA",
  sveltekit: "vite.config, SvelteKitPWA",
  astro: "astro.config, AstroPWA",
  nuxt: "nuxt.config, pwa",
};
/** Patterns that keep binaries out, with those of Workbox's own list for webpack, which this one replaces. */
const EXCLUDE = "exclude: [/\\.wasm$/, /\\.map$/, /^manifest.*\\.js$/]";

function precacheFix(bundler: Bundler | null): Omit<Fix, "change"> {
  const where = bundler === null ? undefined : PWA[bundler];
  if (where !== undefined)
    return {
      where,
      line: 'workbox: { globIgnores: ["**/*.wasm"], runtimeCaching: [{ urlPattern: /\\.wasm$/, handler: "NetworkFirst" }] }  (with strategies: "injectManifest", injectManifest: { globIgnores: ["**/*.wasm"] }; to precache them all the same, maximumFileSizeToCacheInBytes: 16 * 2 ** 20)',
    };
  switch (bundler) {
    case "webpack":
    case "rspack":
      return { where: `${bundler}.config, GenerateSW or InjectManifest of workbox-webpack-plugin`, line: EXCLUDE };
    case "next":
      return {
        where: "next.config, withSerwistInit, or workboxOptions of @ducanh2912/next-pwa",
        line: `${EXCLUDE}  (next-pwa: buildExcludes: [/\\.wasm$/]; files of public/: Serwist's globPublicPatterns: ["**/!(*.wasm)"], next-pwa's publicExcludes: ["!**/*.wasm"])`,
      };
    case "angular":
      return { where: "ngsw-config.json, at the end of each assetGroups[].resources.files", line: '"!/**/*.wasm"' };
    default:
      return {
        where: "workbox-config.js, or the list of files in the service worker",
        line: 'globIgnores: ["**/node_modules/**/*", "**/*.wasm"]  (of a list by hand: without *.wasm)',
      };
  }
}

function headerFix(
  { path, name, value }: Change & { kind: "header" },
  { host, bundler }: HostStack,
): Omit<Fix, "change"> {
  // The page's host says nothing of another origin's.
  if (/^https?:/.test(path))
    return { where: `the server of ${new URL(path).host}, on ${pathOf(path)}`, line: `${name}: ${value}` };
  const isAll = path === "/*";
  const isFolder = path.endsWith("/*");
  const folder = path.replace(/\*$/, "");
  const quoted = value.replaceAll('"', '\\"');
  const headers = `"headers": [{ "key": "${name}", "value": "${quoted}" }]`;
  const pair = `{ "${name}": ${JSON.stringify(value)} }`;
  const where = host === null ? `the server, on ${path}` : placeOf({ host, bundler });
  switch (host) {
    case "nginx": {
      if (isAll) {
        const mark = value.includes("'") ? '"' : "'";
        return { where, line: `add_header ${name} ${mark}${value}${mark} always;` };
      }
      // A location of its own would lose the headers of the server block, and its proxy_pass. An empty value is not sent.
      // nginx hashes the names of variables, of 46 letters at most; it takes patterns of any length.
      const place = (folder.match(/[a-z\d]+/gi) ?? []).join("_").slice(-30);
      const variable = `$selvedge_${place}_${(name.match(/\b\w/g) ?? []).join("")}`.toLowerCase();
      const pattern = `~^${escaped(folder)}${isFolder ? "" : "$"}`;
      return {
        where: "nginx.conf, map in the http block and add_header in the server block",
        line: `map $uri ${variable} { "${pattern}" "${quoted}"; }\nadd_header ${name} ${variable} always;`,
      };
    }
    case "apache": {
      // mod_deflate would compress what mod_headers alone says to be compressed.
      if (name === "Content-Encoding" && !isFolder && endingOf(path) !== null)
        return { where: APACHE, line: inFiles(path, `AddEncoding ${value} ${endingOf(path)}`) };
      const lines = [`Header onsuccess unset ${name}`, `Header always set ${name} "${quoted}"`];
      if (isAll) return { where, line: lines.join("\n") };
      return {
        where,
        line: isFolder ? inTag("If", `%{REQUEST_URI} =~ m#^${escaped(folder)}#`, ...lines) : inFiles(path, ...lines),
      };
    }
    case "caddy":
      return { where, line: `header ${path} ${name} "${quoted}"` };
    case "netlify":
    case "cloudflare-pages":
      return { where, line: `${path}\n  ${name}: ${value}` };
    case "vercel":
      return { where, line: `"headers": [{ "source": "${isFolder ? `${folder}(.*)` : path}", ${headers} }]` };
    case "firebase":
    case "serve":
    case "http-server":
    case "python":
      return {
        where,
        line: `"headers": [{ "source": "${isAll ? "**" : isFolder ? `${folder}**` : path}", ${headers} }]`,
      };
    case "express":
      return {
        where,
        line: `app.use("${folder}", (_request, response, next) => { response.setHeader("${name}", ${JSON.stringify(value)}); next(); });`,
      };
    case "iis": {
      // Without the first element, a header that a parent configuration adds makes the file invalid; so does a second section.
      const line = `<remove name="${name}" /><add name="${name}" value="${markup(value)}" />`;
      if (isAll) return { where, line };
      const at = markup(decoded((isFolder ? folder.slice(0, -1) : path).slice(1)));
      return {
        where: "web.config, configuration",
        line: `<location path="${at}"><system.webServer><httpProtocol><customHeaders>${line}</customHeaders></httpProtocol></system.webServer></location>`,
      };
    }
    case "vite":
      return {
        where,
        line: `server: { headers: ${pair} }, preview: { headers: ${pair} }`,
      };
    case "webpack-dev-server":
      return { where, line: `devServer: { headers: ${pair} }` };
    case "ng-serve":
      return { where, line: `"headers": ${pair}` };
    case "nuxt-dev":
      // Nitro answers with the page, and Vite with the files below /_nuxt/.
      return { where, line: `routeRules: { "/**": { headers: ${pair} } }, vite: { server: { headers: ${pair} } }` };
    case "astro-dev":
      return { where, line: `server: { headers: ${pair} }` };
    case "next":
      return {
        where,
        line: `headers: async () => [{ source: "${isFolder ? `${folder}:path*` : path}", headers: [{ key: "${name}", value: ${JSON.stringify(value)} }] }]`,
      };
    case "cloudflare":
    case "github-pages":
    case null:
      return { where, line: `${name}: ${value}` };
  }
}

/** Writes lines of Apache for a file of a name, whatever its folder. */
function inFiles(path: string, ...lines: readonly string[]): string {
  return inTag("Files", decoded(path.slice(path.lastIndexOf("/") + 1)), ...lines);
}

/** Writes a tag of Apache around lines. Tags stand on lines of their own: what follows one is read as its value. */
function inTag(tag: string, value: string, ...lines: readonly string[]): string {
  return [`<${tag} "${value}">`, ...lines.map((x) => `  ${x}`), `</${tag}>`].join("\n");
}

/** Returns how the name of a path's file ends, as `.wasm`. */
function endingOf(path: string): string | null {
  return /\.\w+$/.exec(path)?.[0] ?? null;
}

/** Writes a value of an attribute of XML. */
function markup(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** Returns a path as servers match it, without percent-encoding. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Writes a path, as servers match it, as a regular expression. */
function escaped(path: string): string {
  return decoded(path).replaceAll(/[.*+?^${}()|[\]\\#]/g, String.raw`\$&`);
}

function noHeaderFix({ path, name, value }: Change & { kind: "no-header" }, host: Host | null): Omit<Fix, "change"> {
  if (host === "apache") {
    const ending = name === "Content-Encoding" ? endingOf(path) : null;
    // mod_mime's coding is no header yet where mod_headers looks.
    const lines = ending === null ? [] : [`RemoveEncoding ${ending}`];
    lines.push(`Header onsuccess unset ${name}`, `Header always unset ${name}`);
    return { where: HEADER_FILES[host], line: inFiles(path, ...lines) };
  }
  if (host === "caddy") return { where: HEADER_FILES[host], line: `header ${path} -${name}` };
  const line = `send ${path} without ${name}: ${value}  (remove the rule that adds it)`;
  return { where: "the server, or its rules of headers", line };
}

function typeFix({ extension, type }: Change & { kind: "type" }, stack: HostStack): Omit<Fix, "change"> {
  const { host } = stack;
  switch (host) {
    case "nginx":
      return { where: "mime.types (http block)", line: `types { ${type} ${extension.slice(1)}; }` };
    case "apache":
      return { where: APACHE, line: `AddType ${type} ${extension}` };
    case "iis":
      return {
        where: "web.config, system.webServer/staticContent",
        line: `<remove fileExtension="${extension}" /><mimeMap fileExtension="${extension}" mimeType="${type}" />`,
      };
    case "express":
      return {
        where: "the server",
        line: `express.static(folder, { setHeaders: (response, path) => { if (path.endsWith("${extension}")) response.setHeader("Content-Type", "${type}"); } })`,
      };
    case "caddy": {
      const matcher = `@${extension.slice(1)}`;
      return {
        where: HEADER_FILES[host],
        line: `${matcher} path *${extension}\nheader ${matcher} Content-Type ${type}`,
      };
    }
    case "vercel":
      return { where: HEADER_FILES[host], line: `"headers": [${typeRule(`/(.*)\\\\${extension}`, type)}]` };
    case "firebase":
    case "serve":
    case "http-server":
    case "python":
      return { where: HEADER_FILES[host], line: `"headers": [${typeRule(`**/*${extension}`, type)}]` };
    case "netlify":
    case "cloudflare-pages":
      return { where: HEADER_FILES[host], line: `/*${extension}\n  Content-Type: ${type}` };
    case "webpack-dev-server":
      return {
        where: placeOf({ ...stack, host }),
        line: `devServer: { devMiddleware: { mimeTypes: { ${extension.slice(1)}: "${type}" } } }`,
      };
    default:
      return { where: "the server, or a proxy before it", line: `*${extension}: Content-Type: ${type}` };
  }
}

function typeRule(source: string, type: string): string {
  return `{ "source": "${source}", "headers": [{ "key": "Content-Type", "value": "${type}" }] }`;
}

function copyFix({ files, to }: Change & { kind: "copy" }, { bundler }: Stack, page: string): Omit<Fix, "change"> {
  const folder = bundler === null ? undefined : PUBLIC[bundler];
  const isPackage = files.every((x) => !x.startsWith("/"));
  const modules = files.filter((x) => !x.includes("*")).map((x) => `${PACKAGE}/${x} `);
  if (!isPackage)
    return {
      where: "where the site is deployed",
      line: `deploy ${files.join(", ")}${folder === undefined ? "" : `  (a file in ${folder}/ is served at /)`}`,
    };
  if (bundler === "angular")
    return {
      where: 'angular.json, "assets", and createEngine({ assetsBase: "selvedge/" })',
      line: `{ "glob": "{worker-*.js,*.wasm}", "input": "${PACKAGE}", "output": "selvedge" }`,
    };
  const isBundled = bundler !== null && !["rollup", "esbuild", "importmap"].includes(bundler);
  if (isBundled) {
    // webpack, Rspack and Parcel copy no folder by themselves: the files go into their output.
    const own = `${folder ?? "dist"}/selvedge/`;
    const base = `${baseOf(page, to)}selvedge/`;
    return {
      where: `the output of ${bundler}, and what is deployed of it`,
      line: `deploy ${to === "/" ? "the output folder" : to} with its workers and binaries; or${folder === undefined ? ", after each build," : ""} ${copyTo(own)} and createEngine({ assetsBase: "${base}" })`,
    };
  }
  const base = baseOf(page, to);
  const at = (folder: string): string =>
    base === "/" ? `<${folder} folder>${to}` : `<folder that is served at ${base}>/${to.slice(base.length)}`;
  // A site with an import map may have no build at all.
  return bundler === "importmap"
    ? { where: "the site's folder", line: copyTo(at("site"), modules) }
    : { where: "after the build", line: copyTo(at("output"), modules) };
}

/** Returns the folder in which both the page and a path are: where a site lies below a path, what it is served at. */
function baseOf(page: string, to: string): string {
  const [own, parts] = [pathOf(page).split("/").slice(1), to.split("/").slice(1, -1)];
  const differs = parts.findIndex((x, i) => x !== own[i]);
  return `/${parts
    .slice(0, differs === -1 ? parts.length : differs)
    .map((x) => `${x}/`)
    .join("")}`;
}

/** Writes the command that copies the package's workers and binaries, and modules of it, into a folder. */
function copyTo(folder: string, modules: readonly string[] = []): string {
  return `mkdir -p ${folder} && cp ${modules.join("")}${PACKAGE_FILES} ${folder}`;
}

function fallbackFix(paths: readonly string[], { host, bundler }: HostStack): Omit<Fix, "change"> {
  const shown = paths.join(", ");
  switch (host) {
    case "nginx":
      return { where: "nginx.conf", line: `location ~ \\.(js|mjs|wasm|json|onnx|bin)$ { try_files $uri =404; }` };
    case "apache":
      return {
        where: ".htaccess, the one that applies (AllowOverride FileInfo; for FallbackResource Indexes, too)",
        line: [
          "# directly before the RewriteRule to index.html, if there is one",
          "RewriteCond %{REQUEST_URI} !\\.(js|mjs|wasm|json|onnx|bin)$",
          "# if there is a FallbackResource",
          inTag("If", "%{REQUEST_URI} =~ /\\.(js|mjs|wasm|json|onnx|bin)$/", "FallbackResource disabled"),
        ].join("\n"),
      };
    case "caddy":
      return {
        where: "Caddyfile, in place of try_files",
        line: "@page {\n  not path *.js *.mjs *.wasm *.json *.onnx *.bin\n  file {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}",
      };
    case "serve":
      return { where: "the command", line: "npx serve dist  (without -s, which answers paths with index.html)" };
    case "vercel":
      return {
        where: "vercel.json",
        line: '"rewrites": [{ "source": "/((?!.*\\\\.).*)", "destination": "/index.html" }]',
      };
    case "cloudflare-pages":
      return {
        where: "the deployed folder",
        line: `deploy ${shown}, and a 404.html beside index.html  (without one, Pages answers index.html for what is missing)`,
      };
    case "netlify":
      return { where: "public/_redirects", line: "/* /index.html 200  (without !, so that files come first)" };
    case "express":
      return {
        where: "the server, before the route of the page",
        line: "app.use(express.static(folder)); app.get(/\\.\\w+$/, (_request, response) => response.sendStatus(404));",
      };
    case "firebase":
      return {
        where: "firebase.json, hosting",
        line: '"rewrites": [{ "regex": "^/[^.]*$", "destination": "/index.html" }]',
      };
    case "iis":
      return {
        where: "web.config, the conditions (logicalGrouping MatchAll) of the rule that rewrites to the page",
        line: '<add input="{URL}" pattern="\\.(js|mjs|wasm|json|onnx|bin)$" negate="true" />',
      };
    case "github-pages":
      return {
        where: "the deployed branch or artifact",
        line: `deploy ${shown}, and an empty .nojekyll beside index.html  (GitHub Pages rewrites no path; Jekyll leaves out names that begin with _)`,
      };
    case "http-server":
      return {
        where: "the command",
        line: 'npx http-server dist  (without --proxy "http://…?", which answers missing paths with the page)',
      };
    case "webpack-dev-server":
      return {
        where: placeOf({ host, bundler }),
        line: "devServer: { historyApiFallback: true }  (without disableDotRule and rewrites, which answer files with the page)",
      };
    case "next":
      return { where: "middleware or proxy, matcher", line: '"/((?!api|_next|models|.*\\\\..*).*)"' };
    default:
      return {
        where: "the rewrite rule of the host",
        line: `answer ${shown} with the file, and 404 where there is none`,
      };
  }
}

function secureFix(url: string, { bundler }: Stack): Omit<Fix, "change"> {
  const { port } = new URL(url);
  const line = `serve it over https; on this machine open http://localhost${port === "" ? "" : `:${port}`}/`;
  return bundler === "vite"
    ? { where: "vite.config: plugins: [basicSsl()] of @vitejs/plugin-basic-ssl; or", line }
    : { where: "the server", line };
}

function storedFix(path: string, host: Host | null): Omit<Fix, "change"> {
  switch (host) {
    case "nginx":
      return {
        where: `nginx.conf, in the location that serves ${path}`,
        line: "gzip off; gunzip off; sub_filter_types none;",
      };
    case "apache":
      return {
        where: APACHE,
        line: `SetEnvIf Request_URI "^${escaped(path.replace(/\*$/, ""))}${path.endsWith("*") ? "" : "$"}" no-gzip no-brotli dont-vary`,
      };
    case "express":
      return {
        where: "the server",
        line: `compression({ filter: (request) => !request.path.startsWith("${path.replace(/\*$/, "")}") })`,
      };
    default:
      return { where: "the host", line: `serve ${path} as stored: no compression, no decompression, no rewriting` };
  }
}

function rangesFix(path: string, host: Host | null): Omit<Fix, "change"> {
  switch (host) {
    case "nginx":
      return { where: `nginx.conf, in the location that serves ${path}`, line: "proxy_force_ranges on;" };
    case "express":
      return {
        where: "the server",
        line: "app.use(express.static(folder));  (in place of a route that sends the file)",
      };
    case "python":
      return { where: "the command", line: "npx serve  (python -m http.server sends whole files alone)" };
    default:
      return {
        where: "the server, or a proxy or CDN before it",
        line: `answer requests of ${path} that have a Range header with status 206 and that part`,
      };
  }
}

function compressFix({ extension, type }: Change & { kind: "compress" }, host: Host | null): Omit<Fix, "change"> {
  switch (host) {
    case "nginx":
      return {
        where: "nginx.conf",
        line: `gzip on; gzip_types text/javascript application/javascript application/json ${type};`,
      };
    case "apache":
      return {
        where: ".htaccess (AllowOverride FileInfo; mod_filter, mod_deflate)",
        line: `AddOutputFilterByType DEFLATE ${type}`,
      };
    case "caddy":
      return {
        where: "Caddyfile",
        line: `encode {\n  zstd\n  gzip\n  match {\n    header Content-Type ${type}\n  }\n}`,
      };
    case "express":
      return {
        where: "the server",
        line: `app.use(compression({ filter: (request, response) => response.getHeader("Content-Type") === "${type}" || compression.filter(request, response) }))`,
      };
    case "iis":
      return {
        where: "an administrator's prompt, in %windir%\\system32\\inetsrv",
        line: `appcmd set config -section:system.webServer/httpCompression /+"staticTypes.[mimeType='${type}',enabled='True']" /commit:apphost`,
      };
    default:
      return { where: "the host's compression", line: `add ${type} (${extension}) to the compressed types` };
  }
}
