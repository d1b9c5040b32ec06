// A server on this machine, for tools and tests: listens on a free port, knows the types of files by their ending, and
// ends with its connections.
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { extname } from "node:path";

/** A running server. */
export interface LocalServer {
  readonly port: number;
  /** `http://127.0.0.1:port`, or https. */
  readonly origin: string;
  /** Closes all connections and resolves once the port is free. */
  close(): Promise<void>;
}

/** Options of a server; all are optional. */
export interface ServerOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Address to listen on. Default: this machine's loopback address alone. */
  readonly host?: string;
  /** Key and certificate of an https server, as PEM. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".txt": "text/plain; charset=utf-8",
};

/** Returns the content type of a file by its ending; `application/octet-stream` for an unknown one. */
export function contentTypeOf(path: string): string {
  return TYPES[extname(path)] ?? "application/octet-stream";
}

/** Parses the path of a request, still encoded; empty for an invalid URL, which any program on this machine may send. */
export function pathOf({ url = "/" }: IncomingMessage): string {
  try {
    return new URL(url, "http://localhost").pathname;
  } catch {
    return "";
  }
}

/** Starts a server. Rejects where the port is taken. */
export async function startServer(listener: RequestListener, options: ServerOptions = {}): Promise<LocalServer> {
  const { port = 0, host = "127.0.0.1", tls } = options;
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const taken = (server.address() as AddressInfo).port;
  return {
    port: taken,
    origin: `${tls === undefined ? "http" : "https"}://127.0.0.1:${taken}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}
