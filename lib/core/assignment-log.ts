// Placement of each operator of a graph, read from ONNX Runtime's verbose log (logSeverityLevel 0). The browser builds
// and onnxruntime-node write the same lines. There is no API for it, and a list of providers does not show it: an
// operator without a GPU kernel falls back to the CPU silently, with a copy before and after it.
//
//   … VerifyEachNodeIsAssignedToAnEp]  All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 1
//   … VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 39
//   … VerifyEachNodeIsAssignedToAnEp]   Clip (p2o.Clip.0)
//   … GetCpuPreferredNodes] ORT optimization- Force fallback to CPU execution for node: p2o.Cast.14 because …
import type { Assignment } from "./bundle.ts";

/** One operator of an optimised graph, and the provider that ONNX Runtime assigned it to. */
export interface NodePlacement {
  readonly operator: string;
  readonly node: string;
  readonly provider: string;
}

const SECTION = /VerifyEachNodeIsAssignedToAnEp\] Node placements/;
const ALL = /\] +All nodes placed on \[(\w+)\]\. Number of nodes: (\d+)/;
const SOME = /\] +Node\(s\) placed on \[(\w+)\]\. Number of nodes: \d+/;
const NODE = /VerifyEachNodeIsAssignedToAnEp\] +(\S+) \((.*)\)$/;
/** Nodes that ONNX Runtime itself keeps on the CPU, since they compute a few shape values. */
const PREFERRED = [
  /Candidate for fallback CPU execution: (.+)$/,
  /Force fallback to CPU execution for node: (.+) because /,
];

/** Operators that move or count dims. For activations all but Shape and Size have a GPU kernel; for int64 none has. */
const SHAPE_OPERATORS: ReadonlySet<string> = new Set([
  "Cast",
  "Concat",
  "ConstantOfShape",
  "Gather",
  "Range",
  "ReduceProd",
  "Shape",
  "Size",
  "Slice",
  "Squeeze",
  "Unsqueeze",
]);

/** Lists the operators of the last session in a log; null without one. Names are "" where all share one provider. */
export function placementsFromLog(lines: readonly string[]): NodePlacement[] | null {
  let placements: NodePlacement[] | null = null;
  let provider = "";
  for (const line of split(lines)) {
    if (SECTION.test(line)) placements = [];
    if (placements === null) continue;
    const all = ALL.exec(line);
    const some = SOME.exec(line);
    const node = NODE.exec(line);
    if (all !== null) {
      const every = { operator: "", node: "", provider: all[1] ?? "" };
      placements = Array.from({ length: Number(all[2]) }, () => every);
    } else if (some !== null) provider = some[1] ?? "";
    else if (node !== null) placements.push({ operator: node[1] ?? "", node: node[2] ?? "", provider });
  }
  return placements;
}

/** Counts the operators of the last session in a log, by placement; null without one. */
export function assignmentFromLog(lines: readonly string[], backend: "webgpu" | "wasm"): Assignment | null {
  const placements = placementsFromLog(lines);
  if (placements === null) return null;
  const copies = placements.filter(isCopy).length;
  if (backend === "wasm") return { device: placements.length - copies, shape: 0, cpu: 0, copies };
  const onCpu = placements.filter(isOnCpu).length;
  const strays = straysFromLog(lines).length;
  return { device: placements.length - copies - onCpu, shape: onCpu - strays, cpu: strays, copies };
}

/** Lists the operators of a WebGPU session that run on the CPU and are not shape arithmetic. */
export function straysFromLog(lines: readonly string[]): NodePlacement[] {
  const preferred = new Set<string>();
  for (const line of split(lines)) {
    for (const pattern of PREFERRED) preferred.add(pattern.exec(line)?.[1] ?? "");
  }
  preferred.delete("");
  const placements = placementsFromLog(lines) ?? [];
  return placements.filter((each) => {
    return isOnCpu(each) && !SHAPE_OPERATORS.has(each.operator) && !preferred.has(each.node);
  });
}

function isOnCpu(placement: NodePlacement): boolean {
  return placement.provider === "CPUExecutionProvider" && !isCopy(placement);
}

function isCopy({ operator }: NodePlacement): boolean {
  return operator === "MemcpyFromHost" || operator === "MemcpyToHost";
}

/** Splits the log into lines and removes the colour codes of warnings. */
function split(lines: readonly string[]): string[] {
  return lines.flatMap((line) =>
    line
      .replaceAll(/\u001b\[[\d;]*m/g, "")
      .split("\n")
      .map((each) => each.trimEnd()),
  );
}
