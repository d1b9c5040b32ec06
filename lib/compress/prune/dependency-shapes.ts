// Rules for operators that move elements, and how their sizes, indices and counts follow when units are removed. Each
// gets a new constant: the old one may be shared by another node for another reason.
import { dropAttributes, integerOf, integersAt, textOf } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { listAt } from "../onnx/rank.ts";
import { joined, tiled } from "./dependency-units.ts";
import type { Axes, Labels } from "./dependency-units.ts";
import { reshape } from "./dependency-reshape.ts";
import type { Rule, Walk } from "./dependency-walk.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";

/** Rules for operators that move elements, by operator type. */
export const SHAPE_RULES: readonly (readonly [string, Rule])[] = [
  ["Transpose", transpose],
  ["Reshape", reshape],
  ["Flatten", reshape],
  ["Squeeze", squeeze],
  ["Unsqueeze", squeeze],
  ["Concat", concat],
  ["Split", split],
  ["Slice", slice],
  ["Gather", gather],
  ["Pad", pad],
  ["Resize", resize],
  ["Upsample", resize],
  ["Expand", expand],
  ["DepthToSpace", depthToSpace],
  ["SpaceToDepth", spaceToDepth],
];

function transpose(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  const order = integersAt(node, "perm") ?? [...axes.keys()].reverse();
  walk.set(
    node.output[0],
    order.map((x) => axes[x] ?? null),
  );
}

/** Adds or removes axes of length 1. */
function squeeze(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  const listed = listAt(walk.graph, node, "axes", 1);
  if (axes === undefined || listed === undefined) {
    walk.stay(node);
    return;
  }
  if (node.opType === "Squeeze") {
    const gone = new Set(listed.map((x) => (x < 0 ? x + axes.length : x)));
    walk.set(
      node.output[0],
      axes.filter((_, i) => !gone.has(i)),
    );
    return;
  }
  const rank = axes.length + listed.length;
  const made = new Set(listed.map((x) => (x < 0 ? x + rank : x)));
  const rest = [...axes];
  walk.set(
    node.output[0],
    Array.from({ length: rank }, (_, i) => (made.has(i) ? null : (rest.shift() ?? null))),
  );
}

function concat(walk: Walk, node: NodeProto): void {
  const all = node.input.map((x) => walk.axes(x));
  const [first] = all;
  if (first === undefined || all.includes(undefined)) {
    walk.stay(node);
    return;
  }
  const axis = integerOf(node, "axis", 0);
  const at = axis < 0 ? axis + first.length : axis;
  const parts = node.input.map((name, i) => all[i]?.[at] ?? walk.dim(name, at));
  const isKnown = parts.every((x) => typeof x === "number" || x instanceof Int32Array);
  const isLabelled = parts.some((x) => x instanceof Int32Array);
  if (isLabelled && !isKnown) for (const x of parts) if (x instanceof Int32Array) walk.units.fix(x);
  walk.set(
    node.output[0],
    first.map((_, i) => {
      if (i === at) return isLabelled && isKnown ? joined(parts) : null;
      return all.map((x) => x?.[i] ?? null).reduce((sum, x) => walk.units.unify(sum, x));
    }),
  );
}

function split(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  const axis = integerOf(node, "axis", 0);
  const at = axis < 0 ? axis + axes.length : axis;
  const labels = axes[at] ?? null;
  const sizes = labels === null ? undefined : splitSizes(walk, node, labels.length);
  if (labels !== null && sizes === undefined) {
    walk.stay(node);
    return;
  }
  const parts: (Labels | null)[] = [];
  for (const [i] of node.output.entries()) {
    const start = (sizes ?? []).slice(0, i).reduce((sum, x) => sum + x, 0);
    parts.push(labels === null ? null : labels.slice(start, start + (sizes?.[i] ?? 0)));
    walk.set(
      node.output[i],
      axes.map((x, j) => (j === at ? (parts[i] ?? null) : x)),
    );
  }
  if (labels === null) return;
  walk.adaptations.push((_kept, count) => {
    const lengths = parts.map((x) => (x === null ? 0 : count(x)));
    node.input = [node.input[0] ?? "", addList(walk, node, "split", lengths)];
    dropAttributes(node, "split", "num_outputs");
  });
}

function splitSizes(walk: Walk, node: NodeProto, length: number): number[] | undefined {
  const listed = listAt(walk.graph, node, "split", 1);
  if (listed !== undefined) return listed;
  if ((node.input[1] ?? "") !== "") return undefined;
  const each = Math.ceil(length / node.output.length);
  return node.output.map((_, i) => Math.min(each, length - i * each));
}

