// A static server for a built folder: right types, no rewriting, and no headers but those asked for, so that the files
// themselves are judged and no host is.
import { createReadStream, readFileSync, statSync } from "node:fs";
import { fileAt } from "../compress/check/file-at.ts";
import { contentTypeOf, pathOf, startServer } from "../compress/check/local-server.ts";
import { importMaps, namesOf, scriptTags, tagsOf } from "./markup.ts";

/** A folder that is served. */
export interface ServedFolder {
  /** Its address, with a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Returns the base path for which a folder was built, with slashes at both ends: the shortest one below which the files
 * that the markup names are in the folder, where they are not without it; `/` for others.
 */
export function basePathOf(folder: string): string {
  const index = fileAt(folder, "/index.html");
  const paths = index === null ? [] : namedPaths(readFileSync(index, "utf8"));
  const lost = paths.filter((path) => fileAt(folder, path) === null);
  const isThere = (path: string, base: string): boolean =>
    path.startsWith(base) && fileAt(folder, path.slice(base.length - 1)) !== null;
  const counts = new Map<string, number>();
  for (const path of lost) {
    const parts = path.split("/").slice(1, -1);
    const bases = parts.map((_, i) => `/${parts.slice(0, i + 1).join("/")}/`);
    const base = bases.find((x) => isThere(path, x));
    if (base !== undefined) counts.set(base, (counts.get(base) ?? 0) + 1);
  }
  // A file that is there without a base speaks against one.
  const [base = "/", count = 0] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  return count > paths.length - lost.length ? base : "/";
}

/** Paths of the page's own origin that markup names. */
function namedPaths(html: string): string[] {
  const origin = "http://selvedge.invalid";
  const page = `${origin}/`;
  const tags = scriptTags(html, page);
  const base = tagsOf(html, "base").flatMap((x) => x.get("href") ?? [])[0] ?? "";
  const from = URL.canParse(base, page) ? new URL(base, page).href : page;
  const urls = [
    ...tags.flatMap((x) => x.url ?? []),
    ...tagsOf(html, "link").flatMap((x) => x.get("href") ?? []),
    ...importMaps(tags).flatMap((map) => namesOf(map).map(([, address]) => address)),
  ].flatMap((x) => (URL.canParse(x, from) ? [new URL(x, from)] : []));
  return [...new Set(urls.filter((x) => x.origin === origin && !x.pathname.endsWith("/")).map((x) => x.pathname))];
}

/**
 * Serves a folder on this machine's loopback address: `index.html` for a folder, `x.html` for `x`, else 404.
 * @param options.base path under which the folder is served, with slashes at both ends; default `/`
 * @param options.headers headers of every answer
 */
export async function serveFolder(
  folder: string,
  options: { readonly base?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<ServedFolder> {
  const { base = "/", headers = {} } = options;
  const { origin, close } = await startServer((request, response) => {
    const pathname = pathOf(request);
    const inside = pathname.startsWith(base) ? pathname.slice(base.length - 1) : "";
    const index = inside.endsWith("/") ? `${inside}index.html` : inside;
    const path = fileAt(folder, index) ?? fileAt(folder, `${inside}.html`);
    if (path === null) {
      response.writeHead(404, { ...headers, "content-type": "text/plain" });
      response.end("not found");
      return;
    }
    const { size, mtimeMs } = statSync(path);
    response.writeHead(200, {
      ...headers,
      "content-type": contentTypeOf(path),
      "content-length": size,
      etag: `"${size}-${Math.round(mtimeMs)}"`,
      "cache-control": "no-cache",
    });
    createReadStream(path)
      .on("error", () => response.destroy())
      .pipe(response);
  });
  return { url: `${origin}${base}`, close };
}
