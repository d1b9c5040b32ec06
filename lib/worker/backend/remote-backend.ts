// The backend that sends tensors to an inference server (lib/remote) in place of ONNX Runtime, so that a server is one
// more lane: processing, batches, cancels and retries are the same code. Nothing is loaded here: `load` reads the
// model's metadata. Whether the server's model is the bundle's own is checked by the page, with the golden, before any
// request runs (engine/remote-lanes.ts).
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import { RELEASE } from "../../core/version.ts";
import type { Port, Tensor } from "../../core/tensor.ts";
import { networkEffects } from "../../effects/network.ts";
import type { NetworkEffects } from "../../effects/network.ts";
import { DTYPE_OF } from "../../remote/datatypes.ts";
import { connectRemote } from "../../remote/index.ts";
import type { RemoteClient, RemoteModel, RemotePort } from "../../remote/index.ts";
import type {
  Backend,
  BackendFacts,
  CallBound,
  DeviceTensor,
  HeadersReply,
  HeadersRequest,
  ModelFacts,
  ModelFiles,
  StartOptions,
  StateCall,
} from "../../rpc/backend.ts";
import type { Traffic } from "../../rpc/messages.ts";

/** Time before a deadline, in ms, from which on nothing is sent or tried again: timers fire that much early or late. */
const LEFT_MIN_MS = 4;

/** A model on the server. */
interface RemoteEntry {
  readonly model: RemoteModel;
  /** Version of its first answer; null before, and where the server states none. */
  version: string | null;
}

/** Creates the backend; it connects with its first model. */
export function createRemoteBackend(effects: NetworkEffects = networkEffects()): Backend {
  return new RemoteBackend(effects);
}

class RemoteBackend implements Backend {
  onLost: ((reason: string) => void) | null = null;
  onLog: ((line: string) => void) | null = null;
  onTraffic: ((traffic: Traffic) => void) | null = null;
  readonly #effects: NetworkEffects;
  readonly #models: Map<number, RemoteEntry> = new Map();
  #client: RemoteClient | null = null;
  #endpoint = "";
  /** The model of the call: one runs at a time. */
  #modelId = 0;
  #timeoutMs = Infinity;

