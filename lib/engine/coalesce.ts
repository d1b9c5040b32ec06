// Identical requests in flight run once: one that asks what another one asks now waits for that answer and gets a copy.
// Told apart by a few words of the inputs first, by all of their bytes only where those are the same: so that requests
// which differ pay next to nothing, and one is never answered for another. Comparing is given up for a while where it
// costs more than a twentieth of what it saves. A request joins only a run that is as urgent (joinable.ts). A cancel stops
// the run only once no request waits for it. Where the run fails each request runs by itself, or joins another one if the
// failure was the first request's own, as its deadline.
import { Stop } from "../core/abort.ts";
import type { Signal } from "../core/abort.ts";
import { isOwnFailure, mayJoin } from "./joinable.ts";
import type { Urgency } from "./joinable.ts";
import { Table } from "../core/id-map.ts";
import type { Tensor } from "../core/tensor.ts";

/** What a request asks, and how urgently. */
export interface Ask extends Urgency {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly signal: Signal | undefined;
}

/** What came of a run, as far as comparing is judged by it; all of it must be cloneable. */
interface Flown {
  readonly info: { readonly ranMs: number; readonly isCached: boolean };
}

/** A run, and who waits for it. */
interface Flight<T> {
  readonly ask: Ask;
  readonly words: number;
  readonly answer: Promise<T>;
  /** Ends it; null where one of those who wait can't leave. */
  stop: Stop | null;
  waiting: number;
}

/** With how many flights of the same words one is compared. */
const COMPARED = 4;
/** How many words of an input are looked at first. */
const WORDS = 16;
const COST_MAX = 0.05;
/** Comparisons before their cost is judged, and how many requests are not compared after that. */
const TRIAL = 32;
const PAUSE = 1_000;

/** The runs of one model that are in flight. */
export class Flights<T extends Flown> {
  readonly #now: () => number;
  readonly #shared: (copy: T) => T;
  readonly #flights: Table<Flight<T>[]> = new Table();
  #compared = 0;
  #spentMs = 0;
  #savedMs = 0;
  #pause = 0;

  /** `shared` is given each answer that is a copy of another request's. */
  constructor(now: () => number, shared: (copy: T) => T) {
    this.#now = now;
    this.#shared = shared;
  }

  /** Gives the answer of a flight that asks the same, else of a run, whose end `run`'s signal may ask for. */
  ask(ask: Ask, run: (signal: Signal | undefined) => Promise<T>): Promise<T> {
    if (this.#pause > 0) {
      this.#pause -= 1;
      return run(ask.signal);
    }
    const words = wordsOf(ask.inputs);
    const same = this.#find(words, ask);
    if (same === undefined) {
      const flight = this.#begin(words, ask, run);
      return this.#wait(flight.answer, ask.signal, flight, true);
    }
    return this.#join(same, ask, run);
  }

  async #join(same: Flight<T>, ask: Ask, run: (signal: Signal | undefined) => Promise<T>): Promise<T> {
    same.waiting += 1;
    if (ask.signal === undefined) same.stop = null;
    let copy: T;
    try {
      copy = await this.#wait(same.answer.then(copyOf), ask.signal, same, false);
    } catch (error) {
      if (ask.signal?.aborted === true) throw error;
      // What stopped that one, a deadline or a fault, is not to stop this one.
      return isOwnFailure(error) ? this.ask(ask, run) : run(ask.signal);
    }
    this.#savedMs += copy.info.ranMs;
    return this.#shared(copy);
  }

  #begin(words: number, ask: Ask, run: (signal: Signal | undefined) => Promise<T>): Flight<T> {
    const stop = ask.signal === undefined ? null : new Stop();
    const flight: Flight<T> = { ask, words, answer: run(stop ?? undefined), stop, waiting: 1 };
    const alike = this.#flights.get(words);
    if (alike === undefined) this.#flights.set(words, [flight]);
    else alike.push(flight);
    return flight;
  }

  #landed(flight: Flight<T>): void {
    const alike = this.#flights.get(flight.words) ?? [];
    if (alike.length > 1) alike.splice(alike.indexOf(flight), 1);
    else this.#flights.delete(flight.words);
  }

  /** Waits for an answer as long as the signal allows; the last to leave ends the run. Who waits first sees it land. */
  #wait(answer: Promise<T>, signal: Signal | undefined, flight: Flight<T>, isFirst: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const leave = (): void => {
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
        reject(signal?.reason);
        flight.waiting -= 1;
        if (flight.waiting === 0) flight.stop?.abort(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      if (signal?.aborted === true) leave();
      answer.then(
        (value) => {
          signal?.removeEventListener("abort", leave);
          if (isFirst) this.#landed(flight);
          resolve(value);
        },
        (error: unknown) => {
          signal?.removeEventListener("abort", leave);
          if (isFirst) this.#landed(flight);
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the run's own
          reject(error);
        },
      );
    });
  }

  #find(words: number, asked: Ask): Flight<T> | undefined {
    const alike = this.#flights.get(words)?.slice(-COMPARED) ?? [];
    const asUrgent = alike.filter(({ ask, stop }) => stop?.aborted !== true && mayJoin(ask, asked));
    if (asUrgent.length === 0) return undefined;
    const startMs = this.#now();
    const found = asUrgent.find(({ ask }) => isSame(ask.inputs, asked.inputs));
    this.#spentMs += this.#now() - startMs;
    this.#compared += 1;
    if (this.#compared >= TRIAL) {
      if (this.#spentMs > COST_MAX * this.#savedMs) this.#pause = PAUSE;
      this.#compared = this.#spentMs = this.#savedMs = 0;
    }
    return found;
  }
}

function copyOf<T extends Flown>(answer: T): T {
  const copy = structuredClone(answer);
  return { ...copy, info: { ...copy.info, isCached: true } };
}

/** Makes one number of the sizes of inputs and some words of them, the first and the last among these. */
function wordsOf(inputs: Ask["inputs"]): number {
  let sum = 0x811c9dc5;
  const add = (word: number): void => {
    sum = Math.imul(sum ^ word, 0x01000193);
  };
  for (const name in inputs) {
    const { data } = inputs[name] as Tensor;
    const { length } = data;
    add(length);
    if (Array.isArray(data)) {
      for (const text of data.slice(0, WORDS)) for (let i = 0; i < 8; i += 1) add(text.charCodeAt(i));
      continue;
    }
    const view = bytesOf(data);
    const last = view.length - 1;
    for (let i = 0; i < WORDS && last >= 0; i += 1) add(view[Math.round((i * last) / (WORDS - 1))] as number);
  }
  return sum;
}

function isSame(a: Ask["inputs"], b: Ask["inputs"]): boolean {
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => {
    const [one, other] = [a[name] as Tensor, b[name]];
    if (other === undefined || one.dtype !== other.dtype || one.dims.join() !== other.dims.join()) return false;
    const isTexts = Array.isArray(one.data) || Array.isArray(other.data);
    const [left, right]: ArrayLike<unknown>[] = isTexts
      ? [one.data, other.data]
      : [bytesOf(one.data), bytesOf(other.data)];
    if (left === undefined || left.length !== right?.length) return false;
    for (let i = 0; i < left.length; i += 1) if (left[i] !== right[i]) return false;
    return true;
  });
}

/** Looks at numbers as words of four bytes where they are that, so that a NaN is the same as itself; else as bytes. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint32Array | Uint8Array {
  return byteOffset % 4 === 0 && byteLength % 4 === 0
    ? new Uint32Array(buffer, byteOffset, byteLength / 4)
    : new Uint8Array(buffer, byteOffset, byteLength);
}
