// What a page died of. JavaScript heap that runs out inside a worker takes the whole tab with it: nothing is left to
// catch the error. So a marker is written before a lane loads a variant and before it first runs it, and taken away
// after; one that a later page finds says what the last one did when it died, and choose-variant.ts then takes something else.
//
// A marker names its page, so that a page does not take its own tries, those of a second load or of a second engine on it,
// for a crash. It is one try's: of two tries at once the first to end leaves the other's. A page that is left in good
// order clears its markers. A second tab that starts while the first one loads takes its marker for a crash and chooses
// less, once: that costs little, and a lock that told them apart would keep both pages out of the back/forward cache. A
// marker counts for a day, since what fills a device's memory changes.
import type { Candidate } from "../core/choose-variant.ts";
import type { Effects } from "../effects/effects.ts";

const DAY_MS = 86_400_000;

/** What lanes try of one model id. */
interface Tried {
  readonly key: string;
  tries: number;
  /** Whether the model is unloaded: the name goes with the last try. */
  isLeaving: boolean;
}

/** One try of a page, as it is written. */
type Marker = readonly [page: string, atMs: number];

/** The markers that one engine writes, and those that it finds. */
export class CrashMarkers {
  readonly #effects: Effects;
  readonly #tried: Map<number, Tried> = new Map();

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** Tells whether another page died within the last day while it tried this. */
  has(identity: string, candidate: Candidate): boolean {
    return this.#read(keyOf(identity, candidate)).some(([page]) => page !== this.#effects.facts.page);
  }

  /** Says under which id a lane will try a candidate. */
  name(modelId: number, identity: string, candidate: Candidate): void {
    this.#tried.set(modelId, { key: keyOf(identity, candidate), tries: 0, isLeaving: false });
  }

  /** Writes the marker of a try as it begins, or takes it away as it ends. */
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

  /** Takes all of this engine's markers away. */
  clear(): void {
    for (const tried of this.#tried.values()) {
      if (tried.tries > 0) this.#remove(tried.key, tried.tries);
      tried.tries = 0;
    }
  }

  /** Forgets the name of a model that is unloaded, once no lane tries it any more. */
  forget(modelId: number): void {
    const tried = this.#tried.get(modelId);
    if (tried !== undefined && tried.tries > 0) tried.isLeaving = true;
    else this.#tried.delete(modelId);
  }

  #remove(key: string, count: number): void {
    let left = count;
    const others = this.#read(key).filter(([page]) => page !== this.#effects.facts.page || left-- <= 0);
    this.#write(key, others);
  }

  /** Returns the markers that count. */
  #read(key: string): Marker[] {
    const now = this.#effects.wallClock();
    try {
      const markers = JSON.parse(this.#effects.memo.get(key) ?? "[]") as Marker[];
      return markers.filter(([, atMs]) => now >= atMs && now - atMs < DAY_MS);
    } catch {
      return []; // written by something else
    }
  }

  #write(key: string, markers: readonly Marker[]): void {
    this.#effects.memo.set(key, markers.length === 0 ? null : JSON.stringify(markers));
  }
}

function keyOf(identity: string, { backend, variant }: Candidate): string {
  return `selvedge/trying/2/${identity}/${variant.id}/${backend}`;
}
