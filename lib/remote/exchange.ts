// One HTTP request to a server: sent, bounded in time and size, its failure classified. Knows nothing of tensors, other
// servers or retries. The only place of this folder where bytes leave.
import { untilAborted } from "../core/abort.ts";
import type { NetworkEffects } from "../effects/network.ts";
import { FailedAttempt, failureOf } from "./failure.ts";

/** A request to one server. */
export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Headers;
  readonly body?: Uint8Array<ArrayBuffer>;
}

/** A reply with status 200. */
export interface HttpReply {
  readonly headers: Headers;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Bounds of a request. */
export interface RequestBounds {
  /** Cancels the request; its reason is thrown unchanged. */
  readonly signal: AbortSignal;
  /** Time for the whole reply, in milliseconds. */
  readonly timeoutMs: number;
  /** Size of the largest reply, in bytes. */
  readonly maxReplyBytes: number;
}

/** Bytes of an error's body that are read: MLServer has sent 100 MB, which echo the request. */
const ERROR_BYTES = 16_384;

/** Bytes of a reply's body that have been read. */
interface ReadBytes {
  bytes: number;
}

/** Sends a request. @throws Failure; the signal's reason */
export async function exchange(
  effects: NetworkEffects,
  request: HttpRequest,
  bounds: RequestBounds,
): Promise<HttpReply> {
  const { signal, timeoutMs } = bounds;
  signal.throwIfAborted();
  const { stop, end } = join(signal);
  const startMs = effects.now();
  const read: ReadBytes = { bytes: 0 };
  const cancelTimer = effects.setTimer(() => {
    stop.abort(new FailedAttempt(`no complete reply within ${timeoutMs} ms`, { reason: "timeout" }));
  }, timeoutMs);
  try {
    return await send(effects, request, bounds, stop.signal, read);
  } finally {
    cancelTimer();
    end();
    // Ends a body that was not read to its end.
    stop.abort();
    const sentBytes = request.body?.byteLength ?? 0;
    effects.onExchange?.({ sentBytes, receivedBytes: read.bytes, ms: effects.now() - startMs });
  }
}

/**
 * Returns a controller that is aborted as soon as one of these signals is, until `end`. Node 20 keeps what
 * `AbortSignal.any` adds to a signal that lives long.
 */
export function join(...signals: readonly (AbortSignal | undefined)[]): {
  readonly stop: AbortController;
  end(): void;
} {
  const stop = new AbortController();
  const ends = signals.map((signal) => (signal === undefined ? undefined : follow(signal, stop)));
  return {
    stop,
    end: () => {
      for (const end of ends) end?.();
    },
  };
}

/** Controllers that are aborted with a signal, by its one listener: Node warns of more than ten. */
interface Followers {
  readonly all: Set<AbortController>;
  readonly fire: () => void;
}

const followersOf = new WeakMap<AbortSignal, Followers>();

/** Aborts `stop` with a signal; returns the function that ends it. */
function follow(signal: AbortSignal, stop: AbortController): () => void {
  if (signal.aborted) stop.abort(signal.reason);
  const own: Followers = followersOf.get(signal) ?? {
    all: new Set(),
    fire: () => {
      for (const each of own.all) each.abort(signal.reason);
    },
  };
  followersOf.set(signal, own);
  own.all.add(stop);
  signal.addEventListener("abort", own.fire);
  return () => {
    own.all.delete(stop);
    if (own.all.size === 0) signal.removeEventListener("abort", own.fire);
  };
}

async function send(
  effects: NetworkEffects,
  { url, ...rest }: HttpRequest,
  { maxReplyBytes }: RequestBounds,
  signal: AbortSignal,
  read: ReadBytes,
): Promise<HttpReply> {
  // A redirect would take inputs and tokens to a place that the app did not name.
  const init: RequestInit = { ...rest, signal, redirect: "error", cache: "no-store" };
  const response = await orFailure(effects.fetch(url, init), signal, (cause) => {
    const text = "no reply: the server is away, closed the connection, redirects, or sends no CORS headers";
    return new FailedAttempt(text, { reason: "unreachable", cause });
  });
  const { status, headers } = response;
  const isGood = status === 200;
  const body = readBody(response, isGood ? maxReplyBytes : ERROR_BYTES, signal, read);
  if (!isGood) {
    const words = await body
      .then(async ({ bytes }) => (await import("./failure-text.ts")).wordsOf(bytes))
      .catch(() => "");
    // The caller's abort counts more than the status; a time limit, of a body that never ends, does not.
    if (signal.aborted && !(signal.reason instanceof FailedAttempt)) throw signal.reason;
    throw failureOf(status, headers, words);
  }
  const { bytes, isWhole } = await body;
  if (!isWhole) {
    const text = `the reply exceeds maxReplyBytes ${maxReplyBytes}`;
    throw new FailedAttempt(text, { reason: "too-large", status });
  }
  return { headers, bytes };
}

/** Reads a body up to a size. */
async function readBody(
  { body, headers }: Response,
  maxBytes: number,
  signal: AbortSignal,
  read: ReadBytes,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; isWhole: boolean }> {
  // Of a compressed body the length is another one, and some lie: a hint, up to 1 MiB.
  const hint = Math.min(maxBytes, 2 ** 20, Math.max(0, Number(headers.get("content-length")) || 0));
  let bytes = new Uint8Array(hint);
  let size = 0;
  const reader = body?.getReader();
  while (reader !== undefined) {
    const { done, value } = await orFailure(reader.read(), signal, (cause) => {
      const text = `connection closed after ${size} bytes of the reply`;
      return new FailedAttempt(text, { reason: "cut", cause });
    });
    if (done) break;
    read.bytes += value.length;
    const part = value.subarray(0, maxBytes - size);
    if (size + part.length > bytes.length) {
      const larger = new Uint8Array(Math.min(maxBytes, Math.max(65_536, 2 * (size + part.length))));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(part, size);
    size += part.length;
    if (part.length < value.length) return { bytes: bytes.subarray(0, size), isWhole: false };
  }
  return { bytes: bytes.subarray(0, size), isWhole: true };
}

/** Waits for the network; its own error becomes a Failure, an abort keeps its reason. */
async function orFailure<T>(
  wait: Promise<T>,
  signal: AbortSignal,
  toFailure: (cause: unknown) => FailedAttempt,
): Promise<T> {
  try {
    return await untilAborted(wait, signal);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw toFailure(error);
  }
}
