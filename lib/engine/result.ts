// What a run answers: the outputs, and what really produced them; and what is told of a request when it is settled.
import type { BackendName } from "../core/device.ts";
import type { ErrorCode } from "../core/errors.ts";
import { explain } from "./explain-run.ts";
import type { Grounds, RunWhy } from "./explain-run.ts";
import { lazily } from "../core/lazy-property.ts";
import type { Outcome } from "../observe/counters.ts";
import type { Decoded, Ran, RanItem } from "../rpc/messages.ts";
import type { Priority, StartWhy } from "../schedule/events.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Why } from "../core/reasons.ts";

/** One try of a step. */
export interface Attempt {
  /** Which lane tried, as `wasm-0`. */
  readonly lane: string;
  /** The backend of that lane. */
  readonly backend: BackendName;
  /** How long the try took on the lane, in ms, the start of a worker and the load of the model included. */
  readonly ms: number;
  /** Null where it succeeded. */
  readonly error: ErrorCode | null;
}

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
  /** Whether it was kept from an earlier run of the same inputs, or shared with one in flight, whose times these are. */
  readonly isCached: boolean;
  /** Where it ran: on this device. */
  readonly placement: "local";
  /** Why it ran there, and so. */
  readonly why: RunWhy;
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

/** A request that was settled, as `observe` is told of it. Holds neither inputs nor outputs. */
export interface RequestSummary {
  /** Name of the model. */
  readonly model: string;
  /** What its caller said of how urgent it is. */
  readonly priority: Priority;
  /** How it ended; `rejected` where its deadline or a full queue did not allow it. */
  readonly outcome: Outcome;
  /** Names the error; null where it was answered, cancelled, or the mistake was the caller's. */
  readonly code: ErrorCode | null;
  /** From the call until it was settled, in ms. */
  readonly ms: number;
  /** Within how many ms it was needed; null for whenever it comes. */
  readonly deadlineMs: number | null;
  /** Whether it was answered after that. */
  readonly isLate: boolean;
  /** What produced the answer; null where there is none. */
  readonly info: RunInfo | null;
}

/** What came of a step. */
export interface Done {
  readonly item: RanItem;
  /** The batch that it was part of. */
  readonly ran: Ran;
  readonly route: { readonly backend: BackendName; readonly variant: string };
  /** Why it was placed on its own route. */
  readonly placed: Why;
  /** Why it began where and with whom it did. */
  readonly start: StartWhy;
  readonly queuedMs: number;
  readonly attempts: readonly Attempt[];
  /** By how much it is late; 0 or less where it is not. */
  readonly lateMs: number;
}

/** Shapes what a dispatcher gives. */
export function toResult(done: Done): RunResult {
  return new Answer(done);
}

/** Makes its reasons when they are looked at. */
class Info implements RunInfo {
  static readonly #WHY = lazily((info: Info) => explain(info.#grounds));
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
  readonly placement = "local";
  declare readonly why: RunWhy;
  readonly #grounds: Grounds;

  constructor({ ran, route, placed, start, queuedMs, attempts, lateMs }: Done) {
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
    this.#grounds = { placed, start, lane: this.lane, count, failures: attempts.slice(0, -1), lateMs };
    Object.defineProperty(this, "why", Info.#WHY);
  }
}

/** Makes its decoded answers when they are looked at. */
class Answer implements RunResult {
  static readonly #DECODED = lazily((answer: Answer) => answer.#item.decoded);
  readonly outputs: RunResult["outputs"];
  declare readonly decoded: RunResult["decoded"];
  readonly info: RunInfo;
  readonly #item: RanItem;

  constructor(done: Done) {
    this.#item = done.item;
    this.outputs = done.item.outputs;
    Object.defineProperty(this, "decoded", Answer.#DECODED);
    this.info = new Info(done);
  }
}
