// What a run answers: the outputs, and what really produced them.
import type { BackendName } from "./backend/backend.ts";
import type { Why } from "./why.ts";
import type { Attempt, Done } from "./dispatcher.ts";
import type { Decoded } from "./pool/protocol.ts";
import type { Tensor } from "./tensor.ts";

/** Says what produced an answer, and how long it took. Times in ms. */
export interface RunInfo {
  /** The backend that really ran it. */
  readonly backend: BackendName;
  /** The variant that really ran it. */
  readonly variant: string;
  /** The lane that ran it, as `wasm-0`. */
  readonly lane: string;
  /** How many requests ran together. */
  readonly batchSize: number;
  /** From the call until a lane took it. */
  readonly queuedMs: number;
  /** The backend's run alone. */
  readonly ranMs: number;
  /** Images to tensors; 0 where tensors came. */
  readonly preprocessMs: number;
  /** Outputs to answers; 0 where the bundle declares none. */
  readonly decodeMs: number;
  /** How often it was tried: more than once where a lane died and the work was run again. */
  readonly attempts: number;
  /** Every try, the answer's last. */
  readonly history: readonly Attempt[];
  /** Whether it was kept from an earlier run of the same inputs, whose times these are. */
  readonly isCached: boolean;
  /** Where it ran: on this device. */
  readonly placement: "local";
  /** Why it ran there. */
  readonly why: Why;
}

/** The answer to one run. */
export interface RunResult {
  /** Tensors by output name; the caller's own. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Answers by output name, one per row of the request, where the bundle declares how to decode the output. */
  readonly decoded: Readonly<Record<string, readonly Decoded[]>>;
  /** What produced the answer, and how long it took. */
  readonly info: RunInfo;
}

/** Shapes what a dispatcher gives. */
export function toResult({ item, ran, route, queuedMs, attempts }: Done): RunResult {
  const info: RunInfo = {
    backend: route.backend,
    variant: route.variant,
    lane: attempts.at(-1)?.lane ?? "",
    batchSize: ran.items.length,
    queuedMs,
    ranMs: ran.runMs,
    preprocessMs: ran.preprocessMs,
    decodeMs: ran.decodeMs,
    attempts: attempts.length,
    history: attempts,
    isCached: false,
    placement: "local",
    why: route.why,
  };
  return { outputs: item.outputs, decoded: item.decoded, info };
}
