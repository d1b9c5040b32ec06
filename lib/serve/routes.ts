// Routes of the server, and the checks before them: origin, token, and the size of what is not answered yet. Names of
// models are looked up in a map; no part of an address becomes a path.
import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isSelvedgeError } from "../core/errors.ts";
import { RELEASE } from "../core/version.ts";
import { RunError } from "./executor.ts";
import type { Executor, ServerClock } from "./executor.ts";
import { addEmbeddings, openAiError } from "./embeddings.ts";
import { HttpError } from "./http-error.ts";
import type { Tensors } from "./lane.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { decodeCall, encodeReply } from "./protocol.ts";
import type { InferCall } from "./protocol.ts";
import { PendingBytes, readBody } from "./request-body.ts";
import type { ServedModel } from "./served-models.ts";

const HEADER_LENGTH = "inference-header-content-length";
const CORS_MAX_AGE_S = "7200";
/** Characters of an error that a client reads: it may quote the request, which may be large. */
const MESSAGE_MAX = 500;

/** Collaborators and bounds of the checks around each request. */
interface CheckContext {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly metrics: Metrics;
  readonly state: { readonly isStopping: boolean };
  readonly clock: ServerClock;
  readonly origins: readonly string[];
  readonly token: string | undefined;
  readonly maxBodyBytes: number;
  readonly maxPendingBytes: number;
  readonly timeoutMs: number;
  readonly log: Log;
  /** Whether bodies are for another server, which decompresses them. */
  readonly isPassedOn?: boolean;
  /** Facts of a request's run, for its line in the log. */
  readonly runs: WeakMap<FastifyRequest, object>;
}

/** The server as its routes use it. */
export interface RouteContext extends CheckContext {
  readonly executor: Executor;
  /** `isServing`: requests can run; `isReady`: and new ones are welcome. */
  readonly state: { readonly isServing: boolean; readonly isReady: boolean; readonly isStopping: boolean };
  readonly maxRows: number;
}

interface Params {
  readonly model: string;
  readonly version?: string;
}

/** Adds all routes. */
export function addRoutes(app: FastifyInstance, context: RouteContext): void {
  addChecks(app, context);
  const { models, executor, metrics, state } = context;
  const found = (request: FastifyRequest): ServedModel => modelOf(models, request.params as Params);
  const readiness = (reply: FastifyReply): FastifyReply =>
    reply.code(state.isReady ? 200 : 503).send({ ready: state.isReady });
  app.get("/v2", () => ({ name: "selvedge", version: RELEASE.split(" ")[0], extensions: ["binary_tensor_data"] }));
  app.get("/v2/health/live", () => ({ live: true }));
  app.get("/v2/health/ready", (_, reply) => readiness(reply));
  app.get("/v2/models", () => ({ models: [...models.keys()] }));
  app.get("/metrics", (_, reply) =>
    reply
      .type("text/plain; version=0.0.4; charset=utf-8")
      .send(metrics.text({ queued: executor.queued, pending: executor.pending, isReady: state.isReady })),
  );
  for (const path of ["/v2/models/:model", "/v2/models/:model/versions/:version"]) {
    app.get(path, (request) => found(request).metadata);
    app.get(`${path}/ready`, (request, reply) => {
      found(request);
      return readiness(reply);
    });
    app.post(`${path}/infer`, (request, reply) => infer(context, found(request), request, reply));
  }
  const { maxRows } = context;
  addEmbeddings(app, {
    models,
    maxRows,
    answer: (model, request, reply, work) => answer(context, model, request, reply, work),
  });
}

