// Puts what a layer reads in 8 bits while it runs: each row that is multiplied, each sample that is convolved, by a scale
// of its own, so that an answer does not hang on what else is in its batch. (DynamicQuantizeLinear has one scale for all.)
//
// Integer kernels take one zero point for all rows. Which one is told from what makes the value: 0 where nothing negative
// comes out, low where little does (x · sigmoid(x) and its kin), the middle else. The scale then reaches as far as the
// farther of a row's two ends; an end's numbers are those of a comparison, so no order of sums shows in them.
import type { Graph, NodeSpec } from "./graph.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { NodeProto } from "./onnx.gen.js";
import { floatsOf, floatTensor, int64Tensor, uint8Tensor } from "./weights.ts";

/** A value in 8 bits: a scale for each row or sample, which applies to products of its values too. */
export interface DynamicInput {
  readonly values: string;
  readonly scale: string;
  readonly zero: string;
}

const LEVELS = 255;
const MIDDLE = 128;
/** HardSwish reaches down to −0.375, and mostly up to 3 and more. */
const LOW = 32;
/** A row of zeros has to have a scale. */
const SMALLEST = 1e-20;
/** No scale is near it. */
const HUGE = 1e38;

/** Puts in front of a layer what quantizes its input. */
export function quantizeInput(graph: Graph, opset: number, node: NodeProto, input: string): DynamicInput {
  const name = (what: string): string => graph.freshName(`${input}/${what}`);
  const put = (
    opType: string,
    from: readonly string[],
    attributes: NodeSpec["attributes"] = {},
    what = opType,
  ): string => {
    const output = name(what.toLowerCase());
    graph.insertBefore(node, { opType, input: from, output: [output], attributes });
    return output;
  };
  const constant = (what: string, value: number): string =>
    graph.addInitializer(floatTensor(name(what), [], Float32Array.of(value)));
  const isConv = node.opType === "Conv";
  const axes = isConv ? [1, 2, 3] : [-1];
  const reduced = (opType: "ReduceMax" | "ReduceMin"): string =>
    opset < 18
      ? put(opType, [input], { axes, keepdims: 1 })
      : put(opType, [input, graph.addInitializer(int64Tensor(name("axes"), [axes.length], axes))], { keepdims: 1 });
  const zeroPoint = zeroPointOf(graph, input);
  const ends = [put("Mul", [reduced("ReduceMax"), constant("up", 1 / (LEVELS - zeroPoint))])];
  if (zeroPoint > 0) ends.push(put("Mul", [reduced("ReduceMin"), constant("down", -1 / zeroPoint)]));
  const scale = put("Max", [...ends, constant("smallest", SMALLEST)], {}, "scale");
  const zero = graph.addInitializer(uint8Tensor(name("zero"), [], Uint8Array.of(zeroPoint)));
  if (!isConv) {
    const values = put("QuantizeLinear", [put("Div", [input, scale]), constant("one", 1), zero], {}, "uint8");
    return { values, scale, zero };
  }
  // A scale for each sample is what QuantizeLinear takes along an axis, with as many zero points: what is next to nothing
  // beside its own scale becomes the zero point.
  const scales = put("Reshape", [scale, graph.addInitializer(int64Tensor(name("list"), [1], [-1]))]);
  const zeros = put("QuantizeLinear", [scales, constant("huge", HUGE), zero], {}, "zeros");
  return { values: put("QuantizeLinear", [input, scales, zeros], { axis: 0 }, "uint8"), scale, zero };
}

function zeroPointOf(graph: Graph, input: string): number {
  if (isPositive(graph, input)) return 0;
  return isMostlyPositive(graph, input) ? LOW : MIDDLE;
}

const POSITIVE: ReadonlySet<string> = new Set("Abs Exp HardSigmoid Relu Sigmoid Softmax Softplus Sqrt".split(" "));
const MOSTLY_POSITIVE: ReadonlySet<string> = new Set("Gelu HardSwish Mish".split(" "));
const KEEPING: ReadonlySet<string> = new Set(
  "AveragePool Flatten GlobalAveragePool GlobalMaxPool Identity MaxPool ReduceMean Reshape Slice Squeeze Transpose Unsqueeze".split(
    " ",
  ),
);
const DEPTH = 8;

/** Tells whether a value is never below 0. */
function isPositive(graph: Graph, value: string, depth = DEPTH): boolean {
  const node = graph.producer(value);
  if (node === undefined || node.domain !== "" || depth === 0) return false;
  const [first = ""] = node.input;
  if (POSITIVE.has(node.opType)) return true;
  if (KEEPING.has(node.opType)) return isPositive(graph, first, depth - 1);
  if (node.opType === "Clip") return lowestOf(graph, node) >= 0;
  if (node.opType === "Concat" || node.opType === "Add" || node.opType === "Mul")
    return node.input.every((x) => isPositive(graph, x, depth - 1));
  return false;
}

/** Tells whether little of a value lies below 0: what an activation lets through that hardly reaches below. */
function isMostlyPositive(graph: Graph, value: string, depth = DEPTH): boolean {
  const node = graph.producer(value);
  if (node === undefined || depth === 0) return false;
  const [first = "", second = ""] = node.input;
  if (isPositive(graph, value, depth)) return true;
  if (MOSTLY_POSITIVE.has(node.opType)) return true;
  if (KEEPING.has(node.opType)) return isMostlyPositive(graph, first, depth - 1);
  if (node.opType === "Concat") return node.input.every((x) => isMostlyPositive(graph, x, depth - 1));
  if (node.opType !== "Mul") return false;
  // x · gate(x)
  const isGate = (gate: string, x: string): boolean => {
    const made = graph.producer(gate);
    return made !== undefined && /^(Hard)?Sigmoid$/.test(made.opType) && made.input[0] === x;
  };
  return isGate(first, second) || isGate(second, first);
}

function lowestOf(graph: Graph, clip: NodeProto): number {
  const lowest = graph.constant(clip.input[1] ?? "");
  if (lowest?.dataType !== TensorProto_DataType.FLOAT) return -Infinity;
  return floatsOf(lowest)[0] ?? -Infinity;
}
