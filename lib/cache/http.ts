// One request with a stall timeout: failures of servers and networks become typed errors, and transient ones are
// retried. Knows nothing of bundles or stores.
//
// A request without data for long is given up: a stalled connection otherwise stays open for minutes. A slow one is
// not, since its time limit is for the caller's signal to set. Retries back off with jitter, so that a server which
// recovers is not hit by all its visitors at once; a server's Retry-After is followed.
import type { Effects } from "../effects/effects.ts";
import { withoutCredentials } from "../core/credentials.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { Cause } from "./network-evidence.ts";
import { readParts } from "./read-stream.ts";

/** Effects of a request on the world. */
export interface NetEffects extends Pick<Effects, "fetch" | "setTimer" | "random"> {
  /** Finds out why a request brought no answer; never rejects. Absent outside browsers. */
  causeOf?(url: string): Promise<Cause>;
}

/** Options of a request beside the address. */
export interface NetOptions {
  readonly effects: NetEffects;
  readonly signal: AbortSignal;
}

/** A response body, read in parts. */
export interface ResponseBody {
  /** Its address after redirects; empty where unknown. */
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  /**
   * Returns the next bytes, valid until the next call, or null at the end; rejects where the connection breaks or
   * stalls.
   */
  read(): Promise<Uint8Array | null>;
  /** Cancels the request. */
  cancel(): void;
}

const SILENT_MS = 20_000;
const BACKOFF_MS = 250;
const BACKOFF_MAX_MS = 8_000;
/** The longest Retry-After that is followed; a longer one fails the request. */
const RETRY_AFTER_MAX_MS = 60_000;

/** Number of attempts: for network errors, and for wrong bytes. */
export const ATTEMPTS = { network: 5, wrongBytes: 2 } as const;

/** Starts a request; returns a response with a status in `accepted`; others are `download-failed`. */
export async function request(
  url: string,
  init: RequestInit,
  { effects, signal }: NetOptions,
  accepted: readonly number[] = [200],
): Promise<ResponseBody> {
  signal.throwIfAborted();
  const bare = withoutCredentials(url);
  if (bare !== url) throw credentialsError(bare);
  const stop = new AbortController();
  const follow = (): void => {
    stop.abort(signal.reason);
  };
  signal.addEventListener("abort", follow, { once: true });
  let size = 0;
  let answer: Response | null = null;
  const end = (): void => {
    signal.removeEventListener("abort", follow);
    stop.abort();
  };
  /** Waits for the network, but for a bounded time. */
  const watched = async <T>(wait: Promise<T>): Promise<T> => {
    let cancel = (): void => undefined;
    const silence = new Promise<never>((_, reject) => {
      cancel = effects.setTimer(() => {
        reject(
          new SelvedgeError("download-failed", `${url} stalled: no data for ${SILENT_MS / 1_000} s.`, {
            url,
            size,
            reason: "stalled",
          }),
        );
        stop.abort();
      }, SILENT_MS);
    });
    try {
      return await Promise.race([wait, silence]);
    } catch (error) {
      end();
      if (signal.aborted) throw signal.reason;
      if (isSelvedgeError(error)) throw error;
      throw await lostError(url, size, answer, effects, error);
    } finally {
      cancel();
    }
  };
  const response = await watched(effects.fetch(url, { ...init, signal: stop.signal }));
  answer = response;
  const { headers } = response;
  const isWhole = response.status === 206 && !new Headers(init.headers).has("range") && hasAll(headers);
  const status = isWhole ? 200 : response.status;
  if (!accepted.includes(status)) {
    end();
    throw statusError(url, status, headers.get("retry-after"));
  }
  const next = response.body === null ? () => Promise.resolve(null) : readParts(response.body);
  return {
    url: response.url,
    status,
    headers,
    cancel: end,
    async read() {
      const part = await watched(next());
      if (part === null) end();
      size += part?.byteLength ?? 0;
      return part;
    },
  };
}

/** Whether an answer's Content-Range is all of the file, as some servers and caches send it unasked. */
function hasAll(headers: Headers): boolean {
  const [, last, size] = /^bytes 0-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  return size !== undefined && Number(last) + 1 === Number(size);
}

/** Returns the error for a URL that had credentials, which `fetch` refuses. */
function credentialsError(url: string): SelvedgeError {
  const message = `${url} was given with a user name or a password in it, and browsers fetch no such URL. Take them out: a repository takes a \`token\`, cookies go to the page's own origin by themselves; else fetch an .onnx with an Authorization header and pass its bytes to \`load\`, and labels as a list of texts. A bundle is loaded by its URL alone.`;
  return new SelvedgeError("download-failed", message, { url, reason: "credentials", final: true });
}

