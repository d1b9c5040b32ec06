// Writes that survive a power loss: a file's bytes and a folder's entries are flushed to disk before a rename makes
// them visible. Otherwise a file system may keep the rename and lose the bytes.
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { partsOf } from "./stored-bytes.ts";
import type { Piece } from "./stored-bytes.ts";

/** Writes a new file from pieces and flushes it to disk. */
export async function writeSynced(path: string, pieces: readonly Piece[]): Promise<void> {
  const file = await open(path, "wx");
  try {
    for (const piece of partsOf(pieces)) await writeAll(file, piece);
    await file.sync();
  } catch (error) {
    // A failed write does not name its file: a full disk would be reported without the place.
    if (error instanceof Error && !("path" in error)) Object.assign(error, { path });
    throw error;
  } finally {
    await file.close();
  }
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
