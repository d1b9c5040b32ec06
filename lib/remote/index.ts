// `selvedge/remote`: a client of servers that speak the Open Inference Protocol, version 2, over HTTP: NVIDIA Triton,
// KServe, MLServer. Loaded by those who import it, and runs in browsers, workers and Node. Sends nothing before a call.
import { show } from "../core/check-inputs.ts";
import { networkEffects } from "../effects/network.ts";
import type { NetworkEffects } from "../effects/network.ts";
import { call, checkTime, closedError, RetryBudget } from "./call.ts";
import type { CallContext } from "./call.ts";
import { Endpoints } from "./endpoints.ts";
import type { Endpoint } from "./endpoints.ts";
import type { EmbeddingsOptions } from "./embeddings-options.ts";
import type { RemoteEmbeddings } from "./embeddings.ts";
import type { HttpRequest } from "./exchange.ts";
import type { EndpointHealth, ServerMetadata } from "./server-state.ts";
import type { InferContext, RemoteModel } from "./infer.ts";
import type { ModelMetadata } from "./metadata.ts";
import { decodeText, parse } from "./plain-json.ts";

export { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
export type { ErrorCode, ErrorDetails } from "../core/errors.ts";
export type { Dtype, DtypeArrays, Tensor, TensorOf } from "../core/tensor.ts";
export type { Exchanged, NetworkEffects } from "../effects/network.ts";
export type { Datatype } from "./datatypes.ts";
export type { EmbedCallOptions, EmbeddingsInfo, EmbeddingsResult, RemoteEmbeddings } from "./embeddings.ts";
export type { EmbeddingsOptions } from "./embeddings-options.ts";
export type { EndpointHealth, ServerMetadata } from "./server-state.ts";
export type { InferInfo, InferOptions, InferResult, RemoteModel } from "./infer.ts";
export type { ModelMetadata, RemotePort } from "./metadata.ts";

/** Options of `connectRemote`. */
export interface RemoteOptions {
  /** Base addresses of servers with the same models, such as `https://infer.example`; relative ones where there is a page. */
  readonly endpoints: readonly string[];
  /** Returns headers for a request, such as Authorization; called before each attempt. Default: none. */
  readonly headers?: ((endpoint: string) => HeadersInit | Promise<HeadersInit>) | undefined;
  /** Whether tensors are sent as bytes. Default: "auto", unless the server refuses the first request. */
  readonly binary?: "auto" | "always" | "never" | undefined;
  /** Compresses requests with gzip, which KServe refuses. Default: false. */
  readonly gzip?: boolean | undefined;
  /** Time for a call with all its attempts, in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Time for one attempt, in milliseconds. Default: 15,000. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Attempts of a call, the first one included. Default: 8. */
  readonly attempts?: number | undefined;
  /** Retries a second that all calls of this client share, those that are answered not counted. Default: 10. */
  readonly retriesPerSecond?: number | undefined;
  /** Largest reply that is read, in bytes. Default: 256 MiB. */
  readonly maxReplyBytes?: number | undefined;
  /** Replaces network and clock, for tests. Default: the browser's or Node's. */
  readonly effects?: NetworkEffects | undefined;
}

/** Defaults of RemoteOptions. */
const DEFAULTS = {
  binary: "auto",
  gzip: false,
  timeoutMs: 30_000,
  attemptTimeoutMs: 15_000,
  attempts: 8,
  retriesPerSecond: 10,
  maxReplyBytes: 256 * 1024 * 1024,
} as const;

/** Options of a call that reads metadata. */
export interface CallOptions {
  /** Cancels the call, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Time for all attempts, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Creates a client of servers; sends nothing yet.
 * @throws TypeError, RangeError for a wrong option
 * @example
 * const remote = connectRemote({ endpoints: ["https://infer.example"] });
 * const model = await remote.model("fashion-mlp");
 * const { outputs } = await model.infer({ image: { dtype: "float32", dims: [1, 1, 28, 28], data } });
 */
export function connectRemote(options: RemoteOptions): RemoteClient {
  const effects = options.effects ?? networkEffects();
  return new RemoteClient(options, effects);
}

/** Options of `connectEmbeddings`. */
export interface EmbeddingsClientOptions extends Omit<RemoteOptions, "binary" | "gzip">, EmbeddingsOptions {
  /** Name of the model on the servers. */
  readonly model: string;
}

/**
 * Connects to a model behind `/v1/embeddings`, in the shape of OpenAI's API; each server is checked before its vectors are
 * used. Resolves once a server with the right model has answered.
 * @throws TypeError, RangeError for a wrong option, before anything is sent; SelvedgeError `remote-failed` (`other-model`
 * where no server is known to have the right model); as `headers` does
 * @example
 * const { identity, variant } = model; // of engine.load
 * const texts = await connectEmbeddings({ endpoints: ["https://infer.example"], model: "minilm", expect: { identity, variant } });
 * const { vectors } = await texts.embed(["a cat", "two dogs"]);
 */
export async function connectEmbeddings(options: EmbeddingsClientOptions): Promise<RemoteEmbeddings> {
  const stop = new AbortController();
  const { context, headers } = partsOf(options, options.effects ?? networkEffects(), stop.signal);
  const { openEmbeddings } = await import("./embeddings.ts");
  const close = (): void => {
    stop.abort(closedError());
  };
  try {
    return await openEmbeddings(context, headers, options.model, options, close);
  } catch (error) {
    // Ends checks that are under way.
    close();
    throw error;
  }
}

/** A client of one or more servers with the same models. */
export class RemoteClient {
  readonly #context: CallContext;
  readonly #infer: Omit<InferContext, "model" | "path" | "version">;
  readonly #closed = new AbortController();

  /** @internal */
  constructor(options: RemoteOptions, effects: NetworkEffects) {
    const { context, ...infer } = partsOf(options, effects, this.#closed.signal);
    this.#context = context;
    this.#infer = infer;
  }

  /** Reads a server's metadata. @throws SelvedgeError `remote-failed`, `closed` */
  async metadata(options: CallOptions = {}): Promise<ServerMetadata> {
    const { readServerMetadata } = await import("./server-state.ts");
    return this.#read("/v2", readServerMetadata, options);
  }

  /** Asks each server, once, whether it is live and whether it, or a model, is ready. Rejects when aborted, closed, or as `headers` does. */
  async health(model?: string, options: CallOptions = {}): Promise<EndpointHealth[]> {
    const { askHealth } = await import("./server-state.ts");
    const ready = model === undefined ? "/v2/health/ready" : `${pathOf(model)}/ready`;
    return askHealth(this.#context, ready, options, (endpoint, path) => this.#get(endpoint, path));
  }

  /**
   * Reads a model's metadata, by which its requests are checked before they are sent.
   * @throws SelvedgeError `remote-failed`, `closed`; TypeError for a name or version that no path can have
   */
  async model(
    name: string,
    options: CallOptions & { readonly version?: string | undefined } = {},
  ): Promise<RemoteModel> {
    const path = pathOf(name, options.version);
    // Fetched while the server answers.
    const loading = import("./infer.ts");
    const read = async (value: unknown): Promise<ModelMetadata> => (await loading).readModelMetadata(value);
    const [{ RemoteModel }, found] = await Promise.all([loading, this.#read(path, read, options)]);
    return new RemoteModel({ ...this.#infer, model: { ...found, name }, path, version: options.version });
  }

  /** Rejects pending calls with `closed` and cancels their requests. */
  close(): void {
    this.#closed.abort(closedError());
  }

  async #get(endpoint: Endpoint, path: string): Promise<HttpRequest> {
    return { method: "GET", url: endpoint.url + path, headers: await this.#infer.headers(endpoint) };
  }

  async #read<T>(
    path: string,
    read: (value: unknown) => T | Promise<T>,
    { signal, timeoutMs }: CallOptions,
  ): Promise<T> {
    const { value } = await call(this.#context, {
      signal,
      timeoutMs,
      request: (endpoint) => this.#get(endpoint, path),
      read: ({ bytes }) => read(parse(decodeText(bytes, "the reply"))),
    });
    return value;
  }
}

/** Parts of a client. */
type Parts = Omit<InferContext, "model" | "path" | "version"> & { readonly context: CallContext };

/** Makes the parts of a client. @throws TypeError, RangeError for a wrong option */
function partsOf(options: RemoteOptions, effects: NetworkEffects, closed: AbortSignal): Parts {
  const { headers = () => ({}), ...rest } = options;
  const set = { ...DEFAULTS, ...withoutUndefined(rest) };
  for (const name of ["timeoutMs", "attemptTimeoutMs"] as const) checkTime(name, set[name]);
  for (const name of ["attempts", "retriesPerSecond", "maxReplyBytes"] as const)
    if (typeof set[name] !== "number" || !(set[name] > 0))
      throw new RangeError(`${name}: expected a number above 0, got ${show(set[name])}`);
  if (!["auto", "always", "never"].includes(set.binary))
    throw new TypeError(`binary: expected "auto", "always" or "never", got ${show(set.binary)}`);
  if (typeof headers !== "function") throw new TypeError(`headers: expected a function, got ${show(headers)}`);
  const endpoints = new Endpoints(addressesOf(options.endpoints, effects.baseUrl), effects);
  const budget = new RetryBudget(set.retriesPerSecond, effects);
  const context = { ...set, effects, endpoints, budget, closed };
  const own = async ({ url }: Endpoint): Promise<Headers> => Promise.resolve(headers(url)).then((x) => new Headers(x));
  const isBinary = { auto: null, always: true, never: false }[set.binary];
  return { context, effects, headers: own, isBinary, gzip: set.gzip, call: (each) => call(context, each) };
}

/** Returns a model's path. A name of dots would be another path. */
function pathOf(name: string, version?: string): string {
  for (const [option, value] of [
    ["model", name],
    ["version", version ?? "1"],
  ])
    if (typeof value !== "string" || /^\.{0,2}$/.test(value))
      throw new TypeError(`${option}: expected a name, got ${show(value)}`);
  return `/v2/models/${encodeURIComponent(name)}${version === undefined ? "" : `/versions/${encodeURIComponent(version)}`}`;
}

function addressesOf(endpoints: readonly string[], base: string | undefined): string[] {
  if (!Array.isArray(endpoints) || endpoints.length === 0)
    throw new TypeError(`endpoints: expected a list of addresses, got ${show(endpoints)}`);
  return endpoints.map((each: unknown) => {
    const url = typeof each === "string" && URL.canParse(each, base) ? new URL(each, base) : null;
    if (url === null || !/^https?:$/.test(url.protocol) || url.username + url.password + url.search + url.hash !== "")
      throw new TypeError(`endpoints: expected http(s) addresses without user, query and fragment, got ${show(each)}`);
    // Without a lone "?" or "#".
    return (url.origin + url.pathname).replace(/\/+$/, "");
  });
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, x]) => x !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
