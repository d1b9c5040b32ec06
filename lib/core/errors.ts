// The one error class of Selvedge and its wire form.
//
// A caller's mistake is a TypeError or RangeError, thrown at the public border before anything is queued. A cancel
// rejects with the signal's own reason. All else is a SelvedgeError. `instanceof` breaks over two copies of a package,
// hence the marker; a structured clone drops the class, hence the wire form: plain objects cross the worker border
// (serialisable errors are not in every browser).

/** Error code, for callers to branch on. */
export type ErrorCode =
  | "setup-failed"
  | "no-backend"
  | "download-failed"
  | "integrity-failed"
  | "bundle-invalid"
  | "model-invalid"
  | "wrong-result"
  | "does-not-fit"
  | "out-of-memory"
  | "quota-exceeded"
  | "device-lost"
  | "worker-crashed"
  | "state-lost"
  | "overloaded"
  | "deadline-exceeded"
  | "remote-failed"
  | "closed"
  | "internal";

/** Lists every code, in the order of the documentation. */
export const ERROR_CODES: readonly ErrorCode[] = [
  "setup-failed",
  "no-backend",
  "download-failed",
  "integrity-failed",
  "bundle-invalid",
  "model-invalid",
  "wrong-result",
  "does-not-fit",
  "out-of-memory",
  "quota-exceeded",
  "device-lost",
  "worker-crashed",
  "state-lost",
  "overloaded",
  "deadline-exceeded",
  "remote-failed",
  "closed",
  "internal",
];

const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  "download-failed",
  "out-of-memory",
  "device-lost",
  "worker-crashed",
  "overloaded",
  "remote-failed",
]);

/** Reasons that waiting does not change; error-reasons.ts describes each. */
const PERMANENT: ReadonlySet<unknown> = new Set([
  "not-found",
  "denied",
  "refused",
  "credentials",
  "html",
  "git-lfs",
  "cors",
  "csp",
  "mixed-content",
  "too-large",
  "encoding",
  "not-stored",
  "failed",
  "bad-reply",
  "no-binary",
  "other-model",
]);

/** A value that `structuredClone` copies and JSON can show. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly (string | number)[]>>;

const MARK = Symbol.for("selvedge.error");

/** Reports a failure that is neither the caller's mistake nor the caller's cancel. */
export class SelvedgeError extends Error {
  /** Error code. */
  readonly code: ErrorCode;
  /** Facts behind the message (URL, status, bytes, model …); `reason` is the cause as one word, where it is known. */
  readonly details: ErrorDetails;
  /** Whether the same call may succeed later: waiting can help, and nothing has to be changed. */
  readonly retryable: boolean;
  /** Command that prints causes and fixes, without a network. */
  readonly help: string;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = `SelvedgeError [${code}]`;
    this.code = code;
    this.details = details;
    this.retryable = RETRYABLE.has(code) && !PERMANENT.has(details["reason"]);
    this.help = `npx selvedge explain ${code}`;
    Object.defineProperty(this, MARK, { value: true });
  }
}

/** Returns the code of a SelvedgeError; null for any other value. */
export function codeOf(error: unknown): ErrorCode | null {
  return isSelvedgeError(error) ? error.code : null;
}

/** Whether a value is a SelvedgeError, from this copy of the package or another. */
export function isSelvedgeError(value: unknown): value is SelvedgeError {
  return typeof value === "object" && value !== null && MARK in value;
}

/** Whether the browser has lost a model's bytes, so that reading them anew may succeed. */
export function isUnreadable(error: unknown): boolean {
  return isSelvedgeError(error) && error.details["reason"] === "unreadable";
}

/** An error as a plain object, for `postMessage`. */
export interface WireError {
  kind: "selvedge" | "type" | "range" | "abort" | "other";
  name: string;
  message: string;
  code?: ErrorCode;
  details?: ErrorDetails;
  stack?: string;
  cause?: WireError;
}

/** Converts any thrown value to a plain object; keeps class, code, details, stack and the chain of causes. */
export function toWireError(error: unknown, depth = 0): WireError {
  if (!(error instanceof Error)) return { kind: "other", name: "Error", message: String(error) };
  const wire: WireError = { kind: "other", name: error.name, message: error.message };
  if (isSelvedgeError(error)) {
    wire.kind = "selvedge";
    wire.code = error.code;
    wire.details = error.details;
  } else if (error instanceof TypeError) wire.kind = "type";
  else if (error instanceof RangeError) wire.kind = "range";
  else if (error.name === "AbortError") wire.kind = "abort";
  if (error.stack !== undefined) wire.stack = error.stack;
  if (error.cause !== undefined && depth < 4) wire.cause = toWireError(error.cause, depth + 1);
  return wire;
}

/** Restores an error from `toWireError`. */
export function fromWireError(wire: WireError): Error {
  const cause = wire.cause === undefined ? undefined : fromWireError(wire.cause);
  const options = cause === undefined ? undefined : { cause };
  let error: Error;
  switch (wire.kind) {
    case "selvedge":
      error = new SelvedgeError(wire.code ?? "internal", wire.message, wire.details, cause);
      break;
    case "type":
      error = new TypeError(wire.message, options);
      break;
    case "range":
      error = new RangeError(wire.message, options);
      break;
    case "abort":
      error = new DOMException(wire.message, "AbortError");
      break;
    case "other":
      error = new Error(wire.message, options);
      error.name = wire.name;
  }
  if (wire.stack !== undefined) Object.defineProperty(error, "stack", { value: wire.stack, configurable: true });
  return error;
}
