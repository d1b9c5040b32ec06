// Headers and types that a host sets or leaves out.
import type { Change, Host } from "../evidence.ts";
import { decoded, pathOf } from "../urls.ts";
import {
  APACHE,
  escaped,
  globOf,
  HEADER_FILES,
  inFiles,
  inTag,
  markup,
  NGINX_OLD,
  NGINX_OWN,
  patternOf,
  placeOf,
} from "./places.ts";
import type { HostStack, Line } from "./places.ts";

type HeaderChange = Change & { readonly kind: "header" };
type TypeChange = Change & { readonly kind: "type" };

/** Variable of nginx that holds a dollar. */
const DOLLAR = "$selvedge_dollar";

/** Headers of a file that is there: an error in its place, cached for a year, would stay when the file has come. */
const OF_FILES: ReadonlySet<string> = new Set(["Cache-Control", "Content-Encoding", "Content-Type"]);

/** Hosts whose headers are those of all that they send: a file's coding, type or year would be the page's, too. */
const ON_ALL: ReadonlySet<Host> = new Set(["vite", "webpack-dev-server", "ng-serve", "nuxt-dev", "astro-dev"]);

/**
 * Returns the line that sets a header on a path, on a folder with `*` at its end, or on all. `all`: the changes of the
 * report; where a host has one block for a path, its headers stand in it together.
 */
