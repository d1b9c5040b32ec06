// Whether a form runs the same kernels as float32 once it is loaded: weights behind DequantizeLinear or Cast are folded
// while loading, and what is left may be float32's graph. Such a form takes float32's time by construction, and no
// measurement can say it better.
import { afterLoading } from "../simplify/ort-optimize.ts";
import type { Graph } from "../onnx/graph.ts";
import type { AttributeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import type { OnnxSource } from "../onnx/written-model.ts";

/** Describes the graph that a load leaves: operators, attributes, and types and dims of constants; null if unknown. */
export async function loadedGraph(
  source: OnnxSource,
  session: Readonly<Record<string, string>> = {},
): Promise<string | null> {
  return afterLoading(source, session, describeGraph);
}

/** Describes a graph without the values of its constants and without names. */
function describeGraph(model: OnnxModel): string {
  return [...model.graph.all()].flatMap(describeNodes).sort().join("\n");
}

function describeNodes(graph: Graph): string[] {
  return graph.nodes.map((node) => {
    const attributes = node.attribute.filter((x) => x.g === undefined && x.graphs.length === 0 && !isUsual(x));
    const inputs = node.input.map((x) => constantText(graph.constant(x)));
    return `${node.domain}.${node.opType} ${attributes.map(textOf).sort().join(" ")} (${inputs.join(", ")})`;
  });
}

/** Whether an attribute has its operator's default: a fusion writes those that an exporter leaves out. */
function isUsual({ name, i, f, s, ints }: AttributeProto): boolean {
  if (/^trans/.test(name)) return i === 0n;
  if (name === "alpha" || name === "beta") return f === 1;
  if (name === "auto_pad") return new TextDecoder().decode(s) === "NOTSET";
  if (name === "group") return i === 1n;
  if (name === "dilations" || name === "strides") return ints.every((x) => x === 1n);
  return name === "pads" && ints.every((x) => x === 0n);
}

function textOf({ name, i, f, s, ints, floats, t }: AttributeProto): string {
  return `${name}=${[i, f, new TextDecoder().decode(s), ints.join(","), floats.join(","), constantText(t)].join("|")}`;
}

/** Describes a constant by type and dims: its values change no kernel. */
function constantText(tensor: TensorProto | undefined): string {
  return tensor === undefined ? "" : `${tensor.dataType}[${tensor.dims.join(",")}]`;
}
