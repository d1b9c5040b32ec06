// An inference request: checked, encoded as the server takes it, its reply checked. Which encoding a server takes is
// found by trying, since KServe has the binary extension and does not list it: the first request is sent as bytes, and
// again in JSON where the server refuses it.
import { show } from "../core/check-inputs.ts";
import type { Tensor } from "../core/tensor.ts";
import type { CallAnswer, Call } from "./call.ts";
import type { NetworkEffects } from "../effects/network.ts";
import { decodeReply } from "./decode.ts";
import { encodeRequest } from "./encode.ts";
import type { EncodedRequest, InferRequest } from "./encode.ts";
import type { Endpoint, RequestForm } from "./endpoints.ts";
import type { HttpRequest } from "./exchange.ts";
import { FailedAttempt } from "./failure.ts";
export { readModelMetadata } from "./metadata.ts";
import { checkInputs, checkOutputNames, checkReply } from "./metadata.ts";
import type { ModelMetadata } from "./metadata.ts";

/** Options of `infer`. */
export interface InferOptions {
  /** Names of the outputs to return. Default: all. */
  readonly outputs?: readonly string[] | undefined;
  /** Id of the request in the server's log, printable ASCII. Default: a random one. */
  readonly id?: string | undefined;
  /** Cancels the call, which rejects with the signal's reason; the server may go on. */
  readonly signal?: AbortSignal | undefined;
  /** Time for all attempts, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number | undefined;
}

/** Facts of an answer. */
export interface InferInfo {
  /** Base address of the server that answered. */
  readonly endpoint: string;
  /** Requests that were sent for it. */
  readonly attempts: number;
  /** Version of the model that answered; null where the server states none. */
  readonly modelVersion: string | null;
  /** Whether the answer came as bytes. */
  readonly isBinary: boolean;
  /** Time of the call, in milliseconds. */
  readonly ms: number;
}

/** An answer. */
export interface InferResult {
  /** Output tensors by name, the caller's own. BF16 is returned as float32. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Facts of the answer. */
  readonly info: InferInfo;
}

/** A model, and what its requests need. */
export interface InferContext {
  readonly effects: Pick<NetworkEffects, "now" | "random">;
  readonly model: ModelMetadata;
  /** Path of the model, without a slash at its end. */
  readonly path: string;
  /** Version that was asked for. */
  readonly version: string | undefined;
  /** Whether tensors are sent as bytes; null to find out. */
  readonly isBinary: boolean | null;
  readonly gzip: boolean;
  headers(endpoint: Endpoint): Promise<Headers>;
  /** Calls a server, as call.ts does. */
  call<T>(own: Call<T>): Promise<CallAnswer<T>>;
}

/** A model on servers. */
export class RemoteModel {
  /** The model as the server declares it. */
  readonly metadata: ModelMetadata;
  readonly #context: InferContext;

  /** @internal */
  constructor(context: InferContext) {
    this.metadata = context.model;
    this.#context = context;
  }

