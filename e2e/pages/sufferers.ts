// Subjects, faults and results of the benchmark of faults. Shared by its page (fault-cost.ts) and bench/scenarios/faults.ts.

/** Subjects. */
export const SUFFERERS = ["onnxruntime-web", "transformers.js", "selvedge"] as const;
/** One of the subjects. */
export type Sufferer = (typeof SUFFERERS)[number];

/** Faults. */
export type CostlyFault = "kill" | "hang" | "missing" | "out-of-memory" | "destroy" | "invalid";

/** Result of the requests. */
export interface Cost {
  /** Backend requested; a fallback of Selvedge is not reported here. */
  readonly backend: string;
  /** Time from the fault until the last request was settled, or until the timeout. */
  readonly ms: number;
  /** Duration of the same requests before the fault; 0 if the fault came first. */
  readonly plainMs: number;
  /** Of 20 requests: never settled, rejected, answered incorrectly. */
  readonly hung: number;
  readonly rejected: number;
  readonly wrong: number;
  /** Number of five later requests that were answered correctly. */
  readonly later: number;
  /** Distinct messages of the rejections. */
  readonly errors: readonly string[];
}
