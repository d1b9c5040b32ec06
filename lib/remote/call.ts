// A call: one answer from one of several servers, however many requests it takes. Requests to the protocol change
// nothing on a server, so a request whose reply was lost may be sent again; only one reply is ever returned, and a
// superseded request is cancelled. Retries back off with jitter, and all calls of a client share a bound on retries a
// second, so that servers which are in trouble don't get more requests than those which are well.
import { SelvedgeError } from "../core/errors.ts";
import { inTime, untilAborted } from "../core/abort.ts";
import { show } from "../core/check-inputs.ts";
import type { NetworkEffects } from "../effects/network.ts";
import { newChange } from "./endpoints.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { exchange, join } from "./exchange.ts";
import type { HttpReply, HttpRequest } from "./exchange.ts";
import { FailedAttempt, ReplyError } from "./failure.ts";

const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 8_000;

/**
 * Bound on retries a second, shared by all calls of a client: a full second of them at once, then evenly spaced, in the
 * order in which calls ask. A retry that is answered returns its place, so the bound holds for those that fail.
 */
export class RetryBudget {
  readonly #effects: NetworkEffects;
  readonly #intervalMs: number;
  /** Time until which retries are spent. */
  #spent = -Infinity;
  /** Settles when the last call in the queue has had its turn. */
  #turn: Promise<void> = Promise.resolve();
  #change = newChange();

  constructor(perSecond: number, effects: NetworkEffects) {
    this.#intervalMs = 1_000 / perSecond;
    this.#effects = effects;
  }

  /** Waits for a turn and a place, then for the server that `take` waits for. A call that ends before spends nothing. */
  async spend(take: () => Promise<Endpoint>, signal: AbortSignal): Promise<Endpoint> {
    const turn = this.#turn;
    const own = newChange();
    this.#turn = own.promise;
    try {
      await untilAborted(turn, signal);
      for (let ms = this.#waitMs(); ms > 0.1; ms = this.#waitMs())
        await pause(this.#effects, ms, signal, this.#change.promise);
      const endpoint = await take();
      this.#spent += this.#intervalMs;
      return endpoint;
    } finally {
      void turn.then(own.resolve);
    }
  }

  /** Returns a place. */
  giveBack(): void {
    this.#spent -= this.#intervalMs;
    const change = this.#change;
    this.#change = newChange();
    change.resolve();
  }

  #waitMs(): number {
    const now = this.#effects.now();
    this.#spent = Math.max(this.#spent, now - Math.max(1_000, this.#intervalMs));
    return this.#spent + this.#intervalMs - now;
  }
}

/** Collaborators and bounds of all calls of a client. */
export interface CallContext {
  readonly effects: NetworkEffects;
  readonly endpoints: Endpoints;
  readonly budget: RetryBudget;
  /** Aborted when the client is closed. */
  readonly closed: AbortSignal;
  readonly attempts: number;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly maxReplyBytes: number;
}

/** A call's own part. */
export interface Call<T> {
  readonly signal: AbortSignal | undefined;
  /** Time for all attempts, in milliseconds. Default: the client's. */
  readonly timeoutMs: number | undefined;
  /** Makes the request for a server; asked anew for each attempt, since tokens expire. */
  request(endpoint: Endpoint): Promise<HttpRequest>;
  /** Words for that while it asks the server too, whose fault it may be. */
  readonly check?: string | undefined;
  /** Reads a reply. @throws ReplyError */
  read(reply: HttpReply, endpoint: Endpoint): T | Promise<T>;
  /** Whether a failure was of the request's form and the next attempt has another one: it is sent at once. */
  adapts?(failure: FailedAttempt, endpoint: Endpoint): boolean;
}

/** A call's answer. */
export interface CallAnswer<T> {
  readonly value: T;
  readonly endpoint: Endpoint;
  readonly attempts: number;
}

/** Calls. @throws SelvedgeError `remote-failed`, `closed`; RangeError for a wrong time; the signal's reason */
export async function call<T>(context: CallContext, own: Call<T>): Promise<CallAnswer<T>> {
  const { effects, closed } = context;
  const timeoutMs = checkTime("timeoutMs", own.timeoutMs ?? context.timeoutMs);
  own.signal?.throwIfAborted();
  const { stop, end } = join(own.signal, closed);
  const cancel = effects.setTimer(() => {
    stop.abort(new FailedAttempt(`no reply within timeoutMs ${timeoutMs}`, { reason: "timeout" }));
  }, timeoutMs);
  try {
    return await attempt(context, own, new CallProgress(timeoutMs, effects.now()), stop.signal);
  } finally {
    cancel();
    end();
  }
}

/** Returns a time in milliseconds. @throws RangeError for one that timers can't have */
export function checkTime(option: string, ms: number): number {
  if (typeof ms === "number" && ((ms >= 1 && ms < 2 ** 31) || ms === Infinity)) return ms;
  throw new RangeError(`${option}: expected 1 to 2147483647 ms or Infinity, got ${show(ms)}`);
}

/** How far a call has come. */
class CallProgress {
  readonly timeoutMs: number;
  /** When the call's time ends. */
  readonly endMs: number;
  attempts = 0;
  /** Failures with a bound of their own. */
  limited = 0;
  endpoint: Endpoint | null = null;
  /** Servers that were asked, in order. */
  readonly tried: Endpoint[] = [];
  /** The last failure that was not of the request's form. */
  last: FailedAttempt | null = null;
  /** Server whose error may have been the request's fault. */
  doubted: Endpoint | null = null;
  /** Whether the next attempt goes to the same server in another form. */
  isAdapted = false;
  /** Whether that may be a failure of the moment, sent again: it needs a place of the budget. */
  isPaced = false;
  /** Whether the attempt has a place of the budget. */
  isRetry = false;
  backoffMs = 0;

