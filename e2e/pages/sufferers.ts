// The benchmark of faults: who suffers what, and what comes of it. Shared by its page (fault-cost.ts) and bench/faults.ts.

/** Who suffers. */
export const SUFFERERS = ["onnxruntime-web", "transformers.js", "selvedge"] as const;
/** One of them. */
export type Sufferer = (typeof SUFFERERS)[number];

/** What is done to them. */
export type CostlyFault = "kill" | "hang" | "missing" | "out-of-memory" | "destroy" | "invalid";

/** What became of the requests. */
export interface Cost {
  /** Where they were to run; what Selvedge went down to instead is not told here. */
  readonly backend: string;
  /** From the fault until the last request was settled, or until nobody waited any longer. */
  readonly ms: number;
  /** The same requests before the fault; 0 where it came first. */
  readonly plainMs: number;
  /** Of 20 requests: never settled, rejected, answered wrongly. */
  readonly hung: number;
  readonly rejected: number;
  readonly wrong: number;
  /** How many of five later requests were answered rightly. */
  readonly later: number;
  /** What the rejections said, once each. */
  readonly errors: readonly string[];
}