export function headerFix(change: HeaderChange, { host, bundler }: HostStack, all: readonly Change[] = []): Line {
  const { path, name, value } = change;
  // The page's host says nothing of another origin's.
  if (/^https?:/.test(path))
    return { where: `the server of ${new URL(path).host}, on ${pathOf(path)}`, line: `${name}: ${value}` };
  const isAll = path === "/*";
  const isFolder = path.endsWith("/*");
  const folder = path.replace(/\*$/, "");
  const headers = `"headers": [{ "key": "${name}", "value": ${JSON.stringify(value)} }]`;
  const pair = `"${name}": ${JSON.stringify(value)}`;
  const where = host === null ? `the server, on ${path}` : placeOf({ host, bundler });
  if (host !== null && ON_ALL.has(host) && !isOfAll(change))
    return { where: `the server, on ${path} alone`, line: `${name}: ${value}` };
  switch (host) {
    case "nginx": {
      // add_header would send it beside the server's own type. `default_type` takes no variables.
      if (name === "Content-Type" && !isFolder)
        return {
          where: `nginx.conf, inside the location that serves ${path}; in the server block where none does`,
          line: `location = "${decoded(path).replaceAll(/["\\]/g, String.raw`\$&`)}" { default_type ${value}; types { } }`,
        };
      const always = OF_FILES.has(name) ? "" : " always";
      const expires = name === "Cache-Control" ? " and of expires" : "";
      const rules = ofName(change, all);
      const [first] = rules.filter((x) => x.path !== "/*");
      // A dollar begins a variable, and has no escape; the values of geo have no variables.
      const geo = rules.some((x) => x.value.includes("$")) ? `geo ${DOLLAR} { default "$"; }\n` : "";
      const text = (x: string, mark: string): string =>
        mark + inQuotes(x, mark).replaceAll("$", `\${${DOLLAR.slice(1)}}`) + mark;
      if (first === undefined) {
        const mark = value.includes("'") ? '"' : "'";
        return {
          where:
            geo === ""
              ? where
              : `nginx.conf, geo in the http block and add_header in the server block ${NGINX_OWN}${NGINX_OLD}${expires}`,
          line: `${geo}add_header ${name} ${text(value, mark)}${always};`,
        };
      }
      // A location of its own would lose the headers of the server block, and its proxy_pass. An empty value is not sent.
      // nginx hashes the names of variables, of 46 letters at most; it takes patterns of any length.
      const words = (first.path.match(/[a-z\d]+/gi) ?? []).join("_").slice(-30);
      const variable = `$selvedge_${words}_${(name.match(/\b\w/g) ?? []).join("")}`.toLowerCase();
      // Of two add_header, a response would have both; of the patterns of a map, the first that matches holds.
      const entries = rules.map((x) => `${patternIn(x.path)} ${text(x.value, '"')};`);
      return {
        where: `nginx.conf, ${geo === "" ? "" : "geo and "}map in the http block and add_header in the server block ${NGINX_OWN}${NGINX_OLD}${expires}  (in the map, default "…"; keeps its value for other paths)`,
        line: `${geo}map $uri ${variable} { ${entries.join(" ")} }\nadd_header ${name} ${variable}${always};`,
      };
    }
    case "apache": {
      // mod_deflate would compress what mod_headers alone says to be compressed.
      if (name === "Content-Encoding" && !isFolder && endingOf(path) !== null)
        return { where: APACHE, line: inFiles(path, `AddEncoding ${value} ${endingOf(path)}`) };
      // A percent sign begins a variable of Apache's: with another letter behind it, each request fails. Backslashes are
      // taken off twice: by the configuration, and by mod_headers.
      const [table, other] = OF_FILES.has(name) ? ["onsuccess", "always"] : ["always", "onsuccess"];
      const lines = [
        `Header ${other} unset ${name}`,
        `Header ${table} set ${name} "${inQuotes(value.replaceAll("\\", String.raw`\\`), '"').replaceAll("%", "%%")}"`,
      ];
      if (isAll) return { where, line: lines.join("\n") };
      return {
        where,
        line: isFolder ? inTag("If", `%{REQUEST_URI} =~ m#^${escaped(folder)}#`, ...lines) : inFiles(path, ...lines),
      };
    }
    case "caddy":
      // A coding that is there when the answer is sent keeps `encode` from another one.
      return name === "Content-Encoding"
        ? { where, line: `header ${caddyPath(path)} ${name} ${caddyText(value)}` }
        : { where, line: deferred(caddyPath(path), name, caddyText(value)) };
    case "netlify":
    case "cloudflare-pages": {
      const isPages = host === "cloudflare-pages";
      if (name === "Content-Encoding")
        return {
          where: "where the site is deployed",
          line: `deploy ${path} uncompressed  (${isPages ? "Pages compresses by itself, a second time what _headers gives a Content-Encoding" : "Netlify compresses by itself, and ignores a Content-Encoding of _headers"})`,
        };
      // Pages joins a header to one of another rule that is there, unless the rule detaches it first.
      const lines = together(change, all).flatMap((x) => [
        ...(isPages ? [`  ! ${x.name}`] : []),
        `  ${x.name}: ${x.value}`,
      ]);
      return { where, line: [path, ...lines].join("\n") };
    }
    case "vercel":
      return {
        where,
        line: `{ "source": "${isFolder ? `${patternOf(folder)}(.*)` : patternOf(path)}", ${headers} }`,
      };
    case "firebase":
    case "serve":
    case "http-server":
    case "python": {
      // Firebase matches the path as it is in the address, and serve as it is on the disk.
      const at = globOf(host === "firebase" ? folder : decoded(folder));
      const source = JSON.stringify(isAll ? "**" : isFolder ? `${at}**` : at);
      return { where, line: `{ "source": ${source}, ${headers} }` };
    }
    case "express": {
      const set = `response.setHeader("${name}", ${JSON.stringify(value)});`;
      if (isAll) return { where, line: `app.use((_request, response, next) => { ${set} next(); });` };
      if (OF_FILES.has(name)) return staticFix(all.includes(change) ? all : [...all, change]);
      // Express 5 takes parentheses and other characters of a path for its own, and does not start.
      const test = `request.path${isFolder ? `.startsWith(${JSON.stringify(folder)})` : ` === ${JSON.stringify(path)}`}`;
      return { where, line: `app.use((request, response, next) => { if (${test}) ${set} next(); });` };
    }
    case "iis": {
      // Without the first element, a header that a parent configuration adds makes the file invalid; so does a second section.
      const elements = (x: HeaderChange): string =>
        `<remove name="${x.name}" /><add name="${x.name}" value="${markup(x.value)}" />`;
      if (isAll) return { where, line: elements(change) };
      const line = together(change, all).map(elements).join("");
      const at = markup(decoded((isFolder ? folder.slice(0, -1) : path).slice(1)));
      return {
        where: "web.config, configuration",
        line: `<location path="${at}"><system.webServer><httpProtocol><customHeaders>${line}</customHeaders></httpProtocol></system.webServer></location>`,
      };
    }
    case "ng-serve":
      return { where, line: pair };
    case "vite":
      if (bundler === "sveltekit") return pluginFix(all.includes(change) ? all : [...all, change]);
      return { where, line: `${pair},` };
    case "webpack-dev-server":
    case "nuxt-dev":
    case "astro-dev":
      return { where, line: `${pair},` };
    case "next": {
      const source = isFolder ? `${patternOf(folder)}:path*` : patternOf(path);
      return {
        where,
        // The path has the app's basePath already.
        line: `{ source: "${source}",${isAll ? "" : " basePath: false,"} headers: [{ key: "${name}", value: ${JSON.stringify(value)} }] },`,
      };
    }
    case "cloudflare":
    case "github-pages":
    case null:
      return { where, line: `${name}: ${value}` };
  }
}

