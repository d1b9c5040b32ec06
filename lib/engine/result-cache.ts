// Answers kept: the same inputs to the same model are answered from memory. Exact, never similar: the key is the
// SHA-256 of this release, model, variant and every input byte, so another version of a model, or of its kernels, never
// answers for this one. Opt-in,
// since it costs a hash per request; a model for which hashing costs more than a twentieth of what it saves turns it
// off by itself, and what is read from the device counts as hashing does. Bounded by bytes, the least recently used goes
// first.
//
// The same question asked twice at once runs once, where the second may wait for the first (joinable.ts). Knows nothing of
// requests: it takes tensors and keeps values.
import { sha256Hex } from "../core/bundle.ts";
import { isOwnFailure, mayJoin } from "./joinable.ts";
import type { Urgency } from "./joinable.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import { RELEASE } from "../core/version.ts";

/** How answers are kept. */
export interface ResultsOptions {
  /** How many bytes of outputs to keep, 1 to 2 ** 40. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** How long an answer is good, in ms. Default: until the page is left, on the device 7 days. */
  readonly ttlMs?: number | undefined;
  /** Keeps answers on the device too, within the same bounds, so that the next page finds them. Default false. */
  readonly persist?: boolean | undefined;
}

/** Answers that outlive the page; what fails there is not kept, and nothing rejects. */
export interface PersistentResults {
  /** Gives what was written, and until when it is good by the wall clock; null where there is nothing, or not in time. */
  read(key: string, boundMs: number): Promise<{ readonly value: unknown; readonly untilMs: number } | null>;
  /** Keeps an answer. */
  write(key: string, value: unknown, bytes: number, untilMs: number): Promise<void>;
}

/** What answers are kept with. */
export interface ResultsParts {
  /** Monotonic time in ms. */
  now(): number;
  /** Milliseconds since 1970, which `persist` goes by. */
  wallClock(): number;
  readonly persist: PersistentResults | null;
}

/** Counts what became of requests that asked for a kept answer. */
export interface ResultCounts {
  /** Requests answered from memory. */
  readonly hits: number;
  /** Requests that had to run. */
  readonly misses: number;
  /** Answers kept now. */
  readonly entries: number;
  /** Their size in bytes. */
  readonly bytes: number;
}

/** What an answer is made of, as far as keeping it goes; all of it must be cloneable. */
export interface Answer {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly info: { readonly ranMs: number; readonly isCached: boolean; readonly variant?: string };
}

/** How a question is asked. */
export interface Terms extends Urgency {
  /** Variant that the question means: the answer of another one, where the GPU was lost, is not kept. */
  readonly variant: string;
}

/** A question that is being answered. */
interface Running {
  readonly urgency: Urgency;
  readonly answer: Promise<Answer>;
}

interface Entry {
  readonly value: Answer;
  readonly bytes: number;
  readonly untilMs: number;
}

/** What keeping answers costs and saves for one model. */
interface Worth {
  spentMs: number;
  savedMs: number;
  lookups: number;
}

/** How many bytes of answers are kept by default. */
export const RESULTS_MAX_BYTES: number = 64 * 2 ** 20;

/** How long an answer is kept on the device by default. */
const PERSIST_MS = 7 * 86_400_000;
const USUAL: Urgency = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false };
/** What hashing may cost of what it saves. */
const COST_MAX = 0.05;
/** Lookups before that is judged, and how many are skipped before it is tried again. */
const TRIAL = 32;
const PAUSE = 1_000;

/** Keeps answers by what was asked. */
export class Results {
  readonly #maxBytes: number;
  readonly #ttlMs: number | undefined;
  readonly #parts: ResultsParts;
  readonly #entries: Map<string, Entry> = new Map();
  /** What is asked now: the same question waits for its answer, and asks itself where that fails. */
  readonly #running: Map<string, Running> = new Map();
  readonly #worth: Map<string, Worth> = new Map();
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  constructor({ maxBytes, ttlMs }: Pick<ResultsOptions, "maxBytes" | "ttlMs">, parts: ResultsParts) {
    this.#maxBytes = maxBytes ?? RESULTS_MAX_BYTES;
    this.#ttlMs = ttlMs;
    this.#parts = parts;
  }

