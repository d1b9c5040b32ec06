// Suites of two browsers run concurrently and may make the same file: a reader always finds it complete.
import { renameSync, writeFileSync } from "node:fs";

/** Writes a file atomically. */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, content);
  renameSync(own, path);
}
