// The contract between a worker and what computes in it. ort.ts is the real one; reference-backend.ts is slow, obvious and
// only for tests; backend-conformance.ts is the one suite that both pass.
//
// A backend runs ONE call at a time (ONNX Runtime Web hangs or lies otherwise); worker/serve.ts keeps that order, a
// backend may rely on it. It knows nothing of batches, deadlines, images or pages.
import type { Assignment } from "../core/bundle.ts";
import type { AdapterFacts, BackendName } from "../core/device.ts";
import type { Dtype, Port, Tensor } from "../core/tensor.ts";

export type { BackendName } from "../core/device.ts";

/** Where ONNX Runtime's wasm binary is, which comes in two parts (build/split.ts). */
export interface WasmUrls {
  readonly wasmUrl: string;
  /**
   * The functions that hardly ever run: fetched before a model whose operators were not profiled is loaded, else when the
   * first of them is called; with threads, at the start. The same as `wasmUrl` where the binary is not split.
   */
  readonly restUrl: string;
}

/** ONNX Runtime's wasm as one worker hands it to the next: compiled. */
export interface WasmModules {
  readonly first: WebAssembly.Module;
  /** Null until a model needs it. */
  readonly rest: WebAssembly.Module | null;
}

/** What a backend is started with; nothing is fetched but its addresses. */
export interface StartOptions extends WasmUrls {
  readonly backend: BackendName;
  /** Threads of the wasm build; above 1 only where the page is cross-origin isolated. */
  readonly threads: number;
  /** Hands ONNX Runtime's own log to `onLog`, to tell where operators run. */
  readonly verbose: boolean;
  /** The wasm binary as another worker, or the page, compiled it; null or absent where this one has to. */
  readonly modules?: WasmModules | null;
}

/** What started. */
export interface BackendFacts {
  readonly backend: BackendName;
  readonly gpu: AdapterFacts | null;
  readonly version: string;
  readonly startMs: number;
  /** The compiled wasm binary, for the workers that are started after this one; absent where there is none. */
  readonly modules?: WasmModules | null;
}

/** A model as files: the first is the ONNX file, others its external data by the path that the model names. */
export interface ModelFiles {
  readonly files: readonly { readonly path: string; readonly data: Blob }[];
  /** ONNX Runtime session configuration entries, as `{ "session.disable_quant_qdq": "1" }`. */
  readonly session: Readonly<Record<string, string>>;
  /** Which output feeds which input at the next step, where the model keeps a recurrent state. */
  readonly states?: Readonly<Record<string, string>> | undefined;
}

/** What a run does with a recurrent state that the backend keeps between runs. */
export interface StateCall {
  readonly stateId: number;
  /** Sets the state first, by the names of its inputs; null goes on from what the run before left. */
  readonly restore: Readonly<Record<string, Tensor>> | null;
  /** Whether the outputs that make up the state come back as well. */
  readonly checkpoint: boolean;
}

/** What a loaded model takes and gives, by its own metadata; batchAxis 0 is assumed where dim 0 is symbolic. */
export interface ModelFacts {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly loadMs: number;
  /** Where the operators run; null unless started verbose. */
  readonly assignment: Assignment | null;
}

/**
 * A tensor in a buffer on the backend's own device, made by what runs beside the backend in the worker. The buffer stays
 * its maker's, who leaves it alone until the run has ended.
 * @internal left out of the published declarations, which must not need WebGPU types
 */
export interface DeviceTensor {
  readonly dtype: Dtype;
  readonly dims: readonly number[];
  readonly buffer: GPUBuffer;
}

/**
 * Something that loads models and runs them, one call at a time.
 * @internal
 */
export interface Backend {
  /** The device on which it computes, once started; its errors fail the run into which they fall. */
  readonly device?: GPUDevice | null;
  /** How much memory it holds, in bytes, as far as can be told; only a new worker gives WebAssembly's back. */
  readonly memoryBytes?: number;
  /** Starts; called once, before anything else. Rejects with `no-backend` where it can't run here. */
  start(options: StartOptions): Promise<BackendFacts>;
  /** Loads a model under an id that the caller chose. Rejects with `model-invalid` or `out-of-memory`. */
  load(modelId: number, model: ModelFiles): Promise<ModelFacts>;
  /**
   * Runs once; outputs are on the CPU and the caller's own. A wrong input rejects with TypeError or RangeError.
   * With a state, its inputs are not among the feeds, and its outputs stay here for the next run; where the run fails
   * nothing is kept.
   */
  run(
    modelId: number,
    feeds: Readonly<Record<string, Tensor | DeviceTensor>>,
    state?: StateCall,
  ): Promise<Record<string, Tensor>>;
  /** Frees a model and the states of it; unknown ids are ignored. */
  unload(modelId: number): Promise<void>;
  /** Frees what is kept of a state; unknown ids are ignored. */
  forget(stateId: number): Promise<void>;
  /** Called when the device under the backend is lost, with the reason; the worker is ended after it. */
  onLost: ((reason: string) => void) | null;
  /** Called for each line of the runtime's own log, where started verbose. */
  onLog: ((line: string) => void) | null;
  /** Called for each thread that is wanted beside this one, with the port that it is to speak through. */
  onThread?: ((port: MessagePort) => void) | null;
  /** Called when a model needs the second part of the wasm binary, with the port through which it, or null, is to come. */
  onRest?: ((port: MessagePort) => void) | null;
  /** Called before the backend blocks to fetch the second part in the middle of a call. */
  onLinking?: (() => void) | null;
  /** Called after that, with the second part; null where it did not load. */
  onLinked?: ((rest: WebAssembly.Module | null) => void) | null;
}
