// The pool: one lane for WebGPU, n for wasm. It only holds them; they start by themselves with their first work.
import type { BackendName } from "../backend/backend.ts";
import { Lane } from "./lane.ts";
import type { LaneOptions, LaneStats } from "./lane.ts";

/** How many lanes of each backend. */
export interface PoolSize {
  readonly webgpu: number;
  readonly wasm: number;
}

/** All lanes of an engine. */
export class Pool {
  readonly lanes: readonly Lane[];

  constructor(size: PoolSize, options: LaneOptions) {
    const make = (backend: BackendName, count: number): Lane[] =>
      Array.from({ length: count }, (_, i) => new Lane(`${backend}-${i}`, backend, options));
    this.lanes = [...make("webgpu", size.webgpu), ...make("wasm", size.wasm)];
  }

  /** Gives the first lane of a backend that already holds the model, else the first free one, else the first. */
  pick(backend: BackendName, modelId: number): Lane | undefined {
    const lanes = this.lanes.filter((lane) => lane.backend === backend);
    return lanes.find((lane) => lane.holds(modelId)) ?? lanes.find((lane) => lane.free) ?? lanes[0];
  }

  /** Frees a model on every lane. */
  async unload(modelId: number): Promise<void> {
    await Promise.all(this.lanes.map((lane) => lane.unload(modelId)));
  }

  /** Ends all workers for good. */
  close(error: Error): void {
    for (const lane of this.lanes) lane.close(error);
  }

  /** Gives what each lane counted. */
  stats(): LaneStats[] {
    return this.lanes.map((lane) => lane.stats());
  }
}
