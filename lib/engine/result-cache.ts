// Result cache: the same inputs to the same model are answered from memory. Matches are exact: the key is the SHA-256
// of this release, model, variant and every input byte, so another version of a model, or of its kernels, has other
// keys. Opt-in, since it costs a hash per request. It turns itself off for a model for which hashing costs more than a
// twentieth of what it saves; reading from the device counts like hashing. Bounded by bytes; evicts the least recently
// used.
//
// Coalesces equal lookups, where the second may wait for the first (joinable.ts). Independent of requests: it takes
// tensors and keeps values.
import { sha256Hex } from "../core/bundle.ts";
import type { Effects } from "../effects/effects.ts";
import { because, show } from "./explain-run.ts";
import type { RunWhy } from "./explain-run.ts";
import { isOwnFailure, mayJoin } from "./joinable.ts";
import type { Urgency } from "./joinable.ts";
import { isServer } from "../core/device.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { UNSURE } from "../core/unsure.ts";
import { RELEASE } from "../core/version.ts";

/** Options of the result cache. */
export interface ResultsOptions {
  /** Bound on the bytes of outputs, 1 to 2 ** 40. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** How long an answer is valid, in ms. Default: until the page is left; on the device 7 days. */
  readonly ttlMs?: number | undefined;
  /** Stores answers on the device too, within the same bounds, so that the next page finds them. Default false. */
  readonly persist?: boolean | undefined;
}

/** Persistent store of answers. Its failures mean that an answer is not stored; nothing rejects. */
export interface PersistentResults {
  /** Returns a stored value, and until when it is valid by the wall clock; null where there is none, or not in time. */
  read(key: string, boundMs: number): Promise<{ readonly value: unknown; readonly untilMs: number } | null>;
  /** Stores an answer. */
  write(key: string, value: unknown, bytes: number, untilMs: number): Promise<void>;
}

/** Collaborators of the result cache. */
export interface ResultsParts {
  /** Monotonic time in ms. */
  now(): number;
  /** Milliseconds since 1970, the clock of `persist`. */
  wallClock(): number;
  readonly persist: PersistentResults | null;
}

/** Counts of requests that asked for a cached answer. */
export interface ResultCounts {
  /** Requests answered from memory. */
  readonly hits: number;
  /** Requests that had to run. */
  readonly misses: number;
  /** Answers in memory now. */
  readonly entries: number;
  /** Their size in bytes. */
  readonly bytes: number;
}

/** The part of an answer that the cache depends on; the whole answer must be cloneable. */
export interface CacheableAnswer {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly info: {
    readonly ranMs: number;
    readonly isCached: boolean;
    readonly variant?: string;
    readonly backend?: string;
    readonly lane?: string;
  };
}

/** Terms of a lookup. */
export interface Terms extends Urgency {
  /** Variant that the lookup is for: the answer of another one, after a GPU loss, is not cached. */
  readonly variant: string;
}

/** A lookup that is being computed. */
interface Running {
  readonly urgency: Urgency;
  readonly answer: Promise<CacheableAnswer>;
}

interface Entry {
  readonly value: CacheableAnswer;
  readonly bytes: number;
  readonly untilMs: number;
}

/** Cost and benefit of caching for one model. */
interface Worth {
  spentMs: number;
  savedMs: number;
  lookups: number;
}

/** Default bound on the bytes of cached answers. */
export const RESULTS_MAX_BYTES: number = 64 * 2 ** 20;

/** Returns the reason of an answer from the result cache. */
export function whyKept(lane: string, ranMs: number): RunWhy {
  const text = `answered from memory: a request with the same inputs took ${show(ranMs)} on ${lane}`;
  return because([{ code: "cached", text }]);
}

/** How long an answer is stored on the device by default. */
const PERSIST_MS = 7 * 86_400_000;
const USUAL: Urgency = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false };
/** Bound on the cost of hashing, as a share of what it saves. */
const COST_MAX = 0.05;
/** Lookups before the cost is judged, and the number that skip the cache before it is tried again. */
const TRIAL = 32;
const PAUSE = 1_000;

