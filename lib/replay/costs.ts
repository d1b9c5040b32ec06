// Costs of runs as recorded in a trace: per model, kind of lane and number of rows the durations of its batches, in
// order, so that a simulation has the same spread. A batch size that never ran is interpolated from its neighbours.
import type { LaneKind } from "../core/device.ts";
import { quantile } from "../core/quantile.ts";
import type { Told } from "../observe/trace.ts";
import { Estimate } from "../schedule/cost-estimate.ts";
import type { Route } from "../schedule/events.ts";
import type { TraceFile } from "./file.ts";

/** Cost of one batch: the time its lane is busy, and the part that was reported as time in the worker. */
export interface Cost {
  readonly laneMs: number;
  readonly ranMs: number;
}

interface Begun {
  readonly route: Route;
  readonly rows: number;
  readonly atMs: number;
  readonly isCold: boolean;
}

/** Cost of a model without measurements. */
const UNKNOWN_MS = 50;
const LOAD_MS = 300;
/** If a kind of lane never ran a model, the others are used in this order. */
const KINDS = ["usual", "express", "wide"] as const;

/** The costs of a trace. */
export class Costs {
  /** By key and kind of lane, then by rows. */
  readonly #samples: Map<string, Map<number, Cost[]>> = new Map();
  readonly #loads: Map<number, number> = new Map();
  readonly #estimate: Estimate;
  readonly #used: Map<Cost[], number> = new Map();
  /** Models without a recorded run. */
  readonly unknown: Set<number> = new Set();
  /** Batches that failed during the record. */
  failures = 0;

  constructor({ saved, told }: TraceFile) {
    this.#estimate = new Estimate(saved.estimate);
    for (const [modelId, ms] of saved.loadMs) this.#loads.set(modelId, ms);
    const rows = new Map<number, number>();
    for (const { steps } of saved.queue.groups) for (const [step] of steps) rows.set(step.id, step.rows);
    const begun = new Map<string, Begun>();
    const freeMs = new Map<string, number>();
    for (const entry of told) this.#note(entry, rows, begun, freeMs);
  }

  /** Returns the cost of the next batch of this many rows. */
  next({ key, modelId }: Route, kind: LaneKind, rows: number): Cost {
    const sizes = [kind, ...KINDS].map((x) => this.#samples.get(keyOf(key, x))).find((x) => x !== undefined);
    if (sizes === undefined) {
      this.unknown.add(modelId);
      const ms = this.#estimate.ms(key, rows) ?? UNKNOWN_MS * rows;
      return { laneMs: ms, ranMs: ms };
    }
    const nearest = [...sizes.keys()].sort((a, b) => distance(a, rows) - distance(b, rows))[0] as number;
    const samples = sizes.get(nearest) as Cost[];
    const used = this.#used.get(samples) ?? 0;
    this.#used.set(samples, used + 1);
    const { laneMs, ranMs } = samples[used % samples.length] as Cost;
    if (nearest === rows) return { laneMs, ranMs };
    const ratio = this.#between(sizes, rows) / median(samples);
    return { laneMs: laneMs * ratio, ranMs: ranMs * ratio };
  }

  /** Returns the duration of loading a model. */
  load(modelId: number): number {
    return this.#loads.get(modelId) ?? LOAD_MS;
  }

  #note(
    { event, now, lanes, decisions }: Told,
    rows: Map<number, number>,
    begun: Map<string, Begun>,
    freeMs: Map<string, number>,
  ): void {
    if (event.type === "arrived") rows.set(event.step.id, event.step.rows);
    if (event.type === "loaded") this.#loads.set(event.modelId, event.ms);
    if (event.type === "ended") {
      const batch = begun.get(`${event.lane} ${event.batch}`);
      const beganMs = Math.max(batch?.atMs ?? 0, freeMs.get(event.lane) ?? 0);
      freeMs.set(event.lane, now);
      if (event.ms === null || event.ms === Infinity) this.failures += 1;
      else if (batch?.isCold === false) {
        const { kind = "usual" } = lanes.find(({ id }) => id === event.lane) ?? {};
        const sizes = this.#samples.get(keyOf(batch.route.key, kind)) ?? new Map<number, Cost[]>();
        this.#samples.set(keyOf(batch.route.key, kind), sizes);
        const samples = sizes.get(batch.rows) ?? [];
        sizes.set(batch.rows, samples);
        samples.push({ laneMs: now - beganMs, ranMs: event.ms });
      }
    }
    for (const x of decisions) {
      if (x.type !== "start") continue;
      const isCold = lanes.find(({ id }) => id === x.lane)?.held.has(x.route.modelId) !== true;
      const count = x.ids.reduce((sum, id) => sum + (rows.get(id) ?? 1), 0);
      begun.set(`${x.lane} ${x.batch}`, { route: x.route, rows: count, atMs: now, isCold });
    }
  }

  /**
   * Median of a batch size that never ran: interpolated linearly between its neighbours, in proportion past the last.
   */
  #between(sizes: ReadonlyMap<number, readonly Cost[]>, rows: number): number {
    const known = [...sizes.keys()].sort((a, b) => a - b);
    const of = (size: number): number => median(sizes.get(size) as readonly Cost[]);
    const above = known.find((size) => size > rows);
    const below = known.filter((size) => size < rows).at(-1);
    if (below === undefined) return (of(above as number) * rows) / (above as number);
    if (above === undefined) return (of(below) * rows) / below;
    return of(below) + ((of(above) - of(below)) * (rows - below)) / (above - below);
  }
}

function keyOf(key: string, kind: LaneKind): string {
  return `${kind} ${key}`;
}

function distance(a: number, b: number): number {
  return Math.abs(Math.log(a / b));
}

function median(samples: readonly Cost[]): number {
  return (
    quantile(
      samples.map(({ laneMs }) => laneMs),
      0.5,
    ) ?? 0
  );
}
