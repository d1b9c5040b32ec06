// Chooses which of the weights meant for 4 bits get 8 instead: those with the most error of the outputs per byte saved,
// up to a small share of the bytes. Errors of different weights add up, so the worst few cause much of the total.
import type { Graph } from "../onnx/graph.ts";
import { layerOf } from "../onnx/layer.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { measureSensitivity } from "../run/sensitivity.ts";
import type { SampleFeeds } from "../run/statistics.ts";
import { elementCount } from "../onnx/tensor-proto.ts";
import type { Feed } from "../run/samples.ts";

/** Options of `choose8Bit`. */
export interface Choose8BitOptions {
  /** Bytes that may be spent, relative to the size of all weights in 4 bits. Default 0.1. */
  readonly share?: number;
  /** Number of samples for measuring sensitivity. Default 4. */
  readonly samples?: number;
  /** Time limit of the measurement. Default 15 s. */
  readonly budgetMs?: number;
}

/** Defaults of `choose8Bit`. */
export const CHOOSE_8_BIT_DEFAULTS: Required<Choose8BitOptions> = { share: 0.1, samples: 4, budgetMs: 15_000 };

/** Returns the names of product weights that are worth 8 bits. */
export async function choose8Bit(
  model: OnnxModel,
  feeds: SampleFeeds,
  options: Choose8BitOptions = {},
): Promise<ReadonlySet<string>> {
  const { share, samples, budgetMs } = { ...CHOOSE_8_BIT_DEFAULTS, ...options };
  const elements = productsOf(model.graph);
  const first: Feed[] = [];
  for await (const feed of feeds) if (first.push(feed) >= samples) break;
  if (first.length === 0 || elements.size < 2) return new Set();
  const rows = await measureSensitivity(model, first, { budgetMs, bits: [4] });
  const byError = rows
    .filter((x) => elements.has(x.name) && Number.isFinite(x.int4Db))
    .map(({ name, int4Db }) => ({ name, perElement: 10 ** (-int4Db / 10) / (elements.get(name) ?? 1) }))
    .sort((a, b) => b.perElement - a.perElement);
  // From 4 to 8 bits a weight doubles in size.
  let left = share * [...elements.values()].reduce((sum, x) => sum + x, 0);
  const chosen = new Set<string>();
  for (const { name } of byError) {
    const cost = elements.get(name) ?? 0;
    if (cost > left) continue;
    left -= cost;
    chosen.add(name);
  }
  return chosen;
}

/** Share of the weights that products read, which alone can have 4 bits; the others are those of convolutions and tables. */
export function productShare({ graph }: OnnxModel): number {
  const products = [...productsOf(graph).values()].reduce((sum, x) => sum + x, 0);
  const all = graph.proto.initializer.filter((x) => x.dims.length >= 2).reduce((sum, x) => sum + elementCount(x), 0);
  return all === 0 ? 0 : products / all;
}

function productsOf(graph: Graph): Map<string, number> {
  const elements = new Map<string, number>();
  for (const node of graph.nodes) {
    const layer = layerOf(graph, node);
    if (layer !== undefined && node.opType !== "Conv") elements.set(layer.weight.name, elementCount(layer.weight));
  }
  return elements;
}
