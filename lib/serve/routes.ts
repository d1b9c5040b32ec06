// Routes of the server. Names of models are looked up in a map; no part of an address becomes a path.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isSelvedgeError } from "../core/errors.ts";
import { RELEASE } from "../core/version.ts";
import { addChecks, quoted, rounded } from "./checks.ts";
import type { CheckContext } from "./checks.ts";
import { addEmbeddings } from "./embeddings.ts";
import { RunError } from "./executor.ts";
import type { ServeExecutor } from "./executor.ts";
import { HttpError } from "./http-error.ts";
import type { ServeTensors } from "./lane.ts";
import { HEADER_LENGTH } from "./origins.ts";
import { decodeCall, encodeReply } from "./protocol.ts";
import type { InferCall } from "./protocol.ts";
import type { PendingBytes } from "./request-body.ts";
import type { ServedModel } from "./served-models.ts";

/** The server as its routes use it. */
export interface RouteContext extends CheckContext {
  readonly executor: ServeExecutor;
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
  const pending = addChecks(app, context);
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
    app.post(`${path}/infer`, (request, reply) => infer(context, pending, found(request), request, reply));
  }
  const { maxRows } = context;
  addEmbeddings(app, {
    models,
    maxRows,
    pending,
    noteModel: (request, { name }) => {
      context.runs.set(request, { model: name });
    },
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

async function infer(
  context: RouteContext,
  pending: PendingBytes,
  model: ServedModel,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  checkServing(context);
  const call = decode(model, request, context.maxRows);
  const outputs = await answer(context, model, request, reply, (run) => run(call.feeds));
  pending.check(0);
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
  work: (run: (feeds: ServeTensors) => Promise<ServeTensors>) => Promise<T>,
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
      runs.set(request, { ...runs.get(request), together, queuedMs: rounded(queuedMs), ranMs: rounded(ranMs) });
      return outputs;
    });
  } catch (error) {
    // Its other runs would be for nothing.
    stop.abort(error);
    throw httpErrorOf(error, () => Math.ceil(executor.waitMs() / 1_000));
  } finally {
    cancel();
    // Each reply closes: an abort then, with its error and stack, would be for nothing.
    reply.raw.off("close", leave);
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
