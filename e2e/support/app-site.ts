// The site of an app in one script: its page, the script over the built package, files of its own, and the package's files
// under /dist/. A test's server sends them as it likes: late, refused, without a network.
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, normalize, sep } from "node:path";
import { build } from "esbuild";
import { contentTypeOf } from "../../lib/compress/check/local-server.ts";
import { DIST, ROOT } from "./prepare.ts";

/** An app, and files beside it by their path. */
export interface AppSite {
  /** Code of the script; it imports `selvedge` and `selvedge/cache` by name. */
  readonly app: string;
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
}

/** A file of the site. */
export interface SiteFile {
  readonly type: string;
  readonly body: string | Uint8Array;
}

const PAGE =
  '<!doctype html><title>App</title><link rel="icon" href="data:,"><script type="module" src="/app.js"></script>';
const FOLDER = "/dist/";

/** Bundles the app; returns what finds a file of the site by its path, and null for one that is not there. */
export async function appSite({ app, files = {} }: AppSite): Promise<(pathname: string) => SiteFile | null> {
  const { outputFiles } = await build({
    stdin: { contents: app, resolveDir: ROOT },
    alias: { "selvedge/cache": join(DIST, "cache.js"), selvedge: join(DIST, "index.js") },
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
  });
  const own = new Map<string, string | Uint8Array>([
    ["/", PAGE],
    ["/app.js", outputFiles[0]?.contents ?? ""],
    ...Object.entries(files),
  ]);
  return (pathname) => {
    const body = own.get(pathname) ?? fileOfPackage(pathname);
    return body === null ? null : { type: contentTypeOf(pathname === "/" ? "page.html" : pathname), body };
  };
}

function fileOfPackage(pathname: string): Uint8Array | null {
  if (!pathname.startsWith(FOLDER)) return null;
  const path = normalize(join(DIST, pathname.slice(FOLDER.length)));
  return path.startsWith(DIST + sep) && existsSync(path) && statSync(path).isFile() ? readFileSync(path) : null;
}
