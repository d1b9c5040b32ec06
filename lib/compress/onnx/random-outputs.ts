// Outputs whose values are random. A comparison with a known answer says nothing about them.
import { calledIn } from "./functions.ts";
import type { CalledBy } from "./functions.ts";
import { subgraphs, uses } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import type { FunctionProto, NodeProto } from "./onnx.gen.js";

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

/**
 * Returns the names of the outputs that an operator with random numbers feeds, directly or through others, in the graph
 * or in a function.
 */
export function randomOutputs({ graph, proto }: OnnxModel): string[] {
  const random = new RandomValues(calledIn(proto)).among(graph.nodes);
  return graph.proto.output.map(({ name }) => name).filter((name) => random.has(name));
}

/** The search for random values, which enters each function once. */
class RandomValues {
  readonly #called: CalledBy;
  readonly #inside = new Map<FunctionProto, ReadonlySet<string>>();

  constructor(called: CalledBy) {
    this.#called = called;
  }

  /** Returns the random values that nodes make. */
  among(nodes: readonly NodeProto[]): ReadonlySet<string> {
    const random = new Set<string>();
    for (const node of nodes) for (const name of this.#madeBy(node, random)) random.add(name);
    return random;
  }

  #madeBy(node: NodeProto, random: ReadonlySet<string>): readonly string[] {
    const isFed = !SIZES.has(node.opType) && [...uses(node)].some((name) => random.has(name));
    if (isFed || RANDOM.has(node.opType) || subgraphs(node).some((x) => this.among(x.node).size > 0))
      return node.output;
    const called = this.#called(node);
    if (called === undefined) return [];
    const inside = this.#in(called);
    return node.output.filter((_, i) => inside.has(called.output[i] ?? ""));
  }

  #in(called: FunctionProto): ReadonlySet<string> {
    const known = this.#inside.get(called);
    if (known !== undefined) return known;
    this.#inside.set(called, new Set()); // it can't call itself
    const found = this.among(called.node);
    this.#inside.set(called, found);
    return found;
  }
}
