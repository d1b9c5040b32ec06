// Back-offs: lanes that could not start, or not load a model, get no such work for a time that doubles with each
// failure.

/** Until when a lane gets no work of a kind, and the length of that back-off. */
export interface BackOff {
  readonly untilMs: number;
  readonly ms: number;
}

const MIN_MS = 1_000;
const MAX_MS = 60_000;

/** Keeps the back-offs by lane, or by lane and model. */
export class BackOffs {
  #known: Map<string, BackOff> = new Map();

  /** Returns a snapshot. */
  save(): Map<string, BackOff> {
    return new Map(this.#known);
  }

  /** Restores a snapshot; older traces have none. */
  restore(saved: ReadonlyMap<string, BackOff> | undefined): void {
    this.#known = new Map(saved);
  }

  /** Records that a lane can't start (`modelId` null) or not load a model, until a time; null for one that grows. */
  add(lane: string, modelId: number | null, untilMs: number | null, now: number): void {
    for (const [what, each] of this.#known) if (each.untilMs + MAX_MS < now) this.#known.delete(what);
    const what = modelId === null ? lane : `${lane} ${modelId}`;
    const before = this.#known.get(what);
    // Of several concurrent failures only the first counts.
    if (untilMs === null && before !== undefined && before.untilMs > now) return;
    const ms = before === undefined ? MIN_MS : Math.min(2 * before.ms, MAX_MS);
    this.#known.set(what, { untilMs: untilMs ?? now + ms, ms });
  }

  /** Whether a lane recently could not start, or not load a model. */
  has(lane: string, modelId: number, now: number): boolean {
    const isBarred = (what: string): boolean => (this.#known.get(what)?.untilMs ?? 0) > now;
    return this.#known.size > 0 && (isBarred(lane) || isBarred(`${lane} ${modelId}`));
  }

  /** Ends the back-offs of a lane on which a model ran. */
  clear(lane: string, modelId: number): void {
    this.#known.delete(lane);
    this.#known.delete(`${lane} ${modelId}`);
  }
}
