// A static server for a built folder: right types, no rewriting, and no headers but those asked for, so that the files
// themselves are judged and no host is.
import { createReadStream, statSync } from "node:fs";
import { fileAt } from "../compress/check/file-at.ts";
import { contentTypeOf, pathOf, startServer } from "../compress/check/local-server.ts";

/** A folder that is served. */
export interface ServedFolder {
  /** Its address, with a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
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
