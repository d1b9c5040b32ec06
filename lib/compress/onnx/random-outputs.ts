// Outputs whose values are random. A comparison with a known answer says nothing about them.
import { subgraphs, uses } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import type { GraphProto, NodeProto } from "./onnx.gen.js";

/** Operators that draw numbers; what a seed means differs between backends. */
const RANDOM: ReadonlySet<string> = new Set([
  "Bernoulli",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

/** Operators of whose input the values do not matter. */
const SIZES: ReadonlySet<string> = new Set(["Shape", "Size"]);

/** Returns the names of the outputs that an operator with random numbers feeds, directly or through others. */
export function randomOutputs({ graph }: OnnxModel): string[] {
  const random = new Set<string>();
  for (const node of graph.nodes)
    if (isRandom(node) || (!SIZES.has(node.opType) && [...uses(node)].some((name) => random.has(name))))
      for (const name of node.output) random.add(name);
  return graph.proto.output.map(({ name }) => name).filter((name) => random.has(name));
}

function isRandom(node: NodeProto): boolean {
  return RANDOM.has(node.opType) || subgraphs(node).some(({ node: nodes }: GraphProto) => nodes.some(isRandom));
}
