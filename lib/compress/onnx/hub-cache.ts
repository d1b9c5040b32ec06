// The cache of huggingface_hub: `models--owner--name/snapshots/<commit>/…` holds links to files of
// `models--owner--name/blobs/`. A link of a snapshot may lead to those blobs, and nowhere else.
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

/** Returns the model's folder in the cache that a real path lies in, below `snapshots/<commit>`; null elsewhere. */
export function hubCacheOf(path: string): HubCache | null {
  for (let at = path; dirname(at) !== at; at = dirname(at)) {
    const parent = dirname(at);
    const name = ROOT.exec(basename(dirname(parent)))?.[1];
    if (basename(parent) === "snapshots" && name !== undefined) return { root: dirname(parent), name };
  }
  return null;
}

/** Whether a real path lies in a folder. */
export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/**
 * Returns the snapshot to read where a folder is `models--owner--name` itself: that of `refs/main`, else the only one.
 * Any other folder is returned as it is.
 * @throws TypeError where several snapshots are there and none is named
 */
export function snapshotOf(folder: string): string {
  const snapshots = join(folder, "snapshots");
  if (!ROOT.test(basename(resolve(folder))) || !existsSync(snapshots)) return folder;
  const main = join(folder, "refs", "main");
  const commit = existsSync(main) ? readFileSync(main, "utf8").trim() : "";
  if (/^[0-9a-f]+$/.test(commit) && existsSync(join(snapshots, commit))) return join(snapshots, commit);
  const [only, ...others] = readdirSync(snapshots);
  if (only !== undefined && others.length === 0) return join(snapshots, only);
  throw new TypeError(
    `model: ${folder} holds ${only === undefined ? "no snapshot" : `the snapshots ${[only, ...others].join(", ")}`}: give the path of one, as ${join(snapshots, only ?? "<commit>")}`,
  );
}

/**
 * Refuses files of a snapshot in the cache that lead out of the model's blobs, or nowhere.
 * @throws TypeError naming the file
 */
export function checkSnapshot(folder: string, paths: readonly string[]): void {
  const cache = hubCacheOf(realpathSync(folder));
  if (cache === null) return;
  for (const path of paths) {
    const file = join(folder, path);
    if (!existsSync(file))
      throw new TypeError(`model: ${file} links to a file that is gone from ${cache.root}: download the model again`);
    const real = realpathSync(file);
    if (isBelow(real, cache.root)) continue;
    throw new TypeError(`model: ${file} ${leadsOut(real, cache)}`);
  }
}

/** Returns the message of a link that leads out of the cache. */
export function leadsOut(real: string, { root }: HubCache): string {
  return `leads to ${real}, which is outside of the model's folder in the cache, ${root}: download the model again`;
}
