// Decides what happens to a step whose lane failed: a pure function of the failure, so that the simulation can test all
// cases.
//
// A stateless step is retried. GPU losses have a budget that the browser keeps (Chromium blocks a host at its second
// loss within two minutes, and every host at the third crash), so WebGPU gets one retry and then the step falls back to
// wasm; pool/gpu-loss-ledger.ts counts. A failure that the same lane would only repeat (a validation error, a kernel's
// own error) is not retried there.
import { isServer } from "../core/device.ts";
import type { BackendName } from "../core/device.ts";
import type { ErrorCode } from "../core/errors.ts";

/** Maximum number of attempts of a step, over all backends; one that ran out of memory may still take a smaller variant. */
export const MAX_ATTEMPTS = 3;

/** A failure of a step. */
export interface Failure {
  /** The error's code, or null for an error that no lane caused. */
  readonly code: ErrorCode | null;
  readonly backend: BackendName;
  /** Whether its worker did not answer in time: then the step itself may never end. */
  readonly isHung: boolean;
  /** Number of attempts of the step, including this one. */
  readonly attempts: number;
  /** Number of attempts on this backend. */
  readonly attemptsHere: number;
  /** Whether the ledger still allows the GPU. */
  readonly gpuAllowed: boolean;
  /** Whether the fallback is a last one: a smaller variant, or a server. */
  readonly isLast: boolean;
  /** Whether there is a fallback backend. */
  readonly hasFallback: boolean;
}

/** Retry here, fall back to the next backend, or reject. */
export type Recovery = "again" | "step-down" | "reject";

const LANE_DIED: ReadonlySet<ErrorCode> = new Set(["worker-crashed", "device-lost"]);
/** Errors that may not occur on another backend. */
const LANE_UNFIT: ReadonlySet<ErrorCode> = new Set([
  "out-of-memory",
  "no-backend",
  "setup-failed",
  "internal",
  "wrong-result",
  "remote-failed",
]);

/** Decides what to do with a failed step. */
export function recover(failure: Failure): Recovery {
  const { code, backend, isHung, attempts, attemptsHere, gpuAllowed, isLast, hasFallback } = failure;
  if (code === null || !(LANE_DIED.has(code) || LANE_UNFIT.has(code))) return "reject";
  // Where memory runs out, the last ones are tried however many others failed.
  if (attempts >= MAX_ATTEMPTS) return isLast && code === "out-of-memory" ? "step-down" : "reject";
  const down = hasFallback ? "step-down" : "reject";
  if (backend === "webgpu") return LANE_DIED.has(code) && gpuAllowed && attemptsHere < 2 ? "again" : down;
  // Its other attempts may go to another server.
  if (isServer(failure)) return hasFallback ? down : "again";
  // A new worker has its memory back, and may load where the last one could not. The end of a worker from outside is
  // not the step's fault, so only the bound on all attempts ends it.
  const isOutside = code === "worker-crashed" && !isHung;
  return code !== "internal" && ((isOutside && !hasFallback) || attemptsHere < 2) ? "again" : down;
}