function slice(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  const [starts, ends] = [listAt(walk.graph, node, "starts", 1), listAt(walk.graph, node, "ends", 2)];
  const steps = (node.input[4] ?? "") === "" ? [] : listAt(walk.graph, node, "steps", 4);
  const named = (node.input[3] ?? "") === "" ? (integersAt(node, "axes") ?? []) : listAt(walk.graph, node, "axes", 3);
  if (axes === undefined || named === undefined) {
    walk.stay(node);
    return;
  }
  const sliced = (named.length > 0 ? named : [...(starts ?? ends ?? axes).keys()]).map((x) =>
    x < 0 ? x + axes.length : x,
  );
  const out: Axes = [...axes];
  const taken = new Map<number, { labels: Labels; start: number; end: number }>();
  for (const [i, axis] of sliced.entries()) {
    const labels = axes[axis] ?? null;
    if (labels === null) continue;
    const [start, end, step] = [starts?.[i], ends?.[i], steps === undefined ? undefined : (steps[i] ?? 1)];
    if (start === undefined || end === undefined || step !== 1) {
      walk.units.fix(labels);
      out[axis] = null;
      continue;
    }
    const bound = (x: number): number => Math.max(0, Math.min(labels.length, x < 0 ? x + labels.length : x));
    taken.set(i, { labels, start: bound(start), end: Math.max(bound(start), bound(end)) });
    out[axis] = labels.slice(bound(start), Math.max(bound(start), bound(end)));
  }
  walk.set(node.output[0], out);
  if (taken.size === 0 || starts === undefined || ends === undefined) return;
  walk.adaptations.push((_kept, count) => {
    const at = (i: number, edge: "start" | "end", otherwise: number): number => {
      const part = taken.get(i);
      return part === undefined ? otherwise : count(part.labels.slice(0, part[edge]));
    };
    node.input[1] = addList(
      walk,
      node,
      "starts",
      starts.map((x, i) => at(i, "start", x)),
    );
    node.input[2] = addList(
      walk,
      node,
      "ends",
      ends.map((x, i) => at(i, "end", x)),
    );
  });
}

function gather(walk: Walk, node: NodeProto): void {
  const [data = "", indices = ""] = node.input;
  const [axes, picks] = [walk.axes(data), walk.axes(indices)];
  if (axes === undefined || picks === undefined) {
    walk.stay(node);
    return;
  }
  const axis = integerOf(node, "axis", 0);
  const at = axis < 0 ? axis + axes.length : axis;
  const labels = axes[at] ?? null;
  let middle: Axes = picks.map(() => null);
  walk.fixAll(indices);
  if (labels !== null) {
    const list = walk.isConstant(indices) && picks.length < 2 ? listAt(walk.graph, node, "", 1) : undefined;
    const positions = list?.map((x) => (x < 0 ? x + labels.length : x));
    if (positions === undefined) walk.units.fix(labels);
    else {
      const picked = Int32Array.from(positions, (x) => labels[x] ?? 0);
      if (picks.length === 0) walk.units.fix(picked);
      else middle = [picked];
      walk.adaptations.push((kept, count) => {
        const left = positions.filter((x) => kept(labels[x] ?? 0)).map((x) => count(labels.slice(0, x)));
        node.input[1] = addList(walk, node, "indices", left, picks.length === 0);
      });
    }
  }
  const made = axes.slice(at + 1);
  if (walk.isConstant(data) && axes.length === 2 && at === 0 && !walk.isConstant(indices))
    walk.produce({ node, kind: "table", weight: data, axis: 1 }, made[0] ?? null);
  walk.set(node.output[0], [...axes.slice(0, at), ...middle, ...made]);
}

function pad(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  const pads = listAt(walk.graph, node, "pads", 1);
  if (axes === undefined || pads?.length !== 2 * axes.length || (node.input[3] ?? "") !== "") {
    walk.stay(node);
    return;
  }
  const isZero = textOf(node, "mode", "constant") === "constant";
  walk.set(
    node.output[0],
    axes.map((labels, i) => {
      const [before, after] = [pads[i] ?? 0, pads[i + axes.length] ?? 0];
      if (labels === null || (before === 0 && after === 0)) return labels;
      if (isZero && before >= 0 && after >= 0) return joined([before, labels, after]);
      walk.units.fix(labels);
      return null;
    }),
  );
}

