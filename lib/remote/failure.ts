// Failures of requests to servers, and what each means for a retry and for the server's circuit breaker. Servers answer
// a client's own fault with 400, 404, 422 and also 500. failure-text.ts has the words.
import { SelvedgeError } from "../core/errors.ts";
import type { ServerOutcome } from "./endpoints.ts";

/** Cause of a failed request, as `details.reason` of the error `remote-failed`. */
export type RemoteReason =
  | "unreachable"
  | "cors"
  | "cut"
  | "timeout"
  | "busy"
  | "server"
  | "failed"
  | "denied"
  | "not-found"
  | "refused"
  | "bad-reply"
  | "other-model"
  | "too-large"
  | "no-binary";

/**
 * How often a request is sent in all where it keeps failing for a reason; as often as allowed for others, and once to each
 * server for those that say that it is the wrong one.
 */
const SENDS: Readonly<Partial<Record<RemoteReason, number>>> = {
  // Another server may be right, and a new token may be accepted; but no wait changes these.
  denied: 2,
  "bad-reply": 2,
  failed: 1,
  "not-found": 1,
  refused: 1,
  "too-large": 1,
  "no-binary": 1,
};

/** A reply that breaks the protocol, or is not what was asked for. */
export class ReplyError extends Error {}

/** Facts of a failed attempt. */
export interface FailureFacts {
  readonly reason: RemoteReason;
  /** Status of the reply; absent where none came. */
  readonly status?: number;
  /** Wait that the server asked for; absent where it did not. */
  readonly waitMs?: number;
  readonly cause?: unknown;
}

/** A failed attempt. */
export class FailedAttempt extends Error {
  readonly reason: RemoteReason;
  readonly status: number | null;
  /** Wait that the server asked for; 0 where it did not. */
  readonly waitMs: number;

  constructor(message: string, { reason, status, waitMs, cause }: FailureFacts) {
    super(message, { cause });
    this.reason = reason;
    this.status = status ?? null;
    this.waitMs = waitMs ?? 0;
  }

  /** Sends that are allowed in all: twice where the fault may be the server's and there is another. */
  sends(hasOtherServer: boolean): number {
    return Math.max(SENDS[this.reason] ?? Infinity, hasOtherServer && this.outcome === "doubted" ? 2 : 1);
  }

  /** Outcome for the server's breaker. */
  get outcome(): ServerOutcome {
    if (/^(unreachable|cut|timeout|server)$/.test(this.reason)) return "failed";
    if (this.reason === "busy") return this.waitMs === 0 ? "failed" : "answered";
    if (this.reason === "too-large") return "answered";
    if (this.reason === "cors" || this.reason === "other-model") return "wrong";
    return this.status === null ? "neutral" : "doubted";
  }

  /** Returns the error for the caller; `waitMs`: how long no server can be used, where that exceeds the call's time. */
  toError(url: string, attempts: number, waitMs: number): SelvedgeError {
    const times = attempts > 1 ? ` (${attempts} attempts)` : "";
    const own = { ...(this.status !== null && { status: this.status }), ...(waitMs > 0 && { waitMs }) };
    const details = { reason: this.reason, url, attempts, ...own };
    return new SelvedgeError("remote-failed", `${url}: ${this.message}${times}.`, details, this.cause);
  }
}

/** The longest Retry-After that is followed. */
const RETRY_AFTER_MAX_MS = 60_000;

/** Returns the failure that a status other than 200 means; `words` are the server's own. */
export function failureOf(status: number, headers: Headers, words: string): FailedAttempt {
  // Of other statuses it says when this one path may answer otherwise.
  const retryAfter = (status === 429 || status === 503 ? headers.get("retry-after") : null) ?? "";
  // Seconds, or a date, which is compared with the server's own clock; not followed where that can't be read.
  const ms = Number(retryAfter) * 1_000 || Date.parse(retryAfter) - Date.parse(headers.get("date") ?? "");
  const waitMs = ms > 0 ? Math.min(RETRY_AFTER_MAX_MS, ms) : 0;
  return new FailedAttempt(`status ${status}${words}`, { reason: reasonOf(status), status, waitMs });
}

function reasonOf(status: number): RemoteReason {
  if ([408, 425, 429, 503].includes(status)) return "busy";
  if ([401, 403, 407].includes(status)) return "denied";
  if (status === 404 || status === 410) return "not-found";
  if (status === 500) return "failed";
  if (status < 400) return "bad-reply";
  return status > 501 ? "server" : "refused";
}
