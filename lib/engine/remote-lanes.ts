// Servers as lanes: their options, and the builds that their workers start with. Imported where the engine has the
// option `remote`; without it no lane to a server exists, so nothing can be sent.
import { inTime, untilAborted } from "../core/abort.ts";
import type { ResolvedOptions } from "./resolve-options.ts";
import type { FetchOptions } from "./cache-client.ts";
import { accept, checkOptions, isFunction, list, oneOf, range, text, truth, whole } from "./check-options.ts";
import type { Checks } from "./check-options.ts";
import type { Plan } from "../cache/messages.ts";
import { show } from "../core/check-inputs.ts";
import type { Placement } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Effects } from "../effects/effects.ts";
import type { Hedging } from "./hedging.ts";
import type { LoadHost } from "./load-plan.ts";
import type { Loader, Servers } from "./loader.ts";
import type { Model } from "./model.ts";
import { OffloadCounts } from "./offload-counts.ts";
import type { CascadeOptions, HedgeOptions, RemoteEngineOptions, RemoteModelOption, SourceOptions } from "./options.ts";
import type { Build } from "../pool/lane-options.ts";
import type { PoolSize } from "../pool/pool.ts";
import { createRemoteLane } from "./remote-lane.ts";
import type { ModelRoutes } from "./routes.ts";
import type { HeadersReply, HeadersRequest, RemoteStart } from "../rpc/backend.ts";

/** Lanes per server. */
const CONCURRENCY = 2;
/** Bounds of a call within a lane: the scheduler tries other lanes, so they are low. */
const TIMEOUT_MS = 10_000;
const ATTEMPTS = 2;
/** Bound of a worker's call, beyond the time of several requests: their own bound ends them, so only a dead worker is. */
const WORKER_MS = 60_000;
const REQUESTS = 10;

/** Refuses a word that is no placement. @throws TypeError */
function checkPlacement(placement: Placement): void {
  if (!["local", "remote", "auto"].includes(placement))
    throw new TypeError(`placement: expected "local", "remote" or "auto", got ${show(placement)}`);
}

/**
 * Refuses a placement that needs servers: of an engine that has none, or of a request to a model on this device.
 * @throws TypeError
 */
export function refuse(placement: Placement): never {
  checkPlacement(placement);
  const fix = 'the engine needs the option `remote`, and the model must be loaded with this placement, or with "auto"';
  throw new TypeError(`placement: "${placement}" is not possible here: ${fix}`);
}

/**
 * Returns the routes that a request's own placement allows; `servers` is null for a model on this device.
 * @throws TypeError; the request's reason where it is cancelled, SelvedgeError `deadline-exceeded` where its time ends
 */
export async function placed(
  servers: Servers | null,
  current: ModelRoutes,
  { placement = "auto", signal, isRefusable, dueMs, deadlineMs }: ResolvedOptions,
  { now, setTimer }: Effects,
): Promise<ModelRoutes> {
  if (servers === null) return refuse(placement);
  checkPlacement(placement);
  const found = servers.place(current, placement);
  const waitMs = isRefusable ? Math.max(0, dueMs - now()) : Infinity;
  const timely = inTime(found, waitMs, setTimer);
  const routes = await (signal === undefined ? timely : untilAborted(timely, signal));
  if (routes !== null) return routes;
  const where = placement === "local" ? "this device" : "a server";
  const text = `Rejected: the model was not ready on ${where} within deadlineMs ${deadlineMs}.`;
  throw new SelvedgeError("deadline-exceeded", text);
}

/** Arguments of a load, as the app gave them. */
export interface Wanted {
  readonly from: string | Blob;
  readonly options: SourceOptions;
  readonly download: FetchOptions;
}

/** Parts of a load that are the page's own code: imported here they would be loaded twice. */
export interface LoadParts {
  readonly Loader: typeof Loader;
  readonly Model: typeof Model;
  /** Loads a plan on this device alone. */
  readonly loadHere: (plan: Plan) => Promise<Model>;
}

/** The servers of one engine. */
export interface RemoteSide {
  /** Counts what both sides answer, and the traffic. */
  readonly offload: OffloadCounts;
  /** Makes the lanes to the servers. */
  readonly lanes: NonNullable<PoolSize["remote"]>;
  /** Loads a model that servers may answer for. */
  load(host: LoadHost, wanted: Wanted, parts: LoadParts): Promise<Model>;
}

/**
 * Checks the option `remote`; sends nothing.
 * @throws TypeError or RangeError, which name the option and what came
 */