  /**
   * Runs the model on a server.
   * @throws TypeError, RangeError for inputs that the model does not take, before anything is sent; SelvedgeError
   * `remote-failed`, `closed`; the signal's reason
   */
  async infer(inputs: Readonly<Record<string, Tensor>>, options: InferOptions = {}): Promise<InferResult> {
    return infer(this.#context, inputs, options);
  }
}

async function infer(
  context: InferContext,
  feeds: Readonly<Record<string, Tensor>>,
  { outputs, id, signal, timeoutMs }: InferOptions,
): Promise<InferResult> {
  const { effects, model, version } = context;
  const start = effects.now();
  if (id !== undefined && !/^[ -~]{1,128}$/.test(id))
    throw new TypeError(`id: expected 1 to 128 characters of printable ASCII, got ${show(id)}`);
  checkOutputNames(model, outputs);
  const inputs = checkInputs(model, feeds);
  const request = { id: id ?? effects.random().toString(36).slice(2).padEnd(1, "0"), inputs, outputs };
  const encode = formsOf(request);
  // JSON lacks BF16.
  const isJsonable = [...inputs, ...model.outputs].every((x) => x.datatype !== "BF16");
  /** Status with which servers refused this request's bytes. */
  const refused = new Map<Endpoint, number>();
  /** Whether this request was sent to a server as bytes, at last. */
  const wasBytes = new Map<Endpoint, boolean>();
  const { value, endpoint, attempts } = await context.call({
    signal,
    timeoutMs,
    async request(to) {
      const asBytes = knownForm(context, to).isBinary ?? !refused.has(to);
      wasBytes.set(to, asBytes);
      return requestOf(context, to, await encode(asBytes));
    },
    async read({ headers, bytes }, from) {
      const reply = await decodeReply(bytes, headers.get(LENGTH));
      const found = checkReply(reply, model, { version, outputs });
      learn(knownForm(context, from), wasBytes.get(from) === true, refused.get(from));
      return { outputs: found, modelVersion: reply.modelVersion, isBinary: reply.isBinary };
    },
    adapts({ status }, to) {
      // Requests of other calls may have found the form while this one was under way.
      const isOpen = context.isBinary === null && knownForm(context, to).isBinary !== true && isJsonable;
      if (!isOpen || wasBytes.get(to) !== true || status === null || !REFUSALS.includes(status)) return false;
      refused.set(to, status);
      return true;
    },
  });
  const { modelVersion, isBinary } = value;
  const info = { endpoint: endpoint.url, attempts, modelVersion, isBinary, ms: effects.now() - start };
  return { outputs: value.outputs, info };
}

/** Statuses with which servers refuse bytes. MLServer answers 500, as others do for a fault of the moment. */
const REFUSALS = [400, 415, 422, 500];

/** Answers in JSON after a status 500 to bytes from which on bytes are not tried any more. */
const GUESSES = 3;

/** Returns the form that the model takes on a server, as far as it is known. */
function knownForm({ path, isBinary }: InferContext, { forms }: Endpoint): RequestForm {
  const form = forms.get(path) ?? { isBinary, guesses: 0 };
  forms.set(path, form);
  return form;
}

/** Learns from an answer to a request that was sent as bytes, or in JSON after bytes were refused with a status. */
function learn(form: RequestForm, wasBytes: boolean, refusal: number | undefined): void {
  if (wasBytes) form.isBinary = true;
  if (form.isBinary !== null || refusal === undefined) return;
  form.guesses += 1;
  if (refusal !== 500 || form.guesses >= GUESSES) form.isBinary = false;
}

const LENGTH = "inference-header-content-length";

/** Returns a function that encodes a request as bytes or in JSON, each once. */
function formsOf(request: InferRequest): (asBytes: boolean) => Promise<EncodedRequest> {
  let bytes: EncodedRequest | null = null;
  let text: EncodedRequest | null = null;
  return async (asBytes) => {
    if (asBytes) return (bytes ??= encodeRequest(request, null));
    if (request.inputs.some((x) => x.datatype === "BF16")) {
      const text = "BF16 tensors need the binary extension, which the server lacks";
      throw new FailedAttempt(text, { reason: "no-binary" });
    }
    const json = await import("./json-tensors.ts");
    return (text ??= encodeRequest(request, json));
  };
}

async function requestOf(
  context: InferContext,
  endpoint: Endpoint,
  { body, headerLength }: EncodedRequest,
): Promise<HttpRequest> {
  const headers = await context.headers(endpoint);
  // KServe refuses JSON without a type.
  headers.set("content-type", headerLength === null ? "application/json" : "application/octet-stream");
  if (headerLength !== null) headers.set(LENGTH, String(headerLength));
  const url = `${endpoint.url}${context.path}/infer`;
  if (!context.gzip) return { method: "POST", url, headers, body };
  headers.set("content-encoding", "gzip");
  return { method: "POST", url, headers, body: await gzip(body) };
}

/** Compresses bytes with gzip. */
async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
