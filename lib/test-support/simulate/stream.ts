// A recurrent state in a simulated world: concurrent and sequential steps, some of them cancelled, while lanes die.
// Afterwards each answer must be that of one uninterrupted run over the executed steps, in order.
import { isSelvedgeError } from "../../core/errors.ts";
import type { Model } from "../../engine/model.ts";
import type { RunInfo } from "../../engine/result.ts";
import type { Stateful } from "../../engine/stateful.ts";
import { toyStep } from "./toy-backend.ts";
import type { World } from "./world.ts";

const STEPS = 24;

interface StreamStep {
  readonly x: number;
  readonly stop: AbortController | null;
  settled: number;
  y: number | null;
  error: unknown;
}

/** One state and its steps. */
export class Stream {
  readonly #world: World;
  readonly #name: string;
  readonly #state: Stateful;
  readonly #steps: StreamStep[] = [];

  constructor(world: World, name: string, model: Model) {
    this.#world = world;
    this.#name = name;
    this.#state = model.stateful({ checkpointEvery: 1 + world.random.below(8) });
    let at = 0;
    for (let i = 0; i < STEPS; i += 1) {
      const stop = world.random.chance(0.1) ? new AbortController() : null;
      const step: StreamStep = { x: i + 1, stop, settled: 0, y: null, error: null };
      this.#steps.push(step);
      at += world.random.chance(0.5) ? 0 : world.random.upTo(200);
      world.at(at, () => {
        this.#run(step);
      });
      if (stop !== null)
        world.at(at + world.random.upTo(100), () => {
          stop.abort(new Error(`cancel step ${i}`));
        });
    }
  }

  /** Whether every step is settled. */
  get isDone(): boolean {
    return this.#steps.every((step) => step.settled > 0);
  }

  /** Closes the state and returns the violations. */
  end(mayFail: boolean): string[] {
    this.#state.close();
    const broken: string[] = [];
    let sum = 0;
    let isLost = false;
    for (const { x, stop, settled, y, error } of this.#steps) {
      const name = `step ${x} of stream ${this.#name}`;
      if (settled !== 1) broken.push(settled === 0 ? `${name} was lost` : `${name} was answered ${settled} times`);
      else if (y !== null) {
        sum = toyStep(sum, x);
        if (isLost) broken.push(`${name} was answered after the state was lost`);
        if (y !== sum) broken.push(`${name} was answered wrongly: ${y}, not ${sum}`);
      } else if (isSelvedgeError(error) && error.code === "state-lost") {
        isLost = true;
        if (!mayFail) broken.push(`without a fault ${name} failed: ${String(error)}`);
      } else if (isSelvedgeError(error) && error.code === "overloaded")
        continue; // rejected: it was not executed
      else if (stop?.signal.aborted !== true || error !== stop.signal.reason) broken.push(`${name}: ${String(error)}`);
    }
    return broken;
  }

  #run(step: StreamStep): void {
    const x = { dtype: "float32", dims: [1, 2], data: Float32Array.of(step.x, -step.x) } as const;
    const options = step.stop === null ? {} : { signal: step.stop.signal };
    this.#state.run({ x }, options).then(
      ({ outputs, info }) => {
        const y = outputs["y"]?.data as Float32Array | undefined;
        const isWhole = y?.length === 2 && y[0] === -(y[1] ?? 0) && Object.keys(outputs).length === 1;
        this.#settle(step, isWhole ? (y[0] as number) : Number.NaN, null, info);
      },
      (error: unknown) => {
        this.#settle(step, null, error, null);
      },
    );
  }

  #settle(step: StreamStep, y: number | null, error: unknown, info: RunInfo | null): void {
    step.settled += 1;
    step.y = y;
    step.error = error;
    this.#world.log(`stream ${this.#name} step ${step.x}: ${y ?? String(error)} ${info?.lane ?? ""}`);
  }
}
