// The HTTP side that the server for bundles and the gateway share: options and their defaults, fastify's bounds, the
// clock, and a graceful stop.
import { once } from "node:events";
import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerClock } from "./executor.ts";
import type { Origins } from "./origins.ts";

/** Options of a server that listens. */
export interface HttpOptions {
  /** Address to listen on. Default: 127.0.0.1. */
  readonly host?: string | undefined;
  /** Port to listen on; 0 for any. Default: 8000. */
  readonly port?: number | undefined;
  /** Maximum size of a request, in bytes, also when decompressed. Default: 64 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Maximum size of all requests together that are not answered yet, and of answers that are not sent yet, in bytes;
   * more requests are answered with 429. Default: 8 times `maxBodyBytes`.
   */
  readonly maxPendingBytes?: number | undefined;
  /** Time to receive a request, in milliseconds. Default: 30,000. */
  readonly receiveTimeoutMs?: number | undefined;
  /**
   * Time to answer a request once it was received, in milliseconds, and time that its client has to take the answer.
   * Default: 30,000.
   */
  readonly timeoutMs?: number | undefined;
  /** Origins whose pages may send requests; `*` for any. Default: none. */
  readonly origins?: readonly string[] | undefined;
  /** Bearer token that requests need, other than those for health. Default: none is needed. */
  readonly token?: string | undefined;
  /** Log level of the JSON lines on standard output. Default: "info". */
  readonly logLevel?: "info" | "error" | "silent" | undefined;
}

/** Defaults of HttpOptions. */
export const HTTP_DEFAULTS = {
  host: "127.0.0.1",
  port: 8_000,
  maxBodyBytes: 64 * 2 ** 20,
  receiveTimeoutMs: 30_000,
  timeoutMs: 30_000,
  origins: [],
  logLevel: "info",
} as const;

/** How long a stopping server still accepts connections: load balancers need a moment to see that it is not ready. */
const DRAIN_MS = 1_000;
/** How long connections without a request stay open then: one that was just opened is about to send its first. */
const IDLE_MS = 500;
/** Time between two looks for connections that have become idle then. */
const IDLE_CHECK_MS = 250;

/** A running server. */
export interface RunningServer {
  /** Address of the server, without a slash at the end. */
  readonly url: string;
  /** Resolves once it is ready. Rejects where a model does not load, or crashes the first lane, and with `closed`. */
  readonly ready: Promise<void>;
  /** Answers what it has and stops. */
  close(): Promise<void>;
}

export const clock: ServerClock = {
  now: () => performance.now(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
  defer: setImmediate,
};

/** Returns fastify's options for bounds of a request, and for errors that pass by its hooks. */
export function httpOptions(
  { maxBodyBytes, receiveTimeoutMs }: { maxBodyBytes: number; receiveTimeoutMs: number },
  origins: Origins,
): {
  readonly bodyLimit: number;
  readonly requestTimeout: number;
  readonly return503OnClosing: false;
  readonly frameworkErrors: Origins["badUrl"];
  readonly clientErrorHandler: Origins["badRequest"];
  readonly http: { readonly connectionsCheckingInterval: number; readonly headersTimeout: number };
} {
  return {
    bodyLimit: maxBodyBytes,
    requestTimeout: receiveTimeoutMs,
    // Requests on open connections are answered while the server stops.
    return503OnClosing: false,
    frameworkErrors: origins.badUrl,
    clientErrorHandler: origins.badRequest,
    http: { connectionsCheckingInterval: Math.min(1_000, receiveTimeoutMs), headersTimeout: receiveTimeoutMs },
  };
}

/** Returns the open connections of a server that does not listen yet. */
export function connectionsOf(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  return open;
}

/**
 * Stops accepting connections, and returns when all are closed; after `maxMs` those that are left are cut. `close` of an
 * HTTP server, and so of fastify, closes all without a request at once, also one whose first request is on its way.
 */
export async function drain(server: Server, connections: ReadonlySet<Socket>, maxMs: number): Promise<void> {
  await sleep(DRAIN_MS);
  const closed = once(server, "close");
  NetServer.prototype.close.call(server);
  await sleep(IDLE_MS);
  const idle = setInterval(() => {
    server.closeIdleConnections();
    // Clients open some in advance. Until the time for the first request is over, Node takes them for busy.
    for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
  }, IDLE_CHECK_MS);
  const cut = setTimeout(() => {
    server.closeAllConnections();
  }, maxMs);
  await closed;
  clearInterval(idle);
  clearTimeout(cut);
}

export function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, x]) => x !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
