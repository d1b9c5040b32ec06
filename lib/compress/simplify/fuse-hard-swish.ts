// Fuses the expanded form of hard swish, x · clip(x + 3, 0, 6) / 6, which exporters write as four nodes, into
// HardSigmoid(x) · x: two nodes, each with a kernel on every backend (HardSwish itself has none on WebGPU and would be
// decomposed again).
import type { Graph } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { floatsOf } from "../onnx/tensor-proto.ts";

/** Fuses hard swish; results change by rounding only. */
export function fuseHardSwish(): Transform {
  return (model) => {
    for (const graph of model.graph.all()) {
      for (const node of [...graph.nodes]) if (node.opType === "Clip" && node.domain === "") fuse(graph, node);
      graph.changed();
    }
  };
}

function fuse(graph: Graph, clip: NodeProto): void {
  if (scalarAt(graph, clip, 1) !== 0 || scalarAt(graph, clip, 2) !== 6) return;
  const add = graph.producer(clip.input[0] ?? "");
  if (add?.opType !== "Add") return;
  const shifted = operand(graph, add, 3);
  const multiply = graph.onlyConsumer(clip.output[0] ?? "");
  if (shifted === undefined || multiply?.opType !== "Mul" || !multiply.input.includes(shifted)) return;
  if (graph.onlyConsumer(add.output[0] ?? "") !== clip) return;
  const divide = graph.onlyConsumer(multiply.output[0] ?? "");
  if (divide?.opType !== "Div" || scalarAt(graph, divide, 1) !== 6) return;
  const gate = graph.freshName(`${divide.output[0] ?? ""}/gate`);
  const sixth = { float: Math.fround(1 / 6) };
  graph.insertBefore(divide, {
    opType: "HardSigmoid",
    input: [shifted],
    output: [gate],
    attributes: { alpha: sixth, beta: { float: 0.5 } },
  });
  graph.insertBefore(divide, { opType: "Mul", input: [shifted, gate], output: divide.output });
  graph.remove(new Set([add, clip, multiply, divide]));
}

/** Returns the other operand of a node where one of its two inputs is a constant of that value. */
function operand(graph: Graph, node: NodeProto, value: number): string | undefined {
  if (scalarAt(graph, node, 1) === value) return node.input[0];
  return scalarAt(graph, node, 0) === value ? node.input[1] : undefined;
}

function scalarAt(graph: Graph, node: NodeProto, at: number): number | undefined {
  const constant = graph.constant(node.input[at] ?? "");
  if (constant === undefined || constant.dataType !== 1) return undefined;
  const values = floatsOf(constant);
  return values.length === 1 ? values[0] : undefined;
}
