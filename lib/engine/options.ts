// Options of the public API: types alone. check-options.ts checks them.
import type { Signal } from "../core/abort.ts";
import type { Availability } from "./availability.ts";
import type { BackendName } from "../rpc/backend.ts";
import type { Placement } from "../core/device.ts";
import type { Progress, StoreChoice, UpdatePolicy } from "../cache/messages.ts";
import type { ResultsOptions } from "./result-cache.ts";
import type { Effects, ScriptUrl } from "../effects/effects.ts";
import type { TensorInput } from "./inputs.ts";
import type { RequestSummary } from "./result.ts";
import type { ClassesOption, ImageOption } from "../core/describe-model.ts";
import type { Priority } from "../schedule/events.ts";

/** Where repositories come from, unless a load says otherwise. */
export interface HubOptions {
  /** Address of the hub. Default `https://huggingface.co`. */
  readonly host?: string | undefined;
  /** Returns an access token for this host alone; every visitor of the page can read it. Default: none. */
  readonly token?: (() => string | Promise<string>) | undefined;
}

/** Options of a load within the engine. */
export interface SourceOptions extends LoadOptions {
  /** Returns the token for a repository's host. */
  readonly token?: (() => string | Promise<string>) | undefined;
}

/** A bundle's model on servers. */
export interface RemoteModelOption {
  /** Name of the model on the servers. Default: the bundle's. */
  readonly model?: string | undefined;
  /** Version on the servers. Default: the one that they choose. */
  readonly version?: string | undefined;
  /**
   * Whether the app vouches that this is the bundle's model, where the bundle has no golden to check that with. Default
   * false: such a model is not used.
   */
  readonly verified?: boolean | undefined;
  /**
   * With `auto`: a larger model with the same classes, on the servers, for what this device's answer is unsure of. Default:
   * none.
   */
  readonly cascade?: CascadeOptions | undefined;
}

/** A larger model on servers, which answers where the model on this device is unsure. */
export interface CascadeOptions {
  /** Address of the larger model's `bundle.json`. Its name on the servers is the bundle's, or as `models` says for it. */
  readonly bundle: string | URL;
  /**
   * Confidence below which a request goes to the larger model, 0 to 1: the probability of the first class. 0 sends nothing.
   * `calibrateCascade` of `selvedge/offload` chooses it on held-out samples.
   */
  readonly escalateBelow: number;
  /** How long an unsure answer waits for the larger model's before it is returned, in ms, 1 to 86,400,000. Default 1,000. */
  readonly waitMs?: number | undefined;
}

/** Limits of copies that are sent to servers. */
export interface HedgeOptions {
  /** Rows of copies at most, as a share of the rows of requests that may run on either side, 0 to 1. Default 0.1. */
  readonly share?: number | undefined;
  /** Quantile of this device's last latencies after which a copy is sent, 0.5 to 0.999. Default 0.95. */
  readonly quantile?: number | undefined;
}

/** Servers that may answer requests: they speak the Open Inference Protocol, version 2, and have the same models. */
export interface RemoteEngineOptions {
  /** Base addresses of the servers, such as `https://infer.example`. */
  readonly endpoints: readonly string[];
  /** Returns headers for a request, such as Authorization; called on the page before each attempt. Default: none. */
  readonly headers?: ((endpoint: string) => HeadersInit | Promise<HeadersInit>) | undefined;
  /** Models on the servers, by the bundle's name. Default: of the same name, any version. */
  readonly models?: Readonly<Record<string, RemoteModelOption>> | undefined;
  /** With `auto`: how much sooner a server must answer to be asked, in ms, 0 to 86,400,000. Default 100. */
  readonly costMs?: number | undefined;
  /**
   * With `auto`: sends a request that this device answers late to a server as well, and takes the first answer. Costs
   * servers work that may not be needed. Never for a model with a recurrent state. Default false; true for the defaults.
   */
  readonly hedge?: boolean | HedgeOptions | undefined;
  /** Number of requests, or batches, that are sent to one server at once, 1 to 16. Default 2. */
  readonly concurrency?: number | undefined;
  /** Whether tensors are sent as bytes. Default: "auto", unless a server refuses the first request. */
  readonly binary?: "auto" | "always" | "never" | undefined;
  /** Compresses requests with gzip, which KServe refuses. Default false. */
  readonly gzip?: boolean | undefined;
  /** Time for a batch with its attempts on one server, in ms. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Time for one attempt, in ms. Default: `timeoutMs`. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Attempts of a batch on one server. The scheduler then tries another lane, so this is low. Default 2. */
  readonly attempts?: number | undefined;
  /** Largest reply that is read, in bytes. Default 256 MiB. */
  readonly maxReplyBytes?: number | undefined;
}

