// Quantizes a layer's input to 8 bits at run time, with a scale for each row of a product or each sample of a
// convolution, so that an output does not depend on the rest of its batch. (DynamicQuantizeLinear has one scale for
// all.)
//
// Integer kernels take one zero point for all rows. It is derived from the value's producer: 0 where the value is never
// negative, low where it seldom is (x · sigmoid(x) and similar), else the midpoint. The scale then covers the larger of
// a row's two extremes; extremes are found by comparison, so they do not depend on the order of summation.
import type { Graph, NodeSpec } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { floatsOf, floatTensor, int64Tensor, uint8Tensor } from "../onnx/tensor-proto.ts";

/** A value in 8 bits, with a scale for each row or sample, which also applies to products of its values. */
export interface DynamicInput {
  readonly values: string;
  readonly scale: string;
  readonly zero: string;
}

const LEVELS = 255;
const MIDDLE = 128;
/** Minimum of HardSwish is −0.375; its maximum is mostly 3 or more. */
const LOW = 32;
/** A row of zeros needs a non-zero scale. */
const SMALLEST = 1e-20;
/** Above any scale. */
const HUGE = 1e38;

/** Inserts the nodes that quantize a layer's input in front of it. */
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
  // QuantizeLinear takes per-sample scales along an axis, with as many zero points: a value negligible relative to its
  // own scale becomes the zero point.
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

/** Whether a value is never below 0. */
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

/** Whether a value is mostly above 0: outputs of activations that are bounded just below 0. */
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