/** Returns the headers that a report sets on the path of one, each once. */
function together(change: HeaderChange, all: readonly Change[]): readonly HeaderChange[] {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && x.path === change.path);
  return [
    ...new Map(
      [...headers, ...(headers.some((x) => x.name === change.name) ? [] : [change])].map((x) => [x.name, x]),
    ).values(),
  ];
}

/** Returns what a report sets a header to, by path: files first, then folders from the inside out. */
function ofName(change: HeaderChange, all: readonly Change[]): readonly HeaderChange[] {
  const own = all.filter(
    (x): x is HeaderChange => x.kind === "header" && x.name === change.name && x.path.startsWith("/"),
  );
  const rules = [...new Map([change, ...own.filter((x) => x.path !== change.path)].map((x) => [x.path, x])).values()];
  const rank = ({ path }: HeaderChange): number => (path.endsWith("/*") ? path.length : 10_000);
  return rules.sort((x, y) => rank(y) - rank(x) || (x.path < y.path ? -1 : 1));
}

/** Writes a path as the first word of an entry of nginx's map. */
function patternIn(path: string): string {
  if (path === "/*") return "default";
  return `"~^${escaped(path.replace(/\*$/, ""))}${path.endsWith("/*") ? "" : "$"}"`;
}

/**
 * Writes Caddy's directive that sets a header when the answer is sent: after what a general rule and a proxied server
 * have set, of which the one would replace it and the other stand beside it.
 */
function deferred(matcher: string, name: string, value: string): string {
  return `header ${matcher} {\n  ${name} ${value}\n  defer\n}`;
}

/** Writes a path as Caddy's matcher, in which a bracket begins a class: but for a beginning without percent signs. */
function caddyPath(path: string): string {
  return path.endsWith("/*") && !path.includes("%") ? path : path.replaceAll("[", "?");
}

/**
 * Writes a value for Caddy, which takes what stands in braces for its own, and a backslash before one as itself where no
 * brace opens. `{$NAME:text}` is read before all else: an environment variable, or the text.
 */
