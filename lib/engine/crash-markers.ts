// Detects a page that died while it loaded a model. A JavaScript heap that runs out inside a worker takes the whole tab
// with it: nothing is left to catch the error. So a marker is written before a lane loads a variant and before its
// first run, and removed after. A marker that a later page finds names the variant that was being tried at the crash,
// and choose-variant.ts then chooses another.
//
// A marker names its page, so that a page does not take its own tries (of a second load or a second engine) for a
// crash. Each try has its own marker: of two tries at once the first to end leaves the other's. A page that is left
// normally clears its markers. A second tab that starts while the first one loads takes its marker for a crash and
// chooses a smaller variant, once: that costs little, and a lock to tell them apart would keep both pages out of the
// back/forward cache. A marker is valid for a day, since the memory pressure of a device changes.
import type { Candidate } from "../core/choose-variant.ts";
import type { Effects } from "../effects/effects.ts";

const DAY_MS = 86_400_000;

/** Tries of one model id on lanes. */
interface Tried {
  readonly key: string;
  tries: number;
  /** Whether the model is unloaded: the name is removed with the last try. */
  isLeaving: boolean;
}

/** One try of a page, as it is stored. */
type Marker = readonly [page: string, atMs: number];

/** The markers that one engine writes, and those that it finds. */
export class CrashMarkers {
  readonly #effects: Effects;
  readonly #tried: Map<number, Tried> = new Map();

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** Whether another page died within the last day while it tried this candidate. */
  has(identity: string, candidate: Candidate): boolean {
    return this.#read(keyOf(identity, candidate)).some(([page]) => page !== this.#effects.facts.page);
  }

  /** Registers the id under which a lane will try a candidate. */
  name(modelId: number, identity: string, candidate: Candidate): void {
    this.#tried.set(modelId, { key: keyOf(identity, candidate), tries: 0, isLeaving: false });
  }

  /** Writes the marker of a try as it begins, or removes it as it ends. */
  set(modelId: number, isTrying: boolean): void {
    const tried = this.#tried.get(modelId);
    if (tried === undefined) return;
    if (isTrying) {
      tried.tries += 1;
      const marker: Marker = [this.#effects.facts.page, this.#effects.wallClock()];
      this.#write(tried.key, [...this.#read(tried.key), marker]);
    } else if (tried.tries > 0) {
      tried.tries -= 1;
      this.#remove(tried.key, 1);
    }
    if (tried.isLeaving && tried.tries === 0) this.#tried.delete(modelId);
  }

  /** Removes all of this engine's markers. */
  clear(): void {
    for (const tried of this.#tried.values()) {
      if (tried.tries > 0) this.#remove(tried.key, tried.tries);
      tried.tries = 0;
    }
  }

  /** Removes the name of an unloaded model, once no lane tries it any more. */
  delete(modelId: number): void {
    const tried = this.#tried.get(modelId);
    if (tried !== undefined && tried.tries > 0) tried.isLeaving = true;
    else this.#tried.delete(modelId);
  }

  #remove(key: string, count: number): void {
    let left = count;
    const others = this.#read(key).filter(([page]) => page !== this.#effects.facts.page || left-- <= 0);
    this.#write(key, others);
  }

  /** Returns the markers that are still valid. */
  #read(key: string): Marker[] {
    const now = this.#effects.wallClock();
    try {
      const markers = JSON.parse(this.#effects.memo.get(key) ?? "[]") as Marker[];
      return markers.filter(([, atMs]) => now >= atMs && now - atMs < DAY_MS);
    } catch {
      return []; // written by other code
    }
  }

  #write(key: string, markers: readonly Marker[]): void {
    this.#effects.memo.set(key, markers.length === 0 ? null : JSON.stringify(markers));
  }
}

function keyOf(identity: string, { backend, variant }: Candidate): string {
  return `selvedge/trying/2/${identity}/${variant.id}/${backend}`;
}
