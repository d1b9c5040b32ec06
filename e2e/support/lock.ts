// A lock between processes, for what the tests install once: by flock of util-linux, whose lock ends with its process, also
// where that is killed.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Does work while no other process has the lock of a file; the file remains. */
export async function withLock<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  // Writes a line once it has the lock, and keeps it until this process closes the pipe or ends.
  const keeper = spawn("flock", [path, "sh", "-c", "echo; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(keeper, "exit");
  const refused = exited.then(([code]) => {
    throw new Error(`flock ${path} failed: ${String(code)}`);
  });
  await Promise.race([once(keeper.stdout, "data"), refused]);
  try {
    return await work();
  } finally {
    keeper.stdin.end();
    await exited;
  }
}
