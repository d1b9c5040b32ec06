// The gateway (`selvedge serve --upstream`): passes requests of pages on to Triton, KServe or MLServer, which lack CORS or
// a token. Checks, limits and log are those of the server for bundles (checks.ts). Bodies are read whole before they are
// passed on, so that no slow client holds a connection to the engine; answers are streamed. Uses node:http alone:
// `fetch` decompresses answers, and @fastify/http-proxy streams bodies past their limit.
import { request as requestHttp } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from "node:http";
import { request as requestHttps } from "node:https";
import type { FastifyReply, FastifyRequest } from "fastify";
import { loadFastify, requirePackages } from "../compress/run/optional-peers.ts";
import { addChecks } from "./checks.ts";
import { HttpError } from "./http-error.ts";
import { clock, connectionsOf, drain, HTTP_DEFAULTS, httpOptions, withoutUndefined } from "./http-server.ts";
import type { HttpOptions, RunningServer } from "./http-server.ts";
import { openLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Origins } from "./origins.ts";

/** Options of `startGateway`. */
export interface GatewayOptions extends HttpOptions {
  /** Base address of the server to pass requests on to. */
  readonly upstream: string;
}

/** Paths that are asked for answers by POST; any other one changes the server: its models, shared memory, tracing, log. */
const ANSWERS = /^\/v2\/(models\/[^/]+(\/versions\/[^/]+)?\/(infer|generate|generate_stream)|repository\/index)$/;

/** Headers of one connection, and those that the gateway sets itself. */
const OWN_HEADERS =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|host|origin|expect|content-length|vary|access-control-.*)$/;

/**
 * Starts a gateway; it listens when this resolves, whether or not the server behind it runs.
 * @throws TypeError for a wrong option; SelvedgeError `setup-failed` without fastify
 */
export async function startGateway(options: GatewayOptions): Promise<RunningServer> {
  requirePackages(["fastify"]);
  const set = { ...HTTP_DEFAULTS, ...withoutUndefined(options) };
  const { timeoutMs, maxBodyBytes, maxPendingBytes = 8 * maxBodyBytes, token } = set;
  const { fastify } = await loadFastify();
  const origins = new Origins(set.origins);
  const app = fastify(httpOptions(set, origins));
  const connections = connectionsOf(app.server);
  const { log, end } = openLog(set.logLevel, process.stdout);
  const state = { isStopping: false };
  const metrics = new Metrics();
  const own = { ...set, origins, maxPendingBytes, token, models: new Map<never, never>(), metrics, state, clock, log };
  addChecks(app, { ...own, runs: new WeakMap(), isPassedOn: true });
  const base = new URL(set.upstream);
  const pass = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    passOn(base, request, reply, timeoutMs, token !== undefined);
  for (const url of ["/v2", "/v2/*"]) app.route({ method: ["GET", "POST"], url, handler: pass });
  const url = await app.listen({ host: set.host, port: set.port });
  log("info", "ready", { url, upstream: set.upstream });
  const close = async (): Promise<void> => {
    state.isStopping = true;
    await drain(app.server, connections, set.receiveTimeoutMs + 2 * timeoutMs);
    end();
  };
  return { url, ready: Promise.resolve(), close };
}

