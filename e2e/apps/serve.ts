// Serves an app: a folder behind a plain static server, or a command that is a server. An extension needs none.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { serveFolder } from "../../lib/doctor/serve-folder.ts";
import { freePort } from "../support/free-port.ts";
import { environment } from "./workplace.ts";
import type { Serve } from "./row.ts";

/** A server that runs. */
export interface Served {
  /** Its address, with a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

const READY_MS = 180_000;
/**
 * Starts a server's command and waits for its first answer.
 * @throws Error with what it printed, if it ends or does not answer in time
 */
export async function serveCommand(app: string, command: string): Promise<Served> {
  const port = await freePort();
  let said = "";
  const child = spawn(command.replaceAll("{port}", String(port)), {
    cwd: app,
    env: { ...environment(app), PORT: String(port) },
    shell: true,
    // A process group of its own, so that the shell's children end with it.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (x: Buffer) => (said += x.toString()));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
      process.kill(-child.pid, "SIGKILL");
    await ended;
  };
  const url = `http://localhost:${port}/`;
  const endMs = performance.now() + READY_MS;
  while (child.exitCode === null && performance.now() < endMs) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) }).catch(() => null);
    await answer?.body?.cancel();
    if (answer !== null) return { url, close };
    await wait(200);
  }
  await close();
  throw new Error(`$ ${command}\n${said.slice(-2_000)}\ndid not serve ${url}`);
}

/** Serves an app as its row says. */
export async function serveApp(app: string, serve: Exclude<Serve, { kind: "extension" }>): Promise<Served> {
  if (serve.kind === "command") return serveCommand(app, serve.command);
  if (serve.otherOrigin === undefined) return serveFolder(join(app, serve.folder), serve);
  const other = await serveFolder(join(app, serve.otherOrigin), { headers: { "access-control-allow-origin": "*" } });
  const page = join(app, serve.folder, "index.html");
  writeFileSync(page, readFileSync(page, "utf8").replaceAll("{origin}/", other.url));
  const own = await serveFolder(join(app, serve.folder), serve);
  return { url: own.url, close: async () => void (await Promise.all([own.close(), other.close()])) };
}
