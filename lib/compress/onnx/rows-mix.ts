// Whether the rows of a batch influence each other in a decoded model, by the rules that the page applies to a file.
import { CONSTANT_MAX, mixesRows } from "../../core/mixes-rows.ts";
import { calledIn } from "./functions.ts";
import { subgraphs } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto, ValueInfoProto } from "./onnx.gen.js";
import { elementCount, integersOf } from "./tensor-proto.ts";

/** Whether a row's answer depends on the other rows of its batch. */
export function modelMixesRows({ proto, graph, opset }: OnnxModel): boolean {
  const names = new Set(graph.proto.initializer.map((x) => x.name));
  const calledBy = calledIn(proto);
  return mixesRows<NodeProto>({
    opset,
    batched: graph.proto.input.filter((x) => isOpen(x) && !names.has(x.name)).map((x) => x.name),
    nodes: graph.nodes,
    integersOf: (name) => {
      const tensor = graph.constant(name);
      const { INT32, INT64 } = TensorProto_DataType;
      const isInteger = tensor?.dataType === INT32 || tensor?.dataType === INT64;
      return isInteger && elementCount(tensor) <= CONSTANT_MAX ? integersOf(tensor) : undefined;
    },
    calledBy: (node) => calledBy(node)?.node,
    subgraphNodes: (node) => subgraphs(node).flatMap((x) => x.node),
  });
}

/** Whether the first dim of an input has no size. */
function isOpen({ type }: ValueInfoProto): boolean {
  const [dim] = type?.value.case === "tensorType" ? (type.value.value.shape?.dim ?? []) : [];
  return dim !== undefined && !(dim.value.case === "dimValue" && dim.value.value > 0n);
}
