// Finds out where the operators of a model run, in Node, from ONNX Runtime's own log: onnxruntime-node has a WebGPU
// provider too, and assigns nodes as the browser builds do.
import { assignmentFromLog } from "../../core/assignment-log.ts";
import type { Assignment } from "../../core/bundle.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import { runInChildProcess } from "../run/child-process.ts";
import type { ChildProcessRun } from "../run/child-process.ts";

const PROVIDERS = { webgpu: "webgpu", wasm: "cpu" } as const;

/**
 * Counts the operators of a model by execution provider. Needs the package onnxruntime-node and, for `webgpu`, a
 * Vulkan, Metal or Direct3D adapter; a software adapter gets the same assignment.
 * @throws SelvedgeError `no-backend` where the model could not be loaded on that backend.
 */
export async function assignmentInNode(
  source: OnnxSource,
  backend: "webgpu" | "wasm",
  session: Readonly<Record<string, string>> = {},
): Promise<Assignment> {
  return assignmentOf(await runInChildProcess(source, PROVIDERS[backend], session), backend);
}

/**
 * Counts the operators by execution provider for a model that ran in a child process.
 * @throws SelvedgeError `no-backend` where it did not run.
 */
export function assignmentOf({ exit, isLate, log }: ChildProcessRun, backend: "webgpu" | "wasm"): Assignment {
  const assignment = exit === 0 ? assignmentFromLog(log.split("\n"), backend) : null;
  if (assignment !== null) return assignment;
  const reason = isLate ? "timed out" : (log.trim().split("\n").at(-1) ?? "").slice(0, 300);
  throw new SelvedgeError("no-backend", `onnxruntime-node did not run the model on ${backend}: ${reason}`, {
    backend,
    isLate,
    exit: exit ?? "it died",
    log: log.slice(-2000),
  });
}
