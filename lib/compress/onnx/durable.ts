// Writes that survive a power loss: a file's bytes and a folder's entries are flushed to disk before a rename makes
// them visible. Otherwise a file system may keep the rename and lose the bytes.
import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { diskFullText, isDiskFull } from "./disk-full.ts";
import { passingParts } from "./stored-bytes.ts";
import type { FileSlice } from "./stored-bytes.ts";

/** Writes a new file from pieces and flushes it to disk. */
export async function writeSynced(path: string, pieces: readonly FileSlice[]): Promise<void> {
  const file = await open(path, "wx");
  let isWhole = false;
  try {
    for (const piece of passingParts(pieces)) await writeAll(file, piece);
    await file.sync();
    isWhole = true;
  } catch (error) {
    throw withPlace(error, path, pieces);
  } finally {
    await file.close();
    // The part of a file that was written takes the room that the next attempt needs.
    if (!isWhole) await rm(path, { force: true });
  }
}

/** Adds the file to the error of a write, which does not name it; says of a full disk how much was needed. */
export function withPlace(error: unknown, path: string, pieces: readonly Pick<FileSlice, "length">[]): unknown {
  if (!(error instanceof Error) || "path" in error) return error;
  if (!isDiskFull(error)) return Object.assign(error, { path });
  const bytes = pieces.reduce((sum, x) => sum + x.length, 0);
  return Object.assign(error, { path, bytes, message: diskFullText(path, bytes) });
}

/** Writes all bytes where the file stands: one write may take fewer. */
export async function writeAll(file: Pick<FileHandle, "write">, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;)
    at += (await file.write(bytes, at, Math.min(bytes.length - at, 2 ** 30))).bytesWritten;
}

/** Flushes a folder's entries to disk where the system supports it: Windows can't open a folder. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => null);
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}
