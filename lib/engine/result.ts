// Result of a run: the outputs, and the backend, variant and lane that produced them; and the summary of a settled
// request.
import type { BackendName } from "../core/device.ts";
import type { ErrorCode } from "../core/errors.ts";
import { explain } from "./explain-run.ts";
import type { Grounds, RunWhy } from "./explain-run.ts";
import { lazyProperty } from "../core/lazy-property.ts";
import type { Outcome } from "../observe/counters.ts";
import type { Decoded, Ran, RanItem } from "../rpc/messages.ts";
import type { Priority, StartWhy } from "../schedule/events.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Why } from "../core/reasons.ts";

/** One attempt of a step. */
export interface Attempt {
  /** Lane of the attempt, as `wasm-0`. */
  readonly lane: string;
  /** The backend of that lane. */
  readonly backend: BackendName;
  /** Duration of the attempt on the lane, in ms, including the start of a worker and the load of the model. */
  readonly ms: number;
  /** Null where it succeeded. */
  readonly error: ErrorCode | null;
}

/** Where and how an answer was produced, and how long it took. Times in ms. */
export interface RunInfo {
  /** The backend that ran it. */
  readonly backend: BackendName;
  /** The variant that ran it. */
  readonly variant: string;
  /** The lane that ran it, as `wasm-0`. */
  readonly lane: string;
  /** Number of requests in its batch. */
  readonly batchSize: number;
  /** Time from the call until a lane took it. */
  readonly queuedMs: number;
  /** Time of the backend's run alone. */
  readonly ranMs: number;
  /** Time to convert images to tensors; 0 where the inputs are tensors. */
  readonly preprocessMs: number;
  /** Time to decode outputs; 0 where the bundle declares no decoder. */
  readonly decodeMs: number;
  /** Number of attempts: more than one where a lane died and the work was retried. */
  readonly attempts: number;
  /** Every attempt, the successful one last. */
  readonly history: readonly Attempt[];
  /**
   * Whether the answer is cached from an earlier run of the same inputs, or shared with one in flight, whose times
   * these are.
   */
  readonly isCached: boolean;
  /** Where it ran: on this device, or on a server. */
  readonly placement: "local" | "remote";
  /** Base address of the server that answered; null on this device. */
  readonly endpoint: string | null;
  /** Reasons for where and how it ran. */
  readonly why: RunWhy;
}

/** The answer to one run. */
export interface RunResult {
  /** Tensors by output name, owned by the caller. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Decoded answers by output name, one per row of the request, where the bundle declares a decoder for the output. */
  readonly decoded: Readonly<Record<string, readonly Decoded[]>>;
  /**
   * The decoded answer where there is exactly one: the bundle declares a decoder for one output, and the request has
   * one row. Else null: read `decoded`.
   */
  readonly answer: Decoded | null;
  /** Where and how the answer was produced, and how long it took. */
  readonly info: RunInfo;
}

/** Summary of a settled request, for `observe`. Holds neither inputs nor outputs. */
export interface RequestSummary {
  /** Name of the model. */
  readonly model: string;
  /** Priority that its caller set. */
  readonly priority: Priority;
  /** Outcome; `rejected` because of its deadline or a full queue. */
  readonly outcome: Outcome;
  /** Code of the error; null where it was answered, cancelled, or the caller's mistake. */
  readonly code: ErrorCode | null;
  /** Time from the call until it was settled, in ms. */
  readonly ms: number;
  /** Deadline in ms from the call; null where there is none. */
  readonly deadlineMs: number | null;
  /** Whether it was answered after its deadline. */
  readonly isLate: boolean;
  /** Where and how the answer was produced; null where there is none. */
  readonly info: RunInfo | null;
}

/** Outcome of a step. */
export interface Done {
  readonly item: RanItem;
  /** The batch that it was part of. */
  readonly ran: Ran;
  readonly route: { readonly backend: BackendName; readonly variant: string };
  /** Base address of the server; null on this device. */
  readonly endpoint: string | null;
  /** Reason for the route. */
  readonly routeWhy: Why;
  /** Reason for its lane and its batch. */
  readonly start: StartWhy;
  readonly queuedMs: number;
  readonly attempts: readonly Attempt[];
  /** Time between its deadline and its end; 0 or less where it was on time. */
  readonly lateMs: number;
}

/** Returns the decoded answer where there is exactly one, else null. */
export function answerOf({ decoded }: Pick<RunResult, "decoded">): Decoded | null {
  const [rows, ...others] = Object.values(decoded);
  return rows?.length === 1 && others.length === 0 ? (rows[0] ?? null) : null;
}

/** Makes the result of a run from the outcome of a step. */
export function toResult(done: Done): RunResult {
  return new Answer(done);
}

/** Creates the reasons when they are read. */
class Info implements RunInfo {
  static readonly #WHY = lazyProperty((info: Info) => explain(info.#grounds));
  readonly backend: BackendName;
  readonly variant: string;
  readonly lane: string;
  readonly batchSize: number;
  readonly queuedMs: number;
  readonly ranMs: number;
  readonly preprocessMs: number;
  readonly decodeMs: number;
  readonly attempts: number;
  readonly history: readonly Attempt[];
  readonly isCached: boolean = false;
  readonly placement: "local" | "remote";
  readonly endpoint: string | null;
  declare readonly why: RunWhy;
  readonly #grounds: Grounds;

  constructor({ ran, route, endpoint, routeWhy, start, queuedMs, attempts, lateMs }: Done) {
    const count = ran.items.length;
    this.backend = route.backend;
    this.variant = route.variant;
    this.lane = attempts.at(-1)?.lane ?? "";
    this.batchSize = count;
    this.queuedMs = queuedMs;
    this.ranMs = ran.runMs;
    this.preprocessMs = ran.preprocessMs;
    this.decodeMs = ran.decodeMs;
    this.attempts = attempts.length;
    this.history = attempts;
    this.placement = endpoint === null ? "local" : "remote";
    this.endpoint = endpoint;
    this.#grounds = { routeWhy, start, lane: this.lane, count, failures: attempts.slice(0, -1), lateMs };
    Object.defineProperty(this, "why", Info.#WHY);
  }
}

/** Decodes answers when they are read. */
class Answer implements RunResult {
  static readonly #DECODED = lazyProperty((answer: Answer) => answer.#item.decoded);
  static readonly #ANSWER = lazyProperty(answerOf);
  readonly outputs: RunResult["outputs"];
  declare readonly decoded: RunResult["decoded"];
  declare readonly answer: RunResult["answer"];
  readonly info: RunInfo;
  readonly #item: RanItem;

  constructor(done: Done) {
    this.#item = done.item;
    this.outputs = done.item.outputs;
    Object.defineProperty(this, "decoded", Answer.#DECODED);
    Object.defineProperty(this, "answer", Answer.#ANSWER);
    this.info = new Info(done);
  }
}
