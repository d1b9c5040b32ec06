// Servers as processes of their own: `selvedge serve`, as its users start it, and any other that says "listening on URL".
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
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
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => {
      said = (said + part.toString()).slice(-4_000);
    });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill();
    await exit;
  };
  for (let tries = 0; tries < 600; tries += 1) {
    const url = /listening on (\S+)/.exec(said)?.[1];
    const response = url === undefined ? null : await fetch(`${url}/v2/health/ready`).catch(() => null);
    await response?.arrayBuffer();
    if (url !== undefined && response?.status === 200) return { url, pid: child.pid ?? 0, stop };
    if (child.exitCode !== null) break;
    await sleep(100);
  }
  await stop();
  throw new Error(`${words.join(" ")} did not start: ${said}`);
}
