// One walk over a graph in its order that assigns labels to each axis of each value (dependency-units.ts). The rules
// (dependency-rules.ts, dependency-shapes.ts) define the effect of each operator; an operator without a rule, or with a
// subgraph, fixes all that it uses.
//
// A constant's axes get units of their own on first use, and an operator joins them with those of its other inputs.
// Weights that two nodes share, that are transposed before use, or that are added to many values thus need no special
// case. The walk also records what a removal needs: where units are read, which nodes make them, and which attributes
// and shapes must follow.
import type { Graph } from "../onnx/graph.ts";
import { uses } from "../onnx/graph.ts";
import type { ValueFacts } from "../run/infer-values.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { rankOf } from "../onnx/rank.ts";
import { Units } from "./dependency-units.ts";
import type { Axes, Labels } from "./dependency-units.ts";
import { isSliceable } from "../onnx/slice-tensor.ts";

/** A place where all units of an axis are summed: removing a unit is equivalent to setting it to 0. */
export interface Read {
  readonly node: NodeProto;
  /** Input index of the node, and axis of that input, both from 0. */
  readonly input: number;
  readonly axis: number;
  readonly rank: number;
  readonly labels: Labels;
  /** The constant that weights the units, if any, and its axis that corresponds to `labels`. */
  readonly weight?: { readonly input: number; readonly axis: number; readonly groups: number };
}

/** A node whose weights make units: its output channels. */
export interface Producer {
  readonly node: NodeProto;
  readonly kind: "convolution" | "product" | "table";
  readonly weight: string;
  readonly axis: number;
  readonly labels: Labels;
}

/** Returns the number of indices of an axis that are kept. */
export type CountKept = (labels: Labels) => number;

/** Updates a node for the removed units; called once, before the constants are cut. */
export type Adapt = (kept: (unit: number) => boolean, count: CountKept) => void;

/** An element of a computed list of dims: a number, the length of an axis, or unknown. */
export type DimElement = number | { readonly labels: Labels } | null;

/** A rule: sets the axes of a node's outputs, and joins those of its inputs. */
export type Rule = (walk: Walk, node: NodeProto) => void;

/** State of the walk, and the operations that rules are written in. */
export class Walk {
  readonly graph: Graph;
  readonly units: Units = new Units();
  readonly reads: Read[] = [];
  readonly producers: Producer[] = [];
  readonly adaptations: Adapt[] = [];
  /** Units whose removal changes a mean over their axis, so that it is not equivalent to masking. */
  readonly blurred: Labels[] = [];
  /** Units that are whole heads. */
  readonly heads: Labels[] = [];
  readonly #facts: ReadonlyMap<string, ValueFacts>;
  readonly #axes = new Map<string, Axes>();
  readonly #dims = new Map<string, readonly DimElement[]>();

  constructor(graph: Graph, facts: ReadonlyMap<string, ValueFacts>) {
    this.graph = graph;
    this.#facts = facts;
  }

  /** All values and constants that have axes. */
  get values(): ReadonlyMap<string, Axes> {
    return this.#axes;
  }

