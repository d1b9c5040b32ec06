// Apache HTTP Server, configured by .htaccess.
import { decoded } from "../../urls.ts";
import type { HostRules } from "../host-rules.ts";
import { endingsOf, escaped, inQuotes, OF_FILES } from "../syntax.ts";

/** Where lines of the modules that are always there are written. */
const BASE = ".htaccess (AllowOverride FileInfo)";

/** Writes lines for .htaccess. */
export const apache: HostRules = {
  // Of two sections that set a header, the last holds.
  place: ".htaccess (AllowOverride FileInfo; mod_headers), at its end",
  hasSections: true,
  header({ path, name, value }, { where }) {
    const isFolder = path.endsWith("/*");
    // mod_deflate would compress what mod_headers alone says to be compressed.
    if (name === "Content-Encoding" && !isFolder && endingOf(path) !== null)
      return { where: BASE, line: inFiles(path, `AddEncoding ${value} ${endingOf(path)}`) };
    // A percent sign begins a variable of Apache's: with another letter behind it, each request fails. Backslashes are
    // taken off twice: by the configuration, and by mod_headers.
    const [table, other] = OF_FILES.has(name) ? ["onsuccess", "always"] : ["always", "onsuccess"];
    const lines = [
      `Header ${other} unset ${name}`,
      `Header ${table} set ${name} "${inQuotes(value.replaceAll("\\", String.raw`\\`), '"').replaceAll("%", "%%")}"`,
    ];
    if (path === "/*") return { where, line: lines.join("\n") };
    if (isFolder) return { where, line: inTag("If", `%{REQUEST_URI} =~ m#^${escaped(path.slice(0, -1))}#`, ...lines) };
    return { where, line: inFiles(path, ...lines) };
  },
  noHeader({ path, name }, { where }) {
    const isCoding = name === "Content-Encoding";
    const ending = isCoding ? endingOf(path) : null;
    // mod_mime's coding is no header yet where mod_headers looks.
    const lines = ending === null ? [] : [`RemoveEncoding ${ending}`];
    // Of a file that mod_deflate compresses, its header would go too.
    if (isCoding) lines.push("SetEnvIf Request_URI . no-gzip no-brotli");
    lines.push(`Header onsuccess unset ${name}`, `Header always unset ${name}`);
    return { where, line: inFiles(path, ...lines) };
  },
  type: ({ extension, type }) => ({ where: BASE, line: `AddType ${type} ${extension}` }),
  fallback({ paths }) {
    const { pattern } = endingsOf(paths);
    return {
      where: ".htaccess, the one that applies (AllowOverride FileInfo; for FallbackResource Indexes, too)",
      line: [
        "# directly before the RewriteRule to index.html, if there is one",
        `RewriteCond %{REQUEST_URI} !${pattern}`,
        "# if there is a FallbackResource",
        inTag("If", `%{REQUEST_URI} =~ m#${pattern}#`, "FallbackResource disabled"),
      ].join("\n"),
    };
  },
  stored: ({ path }) => ({
    where: BASE,
    line: `SetEnvIf Request_URI "^${escaped(path.replace(/\*$/, ""))}${path.endsWith("*") ? "" : "$"}" no-gzip no-brotli dont-vary`,
  }),
  compress: ({ type }) => ({
    where: ".htaccess (AllowOverride FileInfo; mod_filter, mod_deflate)",
    line: `AddOutputFilterByType DEFLATE ${type}`,
  }),
};

/** Returns how the name of a path's file ends, as `.wasm`. */
function endingOf(path: string): string | null {
  return /\.\w+$/.exec(path)?.[0] ?? null;
}

/** Writes lines for a file of a name, whatever its folder. */
function inFiles(path: string, ...lines: readonly string[]): string {
  // The name is a pattern, in which a bracket begins a class.
  return inTag("Files", decoded(path.slice(path.lastIndexOf("/") + 1)).replaceAll("[", "[[]"), ...lines);
}

/** Writes a tag around lines. Tags stand on lines of their own: what follows one is read as its value. */
function inTag(tag: string, value: string, ...lines: readonly string[]): string {
  return [`<${tag} "${value.replaceAll('"', String.raw`\"`)}">`, ...lines.map((x) => `  ${x}`), `</${tag}>`].join("\n");
}