  constructor(timeoutMs: number, now: number) {
    this.timeoutMs = timeoutMs;
    this.endMs = now + timeoutMs;
  }
}

async function attempt<T>(
  context: CallContext,
  own: Call<T>,
  state: CallProgress,
  signal: AbortSignal,
): Promise<CallAnswer<T>> {
  const { effects, endpoints, budget } = context;
  const { timeoutMs } = state;
  for (;;) {
    try {
      if (state.attempts === 0 && endpoints.busyUntil > state.endMs) throw unsent(timeoutMs);
      const endpoint = await next(context, state, signal);
      const value = await once(context, own, state, endpoint, signal);
      if (state.isRetry) budget.giveBack();
      // Another server has answered the request, so it was not the request's fault.
      if (state.doubted !== null && state.doubted !== endpoint) endpoints.countFailure(state.doubted);
      return { value, endpoint, attempts: state.attempts };
    } catch (error) {
      let failure: unknown = error;
      const isLate = signal.reason instanceof FailedAttempt;
      // Of a call that ran out of time, the failure before says more.
      if (isLate) failure = state.last ?? (state.attempts > 0 ? error : unsent(timeoutMs));
      if (!(failure instanceof FailedAttempt)) throw failure;
      const { endpoint } = state;
      const isOver = isLate || endpoint === null || !mayRetry(context, own, state, endpoint, failure);
      if (!isOver) continue;
      const url = endpoint?.url ?? endpoints.all.map((x) => x.url).join(", ");
      const waitMs = endpoints.busyUntil > state.endMs ? endpoints.busyUntil - effects.now() : 0;
      throw failure.toError(url, state.attempts, waitMs);
    }
  }
}

/** Takes the server of the next attempt. */
async function next(
  { effects, endpoints, budget }: CallContext,
  state: CallProgress,
  signal: AbortSignal,
): Promise<Endpoint> {
  const { endpoint, isAdapted, last, backoffMs, tried } = state;
  state.isAdapted = state.isRetry = false;
  if (isAdapted && endpoint !== null) {
    const use = (): Promise<Endpoint> => Promise.resolve(endpoints.use(endpoint, signal));
    await (state.isPaced ? budget.spend(use, signal) : use());
    state.isRetry = state.isPaced;
  } else if (last === null) state.endpoint = await endpoints.take(tried, signal);
  else {
    if (backoffMs > 0) await pause(effects, backoffMs, signal);
    state.endpoint = await budget.spend(() => endpoints.take(tried, signal), signal);
    state.isRetry = true;
  }
  state.attempts += 1;
  tried.push(state.endpoint as Endpoint);
  return state.endpoint as Endpoint;
}

/** Records a failure; returns whether there is another attempt. */
function mayRetry<T>(
  { effects, endpoints, budget, attempts }: CallContext,
  own: Call<T>,
  state: CallProgress,
  endpoint: Endpoint,
  failure: FailedAttempt,
): boolean {
  const { outcome } = failure;
  const isDoubted = outcome === "doubted";
  const isWrong = outcome === "wrong";
  if (state.isRetry && (isDoubted || isWrong) && failure.reason !== "failed") budget.giveBack();
  state.isAdapted = own.adapts?.(failure, endpoint) ?? false;
  state.isPaced = failure.status === 400 || failure.status === 500;
  if (state.isAdapted) return true;
  state.last = failure;
  if (isWrong) {
    state.backoffMs = 0;
    return state.attempts < attempts && endpoints.hasUntried(state.tried);
  }
  const hasOther = endpoints.hasOther([endpoint]);
  const sends = failure.sends(hasOther);
  if (sends < Infinity) {
    state.limited += 1;
    state.doubted = endpoint;
  }
  const backoff = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (state.attempts - 1)) * (0.5 + effects.random());
  // Another server need not be waited for; after a time limit little time is left.
  const isNext = isDoubted ? hasOther : failure.reason === "timeout" && endpoints.hasOther(state.tried);
  state.backoffMs = isNext ? 0 : backoff;
  // A wait that a server asked for is not begun where it ends too late.
  return state.attempts < attempts && state.limited < sends && endpoints.busyUntil <= state.endMs;
}

