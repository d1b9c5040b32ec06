import { expect, test } from "vitest";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { runInChildProcess } from "./child-process.ts";
import type { Feed } from "./feeds.ts";
import type { ProfileEvent } from "./placement-cost.ts";
import { costFromLog, costOf, estimateMs, fixFor, whyTooCostly } from "./placement-cost.ts";

/** A product, Det, which has no kernel on WebGPU, and another product. */
const SIZE = 64;
function withDet() {
  return smallModel({
    opset: 13,
    inputs: { x: [SIZE, SIZE] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["a"] },
      { opType: "Det", input: ["a"], output: ["d"] },
      { opType: "Tanh", input: ["d"], output: ["t"] },
      { opType: "Mul", input: ["a", "t"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [SIZE, SIZE], seededFloats(SIZE * SIZE))],
  });
}

test("waits, copied bytes and time on the CPU come from a profile of the run", { timeout: 30_000 }, async () => {
  const x: Feed[string] = { dtype: "float32", dims: [SIZE, SIZE], data: seededFloats(SIZE * SIZE, 2) };
  const enough = { count: 1, ms: 0, isProfiled: true };
  const run = await runInChildProcess(withDet().write(), "webgpu", {}, [{ x }], enough);
  const cost = costOf(run.profile);
  expect(cost.waits).toBe(1);
  // The matrix to the CPU, and one number back.
  expect(cost.bytes).toBeGreaterThanOrEqual(SIZE * SIZE * 4);
  expect(cost.bytes).toBeLessThan(SIZE * SIZE * 4 * 2 + 1000);
  expect(cost.cpuMs).toBeGreaterThan(0);
  expect(costFromLog(run.log.split("\n")).waits).toBe(1);
});

test("the time of an operator is its shortest in the runs of a profile", () => {
  const run = { cat: "Session", name: "model_run" };
  const det = (dur: number): ProfileEvent => ({
    ...{ cat: "Node", name: "det_kernel_time", dur },
    args: { provider: "CPUExecutionProvider", op_name: "Det" },
  });
  // Twice in each run, as in a loop; interrupted once.
  const cost = costOf([run, det(40_000), det(300), run, det(200), det(250)]);
  expect(cost.cpuMs).toBeCloseTo(0.4);
});

test("bytes that were not measured are not stated", () => {
  const cost = costFromLog([]);
  expect(whyTooCostly({ ...cost, waits: 9 }, 2, ["Det"])).toContain("(9 waits for the GPU a run)");
});

test("operators on the CPU are refused by what they cost beside what the GPU saves", () => {
  const cost = { waits: 9, bytes: 3_000_000, cpuMs: 0.5 };
  expect(estimateMs(cost)).toBeCloseTo(12.5);
  expect(whyTooCostly(cost, 400, ["Expand"])).toBeUndefined();
  expect(whyTooCostly(cost, 8, ["Expand", "Expand", "Add"])).toContain("Expand, Add run on the CPU");
  expect(whyTooCostly(cost, 8, ["Expand"])).toContain("9 waits for the GPU and 3000000 copied bytes a run");
  expect(whyTooCostly({ waits: 1, bytes: 8, cpuMs: 0 }, 0.1, ["Add"])).toBeUndefined();
});

test("the fix for ONNX's own Attention, which has no kernel on WebGPU, is named; ONNX Runtime's has one", () => {
  const made = (domain: string) =>
    smallModel({
      ...{ opset: 23, inputs: { q: ["n", 4, 8] }, outputs: ["y"] },
      nodes: [{ opType: "Attention", domain, input: ["q", "q", "q"], output: ["y"] }],
    }).graph;
  expect(fixFor(made(""), ["Attention", "Det"])).toContain("operator set 22 or lower");
  expect(fixFor(made(""), ["Det"])).toBe("");
  expect(fixFor(made("com.microsoft"), ["Attention"])).toBe("");
});
