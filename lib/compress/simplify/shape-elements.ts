// Traces a computed shape back to its elements: constants, dims of some tensor, and values computed from those.
// Exporters compute shapes that they could have written down.
import type { Graph } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { listAt, rankOf } from "../onnx/rank.ts";
import { integersOf } from "../onnx/tensor-proto.ts";

/** One element of a shape: a number, a dim of a tensor, or a value computed from those. */
export type ShapeElement = number | Dim | "computed";

/** A dim of a tensor. */
export interface Dim {
  readonly of: string;
  readonly axis: number;
}

/** Returns the known dims of a tensor: lengths, and names, each of which is the same length everywhere. */
export type DimsOf = (name: string) => readonly (number | string)[] | undefined;

/** Traces a list of integers back to its elements; undefined where one is anything else. */
export function elementsOf(graph: Graph, name: string, dimsOf: DimsOf, depth = 64): ShapeElement[] | undefined {
  const constant = graph.constant(name);
  if (constant !== undefined) {
    const isWhole = [TensorProto_DataType.INT64, TensorProto_DataType.INT32].includes(constant.dataType);
    return isWhole && constant.dims.length <= 1 ? integersOf(constant) : undefined;
  }
  const node = graph.producer(name);
  if (node === undefined || node.domain !== "" || depth === 0) return undefined;
  const first = node.input[0] ?? "";
  switch (node.opType) {
    case "Shape": {
      const rank = dimsOf(first)?.length ?? rankOf(graph, first);
      if (rank === undefined || rank < 0 || rank > RANK_MAX || node.attribute.length > 0) return undefined;
      return Array.from({ length: rank }, (_, axis) => ({ of: first, axis }));
    }
    case "Cast":
      return elementsOf(graph, first, dimsOf, depth - 1);
    case "Concat": {
      const parts = node.input.map((x) => elementsOf(graph, x, dimsOf, depth - 1));
      return parts.includes(undefined) ? undefined : parts.flatMap((x) => x ?? []);
    }
    case "Slice": {
      const [start, end] = [listAt(graph, node, "starts", 1)?.[0], listAt(graph, node, "ends", 2)?.[0]];
      if (start === undefined || end === undefined || (listAt(graph, node, "steps", 4)?.[0] ?? 1) !== 1)
        return undefined;
      return elementsOf(graph, first, dimsOf, depth - 1)?.slice(start, end);
    }
    case "Gather": {
      const at = graph.constant(node.input[1] ?? "");
      const whole = elementsOf(graph, first, dimsOf, depth - 1);
      if (at === undefined || whole === undefined || at.dims.length > 1) return undefined;
      const picked = integersOf(at).map((i) => whole.at(i));
      return picked.includes(undefined) ? undefined : (picked as ShapeElement[]);
    }
    case "Squeeze":
    case "Unsqueeze":
      return elementsOf(graph, first, dimsOf, depth - 1);
    case "Reshape": {
      const target = graph.constant(node.input[1] ?? "");
      return target?.dims[0] === 1n ? elementsOf(graph, first, dimsOf, depth - 1) : undefined;
    }
    case "ConstantOfShape": {
      const [asked, more] = elementsOf(graph, first, dimsOf, depth - 1) ?? [];
      // The same length as another list.
      const length = typeof asked === "object" ? elementsOf(graph, asked.of, dimsOf, depth - 1)?.length : asked;
      const value = node.attribute.find((x) => x.name === "value")?.t;
      if (typeof length !== "number" || length < 0 || length > RANK_MAX || more !== undefined) return undefined;
      return value?.dataType === TensorProto_DataType.INT64
        ? Array.from({ length }, () => integersOf(value)[0] ?? 0)
        : undefined;
    }
    case "Add":
    case "Sub":
    case "Mul":
    case "Div":
      return pairs(graph, node.input, dimsOf, depth)?.map(([a, b]) => computed(node.opType, a, b));
    case "Where": {
      const condition = graph.producer(first);
      if (condition?.opType !== "Equal") return undefined;
      const compared = pairs(graph, condition.input, dimsOf, depth)?.map(([a, b]) => areSame(a, b));
      const chosen = pairs(graph, node.input.slice(1), dimsOf, depth);
      if (compared?.length !== chosen?.length || compared?.includes(undefined)) return undefined;
      return chosen?.map(([yes, no], i) => (compared?.[i] === true ? yes : no));
    }
    default:
      return undefined;
  }
}

/** Maximum number of elements of a shape. */
const RANK_MAX = 64;

/** Pairs the elements of two lists, broadcasting a single element. */
function pairs(
  graph: Graph,
  [left = "", right = ""]: readonly string[],
  dimsOf: DimsOf,
  depth: number,
): [ShapeElement, ShapeElement][] | undefined {
  const [a, b] = [left, right].map((x) => elementsOf(graph, x, dimsOf, depth - 1));
  if (a === undefined || b === undefined || (a.length !== b.length && a.length !== 1 && b.length !== 1))
    return undefined;
  const at = (list: readonly ShapeElement[], i: number): ShapeElement => list[list.length === 1 ? 0 : i] ?? "computed";
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [at(a, i), at(b, i)]);
}

function computed(opType: string, a: ShapeElement, b: ShapeElement): ShapeElement {
  if (typeof a !== "number" || typeof b !== "number") return "computed";
  if (opType === "Add") return a + b;
  if (opType === "Sub") return a - b;
  if (opType === "Mul") return a * b;
  return b === 0 ? "computed" : Math.trunc(a / b);
}

/** Whether two elements are the same in every run; undefined where that is not known. No dim is negative. */
function areSame(a: ShapeElement, b: ShapeElement): boolean | undefined {
  if (typeof a === "number" && typeof b === "number") return a === b;
  const [number, other] = typeof a === "number" ? [a, b] : [b, a];
  if (typeof number === "number") return typeof other === "object" && number < 0 ? false : undefined;
  const isSame = typeof a === "object" && typeof b === "object" && a.of === b.of && a.axis === b.axis;
  return isSame ? true : undefined;
}
