// Servers as processes of their own: `selvedge serve`, as its users start it, and any other that says "listening on URL".
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "./prepare.ts";

/** A running server. */
export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Ends it, and waits until it is gone. */
  stop(): Promise<void>;
}

/** Starts `selvedge serve` on any port, and waits until it is ready. */
export function startServe(...words: readonly string[]): Promise<ServerProcess> {
  return startProcess(join(ROOT, "lib/cli/bin.js"), "serve", ...words, "--port", "0", "--log-level", "error");
}

/** Starts a program of Node that prints "listening on URL", and waits until `/v2/health/ready` answers with 200. */
export async function startProcess(...words: readonly string[]): Promise<ServerProcess> {
  const child = spawn(process.execPath, words, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const { said, stop } = watchProcess(child);
  for (let tries = 0; tries < 600; tries += 1) {
    const url = /listening on (\S+)/.exec(said())?.[1];
    const response = url === undefined ? null : await fetch(`${url}/v2/health/ready`).catch(() => null);
    await response?.arrayBuffer();
    if (url !== undefined && response?.status === 200) return { url, pid: child.pid ?? 0, stop };
    if (child.exitCode !== null) break;
    await sleep(100);
  }
  await stop();
  throw new Error(`${words.join(" ")} did not start: ${said()}`);
}

/** Keeps the last of what a process prints, or why it did not start; `stop` ends it and waits until it is gone. */
export function watchProcess(child: ChildProcessByStdio<null, Readable, Readable>): {
  said(): string;
  stop(): Promise<void>;
} {
  let said = "";
  const add = (text: string): void => {
    said = (said + text).slice(-4_000);
  };
  child.once("error", (error) => {
    add(String(error));
  });
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => {
      add(part.toString());
    });
  return {
    said: () => said,
    async stop() {
      // A program that is missing has no process, and never exits.
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, "exit");
      child.kill();
      await exit;
    },
  };
}
