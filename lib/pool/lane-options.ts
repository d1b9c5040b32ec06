// Options of lanes, and of a run on one: types alone.
import type { BackendName, RemoteStart, WasmModules, WasmUrls } from "../rpc/backend.ts";
import type { Signal } from "../core/abort.ts";
import type { Effects, WorkerSource } from "../effects/effects.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Feeds } from "../rpc/messages.ts";

/** Options that all lanes of a pool share. */
export interface LaneOptions {
  readonly effects: Effects;
  readonly events: LaneEvents;
  readonly builds: Builds;
  readonly threads: number;
  readonly verbose: boolean;
  readonly onLog: ((line: string) => void) | null;
  /** Ends a worker after this long idle, in ms. */
  readonly idleMs: number;
  /** Bounds every call, in ms; null lets the lane bound runs by the observed durations. */
  readonly callTimeoutMs: number | null;
}

/** A build of ONNX Runtime. */
export interface Build {
  /** Returns the worker script; called again for each start, may throw a clear error. */
  readonly source: () => WorkerSource;
  readonly wasmUrls: () => WasmUrls;
  /** Modules that are compiled once for the workers of a pool. */
  readonly compiled: Compiled;
  /** Returns the server of a remote lane, anew for each start; absent on this device. */
  readonly remote?: (() => RemoteStart) | undefined;
  /** Base address of that server. */
  readonly endpoint?: string | undefined;
}

/** The builds of a pool; one and the same object where the browser, or the package's entry, has one only. */
export interface Builds {
  /** Build that a lane starts with. */
  readonly usual: Build;
  /** Build for models of `LARGE_BYTES` and more; the usual one from when it did not start. */
  large: Build;
}

/** Handler of the events of all lanes of a pool. */
export interface LaneEvents {
  /** Called before and after a call that may crash the page: a load, and a first run. */
  trying(modelId: number, isTrying: boolean): void;
  /** Whether a model was unloaded for good: a queued run must not load it again. */
  isUnloaded(modelId: number): boolean;
  /** Called when a model was loaded, with the time, including the start of a worker, and the lane. */
  loaded(modelId: number, ms: number, lane: string): void;
  /** Called when a model was loaded or first run, which takes memory. */
  grown(): void;
  /** Whether a worker may be started: work queued on a lane whose GPU was lost must not lose it again. */
  mayStart(backend: BackendName): boolean;
  /** Called when a worker ended because of a fault, before its calls reject. */
  crashed(error: Error): void;
  /** Called whenever a lane becomes free. */
  freed(): void;
  /** Called when a worker was ended after idling too long. */
  idled(): void;
}

/**
 * ONNX Runtime, compiled once for all workers of a pool. The page starts to compile, off its own thread, while the
 * first worker's script is loading: a worker would start to compile later, by its own start-up time. Where the page
 * can't compile, the first worker does, and shares the module.
 */
export interface Compiled {
  /** Null until compiling has started; resolves to null where the page could not compile, and no worker has yet. */
  modules: Promise<WasmModules | null> | null;
  /** The second part, once a model needed it; null until compiling has started. */
  rest: Promise<WebAssembly.Module | null> | null;
  /**
   * Whether workers keep their modules, since the browser refused to compile on the page: below a policy Firefox delivers no
   * message with a module to the page.
   */
  isKept?: boolean;
}

/** Options of a run on a lane. */
export interface LaneRunOptions {
  /** Overrides the lane's own bound, in ms. */
  readonly boundMs?: number | undefined;
  readonly state?: StateStep | undefined;
  /**
   * Whether this is a measurement, which the scheduler did not start: the lane takes no batch in parallel. Default
   * false.
   */
  readonly isProbe?: boolean | undefined;
  /** Called as the batch reaches a phase; a staged batch has not begun. */
  readonly onPhase?: ((phase: Phase) => void) | undefined;
  /** The requests that wait for it, for a lane to a server. */
  readonly batch?: WaitingBatch | undefined;
}

/** The requests that wait for a batch. */
export interface WaitingBatch {
  /** Those that the lane took, in their order. */
  readonly steps: readonly {
    readonly id: number;
    readonly work: {
      readonly routes: readonly { readonly backend: BackendName; readonly here: () => object | null }[];
      readonly onBegun?: (() => void) | undefined;
      readonly options: {
        readonly signal: Signal | undefined;
        readonly isRefusable: boolean;
        readonly dueMs: number;
        readonly deadlineMs: number;
      };
    };
    reject(error: unknown): void;
  }[];
  /** Ids of those that no longer wait for this batch. */
  readonly withdrawn: ReadonlySet<number>;
  /** The estimated time until its first one is answered, and until this device would answer it instead. */
  readonly why: { readonly inMs: number; readonly hereInMs?: number | undefined };
}

/** Phase of a batch on its lane: the worker starts, the model is loaded, the batch itself runs. */
export type Phase = "starting" | "loading" | "running";

/** A step of a recurrent state, and the data to rebuild the state on a lane that does not hold it. */
export interface StateStep {
  readonly id: number;
  /** The mark of the previous step. */
  readonly after: number;
  /** Mark of the state after this step; no two steps have the same. */
  readonly mark: number;
  /** An earlier state, by the names of its inputs. */
  readonly checkpoint: Readonly<Record<string, Tensor>>;
  /** The inputs of the steps since. */
  readonly since: readonly Feeds[];
  /** Whether the outputs that form the state are returned with the answer. */
  readonly isCheckpoint: boolean;
}
