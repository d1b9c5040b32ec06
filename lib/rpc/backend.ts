// The contract between a worker and the runtime in it. ort.ts is the real one; reference-backend.ts is slow, obvious
// and only for tests; backend-conformance.ts is the one suite that both pass.
//
// A backend runs ONE call at a time (ONNX Runtime Web otherwise hangs or returns wrong results); worker/serve.ts
// serialises calls, and a backend may rely on that. It knows nothing of batches, deadlines, images or pages.
import type { Assignment } from "../core/bundle.ts";
import type { AdapterFacts, BackendName } from "../core/device.ts";
import type { Dtype, Port, Tensor } from "../core/tensor.ts";
import type { Traffic } from "./messages.ts";

export type { BackendName, LocalBackend } from "../core/device.ts";

/** Address of ONNX Runtime's wasm binary, which comes in two parts (build/split.ts). */
export interface WasmUrls {
  readonly wasmUrl: string;
  /**
   * Address of the functions that hardly ever run: fetched before a model with operators that were not profiled is
   * loaded, else when the first of them is called; with threads, at the start. The same as `wasmUrl` for an unsplit
   * binary.
   */
  readonly restUrl: string;
}

/** ONNX Runtime's compiled wasm, as one worker passes it to the next. */
export interface WasmModules {
  readonly first: WebAssembly.Module;
  /** Null until a model needs it. */
  readonly rest: WebAssembly.Module | null;
}

/** Options for starting a backend; nothing is fetched but its addresses. */
export interface StartOptions extends WasmUrls {
  readonly backend: BackendName;
  /** Threads of the wasm build; above 1 only where the page is cross-origin isolated. */
  readonly threads: number;
  /** Whether ONNX Runtime's own log goes to `onLog`, which shows where operators run. */
  readonly verbose: boolean;
  /** The server that a remote backend calls. Default: none. */
  readonly remote?: RemoteStart | undefined;
  /** The wasm binary as another worker, or the page, compiled it; null or absent where this one has to. */
  readonly modules?: WasmModules | null;
  /** Whether the compiled modules stay in this worker: the page can't receive them. Default false. */
  readonly isKept?: boolean | undefined;
}

/** The server of a remote backend, and the bounds of its calls (remote/index.ts). */
export interface RemoteStart {
  /** Base address of the server. */
  readonly endpoint: string;
  readonly binary?: "auto" | "always" | "never" | undefined;
  readonly gzip?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  readonly attemptTimeoutMs?: number | undefined;
  readonly attempts?: number | undefined;
  readonly maxReplyBytes?: number | undefined;
  /** Line to the page for the headers of each request; empty where there are none. */
  readonly ports: MessagePort[];
}

/** Question to the page on the line for headers; numbers are those of the asker. */
export interface HeadersRequest {
  readonly id: number;
  /** The server's address. */
  readonly endpoint: string;
}

/** Answer of the page to a question for headers: their entries, or the text of what the app's callback threw. */
export type HeadersReply = { readonly id: number } & (
  { readonly headers: readonly (readonly [string, string])[] } | { readonly error: string }
);

/** The name under which a server has a model. */
export interface RemoteName {
  readonly model: string;
  /** Identity of the bundle for whose requests it is. */
  readonly identity?: string | undefined;
  /** Default: the server's choice. */
  readonly version?: string | undefined;
  /** Whether its rows may influence each other, so that each request runs alone. Default false. */
  readonly mixesRows?: boolean | undefined;
}

/** Outcome of a start. */
export interface BackendFacts {
  readonly backend: BackendName;
  readonly gpu: AdapterFacts | null;
  readonly version: string;
  readonly startMs: number;
  /** The compiled wasm binary, for the workers that are started later; null where it is not shared. */
  readonly modules?: WasmModules | null;
}

/** A model as files: the first is the ONNX file, others its external data, by the path in the model. */
export interface ModelFiles {
  readonly files: readonly { readonly path: string; readonly data: Blob }[];
  /** ONNX Runtime session configuration entries, as `{ "session.disable_quant_qdq": "1" }`. */
  readonly session: Readonly<Record<string, string>>;
  /** The input that each output feeds at the next step, where the model has a recurrent state. */
  readonly states?: Readonly<Record<string, string>> | undefined;
  /** Whether the rows of a batch influence each other, where its bundle says so. Default: as its graph shows. */
  readonly mixesRows?: boolean | undefined;
  /** The model on a server, for the remote backend, which needs no files. */
  readonly remote?: RemoteName | undefined;
}

