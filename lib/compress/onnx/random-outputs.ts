// Outputs whose values are random. A comparison with a known answer says nothing about them.
import { create } from "@bufbuild/protobuf";
import { calledIn } from "./functions.ts";
import type { CalledBy } from "./functions.ts";
import { Graph, subgraphs, uses } from "./graph.ts";
import type { OnnxModel } from "./model.ts";
import { GraphProtoSchema } from "./onnx.gen.js";
import type { FunctionProto, NodeProto, TensorProto } from "./onnx.gen.js";

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
export function randomOutputs(model: OnnxModel): string[] {
  const { graph, proto } = model;
  const random = new RandomValues(calledIn(proto), new Set(trainingDropouts(model))).among(graph.nodes);
  return graph.proto.output.map(({ name }) => name).filter((name) => random.has(name));
}

/**
 * Lists the Dropout nodes that drop values in every run: their input `training_mode` is the constant true, as an export
 * of a model that trains has it, and ONNX Runtime does not leave them out.
 */
export function trainingDropouts({ graph, proto }: OnnxModel): NodeProto[] {
  const bodies = proto.functions.map(({ node }) => new Graph(create(GraphProtoSchema, { node })));
  return [graph, ...bodies].flatMap((outer) => {
    return [...outer.all()].flatMap((x) => x.nodes.filter((node) => isTraining(node, x)));
  });
}

/**
 * Whether a node is a Dropout that passes its input through. ONNX Runtime leaves out one between two nodes of a graph
 * whose mask is not read, whatever its `training_mode` (measured with 1.30, at all levels of graph optimization but
 * "disabled").
 */
export function isIdleDropout(node: NodeProto, graph: Graph): boolean {
  const { input, output } = node;
  const [from = "", , mode = ""] = input;
  const [, mask = ""] = output;
  if (!isDropout(node) || (mask !== "" && (graph.consumers(mask).length > 0 || graph.isOutput(mask)))) return false;
  // A value of no graph is an input of a function, which ONNX Runtime inlines first.
  if (!graph.isTaken(from) || (graph.producer(from) !== undefined && graph.constant(from) === undefined)) return true;
  const known = graph.constant(mode);
  return mode === "" || (known !== undefined && !isSet(known));
}

/** Describes Dropout nodes that drop values; three are named. */
export function describeDropouts(dropouts: readonly NodeProto[]): string {
  const names = dropouts.slice(0, 3).map(({ name, output: [made = ""] }) => `"${name === "" ? made : name}"`);
  const more = dropouts.length - names.length;
  const list = [...names, ...(more > 0 ? [`${more} more`] : [])].join(", ");
  return `Dropout ${list} ${dropouts.length === 1 ? "drops" : "drop"} values as in training`;
}

/** Advice on such nodes. */
export const EXPORT_FOR_INFERENCE = "export the model after `model.eval()`";

const isDropout = ({ domain, opType }: NodeProto): boolean => domain === "" && opType === "Dropout";

function isTraining(node: NodeProto, graph: Graph): boolean {
  const [, ratio = "", mode = ""] = node.input;
  const [share, isOn] = [graph.constant(ratio), graph.constant(mode)];
  if (!isDropout(node) || isIdleDropout(node, graph)) return false;
  return isOn !== undefined && isSet(isOn) && (share === undefined || isSet(share));
}

/** Whether a scalar of any type is not 0. */
function isSet({ rawData, floatData, doubleData, int32Data }: TensorProto): boolean {
  return [rawData, floatData, doubleData, int32Data].some((values) => values.some((x) => x !== 0));
}

/** The search for random values, which enters each function once. */
class RandomValues {
  readonly #called: CalledBy;
  readonly #training: ReadonlySet<NodeProto>;
  readonly #inside = new Map<FunctionProto, ReadonlySet<string>>();

  constructor(called: CalledBy, training: ReadonlySet<NodeProto>) {
    this.#called = called;
    this.#training = training;
  }

  /** Returns the random values that nodes make. */
  among(nodes: readonly NodeProto[]): ReadonlySet<string> {
    const random = new Set<string>();
    for (const node of nodes) for (const name of this.#madeBy(node, random)) random.add(name);
    return random;
  }

  #madeBy(node: NodeProto, random: ReadonlySet<string>): readonly string[] {
    const isFed = !SIZES.has(node.opType) && [...uses(node)].some((name) => random.has(name));
    const isDrawn = RANDOM.has(node.opType) || this.#training.has(node);
    if (isFed || isDrawn || subgraphs(node).some((x) => this.among(x.node).size > 0)) return node.output;
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