export function remoteSide(effects: Effects, options: RemoteEngineOptions): RemoteSide {
  const { baseUrl } = effects.facts;
  const endpoints = checkRemote(options, baseUrl);
  const { concurrency = CONCURRENCY, timeoutMs = TIMEOUT_MS } = options;
  const callTimeoutMs = WORKER_MS + REQUESTS * timeoutMs;
  const offload = new OffloadCounts();
  let hedging: Promise<Hedging> | null = null;
  return {
    offload,
    lanes: (Remote, own) =>
      endpoints
        .flatMap((endpoint) => Array.from({ length: concurrency }, () => endpoint))
        .map((endpoint, i) => {
          const build = buildOf(own.builds.usual, endpoint, options);
          const builds = { usual: build, large: build };
          return createRemoteLane(Remote, `remote-${i}`, { ...own, builds, callTimeoutMs }, (traffic, identity) => {
            offload.sent(traffic, identity);
          });
        }),
    load: async (host, wanted, parts) => {
      checkPlacement(wanted.options.placement ?? host.placement);
      const isHedged = options.hedge !== undefined && options.hedge !== false && wanted.options.placement === "auto";
      if (isHedged) hedging ??= import("./hedging.ts").then((x) => x.createHedging(host, options, offload));
      const isCascaded = Object.values(options.models ?? {}).some((x) => x.cascade !== undefined);
      const [{ loadRemote }, cascade] = await Promise.all([
        import("./remote-load.ts"),
        isCascaded && wanted.options.placement === "auto" ? import("./cascade.ts") : null,
      ]);
      return loadRemote(host, options, wanted, parts, {
        hedging: isHedged ? await hedging : null,
        cascade: cascade && ((small, larger) => cascade.startCascade(small, larger, offload)),
      });
    },
  };
}

const CASCADE: Checks<CascadeOptions> = { bundle: null, escalateBelow: null, waitMs: range(1, 86_400_000) };
const confidence = range(0, 1);
const address = accept("a URL", (value) => typeof value === "string" || value instanceof URL);
const MODEL: Checks<RemoteModelOption> = {
  model: text,
  version: text,
  verified: truth,
  cascade: (option, value) => {
    checkOptions(option, value as CascadeOptions, CASCADE, `${option}.`);
    const { bundle, escalateBelow } = value as CascadeOptions;
    address(`${option}.bundle`, bundle);
    confidence(`${option}.escalateBelow`, escalateBelow);
  },
};
const bound = range(1, 2 ** 31 - 1);
const HEDGE: Checks<HedgeOptions> = { share: range(0, 1), quantile: range(0.5, 0.999) };
/** Checked where they are absent too. */
const addresses = list("addresses", text);

const REMOTE: Checks<RemoteEngineOptions> = {
  endpoints: null,
  headers: accept("a function", isFunction),
  models: (option, value) => {
    if (typeof value !== "object" || value === null)
      throw new TypeError(`${option}: expected an object by the bundle's name, got ${show(value)}`);
    for (const [name, model] of Object.entries(value)) {
      const path = `${option}["${name}"]`;
      checkOptions(path, model as RemoteModelOption, MODEL, `${path}.`);
    }
  },
  costMs: range(0, 86_400_000),
  hedge: (option, value) => {
    if (typeof value !== "boolean") checkOptions(option, value as HedgeOptions, HEDGE, `${option}.`);
  },
  concurrency: whole(1, 16),
  binary: oneOf(["auto", "always", "never"]),
  gzip: truth,
  timeoutMs: bound,
  attemptTimeoutMs: bound,
  attempts: whole(1, 2 ** 31 - 1),
  maxReplyBytes: whole(1, 2 ** 31 - 1),
};

function checkRemote(options: RemoteEngineOptions, baseUrl: string): readonly string[] {
  checkOptions("remote", options, REMOTE, "remote.");
  const { endpoints } = options;
  addresses("remote.endpoints", endpoints);
  return endpoints.map((each) => addressOf(each, baseUrl));
}

/** Returns an address as the client takes it (remote/index.ts), which checks it again in the worker. */
function addressOf(each: string, baseUrl: string): string {
  const base = baseUrl === "" ? undefined : baseUrl;
  const url = URL.canParse(each, base) ? new URL(each, base) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username + url.password + url.search + url.hash !== "")
    throw new TypeError(
      `remote.endpoints: expected http(s) addresses without user, query and fragment, got ${show(each)}`,
    );
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

/** Returns the build of a lane to a server: the usual worker, which compiles no WebAssembly for it. */
function buildOf(usual: Build, endpoint: string, options: RemoteEngineOptions): Build {
  const { headers, binary, gzip, maxReplyBytes } = options;
  const { timeoutMs = TIMEOUT_MS, attemptTimeoutMs = timeoutMs, attempts = ATTEMPTS } = options;
  const limits = { binary, gzip, maxReplyBytes, timeoutMs, attemptTimeoutMs, attempts };
  return {
    source: usual.source,
    wasmUrls: () => ({ wasmUrl: "", restUrl: "" }),
    // Another one for each start: there is nothing to compile.
    get compiled() {
      return { modules: Promise.resolve(null), rest: null };
    },
    endpoint,
    remote: (): RemoteStart => ({ ...limits, endpoint, ports: headers === undefined ? [] : [lineOf(headers)] }),
  };
}

/** Returns a line on which the app's callback answers for headers. */
function lineOf(headers: NonNullable<RemoteEngineOptions["headers"]>): MessagePort {
  const { port1, port2 } = new MessageChannel();
  const answer = async ({ id, endpoint }: HeadersRequest): Promise<HeadersReply> => {
    try {
      return { id, headers: [...new Headers(await headers(endpoint))] };
    } catch (error) {
      return { id, error: `remote.headers: ${error instanceof Error ? error.message : String(error)}` };
    }
  };
  port1.onmessage = ({ data }: MessageEvent<HeadersRequest>) => {
    void answer(data).then((reply) => {
      port1.postMessage(reply);
    });
  };
  return port2;
}