/** Returns the error for a request without an answer, or whose connection was closed. */
async function lostError(
  url: string,
  size: number,
  answer: Response | null,
  effects: NetEffects,
  error: unknown,
): Promise<SelvedgeError> {
  if (answer !== null) {
    const encoding = answer.headers.get("content-encoding");
    if (size === 0 && encoding !== null) {
      const text = `${url} is not compressed as its header says (\`Content-Encoding: ${encoding}\`). Send that header only with files that are.`;
      return new SelvedgeError("download-failed", text, { url, size, reason: "encoding" }, error);
    }
    const text = `${url}: connection closed after ${size} bytes.`;
    return new SelvedgeError("download-failed", text, { url, size, reason: "cut" }, error);
  }
  const { reason, text } = (await effects.causeOf?.(url)) ?? { reason: "unreachable", text: "" };
  const final = ["csp", "cors", "mixed-content", "not-found"].includes(reason);
  const message = `${url} could not be fetched. ${text}`.trim();
  return new SelvedgeError("download-failed", message, { url, size, reason, ...(final && { final }) }, error);
}

/**
 * Retries transient failures. `attempt` calls `onward` where it made progress, which resets the count: on a train many
 * connections break, and each brings something.
 */
export async function retry<T>(
  { effects, signal }: NetOptions,
  attempt: (tried: number, onward: () => void) => Promise<T>,
  attempts: () => number | Promise<number> = () => ATTEMPTS.network,
): Promise<T> {
  let failed = 0;
  let wrong = 0;
  for (let tried = 1; ; tried += 1) {
    signal.throwIfAborted();
    try {
      return await attempt(tried, () => {
        failed = 0;
      });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!isSelvedgeError(error) || error.details["final"] === true) throw error;
      failed += 1;
      if (error.code === "integrity-failed") wrong += 1;
      if (failed >= (await attempts()) || wrong >= ATTEMPTS.wrongBytes) throw error;
      const told = error.details["retryAfterMs"];
      const usual = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (failed - 1)) * (0.5 + effects.random());
      await pause(typeof told === "number" ? told : usual, { effects, signal });
    }
  }
}

/** Reads a body whole: at most `maxBytes`, exactly `exactBytes` where that is known; never holds more than that. */
export async function readAll(
  url: string,
  body: ResponseBody,
  maxBytes: number,
  exactBytes: number | null,
  onPart: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = new Uint8Array(exactBytes ?? 65_536);
  let size = 0;
  for (let part = await body.read(); part !== null; part = await body.read()) {
    if (size + part.byteLength > maxBytes) {
      body.cancel();
      throw sizeError(url, maxBytes, exactBytes, `more than ${maxBytes}`);
    }
    if (size + part.byteLength > bytes.byteLength) {
      const larger = new Uint8Array(Math.min(maxBytes, 2 * (size + part.byteLength)));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(part, size);
    size += part.byteLength;
    onPart(part.byteLength);
  }
  if (exactBytes !== null && size !== exactBytes) throw sizeError(url, maxBytes, exactBytes, String(size));
  return bytes.subarray(0, size);
}

/** Waits, unless the signal aborts it. */
async function pause(ms: number, { effects, signal }: NetOptions): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = effects.setTimer(end, ms);
    signal.addEventListener("abort", end);
  });
  signal.throwIfAborted();
}

/** Whether an error means that the network or the server is away, rather than a refusal. */
export function isAway(error: unknown): boolean {
  if (!isSelvedgeError(error) || error.code !== "download-failed") return false;
  const { status } = error.details;
  return typeof status !== "number" || status >= 500 || status === 429;
}

/** Returns the cause of a status that was not accepted, as one word. */
function reasonOf(status: number): "not-found" | "busy" | "refused" | "server" | "denied" {
  if ([204, 205, 404, 410].includes(status)) return "not-found";
  if ([202, 408, 425, 429].includes(status)) return "busy";
  // A part of the file, though all of it was requested; a request that the server will not know later either.
  if ([206, 501, 505].includes(status)) return "refused";
  if (status < 400 || status >= 500) return "server";
  return [401, 403, 407, 451].includes(status) ? "denied" : "refused";
}

function statusError(url: string, status: number, retryAfter: string | null): SelvedgeError {
  const reason = reasonOf(status);
  const isTransient = reason === "server" || reason === "busy";
  const seconds = Number(retryAfter ?? Number.NaN);
  const part = status === 206 ? " By that it sent a part of the file, and all of it was requested." : "";
  const details = { url, status, reason, final: !isTransient || seconds * 1_000 > RETRY_AFTER_MAX_MS };
  const after = Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1_000 } : {};
  return new SelvedgeError("download-failed", `${url} answered with status ${status}.${part}`, {
    ...details,
    ...after,
  });
}

function sizeError(url: string, maxBytes: number, exactBytes: number | null, got: string): SelvedgeError {
  if (exactBytes !== null)
    return new SelvedgeError("integrity-failed", `${url} has ${got} bytes instead of ${exactBytes}.`, {
      url,
    });
  const message = `${url} exceeds the limit of ${maxBytes} bytes.`;
  return new SelvedgeError("download-failed", message, { url, reason: "too-large", final: true });
}
