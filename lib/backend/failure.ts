// What ONNX Runtime Web throws, as our codes. It throws Errors with "ERROR_CODE: n, ERROR_MESSAGE: …", RuntimeErrors of
// an aborted wasm, and bare numbers (a C++ exception that nothing caught). The numbers are OrtErrorCode of
// onnxruntime_c_api.h.
import { isSelvedgeError, SelvedgeError } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";

const MEMORY = /bad_alloc|out of memory|cannot enlarge memory|failed to allocate|OOM|grow(ing)? memory|invalid array length|array buffer allocation/i;
/** EP_FAIL: the device, not the model. */
const PROVIDER_FAILED = 11;
const INVALID_ARGUMENT = 2;

/** Makes one of our errors of whatever a load or a run threw; our own and the caller's mistakes pass untouched. */
export function failureOf(error: unknown, during: "load" | "run"): Error {
  if (isSelvedgeError(error) || error instanceof TypeError || isCallersRange(error)) return error;
  const text = textOf(error);
  const status = /ERROR_CODE: (\d+), ERROR_MESSAGE: ?([\s\S]*)/.exec(text);
  const ortCode = status === null ? null : Number(status[1]);
  const message = status?.[2] ?? text;
  const details = ortCode === null ? { message } : { message, ortCode };
  if (MEMORY.test(text)) return new SelvedgeError("out-of-memory", `Out of memory: ${message}`, details, error);
  if (during === "run" && ortCode === INVALID_ARGUMENT) return new RangeError(message, { cause: error });
  const code: ErrorCode =
    during === "load" && ortCode !== null && ortCode !== PROVIDER_FAILED ? "model-invalid" : "internal";
  const what = code === "model-invalid" ? "This is no model that ONNX Runtime can load" : "ONNX Runtime failed";
  return new SelvedgeError(code, `${what}: ${message}`, details, error);
}

/** A RangeError is the caller's, unless an allocation threw it. */
function isCallersRange(error: unknown): error is RangeError {
  return error instanceof RangeError && !MEMORY.test(error.message);
}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  if (typeof error === "number") return `an exception inside the wasm (${error})`;
  return String(error);
}
