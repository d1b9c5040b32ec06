// The pool: one lane for WebGPU, n for wasm, an express lane and a wide one. It only holds them; they start by themselves
// with their first work.
import type { BackendName } from "../rpc/backend.ts";
import { Lane } from "./lane.ts";
import type { LaneStats } from "./lane-state.ts";
import type { Compiled, LaneOptions } from "./lane-options.ts";

/** No model has this id. */
const NO_MODEL = 0;

/** How many lanes of each backend. */
export interface PoolSize {
  readonly webgpu: number;
  readonly wasm: number;
  /** Whether there is one wasm lane more, for what is short and urgent while all others run what is long. */
  readonly hasExpress: boolean;
  /** How many threads one wasm lane more has, for what comes one after the other; below 2 there is none. */
  readonly wideThreads: number;
}

/** All lanes of an engine. */
export class Pool {
  readonly lanes: readonly Lane[];
  readonly #compiled: Compiled = { modules: null, rest: null };

  constructor(size: PoolSize, given: Omit<LaneOptions, "compiled" | "onIdled">) {
    const onIdled = (): void => {
      this.#releaseCompiled();
    };
    const options = { ...given, compiled: this.#compiled, onIdled };
    const make = (backend: BackendName, count: number): Lane[] =>
      Array.from({ length: count }, (_, i) => new Lane(`${backend}-${i}`, backend, options, "usual"));
    const express = size.hasExpress ? [new Lane("wasm-express", "wasm", options, "express")] : [];
    const wide = size.wideThreads > 1 ? [makeWide({ ...options, threads: size.wideThreads })] : [];
    this.lanes = [...make("webgpu", size.webgpu), ...make("wasm", size.wasm), ...express, ...wide];
  }

  /** Gives the first lane of a backend that already holds the model, else the first free one, else the first. */
  pick(backend: BackendName, modelId: number): Lane | undefined {
    const lanes = this.lanes.filter((lane) => lane.backend === backend && lane.kind === "usual");
    return lanes.find((lane) => lane.held.has(modelId)) ?? lanes.find((lane) => lane.free) ?? lanes[0];
  }

  /** Starts a worker while a model is still on its way, on the lane that will be picked for it. */
  warm(backend: BackendName): void {
    this.pick(backend, NO_MODEL)?.warm();
  }

  /** Frees a model on every lane. */
  async unload(modelId: number): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.unload(modelId)));
  }

  /**
   * Unloads models from workers, the least recently used first, until what they hold fits; their next run loads them
   * again. Leaves those that hold a state, and those that `isPinned` names.
   */
  trim(budgetBytes: number, isPinned: (modelId: number) => boolean): void {
    const all = this.lanes.flatMap((lane) => [...lane.held].map(([modelId, loaded]) => ({ lane, modelId, loaded })));
    const here = all.filter(({ loaded }) => !loaded.isLeaving);
    let bytes = here.reduce((sum, { loaded }) => sum + loaded.bytes, 0);
    here.sort((a, b) => a.loaded.usedMs - b.loaded.usedMs);
    here.pop(); // the last stays, whatever it takes: something must run
    for (const { lane, modelId, loaded } of here) {
      if (bytes <= budgetBytes) return;
      if (!loaded.isReady || loaded.states.size > 0 || isPinned(modelId)) continue;
      bytes -= loaded.bytes;
      lane.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
    }
  }

  /** Frees what is kept of a state, wherever that is. */
  async forget(stateId: number): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.forget(stateId)));
  }

  /** Asks each idle worker whether it still answers; one that does not is ended. */
  check(): void {
    for (const lane of this.lanes) lane.check();
  }

  /** Ends idle workers, all but one on wasm; the next work starts them again. */
  shrink(error: Error): void {
    const kept = this.lanes.find((lane) => lane.backend === "wasm" && lane.facts !== null);
    for (const lane of this.lanes) if (lane !== kept && lane.free) lane.end(error);
    this.#releaseCompiled();
  }

  /** Ends all workers for good. */
  close(error: Error): void {
    for (const lane of this.lanes) lane.close(error);
  }

  /** Gives what each lane counted. */
  stats(): LaneStats[] {
    return this.lanes.map((lane) => lane.stats());
  }

  /** Lets go of what was compiled, which is large, where no worker is up. */
  #releaseCompiled(): void {
    if (this.lanes.some(({ facts }) => facts !== null)) return;
    this.#compiled.modules = null;
    this.#compiled.rest = null;
  }
}

/** Makes the wide lane. The others do without it: what its threads can't do here, or not start, is not tried again. */
function makeWide(options: LaneOptions): Lane {
  const lane: Lane = new Lane(
    "wasm-wide",
    "wasm",
    {
      ...options,
      onLoaded: () => undefined, // what threads add to a load says nothing of the other lanes
      onCrash(error) {
        options.onCrash(error);
        lane.close(error);
      },
    },
    "wide",
  );
  return lane;
}
