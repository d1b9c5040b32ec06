// A full disk ends a compression: nothing that follows could be written either, and a form that is "not made" for that
// would be blamed. The message names the place, the bytes, and the variable that moves temporary folders.
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, resolve, sep } from "node:path";

/** Codes of a full disk, and of a user's share of one. */
const CODES: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);

/** Whether an error says that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && CODES.has(error.code);
}

/** Rejects again with an error that says that the disk is full; returns for another one. */
export function rethrowDiskFull(error: unknown): void {
  if (isDiskFull(error)) throw error;
}

/**
 * Explains why a file could not be written.
 * @param path - of the file; undefined where the system does not name it, as for temporary files
 * @param bytes - size of the file, where it is known
 */
export function diskFullText(path: string | undefined, bytes?: number): string {
  const isTemporary = path === undefined || resolve(path).startsWith(resolve(tmpdir()) + sep);
  const needs = bytes === undefined ? "could not be written" : `needs ${bytes} bytes`;
  const free = path === undefined || bytes === undefined ? undefined : freeBytes(dirname(path));
  const where = `the disk is full: ${path ?? `a file in ${tmpdir()}`} ${needs}${free === undefined ? "" : `, and ${free} were free`}`;
  const fix = isTemporary
    ? `set TMPDIR, now ${tmpdir()}, to a folder with room for three times the model`
    : "free some space, or choose another --out";
  return `${where}; ${fix}`;
}

function freeBytes(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
