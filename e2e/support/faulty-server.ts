// A server that misbehaves on purpose, for the tests of the package's own errors: dist/ under /dist/, one small model, and
// a page without anything in it. A rule may replace any answer, or change its headers.
import type { ServerResponse } from "node:http";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { getCertificate } from "@vitejs/plugin-basic-ssl";
import { contentTypeOf, pathOf, startServer } from "../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../lib/compress/check/local-server.ts";
import { STARTER } from "../../lib/worker/backend/identity-model.ts";
import { ROOT } from "./prepare.ts";

/** An answer. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string;
  /** Bytes after which nothing more is sent, and the connection stays open; 0: not even the headers. Default: none. */
  readonly stopsAfter?: number;
  /** Bytes per second. Default: all at once. */
  readonly bytesPerSecond?: number;
}

/** Changes answers: gets the path and the usual answer, and returns the one to send. */
export type Rule = (path: string, usual: Reply) => Partial<Reply> | undefined;

/** A running server. */
export interface FaultyServer extends LocalServer {
  /** Paths that were requested, in order. */
  readonly requested: string[];
  /** Sets what it does from now on. */
  use(rule: Rule): void;
}

/** An answer in place of a file: an HTML page, as of single-page apps. */
export const HTML: Partial<Reply> = {
  status: 200,
  headers: { "content-type": "text/html" },
  body: "<!doctype html><title>App</title>",
};
/** Status 404. */
export const MISSING: Partial<Reply> = { status: 404, headers: { "content-type": "text/plain" }, body: "not found" };

/** A rule that replaces the answers of paths. */
export const instead =
  (pattern: RegExp, reply: Partial<Reply> | undefined): Rule =>
  (path) =>
    pattern.test(path) ? reply : undefined;

/** A rule that replaces the model. */
export const modelIs = (body: Uint8Array): Rule => instead(/^\/model\.onnx$/, { body });

/** Returns a server's origin that browsers do not count as secure: plain http, not localhost. */
export function insecureOrigin({ port }: FaultyServer): string {
  const host = Object.values(networkInterfaces())
    .flat()
    .find((x) => x?.family === "IPv4" && !x.internal)?.address;
  if (host === undefined) throw new Error("this test needs an address that is not localhost");
  return `http://${host}:${port}`;
}

/** Starts a server on all of the machine's addresses; a secure one has a certificate that no browser trusts. */
export async function serveFaulty({ isSecure = false } = {}): Promise<FaultyServer> {
  let rule: Rule = () => undefined;
  const requested: string[] = [];
  const options = { host: "0.0.0.0", ...(isSecure && { tls: await certificate() }) };
  const server = await startServer((request, response) => {
    const path = pathOf(request);
    requested.push(path);
    const usual = usualReply(path);
    const { status, headers, body, stopsAfter, bytesPerSecond } = { ...usual, ...rule(path, usual) };
    if (stopsAfter === 0) return;
    response.writeHead(status, { "cache-control": "no-store", ...headers });
    if (request.method === "HEAD") response.end();
    else if (stopsAfter !== undefined) response.write(body.slice(0, stopsAfter));
    else if (bytesPerSecond !== undefined) trickle(response, body, bytesPerSecond);
    else response.end(body);
  }, options);
  return {
    ...server,
    requested,
    use(next) {
      rule = next;
      requested.length = 0;
    },
  };
}

/** Sends a body in parts, four a second. */
function trickle(response: ServerResponse, body: Uint8Array | string, bytesPerSecond: number): void {
  const size = Math.ceil(bytesPerSecond / 4);
  const send = (at: number): void => {
    if (response.destroyed) return;
    if (at + size >= body.length) {
      response.end(body.slice(at));
      return;
    }
    response.write(body.slice(at, at + size));
    setTimeout(send, 250, at + size);
  };
  send(0);
}

/** Makes a certificate that no browser trusts. */
export async function certificate(): Promise<{ key: string; cert: string }> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-certificate-"));
  try {
    const pem = await getCertificate(folder);
    return { key: pem, cert: pem };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function usualReply(path: string): Reply {
  if (path === "/")
    return { status: 200, headers: { "content-type": "text/html" }, body: "<!doctype html><title>Test</title>" };
  if (path === "/model.onnx")
    return { status: 200, headers: { "content-type": "application/octet-stream" }, body: STARTER };
  const file = join(ROOT, path);
  if (!path.startsWith("/dist/") || path.includes("..") || !existsSync(file))
    return { status: 404, headers: { "content-type": "text/plain" }, body: "not found" };
  return { status: 200, headers: { "content-type": contentTypeOf(path) }, body: readFileSync(file) };
}
