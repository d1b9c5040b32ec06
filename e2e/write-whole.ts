// Suites of two browsers run side by side and may make the same file: whoever reads one finds it whole.
import { renameSync, writeFileSync } from "node:fs";

/** Writes a file so that it is there whole or not at all. */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, content);
  renameSync(own, path);
}
