import { expect, test } from "vitest";
import { ERROR_CODES } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { MAX_ATTEMPTS, recover } from "./recover.ts";
import type { Failure } from "./recover.ts";

const first: Failure = {
  code: "worker-crashed",
  backend: "wasm",
  isHung: false,
  attempts: 1,
  attemptsHere: 1,
  gpuAllowed: true,
  isLast: false,
  hasFallback: false,
};

const DIED: readonly ErrorCode[] = ["worker-crashed", "device-lost"];
const UNFIT: readonly ErrorCode[] = [
  ...(["out-of-memory", "no-backend", "setup-failed", "wrong-result", "remote-failed"] as const),
  "internal",
];

test("an error that no lane caused rejects, whatever else could do the work", () => {
  const others = ERROR_CODES.filter((x) => ![...DIED, ...UNFIT].includes(x));
  for (const code of [null, ...others])
    for (const backend of ["wasm", "webgpu", "remote"] as const)
      expect(recover({ ...first, code, backend, hasFallback: true })).toBe("reject");
});

test.each(DIED)("on WebGPU %s is tried again once, while the browser bears another loss", (code) => {
  const gpu: Failure = { ...first, code, backend: "webgpu", hasFallback: true };
  expect(recover(gpu)).toBe("again");
  expect(recover({ ...gpu, attempts: 2, attemptsHere: 2 })).toBe("step-down");
  expect(recover({ ...gpu, gpuAllowed: false })).toBe("step-down");
  expect(recover({ ...gpu, gpuAllowed: false, hasFallback: false })).toBe("reject");
});

test.each(UNFIT)("on WebGPU %s goes to the fallback at once, and rejects without one", (code) => {
  const gpu: Failure = { ...first, code, backend: "webgpu", hasFallback: true };
  expect(recover(gpu)).toBe("step-down");
  expect(recover({ ...gpu, hasFallback: false })).toBe("reject");
});

test.each([...DIED, ...UNFIT])("on a server %s goes to the fallback, else to another server", (code) => {
  const server: Failure = { ...first, code, backend: "remote" };
  expect(recover({ ...server, hasFallback: true })).toBe("step-down");
  expect(recover({ ...server, attempts: 2, attemptsHere: 2 })).toBe("again");
});

test.each(UNFIT.filter((x) => x !== "internal"))("on wasm %s is tried again once, in a new worker", (code) => {
  for (const [hasFallback, second] of [
    [true, "step-down"],
    [false, "reject"],
  ] as const) {
    expect(recover({ ...first, code, hasFallback })).toBe("again");
    expect(recover({ ...first, code, hasFallback, attempts: 2, attemptsHere: 2 })).toBe(second);
  }
});

test("on wasm an error of a kernel is not repeated", () => {
  expect(recover({ ...first, code: "internal", hasFallback: true })).toBe("step-down");
  expect(recover({ ...first, code: "internal" })).toBe("reject");
});

test("a worker that others ended is tried again to the bound, one that hung once", () => {
  const second: Failure = { ...first, attempts: 2, attemptsHere: 2 };
  expect(recover(second)).toBe("again");
  expect(recover({ ...second, hasFallback: true })).toBe("step-down");
  expect(recover({ ...second, isHung: true })).toBe("reject");
  expect(recover({ ...second, code: "device-lost" })).toBe("reject");
});

test("after three attempts only the last fallback of a step without memory is tried", () => {
  const last: Failure = { ...first, attempts: MAX_ATTEMPTS, hasFallback: true, isLast: true };
  expect(recover(last)).toBe("reject");
  expect(recover({ ...last, code: "out-of-memory" })).toBe("step-down");
  expect(recover({ ...last, code: "out-of-memory", isLast: false })).toBe("reject");
  expect(recover({ ...last, backend: "remote", hasFallback: false })).toBe("reject");
  expect(recover({ ...last, attempts: MAX_ATTEMPTS - 1, backend: "remote", hasFallback: false })).toBe("again");
});
