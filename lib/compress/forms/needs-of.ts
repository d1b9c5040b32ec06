// Derives the needs of a finished model from its graph. A form's declared needs say where it is meant to run; those
// here are the ones that it cannot run without.
import type { Variant } from "../../core/bundle.ts";
import { integerOf } from "../onnx/graph.ts";
import type { Graph } from "../onnx/graph.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { ValueInfoProto } from "../onnx/onnx.gen.js";

/** Operators without a kernel on WebGPU that a form has many of. */
const WASM_ONLY: ReadonlySet<string> = new Set(
  (
    "ConvInteger DynamicQuantizeLSTM DynamicQuantizeLinear DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat " +
    "QAttention QGemm QLinearAdd QLinearConv QLinearMatMul QLinearMul"
  ).split(" "),
);

/**
 * Adds to a form's declared needs those of its graph: "wasm" for integer products, which no GPU kernel computes, and
 * "shader-f16" for one meant for WebGPU that computes in float16.
 */
export function needsOf({ graph }: OnnxModel, declared: Variant["needs"]): Variant["needs"] {
  const needs = new Set(declared);
  const graphs = [...graph.all()];
  if (graphs.some((x) => x.nodes.some(({ opType }) => WASM_ONLY.has(opType)))) needs.add("wasm");
  if (!needs.has("wasm") && graphs.some(computesInHalf)) needs.add("webgpu").add("shader-f16");
  return [...needs];
}

/** Whether a graph takes, returns or computes float16; constants that a Cast widens while loading do not count. */
function computesInHalf(graph: Graph): boolean {
  const { input, output } = graph.proto;
  if ([...input, ...output].some(isHalf)) return true;
  return graph.nodes.some((node) => {
    if (node.opType === "Cast" && integerOf(node, "to", 0) === TensorProto_DataType.FLOAT16) return true;
    const isStored = (name: string): boolean => graph.constant(name)?.dataType === TensorProto_DataType.FLOAT16;
    return node.opType !== "Cast" && node.input.some((x) => x !== "" && isStored(x));
  });
}

function isHalf({ type }: ValueInfoProto): boolean {
  return type?.value.case === "tensorType" && type.value.value.elemType === (TensorProto_DataType.FLOAT16 as number);
}
