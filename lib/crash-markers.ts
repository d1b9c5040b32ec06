// What a page died of. JavaScript heap that runs out inside a worker takes the whole tab with it: nothing is left to
// catch the error. So a marker is written before a lane loads a variant and before it first runs it, and taken away
// after; one that a later page finds says what the last one did when it died, and choose.ts then takes something else.
//
// A page that is left in good order clears its markers. A second tab that starts while the first one loads takes its
// marker for a crash and chooses less, once: that costs little, and a lock that told them apart would keep both pages
// out of the back/forward cache. A marker counts for a day, since what fills a device's memory changes.
import type { Candidate } from "./choose.ts";
import type { Effects } from "./effects.ts";

const DAY_MS = 86_400_000;

/** The markers that one engine writes, and those that it finds. */
export class CrashMarkers {
  readonly #effects: Effects;
  readonly #keys: Map<number, string> = new Map();
  readonly #open: Set<string> = new Set();

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** Tells whether a page died within the last day while it tried this. */
  has(identity: string, candidate: Candidate): boolean {
    const ageMs = this.#effects.wallClock() - Number(this.#effects.memo.get(keyOf(identity, candidate)) ?? 0);
    return ageMs >= 0 && ageMs < DAY_MS;
  }

  /** Says under which id a lane will try a candidate. */
  name(modelId: number, identity: string, candidate: Candidate): void {
    this.#keys.set(modelId, keyOf(identity, candidate));
  }

  /** Writes or takes away the marker of what a lane tries. */
  set(modelId: number, isTrying: boolean): void {
    const key = this.#keys.get(modelId);
    if (key === undefined) return;
    if (isTrying) this.#open.add(key);
    else this.#open.delete(key);
    this.#effects.memo.set(key, isTrying ? String(this.#effects.wallClock()) : "");
  }

  /** Takes all of this engine's markers away. */
  clear(): void {
    for (const key of this.#open) this.#effects.memo.set(key, "");
    this.#open.clear();
  }

  /** Forgets the name of a model that is unloaded. */
  forget(modelId: number): void {
    this.#keys.delete(modelId);
  }
}

function keyOf(identity: string, { backend, variant }: Candidate): string {
  return `selvedge/trying/1/${identity}/${variant.id}/${backend}`;
}