  constructor(effects: NetworkEffects) {
    this.#effects = {
      ...effects,
      onExchange: (exchange) => this.onTraffic?.({ modelId: this.#modelId, ...exchange }),
    };
  }

  start({ remote }: StartOptions): Promise<BackendFacts> {
    if (remote === undefined) throw new SelvedgeError("internal", "A remote lane was started without a server.");
    const { endpoint, ports, ...bounds } = remote;
    this.#endpoint = endpoint;
    this.#timeoutMs = bounds.timeoutMs ?? Infinity;
    const [line] = ports;
    const own = line === undefined ? {} : { headers: askFor(line) };
    this.#client = connectRemote({ ...bounds, ...own, endpoints: [endpoint], effects: this.#effects });
    return Promise.resolve({ backend: "remote", gpu: null, version: RELEASE, startMs: 0 });
  }

  async load(modelId: number, { remote }: ModelFiles): Promise<ModelFacts> {
    if (this.#client === null || remote === undefined)
      throw new SelvedgeError("internal", "A model without a name on the server was loaded on a remote lane.");
    this.#modelId = modelId;
    const began = this.#effects.now();
    const model = await this.#client.model(remote.model, { version: remote.version }).catch(this.#refuse(OF_MODEL));
    this.#models.set(modelId, { model, version: null });
    const { inputs, outputs, versions } = model.metadata;
    return {
      ...{ inputs: inputs.map(asPort), outputs: outputs.map(asPort), versions },
      ...{ loadMs: this.#effects.now() - began, assignment: null },
    };
  }

  async run(
    modelId: number,
    feeds: Readonly<Record<string, Tensor | DeviceTensor>>,
    state?: StateCall,
    bound?: CallBound,
  ): Promise<Record<string, Tensor>> {
    const served = this.#models.get(modelId);
    if (served === undefined || state !== undefined)
      throw new SelvedgeError("internal", `Model ${modelId} can't run on the server: not loaded, or with a state.`);
    this.#modelId = modelId;
    const leftMs = bound?.leftMs() ?? Infinity;
    if (leftMs < LEFT_MIN_MS) throw this.#late();
    const isBounded = leftMs < this.#timeoutMs;
    const { outputs, info } = await served.model
      .infer(feeds as Readonly<Record<string, Tensor>>, {
        signal: bound?.signal,
        timeoutMs: isBounded ? leftMs : undefined,
      })
      .catch((error: unknown) => {
        if (bound?.signal.aborted === true || !isSelvedgeError(error)) throw error;
        if ((bound?.leftMs() ?? Infinity) < LEFT_MIN_MS) throw this.#late(error);
        // A server that asks to wait longer than this request has is not down: others may wait.
        if (isBounded && error.details["waitMs"] !== undefined)
          throw new SelvedgeError(error.code, error.message, { ...error.details, isTooLate: true }, error.cause);
        throw error;
      })
      .catch(this.#refuse(OF_REQUEST));
    const { endpoint, modelVersion } = info;
    // Another version may be another model: it must be checked first.
    if (served.version !== null && modelVersion !== null && modelVersion !== served.version) {
      const text = `${endpoint}: version ${modelVersion} answered, and before it version ${served.version}.`;
      throw new SelvedgeError("remote-failed", text, { reason: "bad-reply", url: endpoint, isLaneDown: true });
    }
    served.version ??= modelVersion;
    return outputs;
  }

  unload(modelId: number): Promise<void> {
    this.#models.delete(modelId);
    return Promise.resolve();
  }

  removeState(): Promise<void> {
    return Promise.resolve();
  }

  /** Returns the error of a run whose deadline has passed. */
  #late(cause?: unknown): SelvedgeError {
    const after = isSelvedgeError(cause) ? `, after: ${cause.message}` : "";
    const text = `${this.#endpoint}: no answer within the deadline${after}`;
    return new SelvedgeError("deadline-exceeded", text, { url: this.#endpoint }, cause);
  }

  /**
   * Returns a handler that marks an error which other requests would get on this lane, too: one with none of these
   * reasons. The client's TypeError or RangeError is a refusal by this server alone, as of a size that its model does
   * not take: another lane may answer the request.
   */
  #refuse(own: ReadonlySet<unknown>): (error: unknown) => never {
    return (error) => {
      if (!isSelvedgeError(error)) {
        const text = `${this.#endpoint}: ${error instanceof Error ? error.message : String(error)}`;
        throw new SelvedgeError("remote-failed", text, { reason: "refused", url: this.#endpoint }, error);
      }
      const { reason, status, waitMs, isTooLate = false } = error.details;
      // A full queue is not down: it takes other requests as soon as it has answered some. Nor is it while the lane waits
      // as it asked: a new worker would not, and ask for the golden first.
      const isFull = (status === 429 || (reason === "timeout" && waitMs !== undefined)) && own === OF_REQUEST;
      if (error.code !== "remote-failed" || own.has(reason) || isFull || isTooLate === true) throw error;
      throw new SelvedgeError(error.code, error.message, { ...error.details, isLaneDown: true }, error.cause);
    };
  }
}

/** Reasons of failures that may be this one request's fault. */
const OF_REQUEST: ReadonlySet<unknown> = new Set(["failed", "refused", "too-large"]);
/** Reasons for which a load may fail although the server answers for other models. */
const OF_MODEL: ReadonlySet<unknown> = new Set([...OF_REQUEST, "not-found", "bad-reply"]);

/** Returns a port as the engine knows them: an axis of any size has a name of its own. */
function asPort({ name, datatype, dims }: RemotePort): Port {
  const sizes = dims.map((size, axis) => size ?? `${name}[${axis}]`);
  return { name, dtype: DTYPE_OF[datatype], dims: sizes, batchAxis: dims[0] === null ? 0 : null };
}

/**
 * Returns a callback that asks the page for the headers of each request. A lane sends one request at a time, so only the
 * latest question is of interest: one that is never answered holds up no other, and nothing of it is kept.
 */
function askFor(port: MessagePort): (endpoint: string) => Promise<HeadersInit> {
  let settle: ((reply: HeadersReply) => void) | null = null;
  let asked = 0;
  port.onmessage = ({ data }: MessageEvent<HeadersReply>) => {
    if (data.id === asked) settle?.(data);
  };
  return (endpoint) =>
    new Promise((resolve, reject) => {
      asked += 1;
      settle = (reply) => {
        settle = null;
        if ("headers" in reply) resolve(reply.headers as [string, string][]);
        else reject(new SelvedgeError("remote-failed", reply.error, { reason: "denied", url: endpoint }));
      };
      port.postMessage({ id: asked, endpoint } satisfies HeadersRequest);
    });
}
