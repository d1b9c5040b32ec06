// Maps the path of a request to a file of a folder, for servers on this machine.
import { statSync } from "node:fs";
import { resolve, sep } from "node:path";

/**
 * Returns the path of the file that a request's path names inside a folder. Returns null for a path that is badly
 * encoded, leads out of the folder, or names a folder or nothing.
 */
export function fileAt(folder: string, pathname: string): string | null {
  let decoded: string;
  try {
    decoded = decodeURIComponent(pathname);
  } catch {
    return null;
  }
  if (decoded.includes("\0")) return null;
  const path = resolve(folder, `./${decoded}`);
  if (!path.startsWith(resolve(folder) + sep)) return null;
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? path : null;
}
