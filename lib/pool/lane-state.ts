// State of a lane as others read it: what it counted, what it sent, and the models that its worker holds.
import type { BackendName, ModelFacts } from "../rpc/backend.ts";

/** What a lane counted. */
export interface LaneStats {
  /** Name of the lane, as `wasm-0`. */
  readonly id: string;
  /** The backend that its worker runs. */
  readonly backend: BackendName;
  /** What it does now; `off` where no worker is up. */
  readonly state: "off" | "starting" | "idle" | "busy";
  /** How often a worker was started. */
  readonly starts: number;
  /** How often a worker ended by itself, hung, or lost its device. */
  readonly crashes: number;
  /** Batches run. */
  readonly runs: number;
  /** Time spent on them, in ms. */
  readonly busyMs: number;
  /** How much memory the worker holds, as far as it can tell: WebAssembly's, and buffers on the GPU. */
  readonly memoryBytes: number;
}

/** A run that was sent to the worker. */
export interface Sent {
  /** Called as the one before it ends; its own time counts from then on. */
  begin: () => void;
}

/** A model in a worker. */
export interface Loaded {
  readonly facts: Promise<ModelFacts>;
  /** Whether the load is through. */
  isReady: boolean;
  /** Whether it is being unloaded. */
  isLeaving: boolean;
  /** By how much the worker grew for it, its files' size at least. */
  bytes: number;
  /** When it last ran. */
  usedMs: number;
  slowestMsPerElement: number;
  /** The states that lie in the worker, each with the mark of the step that left it. */
  readonly states: Map<number, number>;
}
