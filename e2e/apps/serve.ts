// Serves an app: a folder behind a plain static server, or a command that is a server. An extension needs none.
import { spawn } from "node:child_process";
import { createReadStream, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { environment } from "./workplace.ts";
import type { Serve } from "./row.ts";

/** A server that runs. */
export interface Served {
  /** Its address, with a slash at the end. */
  readonly url: string;
  stop(): Promise<void>;
}

const READY_MS = 180_000;
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
};

/** Serves a folder as a plain static host does: files by their ending, index.html for a folder, else 404. */
export async function serveFolder(
  folder: string,
  options: { readonly base?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Served> {
  const { base = "/", headers = {} } = options;
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const inside = pathname.startsWith(base) ? normalize(decodeURIComponent(pathname.slice(base.length - 1))) : null;
    const path = inside === null ? null : fileAt(join(folder, inside));
    if (path === null) {
      response.writeHead(404, { ...headers, "content-type": "text/html" }).end("<!doctype html>not found");
      return;
    }
    const type = TYPES[extname(path)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "content-type": type, "content-length": statSync(path).size });
    createReadStream(path).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}${base}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function fileAt(path: string): string | null {
  for (const each of [path, join(path, "index.html"), `${path}.html`])
    if (statSync(each, { throwIfNoEntry: false })?.isFile()) return each;
  return null;
}

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
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined)
      process.kill(-child.pid, "SIGKILL");
    await ended;
  };
  const url = `http://localhost:${port}/`;
  const endMs = performance.now() + READY_MS;
  while (child.exitCode === null && performance.now() < endMs) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) }).catch(() => null);
    await answer?.body?.cancel();
    if (answer !== null) return { url, stop };
    await wait(200);
  }
  await stop();
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
  return { url: own.url, stop: async () => void (await Promise.all([own.stop(), other.stop()])) };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