function modelOf(models: ReadonlyMap<string, ServedModel>, { model, version }: Params): ServedModel {
  const found = models.get(model);
  if (found === undefined) throw new HttpError(404, `model ${quoted(model)} is not served`);
  if (version !== undefined && version !== found.version)
    throw new HttpError(404, `model ${quoted(model)} has no version ${quoted(version)}, only ${quoted(found.version)}`);
  return found;
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

async function infer(
  context: RouteContext,
  model: ServedModel,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkServing(context);
  const call = decode(model, request, context.maxRows);
  const outputs = await answer(context, model, request, reply, (run) => run(call.feeds));
  const { body, headerLength } = encodeReply(model, call, outputs);
  if (headerLength === null) return reply.type("application/json").send(body);
  return reply.type("application/octet-stream").header(HEADER_LENGTH, headerLength).send(body);
}

function checkServing({ state }: RouteContext): void {
  if (!state.isServing) throw new HttpError(503, "the server is loading its models", 1);
}

/** Calls back with a function that runs feeds until the request's time ends or its client leaves. */
async function answer<T>(
  context: RouteContext,
  model: ServedModel,
  request: FastifyRequest,
  reply: FastifyReply,
  work: (run: (feeds: Tensors) => Promise<Tensors>) => Promise<T>,
): Promise<T> {
  const { executor, clock, timeoutMs, runs } = context;
  checkServing(context);
  const stop = new AbortController();
  const leave = (): void => {
    stop.abort(new HttpError(499, "the client left"));
  };
  if (reply.raw.destroyed) leave();
  reply.raw.once("close", leave);
  const cancel = clock.setTimer(() => {
    stop.abort(new HttpError(503, `no answer in ${timeoutMs} ms`, 1));
  }, timeoutMs);
  try {
    return await work(async (feeds) => {
      const { outputs, together, queuedMs, ranMs } = await executor.run(model, feeds, stop.signal);
      runs.set(request, { together, queuedMs: rounded(queuedMs), ranMs: rounded(ranMs) });
      return outputs;
    });
  } catch (error) {
    throw httpErrorOf(error, () => Math.ceil(executor.waitMs(model) / 1_000));
  } finally {
    cancel();
  }
}

function decode(model: ServedModel, { headers, body }: FastifyRequest, maxRows: number): InferCall {
  const length = headers[HEADER_LENGTH];
  const bytes = plain(body instanceof Uint8Array ? body : new Uint8Array());
  try {
    return decodeCall(model, bytes, Array.isArray(length) ? length[0] : length, maxRows);
  } catch (error) {
    throw new HttpError(400, error instanceof Error ? error.message : String(error));
  }
}

/** Returns bytes as an array whose `slice` copies; a Buffer's does not. */
function plain({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

function httpErrorOf(error: unknown, waitS: () => number): unknown {
  if (error instanceof RunError) return new HttpError(400, `the model does not run on these inputs: ${error.message}`);
  if (!isSelvedgeError(error)) return error;
  if (error.code === "overloaded") return new HttpError(429, error.message, Math.min(30, Math.max(1, waitS())));
  return new HttpError(error.code === "worker-crashed" ? 503 : 500, error.message, 1);
}

/** Adds what precedes and follows each request: CORS, token, limits, errors, log. */
export function addChecks(app: FastifyInstance, context: CheckContext): void {
  const { origins, token, maxPendingBytes, maxBodyBytes, log, isPassedOn } = context;
  const pending = new PendingBytes(maxPendingBytes);
  app.removeAllContentTypeParsers();
  // The protocol's clients send other content types than they should, or none.
  app.addContentTypeParser("*", (request: FastifyRequest) => readBody(request, maxBodyBytes, pending, isPassedOn));
  app.addHook("onRequest", async (request, reply) => {
    record(request, reply, context);
    pending.track(request, reply);
    checkOrigin(request, reply, origins);
    if (request.method === "OPTIONS") return reply.code(204).send();
    if (token !== undefined && !request.url.startsWith("/v2/health/") && !hasToken(request, token)) {
      reply.header("www-authenticate", "Bearer");
      throw new HttpError(401, "expected the header Authorization: Bearer with the server's token");
    }
    if (request.method !== "POST") return undefined;
    const length = Number(request.headers["content-length"] ?? 0);
    if (!(length <= maxBodyBytes)) throw new HttpError(413, `the body is larger than ${maxBodyBytes} bytes`);
    pending.check(length);
    return undefined;
  });
  addAnswerLimits(app, context, pending);
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send(errorOf(request, 404, `${request.method} ${quoted(request.url)} is not a part of this server`)),
  );
  app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status === 500) log("error", error.message, { path: request.url.slice(0, 200), stack: error.stack });
    const { retryAfterS = null } = error instanceof HttpError ? error : {};
    if (retryAfterS !== null) reply.header("retry-after", String(retryAfterS));
    return reply.code(status).send(errorOf(request, status, error.message.slice(0, MESSAGE_MAX)));
  });
}

/** Returns the body of an error in the shape of the protocol that a path is of. */
function errorOf({ url }: FastifyRequest, status: number, message: string): object {
  return url.startsWith("/v1/") ? openAiError(status, message) : { error: message };
}

/** Counts the bytes of answers, and closes the connection of a client that does not read its answer in time. */
function addAnswerLimits(app: FastifyInstance, context: CheckContext, pending: PendingBytes): void {
  const { state, clock, timeoutMs } = context;
  app.addHook("onSend", async (request, reply, payload) => {
    // A client that is to reconnect does so elsewhere.
    if (state.isStopping) reply.header("connection", "close");
    if (!pending.add(request, payload instanceof Uint8Array ? payload.length : 0)) return payload;
    const cancel = clock.setTimer(() => {
      reply.code(499).raw.destroy();
    }, timeoutMs);
    reply.raw.once("close", cancel);
    return payload;
  });
}

/** Counts and logs a request once its reply was sent, or its client left. */
function record(
  request: FastifyRequest,
  reply: FastifyReply,
  { clock, metrics, models, runs, log }: CheckContext,
): void {
  const startMs = clock.now();
  reply.raw.once("close", () => {
    const { method, params, url } = request;
    const status = reply.raw.writableFinished ? reply.statusCode : 499;
    const ms = clock.now() - startMs;
    const { model = "" } = (params ?? {}) as Partial<Params>;
    if (method === "POST") metrics.request(models.has(model) ? model : "", status, ms);
    const path = url.split("?")[0]?.slice(0, 200);
    log("info", "request", { method, path, status, ms: rounded(ms), ...runs.get(request) });
  });
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/**
 * Allows a listed origin, and refuses others. Without Access-Control-Allow-Origin a page can't read an answer, but it can
 * still send a POST of text/plain. The server has no pages, so no origin is its own.
 */
function checkOrigin({ headers }: FastifyRequest, reply: FastifyReply, origins: readonly string[]): void {
  const { origin } = headers;
  if (origin === undefined) return;
  reply.header("vary", "origin");
  if (!origins.includes(origin) && !origins.includes("*"))
    throw new HttpError(403, `pages of ${quoted(origin)} may not use this server: list the origin with --origin`);
  reply.headers({
    "access-control-allow-origin": origins.includes("*") ? "*" : origin,
    "access-control-expose-headers": `${HEADER_LENGTH}, retry-after, date`,
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": `authorization, content-type, content-encoding, ${HEADER_LENGTH}`,
    "access-control-max-age": CORS_MAX_AGE_S,
  });
}

/** Compares in a time that does not depend on the token. */
function hasToken({ headers }: FastifyRequest, token: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(headers.authorization ?? ""), hash(`Bearer ${token}`));
}
