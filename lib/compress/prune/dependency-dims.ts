// Computed lists of dims, as exporters emit them around Reshape and Resize. Follows which axes' lengths a list holds
// through the operators that pick and concatenate its elements. A list used anywhere else fixes its axes (Walk.run).
import { integerOf } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { listAt } from "../onnx/rank.ts";
import type { DimElement, Rule, Walk } from "./dependency-walk.ts";

/** Rules for operators that make lists of dims from values, or values from lists of dims. */
export const LENGTH_RULES: readonly (readonly [string, Rule])[] = [
  ["Shape", shape],
  ["ConstantOfShape", constantOfShape],
];

/** Rules for operators on lists of dims, where their input is one. */
export const DIM_RULES: readonly (readonly [string, Rule])[] = [
  ["Cast", (walk, node) => passDims(walk, node, (x) => x)],
  ["Identity", (walk, node) => passDims(walk, node, (x) => x)],
  ["Unsqueeze", (walk, node) => passDims(walk, node, (x) => x)],
  ["Squeeze", (walk, node) => passDims(walk, node, (x) => x)],
  ["Slice", (walk, node) => passDims(walk, node, sliceDims(walk, node))],
  ["Gather", (walk, node) => passDims(walk, node, gatherDims(walk, node))],
  ["Concat", concatDims],
];

/** For each operator, the input that is a list of dims the rule follows. */
export const DIM_INPUTS: readonly (readonly [string, number])[] = [
  ["Reshape", 1],
  ["Expand", 1],
  ["Resize", 3],
  ["ConstantOfShape", 0],
];

function shape(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  walk.set(node.output[0], walk.plain(node.output[0] ?? "") ?? [null]);
  const [start, end] = [integerOf(node, "start", 0), integerOf(node, "end", Number.MAX_SAFE_INTEGER)];
  walk.setDims(
    node.output[0] ?? "",
    axes?.slice(start, end).map((x) => (x === null ? null : { labels: x })),
  );
}

function constantOfShape(walk: Walk, node: NodeProto): void {
  const elements = walk.dims(node.input[0] ?? "");
  const axes = elements?.map((x) => (typeof x === "object" && x !== null ? x.labels : null));
  walk.set(node.output[0], axes ?? walk.plain(node.output[0] ?? ""));
}

/** Passes a list of dims on; where its use is unknown, its axes are fixed. */
function passDims(
  walk: Walk,
  node: NodeProto,
  change: ((elements: readonly DimElement[]) => readonly DimElement[]) | undefined,
): void {
  const elements = walk.dims(node.input[0] ?? "");
  if (elements === undefined || change === undefined) walk.stay(node);
  else walk.setDims(node.output[0] ?? "", change(elements));
  walk.set(node.output[0], walk.plain(node.output[0] ?? ""));
}

function sliceDims(walk: Walk, node: NodeProto): ((x: readonly DimElement[]) => readonly DimElement[]) | undefined {
  const [start, end] = [listAt(walk.graph, node, "starts", 1)?.[0], listAt(walk.graph, node, "ends", 2)?.[0]];
  const isStepped = (node.input[4] ?? "") !== "" && listAt(walk.graph, node, "steps", 4)?.[0] !== 1;
  return start === undefined || end === undefined || isStepped ? undefined : (x) => x.slice(start, end);
}

function gatherDims(walk: Walk, node: NodeProto): ((x: readonly DimElement[]) => readonly DimElement[]) | undefined {
  const list = walk.isConstant(node.input[1]) ? listAt(walk.graph, node, "", 1) : undefined;
  return list === undefined ? undefined : (x) => list.map((i) => x.at(i) ?? null);
}

function concatDims(walk: Walk, node: NodeProto): void {
  const elements = node.input.flatMap((name, i): DimElement[] => {
    const known = walk.dims(name);
    if (known !== undefined) return [...known];
    if (walk.isConstant(name)) return listAt(walk.graph, node, "", i) ?? [null];
    const length = walk.dim(name, 0);
    return Array<null>(typeof length === "number" ? length : 1).fill(null);
  });
  walk.setDims(node.output[0] ?? "", elements);
  walk.set(node.output[0], walk.plain(node.output[0] ?? ""));
}