/** Options of an engine; all are optional. */
export interface EngineOptions {
  /** Which backends of this device may be used. Default `["webgpu", "wasm"]`; `remote` is not one of them. */
  readonly backends?: readonly BackendName[] | undefined;
  /**
   * Number of wasm workers, 1 to 64. Default: one per core, at most 4 (one on devices of 2 GiB and less); plus, on demand, one for short urgent requests,
   * and one with threads for a single stream of requests. A number disables these two.
   */
  readonly workers?: number | undefined;
  /**
   * Threads of each wasm worker, 1 to 64; above 1 only where the page is cross-origin isolated. Default: 1; on isolated
   * pages also one worker with a thread per core, at most 8, for a single stream of requests. A number disables that
   * worker.
   */
  readonly threads?: number | undefined;
  /** Address under which the package's worker and wasm files are served. Default: beside the package's own script. */
  readonly assetsBase?: string | URL | undefined;
  /** Where repositories come from (`load({ repo })`). Default: the Hugging Face hub. */
  readonly hub?: HubOptions | undefined;
  /**
   * Where models are stored: on the device, so that the next page need not fetch them (`"auto"`); for the engine's
   * lifetime (`"memory"`); not at all (false). Default `"auto"`.
   */
  readonly store?: StoreChoice | undefined;
  /**
   * Public keys as `selvedge sign` prints them: a bundle that none of them has signed is refused before its weights are
   * fetched, and so is one that was altered, has expired, or is older than one seen before. Default: any bundle is
   * accepted.
   */
  readonly trustedKeys?: readonly string[] | undefined;
  /** Creates the worker's TrustedScriptURL where the page enforces Trusted Types. */
  readonly trustedTypesPolicy?:
    | {
        /** Vouches for the address of a worker script. */
        createScriptURL(url: string): ScriptUrl;
      }
    | undefined;
  /**
   * Bounds the queue: `maxSize` requests, 1 to 1,000,000; further ones are rejected with `overloaded`. Default 100,000.
   */
  readonly queue?: { readonly maxSize?: number | undefined } | undefined;
  /** Waiting time after which requests rise by one priority, in ms, 1 to 3,600,000. Default 2,000. */
  readonly agingMs?: number | undefined;
  /**
   * Timeout of a worker's call, in ms, after which the worker is ended; its start may take 30 s at least. Default: 3
   * minutes to load and for a first run, then 20 times the slowest run so far, at least 10 s.
   */
  readonly callTimeoutMs?: number | undefined;
  /**
   * Idle time after which a worker is ended, in ms; its next work starts another. Default 120,000; 5,000 on devices of
   * 2 GiB of memory and less, as far as the browser reports it.
   */
  readonly idleMs?: number | undefined;
  /** Makes ONNX Runtime report where each operator runs (`model.assignment`, `onLog`). Slow to load. Default false. */
  readonly verbose?: boolean | undefined;
  /**
   * Receives each line of ONNX Runtime's log where `verbose` is true, and a line where a newer version of a model was
   * refused and the stored one is used.
   */
  readonly onLog?: ((line: string) => void) | undefined;
  /**
   * Bound on the memory of loaded models in all workers, in bytes: the least recently used are unloaded, and loaded
   * again for their next run. A model whose weights alone exceed it is refused (`does-not-fit`). Default: no bound.
   */
  readonly memoryBudgetBytes?: number | undefined;
  /** Bounds the answers that are cached for runs with `cache`. Default 64 MiB, until the page is left. */
  readonly results?: ResultsOptions | undefined;
  /** Servers that may answer requests, where `placement` allows it. Default: none. */
  readonly remote?: RemoteEngineOptions | undefined;
  /**
   * Where requests may run: on this device; on a server (`remote`); or where they finish first, and on a server while
   * this device can't answer (`auto`). With `local` nothing is sent. Default `"local"`.
   */
  readonly placement?: Placement | undefined;
  /** Receives every request as it is settled, or draws lanes and requests in the browser's DevTools. Default: off. */
  readonly observe?: ((settled: RequestSummary) => void) | ObserveOptions | undefined;
  /** Replaces clock, network, workers and GPU, for tests. Default: the browser's. */
  readonly effects?: Effects | undefined;
}

