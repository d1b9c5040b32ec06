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
import { Lane } from "./lane.ts";
import { Metrics } from "./metrics.ts";
import { addRoutes } from "./routes.ts";
import type { Log } from "./routes.ts";
import { openModels } from "./served-models.ts";
import type { ServedModel } from "./served-models.ts";

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
  /** Maximum number of queued requests; more are answered with 429. Default: 256. */
  readonly maxQueue?: number | undefined;
  /** Maximum size of a request, in bytes, also when decompressed. Default: 64 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /** Maximum size of all requests together that are not answered yet, in bytes. Default: 8 times `maxBodyBytes`. */
  readonly maxPendingBytes?: number | undefined;
  /** Time to receive a request, in milliseconds. Default: 30,000. */
  readonly receiveTimeoutMs?: number | undefined;
  /** Time to answer a request once it was received, in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Origins whose pages may read answers; `*` for any. Default: none. */
  readonly origins?: readonly string[] | undefined;
  /** Bearer token that requests need, other than those for health. Default: none is needed. */
  readonly token?: string | undefined;
  /** Log level of the JSON lines on standard output. Default: "info". */
  readonly logLevel?: "info" | "error" | "silent" | undefined;
}

/** Defaults of ServeOptions. */
const DEFAULTS = {
  host: "127.0.0.1",
  port: 8_000,
  maxBatchSize: 16,
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
/** How long the thread of a lane stays away that ended by itself. */
const RESTART_MS = 1_000;

/** A running server. */
export interface RunningServer {
  /** Address of the server, without a slash at the end. */
  readonly url: string;
  /** Resolves once it is ready. Rejects where a model does not load. */
  readonly ready: Promise<void>;
  /** Answers what it has and stops. */
  close(): Promise<void>;
}

const clock: ServerClock = {
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
  const app = fastify({
    bodyLimit: set.maxBodyBytes,
    requestTimeout: set.receiveTimeoutMs,
    // Requests on open connections are answered while the server stops.
    return503OnClosing: false,
    http: { connectionsCheckingInterval: Math.min(1_000, set.receiveTimeoutMs), headersTimeout: set.receiveTimeoutMs },
  });
  const log = logOf(set.logLevel);
  const state = { isReady: false, isStopping: false };
  const { maxPendingBytes = 8 * set.maxBodyBytes, token } = set;
  addRoutes(app, { ...set, maxPendingBytes, token, models, executor, metrics, state, clock, log, runs: new WeakMap() });
  const lanes = new Lanes(list, executor, set, (text) => {
    log("error", text);
  });
  const url = await app.listen({ host: set.host, port: set.port });
  const ready = lanes.start().then(() => {
    state.isReady = !state.isStopping;
    log("info", "ready", { url, models: [...models.keys()] });
  });
  ready.catch(() => undefined);
  const close = async (): Promise<void> => {
    Object.assign(state, { isReady: false, isStopping: true });
    await drain(app.server, set.receiveTimeoutMs + set.timeoutMs);
    await lanes.close();
    await folder.remove();
  };
  return { url, ready, close };
}

/**
 * Stops accepting connections, and returns when all are closed; after `maxMs` those that are left are cut. `close` of an
 * HTTP server, and so of fastify, closes all without a request at once, also one whose first request is on its way.
 */
async function drain(server: Server, maxMs: number): Promise<void> {
  await sleep(DRAIN_MS);
  const closed = once(server, "close");
  NetServer.prototype.close.call(server);
  await sleep(IDLE_MS);
  server.closeIdleConnections();
  const cut = setTimeout(() => {
    server.closeAllConnections();
  }, maxMs);
  await closed;
  clearTimeout(cut);
}

/** Returns a log of JSON lines on standard output. */
function logOf(least: NonNullable<ServeOptions["logLevel"]>): Log {
  return (level, message, fields = {}) => {
    if (least === "silent" || (least === "error" && level === "info")) return;
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
  };
}

/** The lanes of a server, each started again when its thread ends. */
class Lanes {
  readonly #models: readonly ServedModel[];
  readonly #executor: Executor;
  readonly #lanes: Map<string, Lane> = new Map();
  readonly #count: number;
  readonly #threads: number;
  readonly #onError: (text: string) => void;
  #isClosed = false;

  constructor(
    models: readonly ServedModel[],
    executor: Executor,
    { lanes, threads }: Pick<ServeOptions, "lanes" | "threads">,
    onError: (text: string) => void,
  ) {
    const cores = availableParallelism();
    this.#models = models;
    this.#executor = executor;
    this.#onError = onError;
    this.#count = lanes ?? Math.min(4, cores);
    this.#threads = threads ?? Math.max(1, Math.floor(cores / this.#count));
  }

  async start(): Promise<void> {
    for (let i = 0; i < this.#count; i += 1) await this.#open(`cpu-${i}`);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#lanes.values()].map((x) => x.close()));
  }

  /** Starts a lane and runs each model once there: a first run is slower than others. */
  async #open(id: string): Promise<void> {
    const lane = new Lane(id, findPackage("onnxruntime-node"), this.#threads, (error) => {
      this.#executor.remove(id);
      this.#onError(error.message);
      void sleep(RESTART_MS).then(() => this.#reopen(id));
    });
    this.#lanes.set(id, lane);
    for (const model of this.#models) {
      await lane.load(model);
      try {
        await lane.run(model.id, copyOf(model));
        const startMs = clock.now();
        await lane.run(model.id, copyOf(model));
        this.#executor.measured(model, clock.now() - startMs);
      } catch (error) {
        this.#onError(
          `${model.name}: its first run failed, with inputs of zeros or those of the bundle: ${String(error)}`,
        );
      }
    }
    if (!this.#isClosed) this.#executor.add(lane);
  }

  async #reopen(id: string): Promise<void> {
    if (this.#isClosed) return;
    await this.#open(id).catch((error: unknown) => {
      this.#onError(`lane ${id} did not start again: ${String(error)}`);
    });
  }
}

/** Copies a model's first inputs: a run takes its buffers away. */
function copyOf({ warmUp }: ServedModel): ServedModel["warmUp"] {
  return Object.fromEntries(
    Object.entries(warmUp).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]),
  ) as ServedModel["warmUp"];
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, x]) => x !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
