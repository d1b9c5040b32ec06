// An inference server for bundles (`selvedge serve`): the Open Inference Protocol, version 2, over HTTP, on one machine.
// It listens at once and is ready after each lane has loaded and run each model. It is stopped gracefully: not ready any
// more, then no new connections, then the end of the requests that it has.
import { once } from "node:events";
import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { findPackage, loadFastify, requirePackages } from "../compress/run/optional-peers.ts";
import { temporaryFolder } from "../compress/onnx/at-exit.ts";
import { Executor } from "./executor.ts";
import type { ServerClock } from "./executor.ts";
import { Lanes } from "./lanes.ts";
import { openLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { addRoutes } from "./routes.ts";
import type { RouteContext } from "./routes.ts";
import { openModels } from "./served-models.ts";

/** Options of `startServer`. */
export interface ServeOptions {
  /** Folders of bundles. */
  readonly bundles: readonly string[];
  /** Address to listen on. Default: 127.0.0.1. */
  readonly host?: string | undefined;
  /** Port to listen on; 0 for any. Default: 8000. */
  readonly port?: number | undefined;
  /** Id of the variant of each bundle. Default: the float32 one, or the only one. */
  readonly variant?: string | undefined;
  /** Threads that run batches, each with its own copy of the models. Default: one per core, at most 4. */
  readonly lanes?: number | undefined;
  /** Threads of each lane's run. Default: the cores, shared among the lanes. */
  readonly threads?: number | undefined;
  /** Maximum number of rows that run together. Default: 16. */
  readonly maxBatchSize?: number | undefined;
  /** Maximum number of rows of one request: a run can't be stopped. Default: 1,024. */
  readonly maxRows?: number | undefined;
  /** Maximum number of queued requests; more are answered with 429. Default: 256. */
  readonly maxQueue?: number | undefined;
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

/** Defaults of ServeOptions. */
export const DEFAULTS = {
  host: "127.0.0.1",
  port: 8_000,
  maxBatchSize: 16,
  maxRows: 1_024,
  maxQueue: 256,
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

/**
 * Starts a server; it listens when this resolves, and is ready later.
 * @throws TypeError for a wrong option; SelvedgeError `setup-failed` without fastify and onnxruntime-node; as
 * `openModels`
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  requirePackages(["fastify", "onnxruntime-node"]);
  const set = { ...DEFAULTS, ...withoutUndefined(options) };
  const { fastify } = await loadFastify();
  const folder = temporaryFolder("selvedge-serve-");
  const models = await openModels(set.bundles, folder.path, set.variant);
  const list = [...models.values()];
  const executor = new Executor(list, set, clock);
  const metrics = new Metrics();
  executor.onRun = ({ name }, requests, ms) => {
    metrics.run(name, requests, ms);
  };
  const app = fastify(httpOptions(set));
  const { log, end } = openLog(set.logLevel, process.stdout);
  const state = stateOf(executor);
  const { maxPendingBytes = 8 * set.maxBodyBytes, token } = set;
  addRoutes(app, { ...set, maxPendingBytes, token, models, executor, metrics, state, clock, log, runs: new WeakMap() });
  const lanes = new Lanes({
    ...{ models: list, executor, clock, runtime: findPackage("onnxruntime-node"), ...laneCounts(set) },
    onError: (text) => {
      log("error", text);
    },
  });
  const url = await app.listen({ host: set.host, port: set.port });
  const ready = lanes.start().then(() => {
    state.isLoaded = true;
    log("info", "ready", { url, models: [...models.keys()] });
  });
  ready.catch(() => undefined);
  const close = async (): Promise<void> => {
    state.isStopping = true;
    // A server that still loads has no requests.
    if (!state.isLoaded) await lanes.close();
    await drain(app.server, set.receiveTimeoutMs + 2 * set.timeoutMs);
    await lanes.close();
    await folder.remove();
    end();
  };
  return { url, ready, close };
}

/** Returns fastify's options for bounds of a request. */
export function httpOptions({ maxBodyBytes, receiveTimeoutMs }: { maxBodyBytes: number; receiveTimeoutMs: number }): {
  readonly bodyLimit: number;
  readonly requestTimeout: number;
  readonly return503OnClosing: false;
  readonly http: { readonly connectionsCheckingInterval: number; readonly headersTimeout: number };
} {
  return {
    bodyLimit: maxBodyBytes,
    requestTimeout: receiveTimeoutMs,
    // Requests on open connections are answered while the server stops.
    return503OnClosing: false,
    http: { connectionsCheckingInterval: Math.min(1_000, receiveTimeoutMs), headersTimeout: receiveTimeoutMs },
  };
}

/** Returns the state of a server that still loads: requests can run once it has loaded, while a lane runs. */
function stateOf(executor: Executor): RouteContext["state"] & { isLoaded: boolean; isStopping: boolean } {
  return {
    isLoaded: false,
    isStopping: false,
    get isServing() {
      return this.isLoaded && executor.lanes > 0;
    },
    get isReady() {
      return this.isServing && !this.isStopping;
    },
  };
}

/**
 * Stops accepting connections, and returns when all are closed; after `maxMs` those that are left are cut. `close` of an
 * HTTP server, and so of fastify, closes all without a request at once, also one whose first request is on its way.
 */
export async function drain(server: Server, maxMs: number): Promise<void> {
  await sleep(DRAIN_MS);
  const closed = once(server, "close");
  NetServer.prototype.close.call(server);
  await sleep(IDLE_MS);
  const idle = setInterval(() => {
    server.closeIdleConnections();
  }, IDLE_CHECK_MS);
  const cut = setTimeout(() => {
    server.closeAllConnections();
  }, maxMs);
  await closed;
  clearInterval(idle);
  clearTimeout(cut);
}

/** Returns the number of lanes, and of threads of each. */
function laneCounts({ lanes, threads }: Pick<ServeOptions, "lanes" | "threads">): { count: number; threads: number } {
  const cores = availableParallelism();
  const count = lanes ?? Math.min(4, cores);
  return { count, threads: threads ?? Math.max(1, Math.floor(cores / count)) };
}

export function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, x]) => x !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
