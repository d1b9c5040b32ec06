// A node of a graph as inference sees it: its attributes, and the types, dims and integers of its inputs.
import type { RunNode } from "../core/plan-buffers.ts";

/** Value of an attribute: integers, those of a tensor among them, or a text. */
export type Attribute = readonly number[] | string;

/** A node with what its dims depend on. */
export interface SizedNode extends RunNode {
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Type and dims of a tensor among its attributes. */
  readonly tensor?: Constant | undefined;
}

/** Type and dims of a constant, and its elements where it is a small one of integers. */
export interface Constant {
  readonly type: string;
  readonly dims: readonly number[];
  readonly values?: readonly number[] | undefined;
}

/** Number of elements up to which integers are followed. */
export const VALUES_MAX = 64;

/** Dims of a value. */
export type Dims = readonly number[];

/** Facts of a value. */
export interface KnownValue {
  readonly type: string;
  readonly dims?: Dims | undefined;
  readonly values?: readonly number[] | undefined;
}

/** A node whose dims are inferred: its inputs and attributes. */
export class NodeView {
  readonly node: SizedNode;
  readonly inputs: readonly (KnownValue | undefined)[];

  constructor(node: SizedNode, known: ReadonlyMap<string, KnownValue>) {
    this.node = node;
    this.inputs = node.input.map((x) => (x === "" ? undefined : known.get(x)));
  }

  /** Returns the dims of an input; throws where they are not known. */
  dims(i = 0): Dims {
    const dims = this.inputs[i]?.dims;
    if (dims === undefined) throw UNKNOWN;
    return dims;
  }

  /** Returns the integers of an input; undefined where the node has no such input. */
  values(i: number): readonly number[] | undefined {
    if ((this.node.input[i] ?? "") === "") return undefined;
    const values = this.inputs[i]?.values;
    if (values === undefined) throw UNKNOWN;
    return values;
  }

  integers(name: string): readonly number[] | undefined {
    const found = this.node.attributes.get(name);
    return typeof found === "string" ? undefined : found;
  }

  integer(name: string, fallback: number): number {
    return this.integers(name)?.[0] ?? fallback;
  }

  /** Returns an axis of an input, counted from its end where it is negative. */
  axis(fallback: number, rank: number = this.dims().length): number {
    return within(this.integer("axis", fallback), rank);
  }

  /** Returns integers that newer operator sets have as an input, and older ones as an attribute. */
  either(name: string, i: number): readonly number[] | undefined {
    return this.integers(name) ?? this.values(i);
  }
}

/** Thrown where the dims depend on data. */
export const UNKNOWN: Error = new RangeError("unknown dims");

/** Returns an axis or an index, counted from the end where it is negative. */
export function within(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Returns the number of elements. */
export function count(dims: Dims): number {
  return dims.reduce((product, x) => product * x, 1);
}

/** Returns the first index of a slice, and the one before which it ends; throws where its step is 0. */
export function rangeOf(
  size: number,
  start: number,
  end: number,
  step: number,
): [from: number, to: number, step: number] {
  if (step === 0) throw UNKNOWN;
  const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x < 0 ? x + size : x));
  return step > 0
    ? [clamp(start, 0, size), clamp(end, 0, size), step]
    : [clamp(start, 0, size - 1), end < -size ? -1 : clamp(end, -1, size - 1), step];
}
