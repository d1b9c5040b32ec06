// Chooses which depthwise and first convolutions keep 16 bits. They hold few weights, each of which matters much, so
// that most are not worth the risk of 8 bits; but in a small model they are a third of the bytes. So each is tried
// alone in 8 bits on the samples, and stored so only if the outputs barely change. Where they are so many that the form
// could not be named int8, those that bear it best give way; without samples, the largest.
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { factsOf, isDepthwise, isStem, rowAxis } from "./quantize-weights.ts";
import type { WeightFacts, WeightStore } from "./quantize-weights.ts";
import type { Feed } from "../run/samples.ts";
import { measureSensitivity } from "../run/sensitivity.ts";
import { WIDE_MOST } from "../run/weight-widths.ts";
import type { SampleFeeds } from "../run/statistics.ts";
import { elementCount } from "../onnx/tensor-proto.ts";

/** Options of `keepFloat16`. */
export interface KeepFloat16Options {
  /** Minimum signal-to-noise ratio of the outputs where one such weight is stored in 8 bits. Default 46 dB. */
  readonly leastDb?: number;
  /** Number of samples used. Default 8. */
  readonly samples?: number;
  /** Time limit. Default 10 s. */
  readonly budgetMs?: number;
  /** Minimum number of elements of a weight that is stored in 8 bits; smaller ones stay as they are. Default 256. */
  readonly minElements?: number;
}

/** Defaults of `keepFloat16`. */
export const KEEP_FLOAT16_DEFAULTS: Required<KeepFloat16Options> = {
  leastDb: 46,
  samples: 8,
  budgetMs: 10_000,
  minElements: 256,
};

/** Returns how each weight of at least `minElements` is to be stored; without samples such convolutions keep 16 bits. */
export async function keepFloat16(
  model: OnnxModel,
  feeds: SampleFeeds,
  options: KeepFloat16Options = {},
): Promise<(weight: WeightFacts) => WeightStore> {
  const { leastDb, samples, budgetMs, minElements } = { ...KEEP_FLOAT16_DEFAULTS, ...options };
  const sizes = new Map<string, number>();
  let total = 0;
  for (const graph of model.graph.all())
    for (const tensor of graph.proto.initializer) {
      const facts = tensor.dataType === TensorProto_DataType.FLOAT ? factsOf(graph, tensor) : undefined;
      const size = elementCount(tensor);
      if (facts === undefined || rowAxis(graph, tensor) === undefined || size < minElements) continue;
      total += size;
      if (isSmall(facts)) sizes.set(tensor.name, size);
    }
  const names = new Set(sizes.keys());
  const first: Feed[] = [];
  for await (const feed of feeds) if (first.push(feed) >= samples) break;
  const measured = new Map<string, number>();
  if (names.size > 0 && first.length > 0)
    for (const { name, int8Db } of await measureSensitivity(model, first, { budgetMs, bits: [8], names }))
      measured.set(name, int8Db);
  const dbOf = (name: string): number => measured.get(name) ?? -Infinity;
  const robust = new Set([...names].filter((name) => dbOf(name) >= leastDb));
  // In a tiny model they are most of the weights, and a form is named after most of its weights.
  const rest = [...sizes].filter(([name]) => !robust.has(name));
  let kept = rest.reduce((sum, [, size]) => sum + size, 0);
  for (const [name, size] of rest.sort(([a, x], [b, y]) => Math.sign(dbOf(b) - dbOf(a)) || y - x)) {
    if (kept <= WIDE_MOST * total) break;
    kept -= size;
    robust.add(name);
  }
  return (weight) => (isSmall(weight) && !robust.has(weight.name) ? "float16" : "int8");
}

function isSmall(weight: WeightFacts): boolean {
  return isDepthwise(weight) || isStem(weight);
}
