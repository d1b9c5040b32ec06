// The cost of operators that run on the CPU in a WebGPU session, from ONNX Runtime's profile of some runs: each value that
// they read from the GPU makes the run wait for it, and values are copied both ways. Arithmetic on shapes never waits:
// shapes are known on the CPU. A form is refused where that takes more than the GPU can save, and not for the mere
// presence of such an operator.

import { placementsFromLog } from "../../core/assignment-log.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import type { Feed } from "./feeds.ts";
import type { Graph } from "../onnx/graph.ts";
import { openModel } from "./session.ts";

/** One event of ONNX Runtime's profile. */
export interface ProfileEvent {
  readonly cat?: string;
  readonly name?: string;
  /** Duration in microseconds. */
  readonly dur?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Cost of one run. */
export interface PlacementCost {
  /** Number of times that the CPU waits for a value of the GPU. */
  readonly waits: number;
  /** Bytes copied, both ways; absent where they were not measured. */
  readonly bytes?: number;
  /** Time of the operators on the CPU, in milliseconds. */
  readonly cpuMs: number;
}

/**
 * Time of one wait: a buffer mapped for reading takes 0.5 to 2 ms in Chromium on integrated and discrete GPUs, since all
 * work before it must be submitted and finished.
 */
const WAIT_MS = 1;
/** Rate of copies between a browser's processes, in bytes a millisecond: about 1 GB/s. */
const BYTES_PER_MS = 1e6;
/** A GPU is taken to need at least this share of the CPU's time for a whole model. */
const GPU_SHARE = 0.25;
/** Below this a run is short on any backend, and a cost of the same size decides nothing. */
const FREE_MS = 2;

/** Reads the cost of a run from a profile of one or more. */
export function costOf(events: readonly ProfileEvent[]): PlacementCost {
  const kernels = events.filter((x) => x.cat === "Node" && (x.name ?? "").endsWith("_kernel_time"));
  const runs = Math.max(1, events.filter((x) => x.name === "model_run").length);
  const opOf = (x: ProfileEvent): string => textOf(x.args?.["op_name"]);
  const isCopy = (x: ProfileEvent): boolean => opOf(x) === "MemcpyToHost" || opOf(x) === "MemcpyFromHost";
  const onCpu = kernels.filter((x) => x.args?.["provider"] === "CPUExecutionProvider" && !isCopy(x));
  const copies = kernels.filter(isCopy);
  const sum = (list: readonly ProfileEvent[], of: (x: ProfileEvent) => number): number =>
    list.reduce((total, x) => total + of(x), 0) / runs;
  // The shortest time of each operator: what else the machine does makes any single one longer.
  const least = new Map<string, number>();
  for (const { name = "", dur = 0 } of onCpu) least.set(name, Math.min(dur, least.get(name) ?? Infinity));
  return {
    waits: sum(copies, (x) => (opOf(x) === "MemcpyToHost" ? 1 : 0)),
    bytes: sum(copies, (x) => Number(x.args?.["output_size"] ?? 0)),
    cpuMs: sum(onCpu, ({ name = "" }) => (least.get(name) ?? 0) / 1000),
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Reads the number of waits from a log, where there is no profile: a browser's. Bytes and times are left out. */
export function costFromLog(log: readonly string[]): PlacementCost {
  const placements = placementsFromLog(log) ?? [];
  return { waits: placements.filter((x) => x.operator === "MemcpyToHost").length, cpuMs: 0 };
}

/** Measures one run of a model on the CPU, on one thread, in milliseconds: the shortest of three, after one to warm up. */
export async function timeOnCpu(
  source: OnnxSource,
  feed: Feed,
  session: Readonly<Record<string, string>> = {},
): Promise<number> {
  const model = await openModel(source, "cpu", session);
  try {
    await model.run(feed);
    let least = Infinity;
    for (let i = 0; i < 3; i++) {
      const started = performance.now();
      await model.run(feed);
      least = Math.min(least, performance.now() - started);
    }
    return least;
  } finally {
    await model.release();
  }
}

/** Returns the estimated time of such a cost on a device, in milliseconds. */
export function estimateMs({ waits, bytes = 0, cpuMs }: PlacementCost): number {
  return waits * WAIT_MS + bytes / BYTES_PER_MS + cpuMs;
}

/**
 * Explains why operators on the CPU cost more than a GPU can save; undefined where they do not.
 * @param wholeMs - time of the whole model on the CPU
 */
export function whyTooCostly(cost: PlacementCost, wholeMs: number, operators: readonly string[]): string | undefined {
  const costMs = estimateMs(cost);
  const savedMs = wholeMs * (1 - GPU_SHARE);
  if (costMs <= Math.max(savedMs, FREE_MS)) return undefined;
  const names = [...new Set(operators)].filter((x) => x !== "").join(", ") || "all operators";
  const copied = cost.bytes === undefined ? "" : ` and ${Math.round(cost.bytes)} copied bytes`;
  const told = `${Math.round(cost.waits)} waits for the GPU${copied} a run`;
  return `${names} run on the CPU, which costs about ${costMs.toFixed(1)} ms (${told}), more than a GPU can save of ${wholeMs.toFixed(1)} ms`;
}

/** Returns what a developer can do about operators on the CPU, as the end of a sentence; "" where nothing is known. */
export function fixFor({ nodes }: Graph, operators: readonly string[]): string {
  // ONNX Runtime 1.30 has a WebGPU kernel for its own Attention, and none for ONNX's of operator set 23.
  const isNew = operators.includes("Attention") && nodes.some((x) => x.opType === "Attention" && x.domain === "");
  return isNew ? ": export with operator set 22 or lower, where Attention is two products and a Softmax" : "";
}
