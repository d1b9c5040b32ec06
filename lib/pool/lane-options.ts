// What lanes are made with, and what a run on one is given beside its inputs: types alone.
import type { BackendName, WasmModules, WasmUrls } from "../rpc/backend.ts";
import type { Effects } from "../effects/effects.ts";
import type { WorkerSource } from "../rpc/worker-link.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Feeds } from "../rpc/messages.ts";

/** What every lane of a pool shares. */
export interface LaneOptions {
  readonly effects: Effects;
  /** Names the worker script; called again for each start, may throw a clear error. */
  readonly source: () => WorkerSource;
  readonly wasmUrls: () => WasmUrls;
  readonly threads: number;
  /** What the workers of a pool compile once. */
  readonly compiled: Compiled;
  readonly verbose: boolean;
  readonly onLog: ((line: string) => void) | null;
  /** Ends a worker after this long idle, in ms. */
  readonly idleMs: number;
  /** Bounds every call, in ms; null lets the lane bound runs by what it has seen. */
  readonly callTimeoutMs: number | null;
  /** Called before and after what may take the page down with it: a load, and a first run. */
  readonly onTrying: (modelId: number, isTrying: boolean) => void;
  /** Whether a model was unloaded for good: it must not come back with what still waits for it. */
  readonly isUnloaded?: ((modelId: number) => boolean) | undefined;
  /** Called when a model was loaded, with what that took, the start of a worker included, and the lane. */
  readonly onLoaded: (modelId: number, ms: number, lane: string) => void;
  /** Called when a model was loaded or first run, and takes memory. */
  readonly onGrown: () => void;
  /** Whether a worker may be started: what waits on a lane whose GPU was lost must not lose it once more. */
  readonly mayStart: (backend: BackendName) => boolean;
  /** Called when a worker ended by a fault, before its calls reject. */
  readonly onCrash: (error: Error) => void;
  /** Called whenever the lane became free. */
  readonly onFree: () => void;
  /** Called when its worker had no work for so long that it was ended. */
  readonly onIdled: () => void;
}

/**
 * ONNX Runtime, compiled once for all workers of a pool. The page begins with it, off its own thread, while the first
 * worker's script is on its way: a worker that compiles for itself begins later by what it takes to start. Where the page
 * can't, the first worker does, and hands on what it has.
 */
export interface Compiled {
  /** Null as long as nobody began; gives null where the page could not, and no worker did yet. */
  modules: Promise<WasmModules | null> | null;
  /** The second part, once a model needed it; null where that has not begun. */
  rest: Promise<WebAssembly.Module | null> | null;
}

/** What a caller of `run` may want. */
export interface LaneRunOptions {
  /** Overrides the lane's own bound, in ms. */
  readonly boundMs?: number | undefined;
  readonly state?: StateStep | undefined;
  /** Whether this is a measurement, which the scheduler did not start: the lane takes no batch beside it. Default false. */
  readonly isProbe?: boolean | undefined;
  /** Called as the lane goes on with the batch, which does not begin while it is staged. */
  readonly onPhase?: ((phase: Phase) => void) | undefined;
}

/** Stage of a batch on its lane: the worker starts, the model is loaded, the batch itself runs. */
export type Phase = "starting" | "loading" | "running";

/** A step of a recurrent state, and what the state is rebuilt from on a lane that does not keep it. */
export interface StateStep {
  readonly id: number;
  /** The mark of the step before. */
  readonly after: number;
  /** Names what this step leaves; no two steps have the same. */
  readonly mark: number;
  /** The state as it was a few steps ago, by the names of its inputs. */
  readonly checkpoint: Readonly<Record<string, Tensor>>;
  /** The inputs of the steps since. */
  readonly since: readonly Feeds[];
  /** Whether the outputs that make up the state are to come back with the answer. */
  readonly isCheckpoint: boolean;
}