/** Options of `observe`. */
export interface ObserveOptions {
  /**
   * Called with each request as it is settled, after its caller. An exception is reported to the page and does no harm.
   */
  readonly onResult?: ((settled: RequestSummary) => void) | undefined;
  /**
   * Draws lanes and requests as tracks in the performance panel of DevTools; costs some µs per batch. Default false.
   */
  readonly devtools?: boolean | undefined;
}

/** Options of a trace. */
export interface TraceOptions {
  /** Duration of the recording in seconds, 0.1 to 600. */
  readonly seconds: number;
  /** Whether the inputs of requests are recorded, tensors in base64. Default false. */
  readonly inputs?: boolean | undefined;
}

/** Options of a load. */
export interface LoadOptions {
  /** Called as bytes arrive. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * Called before weights are fetched where the user saves data (Save-Data), with the cost: false cancels the load with
   * an `AbortError`. Default: they are fetched, since the app requested them.
   */
  readonly onSaveData?: ((cost: Availability) => boolean | Promise<boolean>) | undefined;
  /** Cancels the load; rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Sets the backend. Default: the one measured faster on this device. */
  readonly backend?: BackendName | undefined;
  /** Sets the variant by its id. Default: the fastest that this device can run, the smallest among equals. */
  readonly variant?: string | undefined;
  /**
   * Which version is used where one is stored: the server's if it answers (`"first"`); the stored one, and the server's
   * from the next load on (`"later"`); the stored one until `engine.update` (`"never"`). Default `"first"`.
   */
  readonly update?: UpdatePolicy | undefined;
  /** Requires a version by the bundle's identity, 64 hex digits; another one is refused. Default: any. */
  readonly identity?: string | undefined;
  /**
   * Name of the model, as in `bundle.json`; another model is refused (`integrity-failed`, `details.reason` is
   * `other-model`). Default: any; with trusted keys the one that the address served before.
   */
  readonly name?: string | undefined;
  /**
   * How an image becomes the input of a bare `.onnx`; what is left out follows from the model. A bundle declares its own.
   * Default: tensors only.
   */
  readonly image?: ImageOption | undefined;
  /**
   * Labels of a bare `.onnx` in the order of its classes, or the URL of a file of them (one a line, a JSON array, or a
   * config.json of Hugging Face with `id2label`): answers are then decoded. Default none.
   */
  readonly labels?: readonly string[] | string | URL | LabelsOption | undefined;
  /** Limits on batches, where the model has a batch axis; false for no batching. */
  readonly batching?: BatchingOptions | false | undefined;
  /** Number of lanes that the model may run on at once, 1 to 64. Default: all. */
  readonly concurrency?: number | undefined;
  /** Whether answers are cached by default; a run may override it. Default false. */
  readonly cache?: boolean | undefined;
  /** Whether the model stays in memory even beyond `memoryBudgetBytes`. Default false. */
  readonly keepInMemory?: boolean | undefined;
  /**
   * Whether a bare model, or a variant without a golden, may run on a GPU whose answers can't be checked, since wasm
   * can't run it. Default false: the load rejects with `wrong-result`.
   */
  readonly allowUnverified?: boolean | undefined;
  /** Where its requests may run. Default: the engine's. */
  readonly placement?: Placement | undefined;
}

