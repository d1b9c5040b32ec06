// Folders that are made with those above them.
import { existsSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Creates a folder, and those above it that are missing. Node's recursive `mkdir` never ends where a file system answers
 * ENOENT below a folder that exists, as /proc does.
 */
export async function makeFolder(path: string, make: (path: string) => Promise<unknown> = mkdir): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at) && dirname(at) !== at; at = dirname(at)) missing.unshift(at);
  for (const at of missing.length === 0 ? [resolve(path)] : missing) await makeOne(at, make);
}

async function makeOne(path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  if (isFolder(path)) return;
  try {
    await make(path);
  } catch (error) {
    // Another process may have made it meanwhile.
    if (isFolder(path)) return;
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const text = `${path} can't be made: ${dirname(path)} takes no new folders; choose another folder`;
    throw new Error(text, { cause: error });
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
