// Temporary folders and child processes that must not outlive this process. A signal that the process answers by
// `process.exit()` takes them along too.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ends = new Set<() => void>();

/** Runs all that is left, the newest first: a child process ends before the folder that it writes to. */
export function endAll(): void {
  for (const end of [...ends].reverse())
    try {
      end();
    } catch {
      // A file that another program holds stays; the rest goes.
    }
}

/** Has `end` run when this process exits; returns a function that takes that back. */
export function atExit(end: () => void): () => void {
  if (ends.size === 0) process.once("exit", endAll);
  ends.add(end);
  return () => {
    ends.delete(end);
    if (ends.size === 0) process.off("exit", endAll);
  };
}

/** Has a child process end with this one. Its script begins with `CHILD_GUARD`. */
export function endWithThis(child: ChildProcess): void {
  const done = atExit(() => child.kill("SIGKILL"));
  child.once("exit", done);
  child.once("error", done);
}

/**
 * Begin of a child process's script. Ctrl-C in a terminal reaches every process of the group: the parent decides what
 * ends then. A parent that is killed closes the pipe to the child's standard input, which ends the child at the next turn
 * of its event loop: after the run that ONNX Runtime computes. A thread that watched the parent would end it at once, but
 * ONNX Runtime's WebGPU crashed beside one, in three runs of eight.
 */
export const CHILD_GUARD = `
process.on("SIGINT", () => {});
if (!process.connected) process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume().unref();
`;

/** A temporary folder. */
export interface TemporaryFolder {
  readonly path: string;
  /** Removes the folder and what is in it. */
  remove(): Promise<void>;
}

/** Makes a temporary folder, which goes at the latest when this process exits. */
export function temporaryFolder(prefix: string): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), prefix));
  const done = atExit(() => {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    path,
    async remove() {
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
      done();
    },
  };
}
