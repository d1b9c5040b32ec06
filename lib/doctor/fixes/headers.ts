// Headers and types that a host sets or leaves out.
import type { Change, Host } from "../evidence.ts";
import { decoded, pathOf } from "../urls.ts";
import { APACHE, escaped, HEADER_FILES, inFiles, inTag, markup, placeOf } from "./places.ts";
import type { HostStack, Line } from "./places.ts";

/** Returns the line that sets a header on a path, on a folder with `*` at its end, or on all. */
export function headerFix({ path, name, value }: Change & { kind: "header" }, { host, bundler }: HostStack): Line {
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
        return { where, line: `add_header ${name} ${mark}${value.replaceAll(mark, `\\${mark}`)}${mark} always;` };
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
      // A percent sign begins a variable of Apache's: with another letter behind it, each request fails.
      const lines = [`Header onsuccess unset ${name}`, `Header always set ${name} "${quoted.replaceAll("%", "%%")}"`];
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

/** Returns how the name of a path's file ends, as `.wasm`. */
function endingOf(path: string): string | null {
  return /\.\w+$/.exec(path)?.[0] ?? null;
}

/** Returns the line that keeps a header off a path. */
export function noHeaderFix({ path, name, value }: Change & { kind: "no-header" }, host: Host | null): Line {
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

/** Returns the line by which files with an ending have a type. */
export function typeFix({ extension, type }: Change & { kind: "type" }, stack: HostStack): Line {
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
