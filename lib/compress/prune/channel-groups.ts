// Dependencies between the channels of a graph: groups of equivalent units (the output channels of a convolution, the
// hidden units of an MLP, heads of attention, the width of a residual stream), each unit with everything that must be
// removed with it. Nothing is changed here; prune-units.ts removes units, or sets them to 0.
//
// Units that reach an output of the graph, or an operator that this folder cannot follow, are in no group.
import { SelvedgeError } from "../../core/errors.ts";
import { DIM_INPUTS, DIM_RULES, LENGTH_RULES } from "./dependency-dims.ts";
import { SHAPE_RULES } from "./dependency-shapes.ts";
import { COMPUTE_RULES } from "./dependency-rules.ts";
import type { Labels } from "./dependency-units.ts";
import { Walk } from "./dependency-walk.ts";
import type { Producer, Read } from "./dependency-walk.ts";
import { inferValues } from "../run/infer-values.ts";
import { foldKnownDims } from "../simplify/fold-known-dims.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { raiseOpset } from "../simplify/raise-opset.ts";

/** Kind of a group's units: channels of convolutions, hidden units of an MLP, heads, or a residual stream's width. */
export type GroupKind = "channels" | "hidden" | "heads" | "width";

/** Units of equal standing, some of which may be removed. */
export interface ChannelGroup {
  /** The first value, in the graph's order, that has these units. */
  readonly id: string;
  /** Kind of the units. */
  readonly kind: GroupKind;
  /** The prunable units. */
  readonly units: readonly number[];
  /** Number of all units, including those that must stay. */
  readonly size: number;
  /** Whether removing a unit equals setting it to 0; not the case for a width that is normalized over. */
  readonly isExact: boolean;
  /** The weights that make these units. */
  readonly producers: readonly Producer[];
  /** Where they are summed. */
  readonly reads: readonly Read[];
}

/** The dependencies of one model; made by `findDependencies`. */
export interface Dependencies {
  readonly groups: readonly ChannelGroup[];
  /** @internal State recorded by the walk. */
  readonly walk: Walk;
}

const QUANTIZED =
  /^(QuantizeLinear|DequantizeLinear|DynamicQuantizeLinear|QLinear.*|.*Integer|MatMulNBits|GatherBlockQuantized|MatMulBnb4|QGemm|DynamicQuantize.*)$/;

/**
 * Finds the groups of a model, preferably a simplified one; known dims become constants in it. Needs onnxruntime-node,
 * for the lengths of axes.
 * @throws SelvedgeError `model-invalid` for a model that is already quantized, or that ONNX Runtime refuses.
 */
export async function findDependencies(model: OnnxModel): Promise<Dependencies> {
  const { graph } = model;
  const quantized = graph.nodes.find((x) => QUANTIZED.test(x.opType));
  if (quantized !== undefined) {
    const message = `the model is already quantized (${quantized.opType}): prune the float model it was made from`;
    throw new SelvedgeError("model-invalid", message, { operator: quantized.opType });
  }
  if (model.opset < 13) model.transform(raiseOpset(13));
  await foldKnownDims(model);
  const walk = new Walk(graph, await inferValues(model));
  walk.run(new Map([...COMPUTE_RULES, ...SHAPE_RULES, ...LENGTH_RULES]), new Map(DIM_RULES), new Map(DIM_INPUTS));
  return { groups: groupsOf(walk), walk };
}

/** Puts producers that share units into one group. */
function groupsOf(walk: Walk): ChannelGroup[] {
  const members: { units: Set<number>; producers: Producer[] }[] = [];
  const byUnit = new Map<number, (typeof members)[number]>();
  for (const producer of walk.producers) {
    const units = rootsOf(walk, producer.labels);
    const known = new Set([...units].flatMap((x) => byUnit.get(x) ?? []));
    const group = { units, producers: [producer] };
    for (const other of known) {
      for (const unit of other.units) group.units.add(unit);
      group.producers.unshift(...other.producers);
      members.splice(members.indexOf(other), 1);
    }
    for (const unit of group.units) if (unit !== 0) byUnit.set(unit, group);
    members.push(group);
  }
  const blurred = new Set(walk.blurred.flatMap((x) => [...rootsOf(walk, x)]));
  const heads = new Set(walk.heads.flatMap((x) => [...rootsOf(walk, x)]));
  const order = new Map(walk.graph.nodes.map((x, i) => [x, i]));
  const place = ({ node }: Producer): number => order.get(node) ?? 0;
  for (const { producers } of members) producers.sort((a, b) => place(a) - place(b));
  return members
    .sort((a, b) => Math.min(...a.producers.map(place)) - Math.min(...b.producers.map(place)))
    .map(({ units, producers }): ChannelGroup => {
      const free = [...units].filter((x) => x !== 0).sort((a, b) => a - b);
      const nodes = producers.map((x) => x.node);
      const isBlurred = free.some((x) => blurred.has(x));
      const isDense = producers.every((x) => x.kind !== "convolution");
      const isWide =
        isBlurred || producers.some((x) => x.kind === "table") || (isDense && isResidual(walk, nodes, units));
      const isHead = free.some((x) => heads.has(x));
      return {
        id: nodes[0]?.output[0] ?? "",
        kind: isHead ? "heads" : isWide ? "width" : isDense ? "hidden" : "channels",
        units: free,
        size: free.length + (units.has(0) ? 1 : 0),
        isExact: !isBlurred,
        producers,
        reads: walk.reads.filter((x) =>
          x.labels.some((y) => units.has(walk.units.find(y)) && walk.units.find(y) !== 0),
        ),
      };
    })
    .filter((x) => x.units.length > 1);
}

/** Returns the units that labels stand for. */
export function rootsOf(walk: Walk, labels: Labels): Set<number> {
  const roots = new Set<number>();
  for (const unit of labels) roots.add(walk.units.find(unit));
  return roots;
}

const SUMS: ReadonlySet<string> = new Set(["Add", "Sub", "Sum"]);

/**
 * Whether units are those of a residual stream: one of several nodes that make them depends on another, and their
 * outputs are added. Layers that share a weight depend on each other too, but are not added.
 */
function isResidual(walk: Walk, nodes: readonly NodeProto[], units: ReadonlySet<number>): boolean {
  if (nodes.length < 2) return false;
  const { graph } = walk;
  const isTheirs = (name: string): boolean =>
    (walk.axes(name) ?? []).some((x) => x?.some((unit) => units.has(walk.units.find(unit))) === true);
  const isSum = ({ opType, input }: NodeProto): boolean =>
    SUMS.has(opType) && input.filter((x) => x !== "" && !walk.isConstant(x) && isTheirs(x)).length > 1;
  if (!graph.nodes.some(isSum)) return false;
  const wanted = new Set(nodes);
  return nodes.some((node) => {
    const seen = new Set<NodeProto>();
    const open = [...node.input];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const producer = graph.producer(name);
      if (producer === undefined || seen.has(producer)) continue;
      if (wanted.has(producer) && producer !== node) return true;
      seen.add(producer);
      open.push(...producer.input);
    }
    return false;
  });
}
