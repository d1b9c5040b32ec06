// The cache of huggingface_hub: `models--owner--name/snapshots/<commit>/…` holds links to files of
// `models--owner--name/blobs/`. A link of a snapshot may lead to those blobs, and nowhere else; one of any other folder
// may lead to files of that folder.
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";

/** A model's folder in the cache. */
export interface HubCache {
  /** Real path of `models--owner--name`. */
  readonly root: string;
  /** `name` of `owner/name`. */
  readonly name: string;
}

const ROOT = /^models--(?:.*--)?(.+)$/;
/** Names of the files that are read of a folder: settings, the model card, graphs and their external data. */
const READ = /\.(json|md|onnx)$|[._]data(_\d+)?$/;

/** Returns the model's folder in the cache that a real path lies in, below `snapshots/<commit>`; null elsewhere. */
export function hubCacheOf(path: string): HubCache | null {
  for (let at = path; dirname(at) !== at; at = dirname(at)) {
    const parent = dirname(at);
    const name = ROOT.exec(basename(dirname(parent)))?.[1];
    if (basename(parent) === "snapshots" && name !== undefined) return { root: dirname(parent), name };
  }
  return null;
}

/** Returns a snapshot's path, unless it is a link out of the model's folder. */
function inside(snapshot: string, folder: string): string {
  const [real, root] = [realpathSync(snapshot), realpathSync(folder)];
  if (isBelow(real, root)) return snapshot;
  throw new TypeError(`model: ${snapshot} leads to ${real}, which is outside of ${root}: download the model again`);
}

/** Whether a real path lies in a folder. */
export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/**
 * Returns the snapshot to read where a folder is `models--owner--name` itself: that of `refs/main`, else the only one.
 * Any other folder is returned as it is.
 * @throws TypeError where several snapshots are there and none is named, or the one leads out of the folder
 */
export function snapshotOf(folder: string): string {
  const snapshots = join(folder, "snapshots");
  if (!ROOT.test(basename(resolve(folder))) || !existsSync(snapshots)) return folder;
  const main = join(folder, "refs", "main");
  const commit = existsSync(main) ? readFileSync(main, "utf8").trim() : "";
  if (/^[0-9a-f]+$/.test(commit) && existsSync(join(snapshots, commit))) return inside(join(snapshots, commit), folder);
  const [only, ...others] = readdirSync(snapshots);
  if (only !== undefined && others.length === 0) return inside(join(snapshots, only), folder);
  throw new TypeError(
    `model: ${folder} holds ${only === undefined ? "no snapshot" : `the snapshots ${[only, ...others].join(", ")}`}: give the path of one, as ${join(snapshots, only ?? "<commit>")}`,
  );
}

/**
 * Refuses files that lead out of the folder by a link, or nowhere: in a snapshot of the cache, out of the model's folder
 * there; in any other folder, those that may be read.
 * @throws TypeError naming the file and the place
 */
export function checkLinks(folder: string, paths: readonly string[]): void {
  const root = realpathSync(folder);
  const cache = hubCacheOf(root);
  for (const path of cache === null ? paths.filter((x) => READ.test(x)) : paths) {
    const file = join(folder, path);
    if (!existsSync(file))
      throw new TypeError(
        cache === null
          ? `model: ${file} is a link to a file that does not exist: put the file itself there`
          : `model: ${file} links to a file that is gone from ${cache.root}: download the model again`,
      );
    const real = realpathSync(file);
    if (isBelow(real, cache?.root ?? root)) continue;
    if (cache !== null) throw new TypeError(`model: ${file} ${leadsOut(real, cache)}`);
    throw new TypeError(`model: ${file} leads to ${real}, which is outside of ${root}: put the file itself there`);
  }
}

/** Returns the message of a link that leads out of the cache. */
export function leadsOut(real: string, { root }: HubCache): string {
  return `leads to ${real}, which is outside of the model's folder in the cache, ${root}: download the model again`;
}