  /**
   * Answers a question: from memory where that was asked before, else by running it, and keeps that.
   * @param model - names model and variant; no two versions have the same
   */
  async answer<T extends Answer>(
    model: string,
    inputs: Readonly<Record<string, Tensor>>,
    run: () => Promise<T>,
    terms?: Terms,
  ): Promise<T> {
    const urgency = terms ?? USUAL;
    const worth = this.#worth.get(model) ?? { spentMs: 0, savedMs: 0, lookups: 0 };
    this.#worth.set(model, worth);
    worth.lookups += 1;
    if (worth.lookups > TRIAL && worth.spentMs > COST_MAX * worth.savedMs) {
      if (worth.lookups < PAUSE) return run();
      Object.assign(worth, { spentMs: 0, savedMs: 0, lookups: 0 });
    }
    const startMs = this.#parts.now();
    const key = await keyOf(model, inputs);
    const boundMs = urgency.dueMs - this.#parts.now();
    if (!this.#entries.has(key) && !this.#running.has(key)) await this.#recall(key, boundMs);
    worth.spentMs += this.#parts.now() - startMs;
    const kept = this.#entries.get(key);
    this.#entries.delete(key);
    if (kept !== undefined && kept.untilMs >= this.#parts.now()) {
      this.#entries.set(key, kept); // the last of them: the first is the one that was not used for longest
      this.#hits += 1;
      worth.savedMs += kept.value.info.ranMs;
      const value = structuredClone(kept.value) as T;
      return { ...value, info: { ...value.info, isCached: true } };
    }
    this.#bytes -= kept?.bytes ?? 0;
    // Nothing is awaited between the last look and `set`: two that come together must not both find nothing.
    for (let same = this.#running.get(key); same !== undefined && mayJoin(same.urgency, urgency);) {
      try {
        const value = structuredClone(await same.answer) as T;
        this.#hits += 1;
        return { ...value, info: { ...value.info, isCached: true } };
      } catch (error) {
        if (!isOwnFailure(error)) break;
        same = this.#running.get(key); // another that waited for it may run it by now
      }
    }
    this.#misses += 1;
    const mine = { urgency, answer: run() };
    this.#running.set(key, mine);
    try {
      const value = await mine.answer;
      if (terms === undefined || value.info.variant === terms.variant) this.#store(key, value);
      return value;
    } finally {
      if (this.#running.get(key) === mine) this.#running.delete(key);
    }
  }

  #store(key: string, value: Answer): void {
    const { persist, now, wallClock } = this.#parts;
    const bytes = this.#keep(key, value, now() + (this.#ttlMs ?? Infinity));
    // Nobody waits for that.
    if (bytes !== null) void persist?.write(key, value, bytes, wallClock() + (this.#ttlMs ?? PERSIST_MS));
  }

  /** Gives the counts so far. */
  read(): ResultCounts {
    return { hits: this.#hits, misses: this.#misses, entries: this.#entries.size, bytes: this.#bytes };
  }

  /** Takes up what an earlier page kept. */
  async #recall(key: string, boundMs: number): Promise<void> {
    const { persist, now, wallClock } = this.#parts;
    const found = (await persist?.read(key, boundMs)) ?? null;
    // Anything on this origin may have written there.
    if (found !== null && isAnswer(found.value)) this.#keep(key, found.value, now() + found.untilMs - wallClock());
  }

  /** Gives the bytes that it takes; null where that is too much. */
  #keep(key: string, value: Answer, untilMs: number): number | null {
    const bytes = Object.values(value.outputs).reduce((sum, tensor) => sum + sizeOf(tensor), 0);
    if (bytes > this.#maxBytes) return null;
    this.#drop(key);
    this.#entries.set(key, { value: structuredClone(value), bytes, untilMs });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
    return bytes;
  }

  #drop(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

/** Hashes a question: model, and for each input in the order of the names its name, dtype, dims and bytes. */
async function keyOf(model: string, inputs: Readonly<Record<string, Tensor>>): Promise<string> {
  const encoder = new TextEncoder();
  const parts = Object.keys(inputs)
    .sort()
    .map(async (name) => {
      const { dtype, dims, data } = inputs[name] as Tensor;
      const bytes = Array.isArray(data)
        ? encoder.encode(JSON.stringify(data))
        : new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      return [name, dtype, dims, await sha256Hex(bytes)];
    });
  return sha256Hex(encoder.encode(JSON.stringify([RELEASE, model, await Promise.all(parts)])));
}

/** Tells whether what was read from the device has the shape of an answer. */
function isAnswer(value: unknown): value is Answer {
  const { outputs, info } = (value ?? {}) as Partial<Answer>;
  if (typeof outputs !== "object" || outputs === null || typeof info !== "object" || info === null) return false;
  return Number.isFinite(info.ranMs) && typeof info.isCached === "boolean" && Object.values(outputs).every(isTensor);
}

function isTensor(value: unknown): boolean {
  const { dtype, dims, data } = (value ?? {}) as { dtype?: unknown; dims?: unknown; data?: unknown };
  if (!Array.isArray(dims) || !dims.every((x) => Number.isSafeInteger(x) && x >= 0)) return false;
  const count = (dims as number[]).reduce((product, x) => product * x, 1);
  if (dtype === "string")
    return Array.isArray(data) && data.length === count && data.every((x) => typeof x === "string");
  const Kind = Object.hasOwn(ARRAY_TYPES, dtype as string) ? ARRAY_TYPES[dtype as NumericDtype] : null;
  return Kind !== null && data instanceof Kind && data.length === count;
}

function sizeOf({ data }: Tensor): number {
  if (!Array.isArray(data)) return data.byteLength;
  return data.reduce((sum, text) => sum + 2 * text.length, 0);
}
