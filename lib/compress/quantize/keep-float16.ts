// Chooses which depthwise and first convolutions keep 16 bits. They hold few weights, each of which matters much, so
// that most are not worth the risk of 8 bits; but in a small model they are a third of the bytes. So each is tried
// alone in 8 bits on the samples, and stored so only if the outputs barely change.
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { factsOf, isDepthwise, isStem, rowAxis } from "./quantize-weights.ts";
import type { WeightFacts, WeightStore } from "./quantize-weights.ts";
import type { Feed } from "../run/samples.ts";
import { measureSensitivity } from "../run/sensitivity.ts";
import type { Feeds } from "../run/statistics.ts";
import { elementCount } from "../onnx/tensor-proto.ts";

/** Options of `keepFloat16`. */
export interface KeepFloat16Options {
  /** Minimum signal-to-noise ratio of the outputs where one such weight is stored in 8 bits. Default 46 dB. */
  readonly leastDb?: number;
  /** Number of samples used. Default 8. */
  readonly samples?: number;
  /** Time limit. Default 10 s. */
  readonly budgetMs?: number;
}

/** Defaults of `keepFloat16`. */
export const KEEP_FLOAT16_DEFAULTS: Required<KeepFloat16Options> = { leastDb: 46, samples: 8, budgetMs: 10_000 };

/** Maximum share of the weights that keep 16 bits for this; the smallest come first. */
const KEPT_MOST = 0.2;

/** Returns how each weight is to be stored; without samples all such convolutions keep 16 bits. */
export async function keepFloat16(
  model: OnnxModel,
  feeds: Feeds,
  options: KeepFloat16Options = {},
): Promise<(weight: WeightFacts) => WeightStore> {
  const { leastDb, samples, budgetMs } = { ...KEEP_FLOAT16_DEFAULTS, ...options };
  const sizes = new Map<string, number>();
  let total = 0;
  for (const graph of model.graph.all())
    for (const tensor of graph.proto.initializer) {
      const facts = tensor.dataType === TensorProto_DataType.FLOAT ? factsOf(graph, tensor) : undefined;
      if (facts === undefined || rowAxis(graph, tensor) === undefined) continue;
      total += elementCount(tensor);
      if (isSmall(facts)) sizes.set(tensor.name, elementCount(tensor));
    }
  const names = new Set(sizes.keys());
  const first: Feed[] = [];
  for await (const feed of feeds) if (first.push(feed) >= samples) break;
  const robust = new Set<string>();
  if (names.size > 0 && first.length > 0)
    for (const { name, int8Db } of await measureSensitivity(model, first, { budgetMs, bits: [8], names }))
      if (int8Db >= leastDb) robust.add(name);
  // In a tiny model they are most of the weights, and a form is named after most of its weights.
  let left = KEPT_MOST * total;
  for (const [name, size] of [...sizes].sort(([, a], [, b]) => a - b)) {
    if (robust.has(name)) continue;
    left -= size;
    if (left < 0) robust.add(name);
  }
  return (weight) => (isSmall(weight) && !robust.has(weight.name) ? "float16" : "int8");
}

function isSmall(weight: WeightFacts): boolean {
  return isDepthwise(weight) || isStem(weight);
}
