// State of a lane as others read it: its counters, the runs that it sent, and the models that its worker holds.
import type { BackendName, ModelFacts } from "../rpc/backend.ts";

/** Counters and state of a lane. */
export interface LaneStats {
  /** Name of the lane, as `wasm-0`. */
  readonly id: string;
  /** The backend that its worker runs. */
  readonly backend: BackendName;
  /** Current state; `off` where no worker is running. */
  readonly state: "off" | "starting" | "idle" | "busy";
  /** Number of workers started. */
  readonly starts: number;
  /** Number of workers that ended by themselves, hung, or lost their device. */
  readonly crashes: number;
  /** Batches run. */
  readonly runs: number;
  /** Time spent on them, in ms. */
  readonly busyMs: number;
  /** Memory of the worker, as far as it can be measured: WebAssembly memory, and buffers on the GPU. */
  readonly memoryBytes: number;
}

/** A run that was sent to the worker. */
export interface Sent {
  /** Called as the previous run ends; its own time counts from then on. */
  begin: () => void;
}

/** A model in a worker. */
export interface Loaded {
  readonly facts: Promise<ModelFacts>;
  /** Whether the load has finished. */
  isReady: boolean;
  /** Whether it is being unloaded. */
  isLeaving: boolean;
  /** Growth of the worker's memory by the model, its files' size at least. */
  bytes: number;
  /** Time of its last run. */
  usedMs: number;
  /** The slowest of its runs; 0 before the first. */
  slowestMs: number;
  slowestMsPerElement: number;
  /** The states that the worker holds, each with the mark of its last step. */
  readonly states: Map<number, number>;
}
