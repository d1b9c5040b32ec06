// Multiply-adds of one run, counted from the actual lengths of values on a sample: those of convolutions and products,
// which are nearly all of the work. Elementwise operators and subgraphs are not counted.
import { integerOf } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import type { Feed } from "./samples.ts";
import { append, observe } from "./statistics.ts";

/** Multiply-adds of a node that has some. */
export interface NodeMacs {
  readonly node: NodeProto;
  readonly macs: number;
}

const COUNTED: ReadonlySet<string> = new Set(["Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU"]);

/** Counts the multiply-adds of a run on one sample, node by node. */
export async function countMacs(model: OnnxModel, feed: Feed): Promise<NodeMacs[]> {
  const { graph } = model;
  const counted = graph.nodes.filter((x) => x.domain === "" && COUNTED.has(x.opType));
  const names = new Set(counted.flatMap((x) => [x.input[0] ?? "", x.input[1] ?? "", x.output[0] ?? ""]));
  const shapes = new Map<string, number[]>();
  await observe(model, [feed], () =>
    [...names]
      .filter((x) => x !== "" && graph.constant(x) === undefined)
      .map((value) => ({
        outputs: append(graph, `${value}/lengths`, { opType: "Shape", input: [value] }),
        take: ([dims]) => {
          shapes.set(value, Array.from(dims ?? []));
        },
      })),
  );
  const dims = (name: string): number[] => graph.constant(name)?.dims.map(Number) ?? shapes.get(name) ?? [];
  return counted.map((node) => ({ node, macs: macsOf(node, dims) }));
}

/** Sums the multiply-adds of a run on one sample. */
export async function totalMacs(model: OnnxModel, feed: Feed): Promise<number> {
  return (await countMacs(model, feed)).reduce((sum, x) => sum + x.macs, 0);
}

function macsOf(node: NodeProto, dims: (name: string) => number[]): number {
  const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
  const [input, weight] = [dims(node.input[0] ?? ""), dims(node.input[1] ?? "")];
  const output = dims(node.output[0] ?? "");
  switch (node.opType) {
    case "Conv":
      return product(output) * product(weight.slice(1));
    case "ConvTranspose":
      return product(input) * product(weight.slice(1));
    case "MatMul":
      return product(output) * (input.at(-1) ?? 1);
    case "Gemm":
      return product(output) * ((integerOf(node, "transA", 0) === 1 ? input[0] : input[1]) ?? 1);
    default: {
      // Gates of a recurrent layer: each step multiplies the input and the state; the state's matrix is square per
      // gate.
      const [steps = 1, batch = 1] = input;
      const [directions = 1, gates = 1, width = 1] = weight;
      const hidden = gates / (node.opType === "LSTM" ? 4 : 3);
      return steps * batch * directions * gates * (width + hidden);
    }
  }
}