/** Rule for Resize: the number of channels is unchanged, and may be among the sizes. */
function resize(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined || integersAt(node, "axes") !== undefined) {
    walk.stay(node);
    return;
  }
  const sizes = node.input[3] ?? "";
  const out = axes.map((labels, i) => {
    if (labels === null || sameLength(walk, node, i, axes.length)) return labels;
    if (sizes !== "" && follows(walk, node, 3, i, labels)) return labels;
    walk.units.fix(labels);
    return null;
  });
  if (sizes !== "" && walk.isConstant(sizes)) adaptList(walk, node, 3, out);
  walk.set(node.output[0], out);
}

/** Whether the given scale keeps an axis's length. */
function sameLength(walk: Walk, node: NodeProto, axis: number, rank: number): boolean {
  const name = node.input[node.opType === "Upsample" ? 1 : 2] ?? "";
  const scales = walk.graph.constant(name);
  if (scales?.dims.length !== 1 || Number(scales.dims[0]) !== rank) return false;
  const { rawData, floatData } = scales;
  if (rawData.length === 0) return floatData[axis] === 1;
  return new DataView(rawData.buffer, rawData.byteOffset, rawData.length).getFloat32(axis * 4, true) === 1;
}

function expand(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  const output = walk.plain(node.output[0] ?? "");
  if (axes === undefined || output === undefined) {
    walk.stay(node);
    return;
  }
  const offset = output.length - axes.length;
  const out = output.map((_, i) => {
    const labels = axes[i - offset] ?? null;
    if (labels === null || follows(walk, node, 1, i, labels)) return labels;
    walk.units.fix(labels);
    return null;
  });
  if (walk.isConstant(node.input[1])) adaptList(walk, node, 1, out);
  walk.set(node.output[0], out);
}

/** Whether an element of a list of dims is an axis's own length, or will be made so. */
function follows(walk: Walk, node: NodeProto, input: number, at: number, labels: Labels): boolean {
  const name = node.input[input] ?? "";
  if (walk.isConstant(name)) {
    const value = listAt(walk.graph, node, "", input)?.[at];
    return value === labels.length || (value === 1 && node.opType === "Expand");
  }
  const element = walk.dims(name)?.[at] ?? null;
  if (element === 1 && node.opType === "Expand") return true;
  return typeof element === "object" && element !== null && walk.isSame(element.labels, labels);
}

/** Makes the elements of a constant list of dims follow the axes whose lengths they are. */
function adaptList(walk: Walk, node: NodeProto, input: number, axes: Axes): void {
  const values = listAt(walk.graph, node, "", input) ?? [];
  if (!axes.some((x) => x !== null)) return;
  walk.adaptations.push((_kept, count) => {
    const next = values.map((x, i) => {
      const labels = axes[i] ?? null;
      return labels !== null && x === labels.length ? count(labels) : x;
    });
    node.input[input] = addList(walk, node, "dims", next);
  });
}

function depthToSpace(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  const labels = axes[1] ?? null;
  const blocks = integerOf(node, "blocksize", 1) ** 2;
  let out: Labels | null = null;
  if (labels !== null) {
    const channels = labels.length / blocks;
    const isOuter = textOf(node, "mode", "DCR") === "DCR";
    const at = (channel: number, block: number): number =>
      labels[isOuter ? block * channels + channel : channel * blocks + block] ?? 0;
    for (let c = 0; c < channels; c++) for (let b = 1; b < blocks; b++) walk.units.join(at(c, 0), at(c, b));
    out = Int32Array.from({ length: channels }, (_, c) => at(c, 0));
  }
  for (const each of axes.slice(2)) walk.units.fix(each);
  walk.set(node.output[0], [axes[0] ?? null, out, null, null]);
}

function spaceToDepth(walk: Walk, node: NodeProto): void {
  const axes = walk.axes(node.input[0] ?? "");
  if (axes === undefined) {
    walk.stay(node);
    return;
  }
  const blocks = integerOf(node, "blocksize", 1) ** 2;
  const labels = axes[1] ?? null;
  for (const each of axes.slice(2)) walk.units.fix(each);
  walk.set(node.output[0], [axes[0] ?? null, labels === null ? null : tiled(labels, blocks), null, null]);
}

/** Adds a list of integers as a constant and returns its name. */
function addList(walk: Walk, node: NodeProto, what: string, values: readonly number[], isScalar = false): string {
  const name = walk.graph.freshName(`${node.output[0] ?? ""}/${what}`);
  return walk.graph.addInitializer(int64Tensor(name, isScalar ? [] : [values.length], values));
}