/** Caches answers by the hash of their inputs. */
export class Results {
  readonly #maxBytes: number;
  readonly #ttlMs: number | undefined;
  readonly #parts: ResultsParts;
  readonly #entries: Map<string, Entry> = new Map();
  /** Lookups in flight: an equal one waits for the answer, and runs itself if that fails. */
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
   * Returns the answer from the cache, else runs the request and caches its answer.
   * @param model - names model and variant; no two versions have the same
   */
  async answer<T extends CacheableAnswer>(
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
    const kept = this.#find(key);
    if (kept !== undefined) {
      worth.savedMs += kept.info.ranMs;
      return cached(kept as T);
    }
    // Nothing is awaited between the last check and `set`: two concurrent lookups must not both miss.
    for (let same = this.#running.get(key); same !== undefined && mayJoin(same.urgency, urgency);) {
      try {
        const value = structuredClone(await same.answer) as T;
        this.#hits += 1;
        return cached(value);
      } catch (error) {
        if (!isOwnFailure(error)) break;
        same = this.#running.get(key); // another waiter may be running it by now
      }
    }
    this.#misses += 1;
    const mine = { urgency, answer: run() };
    this.#running.set(key, mine);
    try {
      const value = await mine.answer;
      if (terms === undefined || (value.info.variant === terms.variant && !mayChange(value))) this.#store(key, value);
      return value;
    } catch (error) {
      // An equal request that it did not join, since that one's deadline is later, may have been answered by now.
      const isInTime = isSelvedgeError(error) && isOwnFailure(error) && this.#parts.now() <= urgency.dueMs;
      const found = isInTime ? this.#find(key) : undefined;
      if (found === undefined) throw error;
      return cached(found as T);
    } finally {
      if (this.#running.get(key) === mine) this.#running.delete(key);
    }
  }

  /** Returns a copy of an answer in memory, now the most recently used; removes one that is no longer valid. */
  #find(key: string): CacheableAnswer | undefined {
    const kept = this.#entries.get(key);
    if (kept === undefined) return undefined;
    if (kept.untilMs < this.#parts.now()) {
      this.#drop(key);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, kept); // the first entry is the least recently used
    this.#hits += 1;
    return structuredClone(kept.value);
  }

  #store(key: string, value: CacheableAnswer): void {
    const { persist, now, wallClock } = this.#parts;
    const bytes = this.#keep(key, value, now() + (this.#ttlMs ?? Infinity));
    // Not awaited.
    if (bytes !== null) void persist?.write(key, value, bytes, wallClock() + (this.#ttlMs ?? PERSIST_MS));
  }

  /** Returns the counts so far. */
  read(): ResultCounts {
    return { hits: this.#hits, misses: this.#misses, entries: this.#entries.size, bytes: this.#bytes };
  }

  /** Loads an answer that an earlier page stored. */
  async #recall(key: string, boundMs: number): Promise<void> {
    const { persist, now, wallClock } = this.#parts;
    const found = (await persist?.read(key, boundMs)) ?? null;
    // Any script of this origin may have written the entry.
    if (found !== null && isAnswer(found.value)) this.#keep(key, found.value, now() + found.untilMs - wallClock());
  }

  /** Returns the bytes of the answer; null where it is too large. */
  #keep(key: string, value: CacheableAnswer, untilMs: number): number | null {
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

/** Opens the result cache of an engine. */
export async function openResults(
  { now, wallClock }: Pick<Effects, "now" | "wallClock">,
  { maxBytes = RESULTS_MAX_BYTES, ttlMs, persist }: ResultsOptions,
): Promise<Results> {
  const answers = persist === true ? await import("./result-store.ts") : null;
  const stored = (await answers?.openAnswers(maxBytes, wallClock)) ?? null;
  return new Results({ maxBytes, ttlMs }, { now, wallClock, persist: stored });
}

/** Hashes a request: model, and for each input in the order of the names its name, dtype, dims and bytes. */
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

/** Returns an answer as one from the cache. */
function cached<T extends CacheableAnswer>(value: T): T {
  const { info } = value;
  return { ...value, info: { ...info, isCached: true, why: whyKept(info.lane ?? "", info.ranMs) } };
}

/**
 * Whether the next answer may be another one: of a server whose model nothing identifies, which may have another under the
 * same name; or of a larger model that was to improve this one.
 */
function mayChange({ info }: CacheableAnswer): boolean {
  return (isServer(info) && info.variant === "remote") || UNSURE in info;
}

/** Whether a value read from the device has the shape of an answer. */
function isAnswer(value: unknown): value is CacheableAnswer {
  const { outputs, info } = (value ?? {}) as Partial<CacheableAnswer>;
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
