// Classifies what ONNX Runtime Web throws by our error codes. It throws Errors with "ERROR_CODE: n, ERROR_MESSAGE: …",
// RuntimeErrors of an aborted wasm, and bare numbers (an uncaught C++ exception). The numbers are OrtErrorCode of
// onnxruntime_c_api.h.
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import { unreadableOf } from "../../core/unreadable.ts";

const MEMORY =
  /bad_alloc|out of memory|OOM|could not allocate memory|cannot enlarge memory|failed to (allocate|grow)|storage size overflow|shape is too large|invalid (typed )?array length|array buffer allocation/i;
/** The one input error of a run that checkFeeds can't detect: a rank that the metadata leaves open. */
const WRONG_INPUT = /^(Invalid rank for input|Got invalid dimensions for input)/;
/** Prefixes of a message: the source location in ONNX Runtime, and each wrapping of the message. */
const ORIGIN = /\/\S+\.(cc|h):\d+ .*?(\[ONNXRuntimeError\] : \d+ : \w+ : |\) (?=\w))/g;
/** A row that a table of the model lacks, where the graph computes it (else table-rows.ts reports it). */
const NO_ROW = /indices element out of data bounds, idx=(-?\d+) must be within the inclusive range \[-?\d+,(-?\d+)\]/;

/** An operator without a kernel, at all or for this dtype: each provider words it differently. */
const NO_KERNEL = /^Could not find an implementation for|Provider type for .* is not set/;
/** EP_FAIL: the device, not the model. */
const PROVIDER_FAILED = 11;

/**
 * Converts whatever a load or a run threw into one of our errors; our own errors and the caller's mistakes are returned
 * as they are. `file` is the name of the model's file, for the message.
 */
export function failureOf(error: unknown, during: "load" | "run", file: string = "this model"): Error {
  if (isSelvedgeError(error) || error instanceof TypeError) return error;
  const lost = during === "load" ? unreadableOf(error) : null;
  if (lost !== null) return lost;
  const text = textOf(error);
  if (error instanceof RangeError && !MEMORY.test(text)) return error;
  const status = /ERROR_CODE: (\d+), ERROR_MESSAGE: ?([\s\S]*)/.exec(text);
  const ortCode = status === null ? null : Number(status[1]);
  const raw = status?.[2]?.trim() ?? text;
  const message = raw.replaceAll(ORIGIN, "");
  const details = ortCode === null ? { message: raw } : { message: raw, ortCode };
  if (MEMORY.test(raw)) return new SelvedgeError("out-of-memory", `Out of memory: ${message}`, details, error);
  if (during === "run" && WRONG_INPUT.test(raw)) return new RangeError(message, { cause: error });
  const row = during === "run" ? NO_ROW.exec(raw) : null;
  if (row !== null) {
    const table = `row ${row[1]} of a table of ${Number(row[2]) + 1} rows`;
    return new RangeError(`inputs: the model would read ${table}, as for a sequence that is too long`, {
      cause: error,
    });
  }
  if (during === "run" || ortCode === null || ortCode === PROVIDER_FAILED) {
    return new SelvedgeError("internal", `ONNX Runtime failed during a ${during}: ${message}`, details, error);
  }
  const hint = NO_KERNEL.test(message) ? " (its browser builds leave out most float64 and int16 kernels)" : "";
  const what = `ONNX Runtime can't load ${file}: ${message}${hint}`;
  return new SelvedgeError("model-invalid", what, { ...details, file, reason: "onnx" }, error);
}

/** Whether ONNX Runtime failed for want of memory. */
export function isOutOfMemory(error: unknown): boolean {
  return MEMORY.test(textOf(error));
}

/** Converts the error of a start that failed; our own errors are returned as they are. */
export function startFailureOf(error: unknown, backend: string, wasmUrl: string): SelvedgeError {
  if (isSelvedgeError(error)) return error;
  // It wraps each cause in "no available backend found. ERR: [name] …".
  const message = textOf(error).replace(/^no available backend found\. ERR: (\[\w+\] )?/, "");
  const details = { backend, wasmUrl, message };
  if (MEMORY.test(message)) return new SelvedgeError("out-of-memory", `Out of memory: ${message}`, details, error);
  if (/unsafe-eval|Content Security Policy|blocked by CSP/.test(message)) {
    const text = "The Content-Security-Policy forbids WebAssembly: allow `script-src 'self' 'wasm-unsafe-eval'`.";
    return new SelvedgeError("setup-failed", text, { ...details, reason: "wasm-csp" }, error);
  }
  const text = `ONNX Runtime did not start on ${backend}: ${message} (${wasmUrl}).`;
  return new SelvedgeError("no-backend", text, details, error);
}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  if (typeof error === "number") return `an exception inside the wasm (${error})`;
  return String(error);
}