/** Sends a request on, and its answer back. @throws HttpError 403, 404, 502, 504 */
async function passOn(
  base: URL,
  request: FastifyRequest,
  reply: FastifyReply,
  timeoutMs: number,
  hasToken: boolean,
): Promise<FastifyReply> {
  const { pathname, search } = new URL(request.url, "http://gateway");
  // A path of dots or encoded slashes could lead out of the protocol's part of the server.
  if (!/^\/v2(\/|$)/.test(pathname) || /%2f|%5c/i.test(pathname)) throw new HttpError(404, "no path of the protocol");
  if (request.method === "POST" && !ANSWERS.test(pathname))
    throw new HttpError(403, "this gateway passes on requests for answers, and none that manages the server behind it");
  const url = base.origin + base.pathname.replace(/\/$/, "") + pathname + search;
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array();
  const headers = passedOn(request.headers);
  // The token is the gateway's own.
  if (hasToken) delete headers.authorization;
  const call = (isFresh: boolean): Promise<IncomingMessage> =>
    ask(url, { method: request.method, headers: { ...headers, "content-length": body.length } }, body, {
      ...{ reply, timeoutMs, isFresh },
    });
  const startMs = clock.now();
  const answer = await call(false).catch((error: unknown) => {
    if (!(error instanceof ClosedEarly)) throw error;
    if (isHarmless(request.method, pathname, headers, body) && clock.now() - startMs < EARLY_MS) return call(true);
    throw unreachable(error.message);
  });
  const { statusCode = 0 } = answer;
  if (statusCode < 200 || statusCode > 599) {
    answer.destroy();
    throw new HttpError(502, `the server behind this gateway answered with the status ${statusCode}, which HTTP lacks`);
  }
  const others = (answer.headers.vary ?? "").split(/[\s,]+/).filter((x) => !/^(origin)?$/i.test(x));
  reply.header("vary", ["origin", ...others].join(", "));
  // Without its length an answer that is cut would look whole to a client of HTTP/1.0, such as an nginx in front.
  const { "content-length": length } = answer.headers;
  if (length !== undefined) reply.header("content-length", length);
  return reply.code(statusCode).headers(passedOn(answer.headers)).send(answer);
}

/** Whether a request changes nothing if it is done twice: no load or unload, and no step of a sequence that a server keeps. */
function isHarmless(method: string, path: string, headers: IncomingHttpHeaders, body: Uint8Array): boolean {
  if (method !== "POST") return true;
  // A compressed body may hold anything, and so may an escaped name.
  const text = Buffer.from(body.buffer, body.byteOffset, body.length);
  const mayStep = headers["content-encoding"] !== undefined || text.includes('"sequence_') || text.includes("\\u");
  return /\/infer$/.test(path) && !mayStep;
}

/** A connection that was kept alive, and that the server closed without an answer. */
class ClosedEarly extends Error {}

/** So long after a request was sent its connection was closed for its age, in ms; later the server may have worked on it. */
const EARLY_MS = 1_000;

function unreachable(why: string): HttpError {
  return new HttpError(502, `the server behind this gateway can't be reached: ${why}`, 1);
}

/** Sends a request; `isFresh`: on a connection of its own. @throws ClosedEarly; HttpError 502, 504 */
function ask(
  url: string,
  options: RequestOptions,
  body: Uint8Array,
  { reply, timeoutMs, isFresh }: { reply: FastifyReply; timeoutMs: number; isFresh: boolean },
): Promise<IncomingMessage> {
  return new Promise<IncomingMessage>((resolve, reject) => {
    const send = url.startsWith("https:") ? requestHttps : requestHttp;
    const call = send(url, isFresh ? { ...options, agent: false } : options, resolve);
    const failed = (why: string): void => {
      reject(unreachable(why));
    };
    const cancel = clock.setTimer(() => {
      reject(new HttpError(504, `the server behind this gateway sent no answer in ${timeoutMs} ms`));
      call.destroy();
    }, timeoutMs);
    call.once("error", (error: NodeJS.ErrnoException) => {
      const isClosed = call.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(error.code ?? "");
      if (isClosed && !reply.raw.destroyed) reject(new ClosedEarly(error.message));
      else failed(error.message);
    });
    call.once("response", cancel).once("close", () => {
      cancel();
      // As after status 101, which is neither an answer nor an error.
      failed("it closed the connection without an answer");
    });
    const leave = (): void => {
      call.destroy();
    };
    if (reply.raw.destroyed) leave();
    reply.raw.once("close", leave);
    call.end(body);
  });
}

/** Returns the headers that are not of one connection: those are the known ones, and those that `Connection` names. */
function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const named = new Set((headers.connection ?? "").toLowerCase().split(/[\s,]+/));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN_HEADERS.test(name) && !named.has(name)));
}
