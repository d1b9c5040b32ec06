import { expect, test } from "vitest";
import { assignmentFromLog, placementsFromLog, straysFromLog } from "./assignment-log.ts";

const VERIFY = "[V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]";
const line = (text: string): string => `2026-11-24 18:55:53.419948 ${VERIFY}${text}`;
const START = line(" Node placements");

/** Log of a session of onnxruntime-web 1.30.0: Clip without a kernel, shape arithmetic, and the copies for both. */
const MIXED = [
  "[I:onnxruntime:, fallback_cpu_capability.cc:89 operator()] Candidate for fallback CPU execution: p2o.Slice.1",
  "[I:onnxruntime:, fallback_cpu_capability.cc:167 GetCpuPreferredNodes] ORT optimization- Force fallback to CPU " +
    "execution for node: p2o.Mul.14 because the CPU execution path is deemed faster than overhead involved",
  START,
  line("  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 5"),
  line("   Clip (p2o.Clip.0)"),
  line("   Slice (p2o.Slice.1)"),
  line("   Mul (p2o.Mul.14)"),
  line("   Mul (p2o.Mul.15)"),
  line("   Concat (a (b))"),
  line("  Node(s) placed on [WebGpuExecutionProvider]. Number of nodes: 4"),
  line("   Conv (p2o.Conv.0)"),
  line("   com.microsoft.FusedConv (p2o.Conv.1)"),
  line("   MemcpyFromHost (Memcpy)"),
  line("   MemcpyToHost (Memcpy_token_1)"),
  "\u001b[0;93m2026 [W:onnxruntime:, session_state.cc:1397 VerifyEachNodeIsAssignedToAnEp] Some nodes were not " +
    "assigned to the preferred execution providers\u001b[m",
];

test("operators are counted by placement; shape arithmetic and copies separately", () => {
  expect(assignmentFromLog(MIXED, "webgpu")).toEqual({ device: 2, shape: 3, cpu: 2, copies: 2 });
});

test("the operators that should not be on the CPU are named", () => {
  expect(straysFromLog(MIXED).map(({ operator, node }) => `${operator} ${node}`)).toEqual([
    "Clip p2o.Clip.0",
    "Mul p2o.Mul.15",
  ]);
});

test("a graph that is all on one provider is one line of the log", () => {
  const all = (provider: string): string[] => [
    START,
    line(`  All nodes placed on [${provider}]. Number of nodes: 353`),
  ];
  expect(assignmentFromLog(all("WebGpuExecutionProvider"), "webgpu")).toMatchObject({ device: 353, cpu: 0 });
  expect(assignmentFromLog(all("CPUExecutionProvider"), "wasm")).toMatchObject({ device: 353, cpu: 0 });
  expect(assignmentFromLog(all("CPUExecutionProvider"), "webgpu")).toMatchObject({ device: 0, cpu: 353 });
});

test("of several sessions the last counts, and lines may come in one piece", () => {
  const log = [...MIXED, START, line("  All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 7")];
  expect(assignmentFromLog([log.join("\n")], "webgpu")).toEqual({ device: 7, shape: 0, cpu: 0, copies: 0 });
});

test("node names may hold brackets", () => {
  expect(placementsFromLog(MIXED)?.map(({ node }) => node)).toContain("a (b)");
});

test("a log without a session returns null, not zeros", () => {
  expect(assignmentFromLog(["nothing of it"], "webgpu")).toBeNull();
});
