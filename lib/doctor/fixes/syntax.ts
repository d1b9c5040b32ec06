// How hosts write paths and values, and which changes of a report stand in one line.
import type { Change } from "../evidence.ts";
import { decoded } from "../urls.ts";
import type { HeaderChange, Line, Site } from "./host-rules.ts";

/** Headers of a file that is there: an error in its place, cached for a year, would stay when the file has come. */
export const OF_FILES: ReadonlySet<string> = new Set(["Cache-Control", "Content-Encoding", "Content-Type"]);

/** Whether a header is of a file that is there, and harms an error or a page in its place. */
export function isOfFile(name: string, value: string): boolean {
  return OF_FILES.has(name) && value !== "no-cache";
}

/** Returns the headers that a report sets on the path of one, each once. */
export function together(change: HeaderChange, all: readonly Change[]): readonly HeaderChange[] {
  const headers = all.filter((x): x is HeaderChange => x.kind === "header" && x.path === change.path);
  const own = headers.some((x) => x.name === change.name) ? headers : [...headers, change];
  return [...new Map(own.map((x) => [x.name, x])).values()];
}

/** Returns what a report sets a header to, by path: files first, then folders from the inside out. */
export function ofName(change: HeaderChange, all: readonly Change[]): readonly HeaderChange[] {
  const own = all.filter(
    (x): x is HeaderChange => x.kind === "header" && x.name === change.name && x.path.startsWith("/"),
  );
  const rules = [...new Map([change, ...own.filter((x) => x.path !== change.path)].map((x) => [x.path, x])).values()];
  const rank = ({ path }: HeaderChange): number => (path.endsWith("/*") ? path.length : 10_000);
  return rules.sort((x, y) => rank(y) - rank(x) || (x.path < y.path ? -1 : 1));
}

/** Escapes a text as nginx and Apache read it between quotes. */
export function inQuotes(text: string, mark: string): string {
  return text.replaceAll("\\", String.raw`\\`).replaceAll(mark, `\\${mark}`);
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

/** Returns a rule of a list of headers in JSON: of Vercel, Firebase and serve. `source`, `value`: with their quotes. */
export function ruleFix({ where }: Site, source: string, name: string, value: string): Line {
  return { where, line: `{ "source": ${source}, "headers": [{ "key": "${name}", "value": ${value} }] }` };
}

/** Returns the endings of files that a rule for pages leaves out, and their pattern. `paths`: files that it has answered. */
export function endingsOf(paths: readonly string[]) {
  const seen = [...new Set(paths.flatMap((x) => /\.(\w+)$/.exec(x)?.[1] ?? []))];
  const endings = [...new Set(["js", "mjs", "wasm", "json", "onnx", "bin", ...seen])];
  // Chunks of old bundles have no ending.
  const hasBare = paths.some((x) => /\/chunks\/[^./]+$/.test(x));
  return { seen, endings, hasBare, pattern: endsIn(endings, hasBare) };
}

/** Writes endings, and chunks without one, as a regular expression. */
export function endsIn(endings: readonly string[], hasBare: boolean): string {
  const parts = [...(endings.length > 0 ? [`\\.(${endings.join("|")})`] : []), ...(hasBare ? ["/chunks/[^./]+"] : [])];
  return parts.length === 1 ? `${parts.join("")}$` : `(${parts.join("|")})$`;
}
