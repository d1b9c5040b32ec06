import { describe, expect, test } from "vitest";
import { SelvedgeError } from "../../core/errors.ts";
import { failureOf, startFailureOf } from "./classify-error.ts";
import { answerFailure } from "./wasm-file.ts";

// Messages of onnxruntime-web 1.30.0.
const KERNEL = "Non-zero status code returned while running ConstantOfShape node. Name:'c' Status Message:";
const AT = "/build/onnxruntime/core/framework/op_kernel.cc:83 virtual OrtValue *Context::Output(int)";

describe.each([
  ["load", 7, "Failed to load model because protobuf parsing failed.", "model-invalid"],
  ["load", 2, "No graph was found in the protobuf.", "model-invalid"],
  ["load", 9, "Could not find an implementation for Add(13) node with name 'add'", "model-invalid"],
  ["load", 6, "std::bad_alloc", "out-of-memory"],
  ["load", 11, "Failed to create a WebGPU compute pipeline", "internal"],
  [
    "run",
    1,
    `${KERNEL} ${AT} [ONNXRuntimeError] : 1 : FAIL : Calculation for Tensor storage size overflowed`,
    "out-of-memory",
  ],
  ["run", 2, `${KERNEL} ${AT} [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Tensor shape is too large`, "out-of-memory"],
  ["run", 1, `${KERNEL} indices element out of data bounds`, "internal"],
] as const)("during a %s, status %i «%s»", (during, status, message, code) => {
  const thrown = new Error(`failed to call it. ERROR_CODE: ${status}, ERROR_MESSAGE: ${message}`);

  test(`is ${code}, keeps ONNX Runtime's words, and its cause`, () => {
    const error = failureOf(thrown, during);
    expect(error).toMatchObject({ code, details: { ortCode: status, message }, cause: thrown });
  });
});

test("an aborted wasm and a bare number are distinguished from an invalid model", () => {
  expect(failureOf(new Error("Aborted(OOM)"), "load")).toMatchObject({ code: "out-of-memory" });
  expect(failureOf(new Error("memory access out of bounds"), "load")).toMatchObject({ code: "internal" });
  expect(failureOf(1234, "run")).toMatchObject({ code: "internal" });
});

test("a rank that only ONNX Runtime knows is the caller's RangeError", () => {
  const text = "ERROR_CODE: 2, ERROR_MESSAGE: Invalid rank for input: x Got: 1 Expected: 2";
  expect(failureOf(new Error(text), "run")).toBeInstanceOf(RangeError);
});

test("a position that the model's table has no row for is the caller's RangeError", () => {
  const status = "indices element out of data bounds, idx=128 must be within the inclusive range [-128,127]";
  const error = failureOf(new Error(`ERROR_CODE: 2, ERROR_MESSAGE: ${KERNEL} ${status}`), "run");
  expect(error).toBeInstanceOf(RangeError);
  expect(error.message).toMatch(/row 128 of a table of 128 rows, as for a sequence that is too long/);
});

test("our own errors and the caller's are returned unchanged", () => {
  for (const error of [new SelvedgeError("closed", "x"), new TypeError("x"), new RangeError("x")]) {
    expect(failureOf(error, "run")).toBe(error);
  }
});

test("where ONNX Runtime was in its sources is left out of the message", () => {
  const text = `ERROR_CODE: 1, ERROR_MESSAGE: ${KERNEL} ${AT} [ONNXRuntimeError] : 1 : FAIL : it broke`;
  expect(failureOf(new Error(text), "run").message).toBe(`ONNX Runtime failed during a run: ${KERNEL} it broke`);
});

describe("a start that fails", () => {
  const start = (message: string): SelvedgeError =>
    startFailureOf(new Error(`no available backend found. ERR: [wasm] ${message}`), "wasm", "/ort.wasm");

  test.each([
    "Compiling WebAssembly violates … 'unsafe-eval' is not allowed",
    "call to WebAssembly.instantiate() blocked by CSP",
  ])("%s: is a fault of the deployment, and names the line", (message) => {
    const error = start(message);
    expect(error).toMatchObject({ code: "setup-failed", details: { reason: "wasm-csp", message } });
    expect(error.message).toContain("script-src 'self' 'wasm-unsafe-eval'");
  });

  test("for another reason is the device's", () => {
    expect(start("no SIMD")).toMatchObject({ code: "no-backend", details: { message: "no SIMD" } });
  });

  test.each([
    [404, "text/plain", "setup-failed", "wasm-missing", "ort-wasm.wasm is missing (status 404, text/plain): "],
    [403, "text/plain", "setup-failed", "wasm-missing", "ort-wasm.wasm is refused (status 403, text/plain): "],
    [404, "text/html", "setup-failed", "wasm-missing", "ort-wasm.wasm is missing (status 404, text/html): "],
    [403, "text/plain", "setup-failed", "wasm-missing", "ort-wasm.wasm is refused (status 403, text/plain): "],
    [200, "text/html", "setup-failed", "wasm-html", "ort-wasm.wasm is an HTML page (status 200, text/html): "],
    [501, "text/plain", "setup-failed", "wasm-missing", "ort-wasm.wasm is refused (status 501, text/plain): "],
    [503, "", "worker-crashed", "server", "ort-wasm.wasm was not served (status 503, no Content-Type): "],
  ])("status %d with %s instead of the wasm is %s, %s", (status, type, code, reason, begin) => {
    const error = answerFailure("https://app.test/x/ort-wasm.wasm?v=1", status, type);
    expect(error).toMatchObject({ code, retryable: code === "worker-crashed", details: { status, reason } });
    expect(error?.message.slice(0, begin.length)).toBe(begin);
  });

  test("a wasm with another type than application/wasm is taken", () => {
    expect(answerFailure("https://app.test/ort-wasm.wasm", 200, "application/octet-stream")).toBeNull();
  });

  test("for lack of memory is reported as such", () => {
    expect(start("RangeError: WebAssembly.Memory(): could not allocate memory")).toMatchObject({
      code: "out-of-memory",
    });
  });
});