  /** Walks the graph. */
  run(
    rules: ReadonlyMap<string, Rule>,
    dimRules: ReadonlyMap<string, Rule>,
    dimInputs: ReadonlyMap<string, number>,
  ): void {
    for (const node of this.graph.nodes) {
      if (node.opType === "Constant" && node.domain === "") continue;
      const key = node.domain === "" || node.domain === "ai.onnx" ? node.opType : `${node.domain}.${node.opType}`;
      const carriesDims = node.input.some((x) => this.#dims.has(x));
      const rule = (carriesDims ? dimRules.get(key) : undefined) ?? rules.get(key);
      if (carriesDims && !dimRules.has(key))
        for (const [i, name] of node.input.entries()) if (dimInputs.get(key) !== i) this.fixDims(name);
      if (rule === undefined) this.stay(node);
      else rule(this, node);
    }
    for (const { name } of this.graph.proto.output) this.fixAll(name);
  }

  /** Fixes everything that a node uses, and its outputs. */
  stay(node: NodeProto): void {
    for (const name of uses(node)) {
      this.fixAll(name);
      this.fixDims(name);
    }
    for (const name of node.output) if (name !== "") this.set(name, this.plain(name));
  }

  /** Returns the axes of a value, or undefined where its rank is unknown. */
  axes(name: string): Axes | undefined {
    const known = this.#axes.get(name);
    if (known !== undefined) return known;
    const constant = this.graph.constant(name);
    const made =
      constant === undefined
        ? this.plain(name)
        : constant.dims.map((x) => (x > 1n && isSliceable(constant) ? this.units.fresh(Number(x)) : null));
    if (made !== undefined) this.#axes.set(name, made);
    return made;
  }

  /** Returns axes without labels for a value, where its rank is known. */
  plain(name: string): Axes | undefined {
    const rank = this.#facts.get(name)?.dims?.length ?? rankOf(this.graph, name);
    return rank === undefined ? undefined : Array<null>(rank).fill(null);
  }

  /** Sets the axes of a value; undefined for an unknown rank. Axes of length 1 never carry labels. */
  set(name: string | undefined, axes: Axes | undefined): void {
    if (name === undefined || name === "" || axes === undefined) return;
    this.#axes.set(
      name,
      axes.map((x) => {
        if (x === null || x.length > 1) return x;
        this.units.fix(x);
        return null;
      }),
    );
  }

  /** Returns the length of an axis: a number, a symbol's name, or undefined. */
  dim(name: string, axis: number): number | string | undefined {
    const labels = this.axes(name)?.[axis];
    if (labels) return labels.length;
    const constant = this.graph.constant(name);
    if (constant !== undefined) return axis < constant.dims.length ? Number(constant.dims[axis]) : undefined;
    const dim = this.#facts.get(name)?.dims?.[axis];
    return typeof dim === "number" && dim < 0 ? undefined : dim;
  }

  /** Whether a value is a constant. */
  isConstant(name: string | undefined): name is string {
    return name !== undefined && name !== "" && this.graph.constant(name) !== undefined;
  }

  /** Fixes all axes of a value. */
  fixAll(name: string): void {
    for (const labels of this.axes(name) ?? []) this.units.fix(labels);
  }

  /** Fixes the axes whose lengths a computed list of dims holds. */
  fixDims(name: string): void {
    for (const element of this.#dims.get(name) ?? [])
      if (typeof element === "object" && element !== null) this.units.fix(element.labels);
  }

  /** Returns the known elements of a computed list of dims. */
  dims(name: string): readonly DimElement[] | undefined {
    return this.#dims.get(name);
  }

  /** Records the elements of a computed list of dims. */
  setDims(name: string, elements: readonly DimElement[] | undefined): void {
    if (elements !== undefined) this.#dims.set(name, elements);
  }

  /** Whether two axes are the same index by index. */
  isSame(a: Labels, b: Labels): boolean {
    return a.length === b.length && a.every((x, i) => this.units.find(x) === this.units.find(b[i] ?? 0));
  }

  /** Joins an axis of a value with labels; where the rank is unknown, the labels are fixed. */
  unifyAxis(name: string, axis: number, labels: Labels | null): void {
    const axes = this.axes(name);
    this.units.unify(axes?.[axis] ?? null, labels);
  }

  /** Records that a node sums over an axis. */
  read(read: Omit<Read, "labels">, labels: Labels | null): void {
    if (labels !== null) this.reads.push({ ...read, labels });
  }

  /** Records that a node's weights make the units of an axis. */
  produce(producer: Omit<Producer, "labels">, labels: Labels | null): void {
    if (labels !== null) this.producers.push({ ...producer, labels });
  }
}
