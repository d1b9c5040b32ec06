// An inference server for bundles (`selvedge serve`): the Open Inference Protocol, version 2, over HTTP, on one machine.
// It listens at once and is ready after each lane has loaded and run each model. It is stopped gracefully: not ready any
// more, then no new connections, then the end of the requests that it has.
import { availableParallelism } from "node:os";
import { findPackage, loadFastify, requirePackages } from "../compress/run/optional-peers.ts";
import { temporaryFolder } from "../compress/onnx/at-exit.ts";
import { ServeExecutor } from "./executor.ts";
import { clock, connectionsOf, drain, HTTP_DEFAULTS, httpOptions, withoutUndefined } from "./http-server.ts";
import type { HttpOptions, RunningServer } from "./http-server.ts";
import { ServeLanes } from "./lanes.ts";
import { openLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Origins } from "./origins.ts";
import { addRoutes } from "./routes.ts";
import type { RouteContext } from "./routes.ts";
import { openModels } from "./served-models.ts";

export type { RunningServer } from "./http-server.ts";

/** Options of `startServer`. */
export interface ServeOptions extends HttpOptions {
  /** Folders of bundles. */
  readonly bundles: readonly string[];
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
}

/** Defaults of ServeOptions. */
const DEFAULTS = { ...HTTP_DEFAULTS, maxBatchSize: 16, maxRows: 1_024, maxQueue: 256 } as const;

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
  const executor = new ServeExecutor(list, set, clock);
  const metrics = new Metrics();
  executor.onRun = ({ name }, requests, ms) => {
    metrics.run(name, requests, ms);
  };
  const origins = new Origins(set.origins);
  const app = fastify(httpOptions(set, origins));
  const connections = connectionsOf(app.server);
  const { log, end } = openLog(set.logLevel, process.stdout);
  const state = stateOf(executor);
  const { maxPendingBytes = 8 * set.maxBodyBytes, token } = set;
  const own = { ...set, origins, maxPendingBytes, token };
  addRoutes(app, { ...own, models, executor, metrics, state, clock, log, runs: new WeakMap() });
  const lanes = new ServeLanes({
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
    await drain(app.server, connections, set.receiveTimeoutMs + 2 * set.timeoutMs);
    await lanes.close();
    await folder.remove();
    end();
  };
  return { url, ready, close };
}

/** Returns the state of a server that still loads: requests can run once it has loaded, while a lane runs. */
function stateOf(executor: ServeExecutor): RouteContext["state"] & { isLoaded: boolean; isStopping: boolean } {
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

/** Returns the number of lanes, and of threads of each. */
function laneCounts({ lanes, threads }: Pick<ServeOptions, "lanes" | "threads">): { count: number; threads: number } {
  const cores = availableParallelism();
  const count = lanes ?? Math.min(4, cores);
  return { count, threads: threads ?? Math.max(1, Math.floor(cores / count)) };
}
