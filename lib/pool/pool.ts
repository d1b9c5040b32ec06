// The pool of lanes: one for WebGPU, n for wasm, an express lane and a wide one. It only holds them; each starts its
// worker with its first work.
import type { BackendName } from "../rpc/backend.ts";
import { Lane } from "./lane.ts";
import type { LaneStats } from "./lane-state.ts";
import type { Build, Builds, LaneOptions } from "./lane-options.ts";

/** No model has this id. */
const NO_MODEL = 0;

/** Number of lanes of each backend. */
export interface PoolSize {
  readonly webgpu: number;
  readonly wasm: number;
  /** Whether there is an extra wasm lane for short urgent requests while all others are busy with long ones. */
  readonly hasExpress: boolean;
  /** Threads of an extra wasm lane for sequential requests; below 2 there is none. */
  readonly wideThreads: number;
  /** Makes the lanes to servers; absent without any. */
  readonly remote?: ((lane: typeof Lane, options: LaneOptions) => Lane[]) | undefined;
}

/** All lanes of an engine. */
export class Pool {
  readonly lanes: readonly Lane[];
  readonly #builds: Builds;

  constructor(size: PoolSize, options: LaneOptions) {
    this.#builds = options.builds;
    const make = (backend: BackendName, count: number): Lane[] =>
      Array.from({ length: count }, (_, i) => new Lane(`${backend}-${i}`, backend, options, "usual"));
    const express = size.hasExpress ? [new Lane("wasm-express", "wasm", options, "express")] : [];
    const wideOptions = { ...options, threads: size.wideThreads };
    const wide = size.wideThreads > 1 ? [new Lane("wasm-wide", "wasm", wideOptions, "wide")] : [];
    const remote = size.remote?.(Lane, options) ?? [];
    this.lanes = [...make("webgpu", size.webgpu), ...make("wasm", size.wasm), ...express, ...wide, ...remote];
  }

  /** Returns the usual lanes of a backend. */
  usual(backend: BackendName): Lane[] {
    return this.lanes.filter((lane) => lane.backend === backend && lane.kind === "usual");
  }

  /** Returns the first lane of a backend that already holds the model, else the first free one, else the first. */
  pick(backend: BackendName, modelId: number): Lane | undefined {
    const lanes = this.usual(backend);
    return lanes.find((lane) => lane.held.has(modelId)) ?? lanes.find((lane) => lane.free) ?? lanes[0];
  }

  /** Starts a worker while a model is being fetched, on the lane that will be picked for it. */
  warm(backend: BackendName, bytes: number): void {
    this.pick(backend, NO_MODEL)?.warm(bytes);
  }

  /** Frees a model on every lane. */
  async unload(modelId: number): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.unload(modelId)));
  }

  /**
   * Unloads models from workers, the least recently used first, until the rest fits; their next run loads them again.
   * Skips those that hold a state, and those for which `isPinned` is true.
   */
  trim(budgetBytes: number, isPinned: (modelId: number) => boolean): void {
    const all = this.lanes.flatMap((lane) => [...lane.held].map(([modelId, loaded]) => ({ lane, modelId, loaded })));
    const here = all.filter(({ loaded }) => !loaded.isLeaving);
    let bytes = here.reduce((sum, { loaded }) => sum + loaded.bytes, 0);
    here.sort((a, b) => a.loaded.usedMs - b.loaded.usedMs);
    here.pop(); // the last one stays whatever its size: something must run
    for (const { lane, modelId, loaded } of here) {
      if (bytes <= budgetBytes) return;
      if (!loaded.isReady || loaded.states.size > 0 || isPinned(modelId)) continue;
      bytes -= loaded.bytes;
      lane.unload(modelId).catch(() => undefined); // a worker that ended has freed it already
    }
  }

  /** Frees a state on every lane. */
  async removeState(stateId: number): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.removeState(stateId)));
  }

  /** Checks that each idle worker still answers; one that does not is ended. */
  check(): void {
    for (const lane of this.lanes) lane.check();
  }

  /** Ends idle workers, all but one on wasm; the next work starts them again. */
  shrink(error: Error): void {
    const kept = this.lanes.find((lane) => lane.backend === "wasm" && lane.facts !== null);
    for (const lane of this.lanes) if (lane !== kept && lane.free) lane.end(error);
    this.releaseCompiled();
  }

  /** Ends all workers for good. */
  close(error: Error): void {
    for (const lane of this.lanes) lane.close(error);
  }

  /** Returns the counters of each lane. */
  stats(): LaneStats[] {
    return this.lanes.map((lane) => lane.stats());
  }

  /** Releases the compiled modules, which are large, where no worker is running. */
  releaseCompiled(): void {
    if (this.lanes.some(({ facts }) => facts !== null)) return;
    for (const { compiled } of Object.values(this.#builds) as Build[]) compiled.modules = compiled.rest = null;
  }
}
