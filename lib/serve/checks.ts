// Checks before and after each request, of the server for bundles and of the gateway: origin, token, the size of what is
// not answered yet, errors, and the log.
import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ServerClock } from "./executor.ts";
import { errorBody, HttpError } from "./http-error.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Origins } from "./origins.ts";
import { PendingBytes, readBody } from "./request-body.ts";
import type { ServedModel } from "./served-models.ts";
import { WaitingAnswers } from "./waiting-answers.ts";

/** Characters of an error that a client reads: it may quote the request, which may be large. */
const MESSAGE_MAX = 500;

/** Collaborators and bounds of the checks around each request. */
export interface CheckContext {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly metrics: Metrics;
  readonly state: { readonly isStopping: boolean };
  readonly clock: ServerClock;
  readonly origins: Origins;
  readonly token: string | undefined;
  readonly maxBodyBytes: number;
  readonly maxPendingBytes: number;
  readonly timeoutMs: number;
  readonly log: Log;
  /** Whether bodies are for another server, which decompresses them. */
  readonly isPassedOn?: boolean;
  /** Facts of a request's run. */
  readonly runs: WeakMap<FastifyRequest, RunFacts>;
}

/** Facts of a request's run, for its line in the log; `model` where the path does not name it. */
export type RunFacts = Readonly<Partial<Record<"together" | "queuedMs" | "ranMs", number>>> & {
  readonly model?: string;
};

/** Adds what precedes and follows each request: CORS, token, limits, errors, log. Returns the count of its bytes. */
export function addChecks(app: FastifyInstance, context: CheckContext): PendingBytes {
  const { origins, token, maxPendingBytes, maxBodyBytes, log, isPassedOn } = context;
  const pending = new PendingBytes(maxPendingBytes);
  const waiting = new WaitingAnswers();
  app.removeAllContentTypeParsers();
  // The protocol's clients send other content types than they should, or none.
  app.addContentTypeParser("*", (request: FastifyRequest) => readBody(request, maxBodyBytes, pending, isPassedOn));
  app.addHook("onRequest", async (request, reply) => {
    waiting.track(request.raw, reply.raw);
    record(request, reply, context);
    pending.track(request, reply);
    origins.check(request, reply);
    if (request.method === "OPTIONS") return reply.code(204).send();
    if (token !== undefined && !isHealth(request) && !hasToken(request, token)) {
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
      .send(errorBody(request.url, 404, `${request.method} ${quoted(request.url)} is not a part of this server`)),
  );
  app.setErrorHandler((error: Error & { readonly statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status === 500) log("error", error.message, { path: request.url.slice(0, 200), stack: error.stack });
    const { retryAfterS = null } = error instanceof HttpError ? error : {};
    if (retryAfterS !== null) reply.header("retry-after", String(retryAfterS));
    return reply.code(status).send(errorBody(request.url, status, error.message.slice(0, MESSAGE_MAX)));
  });
  return pending;
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
    const { model = runs.get(request)?.model ?? "" } = (params ?? {}) as { readonly model?: string };
    if (method === "POST") metrics.request(models.has(model) ? model : "", status, ms);
    const path = url.split("?")[0]?.slice(0, 200);
    log("info", "request", { method, path, status, ms: rounded(ms), ...runs.get(request) });
  });
}

/** Rounds a time for the log. */
export function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/**
 * Whether a request asks for the server's health, which needs no token. The whole path: the gateway resolves ".." in it,
 * so that a path that only begins like this may lead to a model.
 */
function isHealth({ method, url }: FastifyRequest): boolean {
  return method !== "POST" && /^\/v2\/health\/(live|ready)(\?|$)/.test(url);
}

/** Compares in a time that does not depend on the token. A scheme's name has no case (RFC 9110, 11.1). */
function hasToken({ headers }: FastifyRequest, token: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  const [, sent] = /^bearer +(.*)$/i.exec(headers.authorization ?? "") ?? [];
  return sent !== undefined && timingSafeEqual(hash(sent), hash(token));
}

/** Returns a part of a request as a message quotes it. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
