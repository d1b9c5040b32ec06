// What happens to a step whose lane failed it: a pure function of the failure, so that the simulation can try them all.
//
// A stateless step is run again. GPU losses have a budget that the browser keeps (Chromium blocks a host at its second
// loss within two minutes, and every host at the third crash), so WebGPU gets one more try and then the step goes down
// to wasm; pool/gpu-loss-ledger.ts counts. A failure that the same lane would only repeat (a validation error, a
// kernel's own error) is not repeated there.
import type { ErrorCode } from "../core/errors.ts";

/** How often a step is tried at the most, over all backends. */
export const MAX_ATTEMPTS = 3;

/** What failed. */
export interface Failure {
  /** The error's code, or null for an error that no lane is to blame for. */
  readonly code: ErrorCode | null;
  readonly backend: "webgpu" | "wasm";
  /** Whether its worker did not answer in time: then the step itself may be what never ends. */
  readonly isHung: boolean;
  /** How often the step was tried, this time included. */
  readonly attempts: number;
  /** How often it was tried on this backend. */
  readonly attemptsHere: number;
  /** Whether the ledger still allows the GPU. */
  readonly gpuAllowed: boolean;
  /** Whether there is another backend to go down to. */
  readonly hasFallback: boolean;
}

/** Run it again here, run it on the next backend, or reject. */
export type Recovery = "again" | "step-down" | "reject";

const LANE_DIED: ReadonlySet<ErrorCode> = new Set(["worker-crashed", "device-lost"]);
/** What another backend may not suffer from. */
const LANE_UNFIT: ReadonlySet<ErrorCode> = new Set(["out-of-memory", "no-backend", "internal"]);

/** Decides what to do with a step that failed. */
export function recover(failure: Failure): Recovery {
  const { code, backend, isHung, attempts, attemptsHere, gpuAllowed, hasFallback } = failure;
  if (code === null || attempts >= MAX_ATTEMPTS) return "reject";
  if (!LANE_DIED.has(code) && !LANE_UNFIT.has(code)) return "reject";
  const down = hasFallback ? "step-down" : "reject";
  if (backend === "webgpu") return LANE_DIED.has(code) && gpuAllowed && attemptsHere < 2 ? "again" : down;
  // A fresh worker has its memory back, and may load where the last one did not.
  // A worker that was ended from outside is no fault of the step, so that only the bound on all tries ends it.
  const isOutside = code === "worker-crashed" && !isHung;
  return code !== "internal" && (isOutside || attemptsHere < 2) ? "again" : down;
}