function caddyText(value: string): string {
  const braced = value.includes("{") ? value.replaceAll(/[{}]/g, String.raw`\$&`) : value;
  const text = braced.replaceAll(String.raw`\{$`, String.raw`{$SELVEDGE:\{}$$`);
  return `"${text.replaceAll('"', String.raw`\"`)}"`;
}

/** Returns how the name of a path's file ends, as `.wasm`. */
function endingOf(path: string): string | null {
  return /\.\w+$/.exec(path)?.[0] ?? null;
}

/** Returns the line that keeps a header off a path. */
export function noHeaderFix({ path, name, value }: Change & { kind: "no-header" }, host: Host | null): Line {
  if (host === "apache") {
    const isCoding = name === "Content-Encoding";
    const ending = isCoding ? endingOf(path) : null;
    // mod_mime's coding is no header yet where mod_headers looks.
    const lines = ending === null ? [] : [`RemoveEncoding ${ending}`];
    // Of a file that mod_deflate compresses, its header would go too.
    if (isCoding) lines.push("SetEnvIf Request_URI . no-gzip no-brotli");
    lines.push(`Header onsuccess unset ${name}`, `Header always unset ${name}`);
    return { where: HEADER_FILES[host], line: inFiles(path, ...lines) };
  }
  if (host === "caddy") {
    const at = caddyPath(path);
    // Of a file that `encode` compresses, its header would go too.
    const plain = name === "Content-Encoding" ? `request_header ${at} -Accept-Encoding\n` : "";
    return { where: HEADER_FILES[host], line: `${plain}header ${at} -${name}` };
  }
  const line = `send ${path} without ${name}: ${value}  (remove the rule that adds it)`;
  return { where: "the server, or its rules of headers", line };
}

/** Returns the line by which files with an ending have a type. */
export function typeFix(change: TypeChange, stack: HostStack, all: readonly Change[]): Line {
  const { extension, type } = change;
  const { host, bundler } = stack;
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
      return staticFix(all.includes(change) ? all : [...all, change]);
    case "caddy": {
      const matcher = `@${extension.slice(1)}`;
      return {
        where: HEADER_FILES[host],
        line: `${matcher} path *${extension}\n${deferred(matcher, "Content-Type", type)}`,
      };
    }
    case "vercel":
      return { where: HEADER_FILES[host], line: typeRule(`/(.*)\\\\${extension}`, type) };
    case "firebase":
    case "serve":
    case "http-server":
    case "python":
      return { where: HEADER_FILES[host], line: typeRule(`**/*${extension}`, type) };
    case "netlify":
    case "cloudflare-pages":
      return headerFix({ kind: "header", path: `/*${extension}`, name: "Content-Type", value: type }, stack);
    case "webpack-dev-server":
      return {
        where: `${bundler === "rspack" ? bundler : "webpack"}.config, in devServer: { devMiddleware: { mimeTypes: { } } }`,
        line: `${extension.slice(1)}: "${type}",`,
      };
    default:
      return { where: "the server, or a proxy before it", line: `*${extension}: Content-Type: ${type}` };
  }
}

/** Writes Express's server of files, of which the first that has a file answers: with all types and headers of files. */
function staticFix(all: readonly Change[]): Line {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && OF_FILES.has(x.name));
  const url = "response.req.originalUrl";
  const set = (test: string, name: string, value: string): string =>
    `if (${test}) response.setHeader("${name}", ${JSON.stringify(value)});`;
  const lines = [
    ...all.flatMap((x) => (x.kind === "type" ? [set(`path.endsWith("${x.extension}")`, "Content-Type", x.type)] : [])),
    // The last one holds.
    ...headers
      .filter((x) => x.path.endsWith("/*"))
      .map((x) => set(`${url}.startsWith(${JSON.stringify(x.path.slice(0, -1))})`, x.name, x.value)),
    ...headers
      .filter((x) => /^\/.*[^*]$/.test(x.path))
      .map((x) => set(`${url}.split("?")[0] === ${JSON.stringify(x.path)}`, x.name, x.value)),
  ];
  return {
    where: "the server, in place of express.static(folder)",
    line: `app.use(express.static(folder, { setHeaders: (response, path) => { ${[...new Set(lines)].join(" ")} } }));`,
  };
}

/** Escapes a text as nginx and Apache read it between quotes. */
function inQuotes(text: string, mark: string): string {
  return text.replaceAll("\\", String.raw`\\`).replaceAll(mark, `\\${mark}`);
}

/** Whether a header harms no other file. */
function isOfAll({ path, name, value }: HeaderChange): boolean {
  return path === "/*" || !OF_FILES.has(name) || value === "no-cache";
}

/** Writes a plugin of Vite that sets headers: SvelteKit answers with pages, and with files of static/, without Vite's. */
function pluginFix(all: readonly Change[]): Line {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && x.path.startsWith("/") && isOfAll(x));
  const lines = headers.map((x) => `    response.setHeader("${x.name}", ${JSON.stringify(x.value)});`);
  return {
    where:
      "vite.config, in plugins: [ ], before sveltekit(); for vite preview a second time, with configurePreviewServer",
    line: [
      "{",
      '  name: "headers",',
      "  configureServer: ({ middlewares }) => void middlewares.use((_request, response, next) => {",
      ...new Set(lines),
      "    next();",
      "  }),",
      "},",
    ].join("\n"),
  };
}

function typeRule(source: string, type: string): string {
  return `{ "source": "${source}", "headers": [{ "key": "Content-Type", "value": "${type}" }] }`;
}
