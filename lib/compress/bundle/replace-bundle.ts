// Puts a finished bundle folder into the place of an older one. Only a bundle is ever replaced: a folder with anything
// else in it stays as it is. The two renames are one synchronous step, so that a Ctrl-C falls before or after them; where
// the second one fails (on Windows a virus scanner may hold a file), the older bundle is renamed back.
import { randomUUID } from "node:crypto";
import { existsSync, realpathSync, renameSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { syncFolder, writeSynced } from "../onnx/durable.ts";

/** All that a bundle's folder may hold. */
const PARTS: readonly string[] = ["bundle.json", "chunks", "signature.json"];
/** Names of chunks, of schema 1 and of schema 2. */
const CHUNK = /^[0-9a-f]{64}(?:\.bin)?$/;

/**
 * Checks that a folder may be replaced by a bundle: it is missing, empty, or a bundle with nothing but chunks in `chunks`.
 * @throws TypeError naming what else it holds
 */
export async function checkReplaceable(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    if (codeOf(error) === "ENOTDIR") throw refused(folder, "is a file");
    throw error;
  });
  const names = entries.map(({ name }) => name);
  const other = names.find((x) => !PARTS.includes(x));
  if (other !== undefined) throw refused(folder, `contains "${other}", which is not part of a bundle`);
  if (entries.some((x) => x.name === "signature.json" && x.isDirectory()))
    throw refused(folder, 'contains "signature.json" as a folder');
  if (names.length > 0 && !(await isBundle(join(folder, "bundle.json"))))
    throw refused(folder, "contains no bundle.json of a bundle");
  if (names.includes("chunks")) await checkOnlyChunks(folder);
}

async function checkOnlyChunks(folder: string): Promise<void> {
  const entries = await readdir(join(folder, "chunks"), { withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === "ENOTDIR") throw refused(folder, 'contains "chunks" as a file');
    throw error;
  });
  const other = entries.find((x) => !x.isFile() || !CHUNK.test(x.name));
  if (other !== undefined) throw refused(folder, `contains "chunks/${other.name}", which is not a chunk of a bundle`);
}

/** Returns the path of a new folder beside `folder`, on the same file system. */
export function freshBeside(folder: string): string {
  return beside(placeOf(folder), "new");
}

/**
 * Renames `fresh` into the place of `folder`. The older bundle's signature.json is carried over: `sign` reads the last
 * release from it, and a page refuses it for another bundle.
 * @throws TypeError where `folder` holds anything but a bundle; then, and on any failure, `folder` is as it was
 */
export async function replaceBundle(fresh: string, folder: string): Promise<void> {
  const target = placeOf(folder);
  await checkReplaceable(target);
  const signature = join(target, "signature.json");
  if (existsSync(signature)) await writeSynced(join(fresh, "signature.json"), [await readFile(signature)]);
  await syncFolder(join(fresh, "chunks"));
  await syncFolder(fresh);
  const old = beside(target, "old");
  const isThere = existsSync(target);
  if (isThere) renameSync(target, old);
  try {
    renameSync(fresh, target);
  } catch (error) {
    if (isThere) renameBack(old, target, error);
    throw error;
  }
  await syncFolder(dirname(target));
  await rm(old, { recursive: true, force: true });
}

/** Returns the folder that a path leads to, through a link too. */
function placeOf(folder: string): string {
  return existsSync(folder) ? realpathSync(folder) : resolve(folder);
}

function renameBack(old: string, target: string, cause: unknown): void {
  try {
    renameSync(old, target);
  } catch {
    throw new Error(`${target} could not be replaced, and its older version is in ${old}: rename that back`, {
      cause,
    });
  }
}

function beside(target: string, what: string): string {
  return join(dirname(target), `.${basename(target)}.${what}-${randomUUID()}`);
}

async function isBundle(path: string): Promise<boolean> {
  try {
    const json = JSON.parse(await readFile(path, "utf8")) as { schema?: unknown } | null;
    return typeof json?.schema === "string" && /^selvedge\/bundle@\d+$/.test(json.schema);
  } catch {
    return false;
  }
}

function refused(folder: string, what: string): TypeError {
  return new TypeError(`directory: ${folder} ${what}, so it is not replaced; give another folder, or empty this one`);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