/** Use of a recurrent state that the backend keeps between runs. */
export interface StateCall {
  readonly stateId: number;
  /** Sets the state first, by the names of its inputs; null continues from the previous run. */
  readonly restore: Readonly<Record<string, Tensor>> | null;
  /** Whether the outputs that make up the state are returned as well. */
  readonly checkpoint: boolean;
}

/** Bound of a run on a server. */
export interface CallBound {
  /** Returns the time that is left, in ms; Infinity where there is no deadline. */
  leftMs(): number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Inputs and outputs of a loaded model, by its own metadata; batchAxis 0 is assumed where dim 0 is symbolic. */
export interface ModelFacts {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly loadMs: number;
  /** Placement of the operators; null unless started verbose. */
  readonly assignment: Assignment | null;
  /** Whether the rows of a batch influence each other, as its graph shows. Default false. */
  readonly mixesRows?: boolean;
  /** Versions of the model that its server states. Default: none. */
  readonly versions?: readonly string[];
}

/**
 * A tensor in a buffer on the backend's own device, created beside the backend in the worker. Its creator keeps the
 * buffer and does not touch it until the run has ended.
 * @internal left out of the published declarations, which must not need WebGPU types
 */
export interface DeviceTensor {
  readonly dtype: Dtype;
  readonly dims: readonly number[];
  readonly buffer: GPUBuffer;
}

/**
 * An inference runtime that loads models and runs them, one call at a time.
 * @internal
 */
export interface Backend {
  /** The device on which it computes, once started; a device error fails the run during which it occurs. */
  readonly device?: GPUDevice | null;
  /** Memory in use in bytes, as far as known; WebAssembly's memory is released only with its worker. */
  readonly memoryBytes?: number;
  /** Starts; called once, before anything else. Rejects with `no-backend` where it can't run here. */
  start(options: StartOptions): Promise<BackendFacts>;
  /** Fetches ahead what a model needs beside its own bytes; may be called before `start` and while a call is under way. */
  foresee?(model: Blob): Promise<void>;
  /** Loads a model under an id that the caller chose. Rejects with `model-invalid` or `out-of-memory`. */
  load(modelId: number, model: ModelFiles): Promise<ModelFacts>;
  /**
   * Runs once; outputs are on the CPU and the caller's own. A wrong input rejects with TypeError or RangeError. With a
   * state, its inputs are not among the feeds, and its outputs stay here for the next run; a failed run keeps nothing.
   * Only the remote backend heeds a bound.
   */
  run(
    modelId: number,
    feeds: Readonly<Record<string, Tensor | DeviceTensor>>,
    state?: StateCall,
    bound?: CallBound,
  ): Promise<Record<string, Tensor>>;
  /** Releases a model and its states; unknown ids are ignored. */
  unload(modelId: number): Promise<void>;
  /** Releases a state; unknown ids are ignored. */
  removeState(stateId: number): Promise<void>;
  /** Called when the device under the backend is lost, with the reason; the worker is ended after it. */
  onLost: ((reason: string) => void) | null;
  /** Called for each line of the runtime's own log, where started verbose. */
  onLog: ((line: string) => void) | null;
  /** Called for each HTTP request of a model's load or run that has ended; of the remote backend alone. */
  onTraffic?: ((traffic: Traffic) => void) | null;
  /** Called for each additional thread, with the port for its messages. */
  onThread?: ((port: MessagePort) => void) | null;
  /** Called when a model needs the second part of the wasm binary, with the port for the answer: it, or null. */
  onRest?: ((port: MessagePort) => void) | null;
  /** Called before the backend fetches a part of the binary itself: that takes as long as the line does. */
  onLinking?: (() => void) | null;
  /** Called after that, with the second part where it has come during a call; else null. */
  onLinked?: ((rest: WebAssembly.Module | null) => void) | null;
}
