// Weights that hold NaN or infinities: no scale fits them, so they take no fewer than 16 bits, and a NaN spreads to
// every answer that it takes part in. The file loads and runs all the same, so that nothing else names them.
import type { Graph } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { elementCount, floatsOf } from "./tensor-proto.ts";

/** A constant with values that are no finite numbers. */
export interface NonFiniteWeight {
  readonly name: string;
  /** Number of values that are NaN. */
  readonly nans: number;
  /** Number of values that are infinite. */
  readonly infinities: number;
  /** Number of all its values. */
  readonly count: number;
}

/**
 * Lists the constants with NaN, and the weights with infinities: a mask's belong there. `isWeight` says whether a layer
 * reads a constant.
 */
export function nonFiniteWeights(
  model: OnnxModel,
  isWeight: (graph: Graph, tensor: TensorProto) => boolean,
): NonFiniteWeight[] {
  const found: NonFiniteWeight[] = [];
  for (const graph of model.graph.all())
    for (const [name, tensor] of constantsOf(graph)) {
      if (tensor.dataType !== TensorProto_DataType.FLOAT) continue;
      const { nans, infinities, isMask } = countNonFinite(floatsOf(tensor));
      if (nans > 0 || (infinities > 0 && !isMask && isWeight(graph, tensor)))
        found.push({ name, nans, infinities, count: elementCount(tensor) });
    }
  return found;
}

function* constantsOf({ proto }: Graph): Generator<[name: string, tensor: TensorProto]> {
  for (const tensor of proto.initializer) yield [tensor.name, tensor];
  for (const { opType, domain, output, attribute } of proto.node) {
    const tensor = opType === "Constant" && domain === "" ? attribute.find((x) => x.name === "value")?.t : undefined;
    if (tensor !== undefined) yield [output[0] ?? "", tensor];
  }
}

/** Counts such values; a mask has one other value. */
function countNonFinite(values: Float32Array): Omit<NonFiniteWeight, "name" | "count"> & { readonly isMask: boolean } {
  let [nans, infinities, first, isMask] = [0, 0, Number.NaN, true];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (Number.isNaN(value)) nans++;
    else if (!Number.isFinite(value)) infinities++;
    else if (Number.isNaN(first)) first = value;
    else if (value !== first) isMask = false;
  }
  return { nans, infinities, isMask };
}

/** Number of weights that a message names. */
const NAMED = 3;

/** Describes such weights: `"a" holds NaN in 1 of 6,144 values, and 2 more`. */
export function describeNonFinite(weights: readonly NonFiniteWeight[]): string {
  const texts = weights.slice(0, NAMED).map(({ name, nans, infinities, count }) => {
    const kinds = [nans > 0 ? "NaN" : [], infinities > 0 ? "infinity" : []].flat().join(" and ");
    return `"${name}" holds ${kinds} in ${inThousands(nans + infinities)} of ${inThousands(count)} values`;
  });
  const more = weights.length - texts.length;
  return [...texts, ...(more > 0 ? [`${more} more do so`] : [])].join(", ");
}

/** Advice on such weights. */
export const REPAIR_NON_FINITE =
  "export it again in float32 (float16 ends at 65,504), from a checkpoint before its training diverged";

function inThousands(value: number): string {
  return value.toLocaleString("en");
}
