// Which server a request goes to, and when: the one with the fewest requests outstanding of those that may be used now.
// A server that asked to wait (Retry-After) is left alone until then. A circuit breaker leaves alone one that failed
// several times in a row: for a time that doubles, and then one request tries it. Requests wait for a server rather
// than fail, as long as their time allows.
import type { NetworkEffects } from "../effects/network.ts";
import { untilAborted } from "../core/abort.ts";

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 1_000;
const OPEN_MAX_MS = 30_000;

/** A server, and how it has done. */
export class Endpoint {
  /** Base address, without a slash at its end. */
  readonly url: string;
  /** Requests that are under way. */
  outstanding = 0;
  /** Whether it has the binary tensor extension; null until a request has tried. */
  isBinary: boolean | null = null;
  /** Whether any reply of it could be read, which CORS headers are needed for. */
  wasRead = false;
  /** Failures in a row. */
  failures = 0;
  /** Times in a row that the breaker opened. */
  openings = 0;
  openUntil = 0;
  busyUntil = 0;
  lastUsed = 0;

  constructor(url: string) {
    this.url = url;
  }

  /** Whether the breaker lets a single request try it. */
  get isHalfOpen(): boolean {
    return this.failures >= FAILURES_TO_OPEN;
  }
}

/** Outcome of a request for its server: a reply, a failure of the server, or neither. */
export type Outcome = "answered" | "failed" | "neutral";

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

  /** Takes a server, another than `avoid` where there is a choice; waits until one may be used. */
  async take(avoid: Endpoint | null, signal: AbortSignal): Promise<Endpoint> {
    for (;;) {
      signal.throwIfAborted();
      const found = this.#pick(avoid);
      if (found !== null) {
        found.outstanding += 1;
        this.#uses += 1;
        found.lastUsed = this.#uses;
        return found;
      }
      await this.#wait(signal);
    }
  }

  /** Returns a server, with the outcome of its request. */
  release(endpoint: Endpoint, outcome: Outcome, waitMs = 0): void {
    const now = this.#effects.now();
    endpoint.outstanding -= 1;
    endpoint.busyUntil = Math.max(endpoint.busyUntil, now + waitMs);
    if (outcome === "answered") endpoint.failures = endpoint.openings = endpoint.openUntil = 0;
    // Requests that were sent before it opened say nothing new.
    if (outcome === "failed" && now >= endpoint.openUntil) {
      endpoint.failures += 1;
      if (endpoint.isHalfOpen) {
        const ms = Math.min(OPEN_MAX_MS, OPEN_MS * 2 ** endpoint.openings) * (0.5 + this.#effects.random() / 2);
        endpoint.openUntil = now + ms;
        endpoint.openings += 1;
      }
    }
    const change = this.#change;
    this.#change = newChange();
    change.resolve();
  }

  #pick(avoid: Endpoint | null): Endpoint | null {
    const now = this.#effects.now();
    const free = this.all.filter((x) => now >= freeAt(x) && !(x.isHalfOpen && x.outstanding > 0));
    const others = free.filter((x) => x !== avoid);
    const [first] = (others.length > 0 ? others : free).sort(
      (a, b) => a.outstanding - b.outstanding || a.lastUsed - b.lastUsed,
    );
    return first ?? null;
  }

  /** Waits until a server is released or its time has come. */
  async #wait(signal: AbortSignal): Promise<void> {
    const now = this.#effects.now();
    const times = this.all.map(freeAt).filter((time) => time > now);
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

interface Change {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function newChange(): Change {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
