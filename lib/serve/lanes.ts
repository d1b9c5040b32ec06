// The lanes of a server, each started again when its thread ends, or does not start, after a time that doubles with each
// failure.
import { SelvedgeError, isSelvedgeError } from "../core/errors.ts";
import type { ServeExecutor, ServerClock } from "./executor.ts";
import { ServeLane } from "./lane.ts";
import type { ServedModel } from "./served-models.ts";

/** Time after which a lane is started again, and the most that it doubles to. */
const RESTART_MS = 1_000;
const RESTART_MAX_MS = 60_000;

/** Settings of lanes. */
export interface LanesSettings {
  readonly models: readonly ServedModel[];
  readonly executor: ServeExecutor;
  readonly clock: ServerClock;
  /** Path of onnxruntime-node. */
  readonly runtime: string;
  /** Number of lanes. */
  readonly count: number;
  /** Threads of each lane's run. */
  readonly threads: number;
  onError(text: string): void;
}

/** All lanes. */
export class ServeLanes {
  readonly #settings: LanesSettings;
  readonly #lanes: Map<string, ServeLane> = new Map();
  readonly #restarts: Map<string, () => void> = new Map();
  #isClosed = false;

  constructor(settings: LanesSettings) {
    this.#settings = settings;
  }

  /**
   * Starts all lanes, one after another; those after the first are started again where they fail. Rejects with
   * `closed`, and with the first lane's error: a model that does not load, or `worker-crashed`.
   */
  async start(): Promise<void> {
    for (let i = 0; i < this.#settings.count; i += 1) {
      const id = `cpu-${i}`;
      try {
        await this.#open(id);
      } catch (error) {
        if (i === 0 || this.#isClosed) throw error;
        this.#restart(id, RESTART_MS, error);
      }
    }
  }

  /** Ends all lanes. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const cancel of this.#restarts.values()) cancel();
    await Promise.all([...this.#lanes.values()].map((x) => x.close()));
  }

  /** Starts a lane and runs each model there before it takes requests. */
  async #open(id: string): Promise<void> {
    if (this.#isClosed) throw new SelvedgeError("closed", "The server is closed.");
    const { models, executor, runtime, threads } = this.#settings;
    let isAdded = false;
    const lane = new ServeLane(id, runtime, threads, (error) => {
      executor.remove(id);
      if (isAdded) this.#restart(id, RESTART_MS, error);
    });
    this.#lanes.set(id, lane);
    try {
      for (const model of models) await this.#warmUp(lane, model);
      if (lane.ended !== null) throw lane.ended;
    } catch (error) {
      await lane.close();
      throw error;
    }
    isAdded = true;
    executor.add(lane);
  }

  /** Loads a model and runs it: a first run is slower than others. Rejects where the thread ended. */
  async #warmUp(lane: ServeLane, model: ServedModel): Promise<void> {
    const { executor, clock, onError } = this.#settings;
    await lane.load(model);
    try {
      await lane.run(model.id, copyOf(model));
      const startMs = clock.now();
      await lane.run(model.id, copyOf(model));
      executor.measured(model, clock.now() - startMs);
    } catch (error) {
      if (isSelvedgeError(error)) throw error;
      onError(`${model.name}: its first run failed, with inputs of zeros or those of the bundle: ${String(error)}`);
    }
  }

  #restart(id: string, delayMs: number, error: unknown): void {
    if (this.#isClosed) return;
    const { clock, onError } = this.#settings;
    onError(`lane ${id} is started again in ${delayMs} ms: ${error instanceof Error ? error.message : String(error)}`);
    const cancel = clock.setTimer(() => {
      this.#open(id).catch((again: unknown) => {
        this.#restart(id, Math.min(RESTART_MAX_MS, 2 * delayMs), again);
      });
    }, delayMs);
    this.#restarts.set(id, cancel);
  }
}

/** Copies a model's first inputs: a run takes its buffers away. */
function copyOf({ warmUp }: ServedModel): ServedModel["warmUp"] {
  return Object.fromEntries(
    Object.entries(warmUp).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]),
  ) as ServedModel["warmUp"];
}
