// Caddy, configured by a Caddyfile.
import type { HostRules } from "../host-rules.ts";
import { endingsOf } from "../syntax.ts";

/** Writes lines for the Caddyfile. */
export const caddy: HostRules = {
  // Of two directives that wait for the answer, as one does that takes a header off, the first is the last to change it.
  place: "Caddyfile, before the site's other header lines",
  header({ path, name, value }, { where }) {
    const [at, text] = [matcherOf(path), textOf(value)];
    // try_files answers missing files with the page, which would stay in their place; the map looks when it is sent.
    if (/\bimmutable\b/.test(value))
      return {
        where: `${where}; of files of a proxied server, there: its errors would have it, too`,
        line: `map {path} {selvedge_cache} {\n  ~\\.html?$ no-cache\n  default ${text}\n}\n${deferred(at, name, "{selvedge_cache}")}`,
      };
    // A coding that is there when the answer is sent keeps `encode` from another one.
    return { where, line: name === "Content-Encoding" ? `header ${at} ${name} ${text}` : deferred(at, name, text) };
  },
  noHeader({ path, name }, { where }) {
    const at = matcherOf(path);
    // Of a file that `encode` compresses, its header would go too.
    const plain = name === "Content-Encoding" ? `request_header ${at} -Accept-Encoding\n` : "";
    return { where, line: `${plain}header ${at} -${name}` };
  },
  type({ extension, type }, { where }) {
    const matcher = `@${extension.slice(1)}`;
    return { where, line: `${matcher} path *${extension}\n${deferred(matcher, "Content-Type", type)}` };
  },
  fallback({ paths }) {
    const { endings, hasBare } = endingsOf(paths);
    return {
      where: "Caddyfile, in place of try_files",
      line: `@page {\n  not path ${endings.map((x) => `*.${x}`).join(" ")}${hasBare ? " */chunks/*" : ""}\n  file {path} /index.html\n}\nrewrite @page {http.matchers.file.relative}`,
    };
  },
  compress: ({ type }) => ({
    where: "Caddyfile",
    line: `encode {\n  zstd\n  gzip\n  match {\n    header Content-Type ${type}\n  }\n}`,
  }),
};

/**
 * Writes the directive that sets a header when the answer is sent: after what a general rule and a proxied server have
 * set, of which the one would replace it and the other stand beside it.
 */
function deferred(matcher: string, name: string, value: string): string {
  return `header ${matcher} {\n  ${name} ${value}\n  defer\n}`;
}

/** Writes a path as a matcher, in which a bracket begins a class: but for a beginning without percent signs. */
function matcherOf(path: string): string {
  return path.endsWith("/*") && !path.includes("%") ? path : path.replaceAll("[", "?");
}

/**
 * Writes a value: Caddy takes what stands in braces for its own, and a backslash before one as itself where no brace
 * opens. `{$NAME:text}` is read before all else: an environment variable, or the text.
 */
function textOf(value: string): string {
  const braced = value.includes("{") ? value.replaceAll(/[{}]/g, String.raw`\$&`) : value;
  const text = braced.replaceAll(String.raw`\{$`, String.raw`{$SELVEDGE:\{}$$`);
  return `"${text.replaceAll('"', String.raw`\"`)}"`;
}
