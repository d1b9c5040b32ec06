// `/v1/embeddings` in the shape of OpenAI's API, for bundles that turn texts into vectors: clients that speak it need no
// tokenizer. The reply states the bundle's identity and variant beside it, so that vectors of two models never mix.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { HttpError } from "./http-error.ts";
import { readJson } from "./read-json.ts";
import type { ServeTensors } from "./lane.ts";
import type { PendingBytes } from "./request-body.ts";
import type { ServedModel } from "./served-models.ts";

/** The server as these routes use it. */
export interface EmbeddingsContext {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly maxRows: number;
  readonly pending: PendingBytes;
  /** Records the model of a request, for its line in the log and its metrics. */
  noteModel(request: FastifyRequest, model: ServedModel): void;
  /** Calls back with a function that runs feeds until the request's time ends or its client leaves. */
  answer<T>(
    model: ServedModel,
    request: FastifyRequest,
    reply: FastifyReply,
    work: (run: (feeds: ServeTensors) => Promise<ServeTensors>) => Promise<T>,
  ): Promise<T>;
}

/**
 * Maximum number of characters of a text, of which the tokenizer reads as many as the model's longest length needs: at
 * worst all. That takes 0.1 s, and 2 s where it is one word of a BPE tokenizer; the server answers nothing else meanwhile.
 */
const TEXT_MAX = 65_536;
/** Maximum number of characters of a request's texts together. */
const REQUEST_MAX = 1_048_576;
/** Maximum size of a request, in bytes: its characters, each escaped. */
const JSON_MAX = 8 * 2 ** 20;
/** Vectors that are written before other requests have their turn. */
const WRITTEN_AT_ONCE = 32;

/** A request, checked. */
interface EmbeddingsCall {
  readonly model: ServedModel;
  readonly texts: readonly string[];
  readonly isBase64: boolean;
  /** Numbers of a vector that are kept; undefined for all. */
  readonly dims: number | undefined;
}

/** Adds `/v1/embeddings` and `/v1/models`. */
export function addEmbeddings(app: FastifyInstance, context: EmbeddingsContext): void {
  const { models } = context;
  app.get("/v1/models", () => ({ object: "list", data: [...models.values()].map(described) }));
  app.get("/v1/models/:model", (request) => described(modelOf(models, (request.params as { model: string }).model)));
  app.post("/v1/embeddings", async (request, reply) => {
    const { model, texts, isBase64, dims } = readCall(request, context);
    const { embedder } = model;
    if (embedder === null)
      throw new HttpError(400, `model "${model.name}" makes no vectors of texts: its bundle declares no pooling`);
    const { vectors, tokens } = await context.answer(model, request, reply, (run) => embedder(texts, run));
    const data: string[] = [];
    for (const [index, vector] of vectors.entries()) {
      if (index % WRITTEN_AT_ONCE === WRITTEN_AT_ONCE - 1) await nextTurn();
      const own = shortened(vector, dims);
      const embedding = isBase64 ? toBase64(own) : Array.from(own);
      data.push(JSON.stringify({ object: "embedding", index, embedding }));
    }
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    const rest = JSON.stringify({ model: model.name, usage, parameters: parametersOf(model) });
    context.pending.check(0);
    return reply
      .type("application/json")
      .send(Buffer.from(`{"object":"list","data":[${data.join()}],${rest.slice(1)}`));
  });
}

function described(model: ServedModel): object {
  const { name } = model;
  return { id: name, object: "model", created: 0, owned_by: "selvedge", parameters: parametersOf(model) };
}

function parametersOf({ identity, variant }: ServedModel): object {
  return { identity, variant };
}

function modelOf(models: ReadonlyMap<string, ServedModel>, name: unknown): ServedModel {
  const found = typeof name === "string" ? models.get(name) : undefined;
  if (found === undefined) throw new HttpError(404, `model ${JSON.stringify(name)?.slice(0, 100)} is not served`);
  return found;
}

function readCall(request: FastifyRequest, { models, maxRows, noteModel }: EmbeddingsContext): EmbeddingsCall {
  const fields = fieldsOf(request.body);
  const { input, model: name, encoding_format: encoding, dimensions } = fields;
  if (typeof name !== "string") throw new HttpError(400, "model: expected the name of a model");
  const model = modelOf(models, name);
  noteModel(request, model);
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  if (texts.length === 0 || !texts.every((x) => typeof x === "string"))
    throw new HttpError(400, "input: expected a text or a list of texts; tokens are not taken");
  if (texts.length > maxRows) throw new HttpError(400, `input: ${texts.length} texts, at most ${maxRows}`);
  checkLengths(texts);
  // As in OpenAI's API, null is the default of what may be left out.
  const format = encoding ?? "float";
  if (format !== "float" && format !== "base64")
    throw new HttpError(400, 'encoding_format: expected "float" or "base64"');
  const dims = dimensions ?? undefined;
  if (dims !== undefined && !(Number.isSafeInteger(dims) && (dims as number) > 0))
    throw new HttpError(400, "dimensions: expected a whole number from 1");
  return { model, texts, isBase64: format === "base64", dims: dims as number | undefined };
}

function fieldsOf(body: unknown): Readonly<Record<string, unknown>> {
  const bytes = body instanceof Uint8Array ? body : new Uint8Array();
  if (bytes.length > JSON_MAX)
    throw new HttpError(413, `the request has ${bytes.length} bytes of JSON, at most ${JSON_MAX}`);
  try {
    return readJson(bytes);
  } catch (error) {
    throw new HttpError(400, error instanceof Error ? error.message : String(error));
  }
}

function checkLengths(texts: readonly string[]): void {
  let sum = 0;
  for (const [i, { length }] of texts.entries()) {
    if (length > TEXT_MAX)
      throw new HttpError(400, `input: text ${i} has ${length} characters, at most ${TEXT_MAX}: split it`);
    sum += length;
  }
  if (sum > REQUEST_MAX)
    throw new HttpError(413, `input: ${sum} characters in all texts, at most ${REQUEST_MAX}: send several requests`);
}

/** Keeps the first numbers and scales them to length 1. */
function shortened(vector: Float32Array, dims: number | undefined): Float32Array {
  if (dims === undefined || dims === vector.length) return vector;
  if (dims > vector.length) throw new HttpError(400, `dimensions: the model's vectors have ${vector.length} numbers`);
  const part = vector.slice(0, dims);
  const length = Math.hypot(...part);
  return length === 0 ? part : part.map((x) => x / length);
}

/** The bytes of little-endian float32 numbers. */
function toBase64(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}
