// Sets the smallest weights to 0, per tensor: a share of them, or N of every M contiguous ones (N:M). Zeros reduce the
// download and nothing else: no backend here has a kernel that skips them, so a masked model is exactly as slow as
// before. Pruning whole units (pruner.ts) is what makes a model faster.
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { replaceConstant } from "./prune-units.ts";
import { elementCount, floatsOf, floatTensor } from "../onnx/tensor-proto.ts";

/** Which weights become 0: a share of each tensor's, or `zeros` of each `of`. */
export type MaskPattern = { readonly share: number } | { readonly zeros: number; readonly of: number };

/** Minimum number of elements; smaller tensors are left alone. */
const LEAST_ELEMENTS = 1_024;
const OPERATORS: ReadonlySet<string> = new Set(["Conv", "ConvTranspose", "MatMul", "Gemm"]);

/**
 * Parses a pattern from the command line: "50%", or "2:4" to keep two of each four.
 * @throws TypeError for anything else.
 */
export function parseMask(text: string): MaskPattern {
  const share = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (share !== null && Number(share[1]) < 100) return { share: Number(share[1]) / 100 };
  const [, kept, of] = (/^(\d+):(\d+)$/.exec(text) ?? []).map(Number);
  if (kept !== undefined && of !== undefined && kept > 0 && kept < of && of <= 32) return { zeros: of - kept, of };
  throw new TypeError(`mask: expected a share of the weights such as "50%", or a pattern such as "2:4", got "${text}"`);
}

/** Sets weights of convolutions and products to 0; returns the share of those weights that are 0 afterwards. */
export function maskWeights(model: OnnxModel, pattern: MaskPattern): number {
  const { graph } = model;
  let [zeros, all] = [0, 0];
  for (const tensor of [...graph.proto.initializer]) {
    const isWeight = graph.consumers(tensor.name).some((x) => OPERATORS.has(x.opType) && x.domain === "");
    if (!isWeight || tensor.dataType !== TensorProto_DataType.FLOAT || elementCount(tensor) < LEAST_ELEMENTS) continue;
    const values = floatsOf(tensor).slice();
    if ("share" in pattern) zeroSmallest(values, 0, values.length, Math.floor(values.length * pattern.share));
    else
      for (let at = 0; at + pattern.of <= values.length; at += pattern.of)
        zeroSmallest(values, at, at + pattern.of, pattern.zeros);
    replaceConstant(model, floatTensor(tensor.name, tensor.dims.map(Number), values));
    all += values.length;
    zeros += values.reduce((sum, x) => sum + (x === 0 ? 1 : 0), 0);
  }
  return all === 0 ? 0 : zeros / all;
}

function zeroSmallest(values: Float32Array, start: number, end: number, count: number): void {
  const size = (i: number): number => Math.abs(values[i] ?? 0);
  const order = Uint32Array.from({ length: end - start }, (_, i) => start + i).sort((a, b) => size(a) - size(b));
  for (const i of order.subarray(0, count)) values[i] = 0;
}