/** Returns the failure of a call whose time ends before a server can be asked. */
function unsent(timeoutMs: number): FailedAttempt {
  const text = `not sent: no server is free within timeoutMs ${timeoutMs}, after failures or Retry-After`;
  return new FailedAttempt(text, { reason: "timeout" });
}

/**
 * Returns the time for an attempt before another server is asked, in milliseconds. A server that has not answered yet,
 * or failed last, may hang: it gets half of what the call has left while another one is free.
 */
function shareMs(context: CallContext, { endMs, tried, attempts }: CallProgress, endpoint: Endpoint): number {
  const { effects, endpoints } = context;
  const isKnown = endpoint.hasAnswered && endpoint.failures === 0;
  return isKnown || attempts >= context.attempts || !endpoints.hasOther(tried)
    ? Infinity
    : Math.max(1, Math.ceil((endMs - effects.now()) / 2));
}

/** Sends a call's request to one server, and releases the server with the outcome. */
async function once<T>(
  context: CallContext,
  own: Call<T>,
  state: CallProgress,
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<T> {
  const { effects, endpoints, attemptTimeoutMs, maxReplyBytes } = context;
  const share = shareMs(context, state, endpoint);
  const untilMs = effects.now() + share;
  const bounds = { signal, timeoutMs: attemptTimeoutMs, maxReplyBytes };
  let failure: FailedAttempt | null = null;
  let sentMs = Infinity;
  try {
    const request = await untilAborted(inTime(own.request(endpoint), share, effects.setTimer), signal).catch(
      (error: unknown) => {
        if (error !== signal.reason || !(error instanceof FailedAttempt)) throw error;
        return null;
      },
    );
    if (request === null)
      throw new FailedAttempt(`not sent: ${own.check ?? "`headers`"} took too long`, { reason: "timeout" });
    sentMs = effects.now();
    bounds.timeoutMs = Math.min(attemptTimeoutMs, Math.max(1, Math.ceil(untilMs - sentMs)));
    const reply = await exchange(effects, request, bounds);
    endpoint.wasRead = true;
    const value = await readReply(own, reply, endpoint);
    endpoints.release(endpoint, signal, "answered");
    return value;
  } catch (error) {
    if (error instanceof FailedAttempt) failure = error;
    if (failure !== null && failure.status !== null) endpoint.wasRead = true;
    if (failure?.reason === "unreachable" && effects.baseUrl !== undefined)
      failure =
        (await import("./failure-text.ts").then((x) => x.unreadable(effects, endpoint, bounds)).catch(() => null)) ??
        failure;
    // Not asked; cancelled; or late where it is the only server or had less than half of the call's time: it may be well.
    const isNeutral =
      (sentMs === Infinity && own.check === undefined) ||
      (signal.aborted && (endpoints.all.length === 1 || effects.now() - sentMs < state.timeoutMs / 2));
    // Of a cancelled one there is no failure.
    const outcome = (!isNeutral && failure?.outcome) || "neutral";
    endpoints.release(endpoint, signal, outcome, failure?.waitMs);
    throw failure ?? error;
  }
}

async function readReply<T>(own: Call<T>, reply: HttpReply, endpoint: Endpoint): Promise<T> {
  try {
    return await own.read(reply, endpoint);
  } catch (error) {
    if (!(error instanceof ReplyError)) throw error;
    throw new FailedAttempt(`invalid reply: ${error.message}`, { reason: "bad-reply", status: 200, cause: error });
  }
}

/** Waits, not longer than for `change`. @throws the signal's reason */
async function pause(effects: NetworkEffects, ms: number, signal: AbortSignal, change?: Promise<void>): Promise<void> {
  let cancel = (): void => undefined;
  const wait = new Promise<void>((resolve) => {
    cancel = effects.setTimer(resolve, ms);
    void change?.then(resolve);
  });
  try {
    await untilAborted(wait, signal);
  } finally {
    cancel();
  }
}

/** Returns the error of calls on a closed client. */
export function closedError(): SelvedgeError {
  return new SelvedgeError("closed", "The client of the server is closed.");
}
