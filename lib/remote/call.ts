// A call: one answer from one of several servers, however many requests it takes. Requests to the protocol change
// nothing on a server, so a request whose reply was lost may be sent again; only one reply is ever returned, and a
// superseded request is cancelled. Retries back off with jitter, and all calls of a client share a bound on retries a
// second, so that servers which are in trouble don't get more requests than those which are well.
import { SelvedgeError } from "../core/errors.ts";
import { untilAborted } from "../core/abort.ts";
import type { NetworkEffects } from "../effects/network.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { exchange } from "./exchange.ts";
import type { HttpReply, HttpRequest } from "./exchange.ts";
import { Failure, ReplyError } from "./failure.ts";

const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 8_000;

/** Bound on retries a second, shared by all calls of a client: a full second of them at once, then evenly spaced. */
export class RetryBudget {
  readonly #intervalMs: number;
  #next = 0;

  constructor(perSecond: number) {
    this.#intervalMs = 1_000 / perSecond;
  }

  /** Reserves a retry; returns how long it has to wait, in milliseconds. */
  reserve(now: number): number {
    this.#next = Math.max(this.#next, now - 1_000) + this.#intervalMs;
    return Math.max(0, this.#next - now);
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
  /** Reads a reply. @throws ReplyError */
  read(reply: HttpReply, endpoint: Endpoint): T | Promise<T>;
  /** Whether a failure was of the request's form and the next attempt has another one: it is sent at once. */
  adapts?(failure: Failure, endpoint: Endpoint): boolean;
}

/** A call's answer. */
export interface Answer<T> {
  readonly value: T;
  readonly endpoint: Endpoint;
  readonly attempts: number;
}

/** Calls. @throws SelvedgeError `remote-failed`, `closed`; the signal's reason */
export async function call<T>(context: CallContext, own: Call<T>): Promise<Answer<T>> {
  const { effects, closed } = context;
  own.signal?.throwIfAborted();
  const late = new AbortController();
  const timeoutMs = own.timeoutMs ?? context.timeoutMs;
  const cancel = effects.setTimer(() => {
    late.abort(new Failure(`no reply within timeoutMs ${timeoutMs}`, { reason: "timeout" }));
  }, timeoutMs);
  const signal = AbortSignal.any([late.signal, closed, ...(own.signal === undefined ? [] : [own.signal])]);
  try {
    return await attempt(context, own, signal, late.signal);
  } finally {
    cancel();
  }
}

async function attempt<T>(
  context: CallContext,
  own: Call<T>,
  signal: AbortSignal,
  late: AbortSignal,
): Promise<Answer<T>> {
  const { effects, endpoints, budget } = context;
  let last: Failure | null = null;
  let endpoint: Endpoint | null = null;
  let limited = 0;
  let attempts = 0;
  for (;;) {
    try {
      endpoint = await endpoints.take(endpoint, signal);
      attempts += 1;
      const value = await once(context, own, endpoint, signal);
      return { value, endpoint, attempts };
    } catch (error) {
      // Of a call that ran out of time, the failure before says more.
      const failure: unknown = late.aborted ? (last ?? late.reason) : error;
      if (!(failure instanceof Failure)) throw failure;
      const url = endpoint?.url ?? endpoints.all.map((x) => x.url).join(", ");
      if (late.aborted || endpoint === null) throw failure.toError(url, attempts);
      if (own.adapts?.(failure, endpoint)) continue;
      last = failure;
      if (failure.sends < Infinity) limited += 1;
      if (attempts >= context.attempts || limited >= failure.sends) throw failure.toError(url, attempts);
      const backoff = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (attempts - 1)) * (0.5 + effects.random());
      await pause(effects, Math.max(backoff, budget.reserve(effects.now())), signal).catch((reason: unknown) => {
        throw late.aborted ? failure.toError(url, attempts) : reason;
      });
    }
  }
}

/** Sends a call's request to one server, and releases the server with the outcome. */
async function once<T>(context: CallContext, own: Call<T>, endpoint: Endpoint, signal: AbortSignal): Promise<T> {
  const { effects, endpoints } = context;
  const bounds = { signal, timeoutMs: context.attemptTimeoutMs, maxReplyBytes: context.maxReplyBytes };
  let failure: Failure | null = null;
  try {
    const reply = await exchange(effects, await untilAborted(own.request(endpoint), signal), bounds);
    endpoint.wasRead = true;
    const value = await readReply(own, reply, endpoint);
    endpoints.release(endpoint, "answered");
    return value;
  } catch (error) {
    if (error instanceof Failure) failure = error;
    if (failure !== null && failure.status !== null) endpoint.wasRead = true;
    if (failure?.reason === "unreachable" && isForeign(effects, endpoint))
      failure =
        (await import("./failure-text.ts").then((x) => x.unreadable(effects, endpoint, bounds)).catch(() => null)) ??
        failure;
    endpoints.release(endpoint, signal.aborted ? "neutral" : (failure?.outcome ?? "neutral"), failure?.waitMs);
    throw failure ?? error;
  }
}

async function readReply<T>(own: Call<T>, reply: HttpReply, endpoint: Endpoint): Promise<T> {
  try {
    return await own.read(reply, endpoint);
  } catch (error) {
    const text = error instanceof ReplyError ? error.message : "the reply can't be decoded";
    throw new Failure(`invalid reply: ${text}`, { reason: "bad-reply", status: 200, cause: error });
  }
}

/** Whether a server is on another origin than the page. */
function isForeign({ baseUrl }: NetworkEffects, { url }: Endpoint): boolean {
  return baseUrl !== undefined && new URL(url).origin !== new URL(baseUrl).origin;
}

/** Waits. @throws the signal's reason */
async function pause(effects: NetworkEffects, ms: number, signal: AbortSignal): Promise<void> {
  let cancel = (): void => undefined;
  const wait = new Promise<void>((resolve) => {
    cancel = effects.setTimer(resolve, ms);
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
