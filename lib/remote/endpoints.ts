// Which server a request goes to, and when: the one with the fewest requests outstanding of those that may be used now.
// A server that asked to wait (Retry-After) is left alone until then. A circuit breaker leaves alone one that failed
// several times in a row: for a time that doubles, and then one request tries it. An error that may be the request's own
// fault counts once another server has answered the request. Requests wait for a server rather than fail, as long as
// their time allows.
import type { NetworkEffects } from "../effects/network.ts";
import { untilAborted } from "../core/abort.ts";

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 1_000;
const OPEN_MAX_MS = 10_000;
/** How long a server is left out that was found to be the wrong one. */
const WRONG_MS = 10_000;

/** Which form of requests a model of a server takes. */
export interface RequestForm {
  /** Whether it takes bytes; null until a request has tried. */
  isBinary: boolean | null;
  /** Answers in JSON after a status 500 to bytes, which may have been a fault of the moment. */
  guesses: number;
}

/** A server, and how it has done. */
export class Endpoint {
  /** Base address, without a slash at its end. */
  readonly url: string;
  /** Requests that are under way. */
  outstanding = 0;
  /** Forms that its models take, by the models' paths. */
  readonly forms: Map<string, RequestForm> = new Map();
  /** Whether any reply of it could be read, which CORS headers are needed for. */
  wasRead = false;
  /** Failures in a row. */
  failures = 0;
  /** Times in a row that the breaker opened. */
  openings = 0;
  openUntil = 0;
  busyUntil = 0;
  lastUsed = 0;
  /** Signal of the call that tries it while the breaker is half open. */
  probe: AbortSignal | null = null;
  /** Whether its last answer was an error that another server may not give. */
  isDoubted = false;
  /** Until when it is left out as the wrong one: without CORS headers, or with another model. */
  wrongUntil = 0;
  /** Whether it has answered a request. */
  hasAnswered = false;

  constructor(url: string) {
    this.url = url;
  }

  /** Whether the breaker lets a single request try it. */
  get isHalfOpen(): boolean {
    return this.failures >= FAILURES_TO_OPEN;
  }
}

/**
 * Outcome of a request for its server: a reply, a failure of the server, an error that may be either's fault, the finding
 * that it is the wrong server, or none.
 */
export type ServerOutcome = "answered" | "failed" | "doubted" | "wrong" | "neutral";

/** The servers of a client. */
export class Endpoints {
  readonly all: readonly Endpoint[];
  readonly #effects: NetworkEffects;
  #uses = 0;
  /** Resolved when a server becomes free, and replaced. */
  #change = newChange();

  constructor(urls: readonly string[], effects: NetworkEffects) {
    this.all = urls.map((url) => new Endpoint(url));
    this.#effects = effects;
  }

  /** Takes a server, one not yet `tried`, or at least not last, where there is a choice; waits until one may be used. */
  async take(tried: readonly Endpoint[], signal: AbortSignal): Promise<Endpoint> {
    for (;;) {
      signal.throwIfAborted();
      const found = this.#pick(tried);
      if (found !== null) return this.use(found, signal);
      await this.#wait(signal);
    }
  }

  /** Takes this server, whether it is free or not. */
  use(endpoint: Endpoint, signal: AbortSignal): Endpoint {
    endpoint.outstanding += 1;
    this.#uses += 1;
    endpoint.lastUsed = this.#uses;
    if (endpoint.isHalfOpen) endpoint.probe ??= signal;
    return endpoint;
  }

  /** Returns a server that a call took with `signal`, with the outcome of its request. */
  release(endpoint: Endpoint, signal: AbortSignal, outcome: ServerOutcome, waitMs = 0): void {
    endpoint.outstanding -= 1;
    endpoint.busyUntil = Math.max(endpoint.busyUntil, this.#effects.now() + waitMs);
    const isProbe = endpoint.probe === signal;
    if (isProbe) endpoint.probe = null;
    // Where there is no other server to compare with, any answer counts.
    if (outcome === "answered" || (outcome === "doubted" && this.all.length === 1))
      endpoint.failures = endpoint.openings = endpoint.openUntil = 0;
    if (outcome !== "neutral") endpoint.isDoubted = outcome === "doubted";
    if (outcome === "wrong") endpoint.wrongUntil = this.#effects.now() + WRONG_MS;
    if (outcome === "answered") endpoint.hasAnswered = true;
    // Requests that were sent before it opened say nothing new.
    if (outcome === "failed" && (isProbe || !endpoint.isHalfOpen)) this.countFailure(endpoint);
    const change = this.#change;
    this.#change = newChange();
    change.resolve();
  }

  /** Counts a failure for a server's breaker. */
  countFailure(endpoint: Endpoint): void {
    const now = this.#effects.now();
    if (now < endpoint.openUntil) return;
    endpoint.failures += 1;
    if (!endpoint.isHalfOpen) return;
    const ms = Math.min(OPEN_MAX_MS, OPEN_MS * 2 ** endpoint.openings) * (0.5 + this.#effects.random() / 2);
    endpoint.openUntil = now + ms;
    endpoint.openings += 1;
  }

  /** Until when all servers have asked to wait; past where one has not. */
  get busyUntil(): number {
    return Math.min(...this.#right().map((x) => x.busyUntil));
  }

  /** Whether a server other than these may be used now. */
  hasOther(than: readonly Endpoint[]): boolean {
    return this.#free().some((x) => !than.includes(x));
  }

  /** Whether there is a server other than these that may be the right one, to be used now or later. */
  hasUntried(tried: readonly Endpoint[]): boolean {
    return this.#right().some((x) => !tried.includes(x));
  }

  /** The servers that were not found to be wrong recently; all where each was. */
  #right(): readonly Endpoint[] {
    const now = this.#effects.now();
    const right = this.all.filter((x) => now >= x.wrongUntil);
    return right.length > 0 ? right : this.all;
  }

  #free(): Endpoint[] {
    const now = this.#effects.now();
    return this.#right().filter((x) => now >= freeAt(x) && !(x.isHalfOpen && x.probe !== null));
  }

  #pick(tried: readonly Endpoint[]): Endpoint | null {
    const last = tried.at(-1);
    const was = (x: Endpoint): number => Number(tried.includes(x)) + Number(x === last);
    // A retry prefers servers that don't answer with errors.
    const doubt = (x: Endpoint): number => Number(last !== undefined && x.isDoubted);
    const [first] = this.#free().sort(
      (a, b) => was(a) - was(b) || doubt(a) - doubt(b) || a.outstanding - b.outstanding || a.lastUsed - b.lastUsed,
    );
    return first ?? null;
  }

  /** Waits until a server is released or its time has come. */
  async #wait(signal: AbortSignal): Promise<void> {
    const now = this.#effects.now();
    const times = this.all.flatMap((x) => [freeAt(x), x.wrongUntil]).filter((time) => time > now);
    const change = this.#change;
    let cancel = (): void => undefined;
    const due = new Promise<void>((resolve) => {
      if (times.length > 0) cancel = this.#effects.setTimer(resolve, Math.min(...times) - now);
    });
    try {
      await untilAborted(Promise.race([change.promise, due]), signal);
    } finally {
      cancel();
    }
  }
}

function freeAt({ openUntil, busyUntil }: Endpoint): number {
  return Math.max(openUntil, busyUntil);
}

/** A promise, and the function that resolves it. */
export interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

/** Creates a promise to be resolved from outside. */
export function newChange(): Deferred {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