/** Options of `engine.update`: those of a load that decide which version is stored, and how. */
export type UpdateOptions = Pick<
  LoadOptions,
  "onProgress" | "onSaveData" | "signal" | "backend" | "variant" | "identity" | "name" | "keepInMemory"
>;

/** Labels of a bare model, with how they are applied. */
export interface LabelsOption extends Omit<ClassesOption, "labels"> {
  /** The labels, or the URL of their file. */
  readonly from: readonly string[] | string | URL;
}

/** Limits on batches. */
export interface BatchingOptions {
  /** Maximum number of rows in a batch, 1 to 1,024. Default 64; the cheapest size is learned. */
  readonly maxBatchSize?: number | undefined;
  /** How long a request may wait on a free lane for others to join its batch, in ms, 0 to 10,000. Default 0. */
  readonly maxQueueDelayMs?: number | undefined;
  /** Preferred batch sizes, each 1 to 1,024. Default: none. */
  readonly preferredBatchSizes?: readonly number[] | undefined;
}

/** Options of one run. */
export interface RunOptions {
  /** Requests of a higher priority run first; within one, the earliest deadline does. Default `"normal"`. */
  readonly priority?: Priority | undefined;
  /** Deadline in ms from the call, 1 to 86,400,000. Default: none. */
  readonly deadlineMs?: number | undefined;
  /**
   * Whether a request that can't meet its deadline is rejected with `deadline-exceeded`, or finished late. Default
   * `"reject"`.
   */
  readonly onLate?: "reject" | "finish" | undefined;
  /** Allows a cancel to end the worker that runs this request, where that is faster than to wait. Default false. */
  readonly preempt?: boolean | undefined;
  /** Cancels: a queued request is removed, a running one is settled at once; rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Moves the inputs' buffers instead of copying them; they are detached afterwards. A buffer that can't be moved is
   * copied: a view of a part, one buffer of two inputs, tensors beside an image. Default false.
   */
  readonly transfer?: boolean | undefined;
  /**
   * Returns the cached answer to the same inputs, else runs and caches the answer; tensors and texts only. Default: the
   * load's `cache`.
   */
  readonly cache?: boolean | undefined;
  /**
   * Where it may run: `local`, `remote` or `auto` for a model that was loaded with `auto`, else the model's own.
   * Requests with a placement of their own are not coalesced. Default: the model's.
   */
  readonly placement?: Placement | undefined;
}

/** Options of a run within the engine, where a signal need not be the browser's own. */
export interface AskOptions extends Omit<RunOptions, "signal"> {
  readonly signal?: Signal | undefined;
}

/** Options of a map over many inputs. */
export interface MapOptions extends RunOptions {
  /**
   * Number of inputs in flight, 1 to 100,000. Default: enough to keep every lane of the model's backend in full
   * batches, within 64 MiB of inputs.
   */
  readonly concurrency?: number | undefined;
  /** Whether answers come in the order of the inputs, or as soon as they are ready. Default true. */
  readonly ordered?: boolean | undefined;
  /**
   * Effect of an input that fails: its error ends the iteration, or is yielded as `{ index, error }` in its place.
   * Default `"stop"`.
   */
  readonly errors?: "stop" | "yield" | undefined;
}

/** Options of a recurrent state. */
export interface StatefulOptions {
  /**
   * Number of steps between two copies of the state to the page, 1 to 1,024: the maximum that is rerun after a lane is
   * lost. Default 16.
   */
  readonly checkpointEvery?: number | undefined;
  /** The initial state, by the names of its inputs. Default: zeros. */
  readonly initial?: Readonly<Record<string, TensorInput>> | undefined;
}

/** Options of a cost estimate. */
export interface AvailabilityOptions {
  /** Deadline of a request, in ms, 1 to 86,400,000. Default: none. */
  readonly deadlineMs?: number | undefined;
  /** Cancels the estimate; rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Sets the backend. Default: the one that a load would choose. */
  readonly backend?: BackendName | undefined;
  /** Sets the variant by its id. Default: the one that a load would choose. */
  readonly variant?: string | undefined;
}
