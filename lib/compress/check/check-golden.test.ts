import { expect, test } from "vitest";
import { answersOf } from "./check-golden.ts";

const outputs = [{ y: { dims: [1], data: [1] } }];

test("a run on WebGPU that timed out leaves a variant unchecked: a slow machine is no fault of it", () => {
  const ran = answersOf({ exit: null, isLate: true, outputs: [], log: "" }, 1);
  expect(ran).toMatchObject({ verdict: "unchecked", why: expect.stringMatching(/timed out/) as string });
});

test("a run on WebGPU that ended early, or lacks answers, fails with the end of its log", () => {
  const ran = { isLate: false, log: "first\nno kernel for Det\n" };
  const failed = { verdict: "failed", why: "it does not run on WebGPU: no kernel for Det" };
  expect(answersOf({ ...ran, exit: 1, outputs: [] }, 1)).toEqual(failed);
  expect(answersOf({ ...ran, exit: 0, outputs }, 2)).toEqual(failed);
  expect(answersOf({ ...ran, exit: 0, outputs }, 1)).toBe(outputs);
});
