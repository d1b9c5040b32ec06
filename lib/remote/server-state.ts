// State of servers: name and version, and whether they are live and ready. Imported when a client is asked for it.
import { inTime, untilAborted } from "../core/abort.ts";
import { checkTime } from "./call.ts";
import type { CallContext } from "./call.ts";
import type { Endpoint } from "./endpoints.ts";
import { exchange, join } from "./exchange.ts";
import type { HttpRequest } from "./exchange.ts";
import { FailedAttempt } from "./failure.ts";
import type { CallOptions } from "./index.ts";
import { asObject, textOf, texts } from "./plain-json.ts";

/** Name, version and extensions of a server. */
export interface ServerMetadata {
  /** Name of the engine, as it states it. */
  readonly name: string;
  /** Version of the engine, as it states it. */
  readonly version: string;
  /** Extensions that it lists. KServe has the binary extension and does not list it. */
  readonly extensions: readonly string[];
}

/** Reads a server's metadata. @throws ReplyError */
export function readServerMetadata(value: unknown): ServerMetadata {
  const { name, version, extensions } = asObject(value, "the server's metadata");
  return { name: textOf(name) ?? "", version: textOf(version) ?? "", extensions: texts(extensions) };
}

/** State of one server. */
export interface EndpointHealth {
  /** Base address of the server. */
  readonly endpoint: string;
  /** Whether the server runs. */
  readonly isLive: boolean;
  /** Whether the server, or the model that was asked about, answers requests. */
  readonly isReady: boolean;
}

/** Asks each server, once, whether it is live, and by the path `ready` whether it, or a model, is ready. */
export async function askHealth(
  { effects, endpoints, closed, ...bounds }: CallContext,
  ready: string,
  { signal: own, timeoutMs }: CallOptions,
  get: (endpoint: Endpoint, path: string) => Promise<HttpRequest>,
): Promise<EndpointHealth[]> {
  const limitMs = checkTime("timeoutMs", timeoutMs ?? bounds.attemptTimeoutMs);
  const { stop, end } = join(own, closed);
  const { signal } = stop;
  const endMs = effects.now() + limitMs;
  const ask = async (endpoint: Endpoint, path: string): Promise<boolean> => {
    try {
      const request = await untilAborted(inTime(get(endpoint, path), limitMs, effects.setTimer), signal);
      if (request === null) return false;
      await exchange(effects, request, { ...bounds, signal, timeoutMs: Math.max(1, endMs - effects.now()) });
      return true;
    } catch (error) {
      if (error instanceof FailedAttempt) return false;
      throw error;
    }
  };
  return Promise.all(
    endpoints.all.map(async (endpoint) => {
      const [isLive, isReady] = await Promise.all([ask(endpoint, "/v2/health/live"), ask(endpoint, ready)]);
      return { endpoint: endpoint.url, isLive, isReady };
    }),
  ).finally(end);
}
