// Requests of a story: several models, rows and sizes, some urgent, some with deadlines, some cancelled. Each knows its
// expected answer and afterwards reports violations.
import type { Engine } from "../../engine/engine.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Model } from "../../engine/model.ts";
import type { RunOptions } from "../../engine/options.ts";
import { MAX_ATTEMPTS } from "../../schedule/recover.ts";
import type { World } from "./world.ts";

/** Number of models that a story loads: a worker that holds so many holds them all. */
export const MODELS = 3;

/** A request of a story. */
export interface RequestPlan {
  readonly name: string;
  readonly model: Model;
  /** The model's multiplier. */
  readonly factor: number;
  readonly dims: readonly [rows: number, width: number];
  readonly options: RunOptions;
  readonly stop: AbortController | null;
}

/** One request, from its call to its end. */
export class SimulatedRequest {
  readonly asked: RequestPlan;
  settled = 0;
  answered = false;
  cancelled = false;
  /** Whether it was rejected or dropped, as its deadline or a full queue allow. */
  refused = false;
  error: Error | null = null;
  calledMs = 0;
  settledMs = 0;
  batchSize = 0;
  /** The lane that ran it; empty if none did, or if it shared the answer of another. */
  lane = "";
  /** Violations: it was rejected beside a lane that was free for it. */
  readonly wrong: string[] = [];
  readonly #world: World;

  constructor(world: World, asked: RequestPlan) {
    this.#world = world;
    this.asked = asked;
  }

  /** Calls the model; fulfils when it is settled. */
  call(engine: Engine, isCalm: boolean): Promise<void> {
    const { model, factor, dims, options, stop } = this.asked;
    const world = this.#world;
    const data = Float32Array.from({ length: dims[0] * dims[1] }, (_, i) => world.now + i / 8);
    this.calledMs = world.now;
    const couldMake = isCalm && this.#isLaneFree(engine);
    const want = data.map((value) => value * factor);
    return model
      .run({ x: { dtype: "float32", dims, data } }, stop === null ? options : { ...options, signal: stop.signal })
      .then(
        ({ outputs, info }) => {
          const y = outputs["y"];
          const isRight = y?.dims.join() === dims.join() && want.every((value, i) => value === y.data[i]);
          this.#settle(isRight ? null : new Error(`answered wrongly: ${String(y?.data)} of ${String(y?.dims)}`));
          this.answered = isRight;
          this.batchSize = info.batchSize;
          if (!info.isCached) this.lane = info.lane;
          if (info.attempts > MAX_ATTEMPTS || info.attempts !== info.history.length)
            this.error = new Error(`took ${info.attempts} tries`);
          world.log(`${this.asked.name} answered by ${info.lane} after ${info.attempts}, ${info.batchSize} together`);
        },
        (error: unknown) => {
          this.#settle(error instanceof Error ? error : new Error("a value that is not an Error was thrown"));
          this.cancelled = stop?.signal.aborted === true && error === stop.signal.reason;
          const code = isSelvedgeError(error) ? error.code : null;
          this.refused =
            code === "overloaded" ||
            (code === "deadline-exceeded" && options.deadlineMs !== undefined && options.onLate !== "finish");
          if (couldMake && this.refused && world.now === this.calledMs)
            this.wrong.push("was rejected beside a free lane that could meet its deadline");
          world.log(`${this.asked.name} failed: ${String(error)}`);
        },
      );
  }

  /** Returns the violations. */
  check(): string[] {
    const { settled, answered, cancelled, refused, error, asked } = this;
    const broken = [...this.wrong];
    if (settled === 0) broken.push("was lost");
    if (settled > 1) broken.push(`was answered ${settled} times`);
    if (answered && error !== null) broken.push(error.message);
    if (!answered && !cancelled && settled > 0 && !isSelvedgeError(error)) broken.push(String(error));
    if (isSelvedgeError(error) && error.code === "deadline-exceeded" && !refused)
      broken.push("was rejected for a deadline that it does not have");
    return broken.map((text) => `${asked.name} ${text}`);
  }

  #settle(error: Error | null): void {
    this.settled += 1;
    this.settledMs = this.#world.now;
    this.error = error;
  }

  /** Whether an idle worker holds the model, nothing is queued, and three times its duration meets the deadline. */
  #isLaneFree(engine: Engine): boolean {
    const { deadlineMs = Infinity } = this.asked.options;
    const { queued, running } = engine.stats().requests;
    const rows = this.asked.dims[0];
    const isIdle = [...this.#world.alive].some(
      (worker) => worker.computes && !worker.isBusy && worker.models.size >= MODELS,
    );
    return queued === 0 && running === 0 && isIdle && deadlineMs > 3 * 30 * rows;
  }
}
