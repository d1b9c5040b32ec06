// Compares ids in 32 bits. Models build their padding masks with comparisons, and WebGPU compares no 64-bit integers,
// so one such operator moves the mask to the CPU and back. Indices of a table fit into 32 bits in any model that runs;
// for other numbers that is not known, so they are unchanged.
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";
import { int32Tensor, integersOf } from "../onnx/tensor-proto.ts";

const COMPARING: ReadonlySet<string> = new Set("Equal Greater GreaterOrEqual Less LessOrEqual".split(" "));
const INT32_MAX = 2 ** 31 - 1;

/** Converts each comparison of an input's ids with a constant to 32 bits. */
export function narrowIds(): Transform {
  return ({ graph }) => {
    for (const input of graph.proto.input) {
      const type = input.type?.value;
      const isWide = type?.case === "tensorType" && type.value.elemType === (TensorProto_DataType.INT64 as number);
      const users = graph.consumers(input.name);
      if (!isWide || !users.some((x) => isLookUp(graph, x, input.name))) continue;
      let narrow: string | undefined;
      for (const node of [...users]) {
        const other = node.input.find((x) => x !== input.name) ?? "";
        const constant = graph.constant(other);
        if (node.domain !== "" || !COMPARING.has(node.opType) || constant === undefined || !isNarrow(constant))
          continue;
        if (narrow === undefined) {
          narrow = graph.freshName(`${input.name}/int32`);
          const spec = {
            opType: "Cast",
            input: [input.name],
            output: [narrow],
            attributes: { to: TensorProto_DataType.INT32 },
          };
          graph.insertBefore(graph.nodes.find((x) => users.includes(x)) ?? node, spec);
        }
        const dims = constant.dims.map(Number);
        const as = graph.addInitializer(
          int32Tensor(graph.freshName(`${other}/int32`), dims, Int32Array.from(integersOf(constant))),
        );
        const [first, second] = node.input.map((x) => (x === input.name ? (narrow ?? x) : as));
        node.input = [first ?? "", second ?? ""];
        graph.changed();
      }
    }
  };
}

/** Whether a node indexes a table by these ids. */
function isLookUp(graph: Graph, { opType, domain, input }: NodeProto, ids: string): boolean {
  return domain === "" && opType === "Gather" && input[1] === ids && graph.constant(input[0] ?? "") !== undefined;
}

function isNarrow(constant: TensorProto): boolean {
  return (
    constant.dataType === TensorProto_DataType.INT64 && integersOf(constant).every((x) => Math.abs(x) <= INT32_MAX)
  );
}
