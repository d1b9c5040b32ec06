// Propagates labels through Reshape and Flatten: input and output axes are matched from both ends into groups of equal
// product, and labels go from one side of a group to the other.
//
// Merging axes yields one whose indices follow the labelled axis. An axis that is split can be cut along one of the
// parts only, so units are tied until that is possible: usually into whole heads; where the parts are transposed and
// merged again, as in a channel shuffle, those at the same position of each part.
import { integerOf, integersAt } from "../onnx/graph.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { listAt } from "../onnx/rank.ts";
import type { Axes, Labels } from "./dependency-units.ts";
import type { Walk } from "./dependency-walk.ts";
import { int64Tensor, integersOf } from "../onnx/tensor-proto.ts";

type SizeOrName = number | string | undefined;

/** Groups of axes on both sides that hold the same elements. */
interface Match {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** The rule for Reshape and Flatten. */
export function reshape(walk: Walk, node: NodeProto): void {
  const [input = "", target = ""] = node.input;
  const axes = walk.axes(input);
  const output = walk.plain(node.output[0] ?? "");
  if (axes === undefined || output === undefined || integerOf(node, "allowzero", 0) !== 0) {
    walk.stay(node);
    return;
  }
  const listed = walk.isConstant(target) ? listAt(walk.graph, node, "", 1) : undefined;
  const from: SizeOrName[] = axes.map((_, i) => walk.dim(input, i));
  const elements = walk.dims(target);
  const to: SizeOrName[] = output.map((_, i) => {
    const given = listed?.[i] ?? elements?.[i];
    if (given === 0) return from[i];
    return typeof given === "number" && given > 0 ? given : walk.dim(node.output[0] ?? "", i);
  });
  const copied = (i: number): boolean => listed?.[i] === 0;
  const out: Axes = output.map(() => null);
  const seen = new Set<number>();
  for (const match of node.opType === "Flatten" ? flattened(node, from, to) : matched(from, to, copied)) {
    for (const axis of match.from) seen.add(axis);
    pass(walk, node, match, { axes, out, from, to });
  }
  for (const [i, labels] of axes.entries()) if (!seen.has(i)) walk.units.fix(labels);
  if (node.opType === "Reshape") targetOfReshape(walk, node, listed, out);
  walk.set(node.output[0], out);
}

function flattened(node: NodeProto, from: readonly SizeOrName[], to: readonly SizeOrName[]): Match[] {
  const axis = integerOf(node, "axis", 1);
  const at = axis < 0 ? axis + from.length : axis;
  const all = [...from.keys()];
  return [all.slice(0, at), all.slice(at)].flatMap((list, i) => {
    const isKnown = list.every((x) => typeof from[x] === "number") && typeof to[i] === "number";
    return isKnown || list.length === 1 ? [{ from: list, to: [i] }] : [];
  });
}

/** Matches axes from the left, then the rest from the right. */
function matched(from: readonly SizeOrName[], to: readonly SizeOrName[], copied: (axis: number) => boolean): Match[] {
  const left = fromLeft(from, to, copied);
  const [startFrom, startTo] = [left.flatMap((x) => x.from).length, left.flatMap((x) => x.to).length];
  const rest = fromLeft([...from.slice(startFrom)].reverse(), [...to.slice(startTo)].reverse(), () => false);
  const right = rest.map((x) => ({
    from: x.from.map((i) => from.length - 1 - i).reverse(),
    to: x.to.map((i) => to.length - 1 - i).reverse(),
  }));
  return [...left, ...right];
}

function fromLeft(from: readonly SizeOrName[], to: readonly SizeOrName[], copied: (axis: number) => boolean): Match[] {
  const matches: Match[] = [];
  let [i, j] = [0, 0];
  while (i < from.length && j < to.length) {
    const isSame = typeof from[i] === "string" && from[i] !== "" && from[i] === to[j];
    if (isSame || (copied(j) && i === j)) {
      matches.push({ from: [i++], to: [j++] });
      continue;
    }
    const [first, second] = [[i], [j]];
    let [a, b] = [from[i], to[j]];
    let [x, y] = [i, j];
    while (typeof a === "number" && typeof b === "number" && a !== b) {
      const next: SizeOrName = a < b ? from[++x] : to[++y];
      if (typeof next !== "number") return matches;
      if (a < b) {
        first.push(x);
        a *= next;
      } else {
        second.push(y);
        b *= next;
      }
    }
    if (typeof a !== "number" || typeof b !== "number" || a === 0) return matches;
    matches.push({ from: first, to: second });
    [i, j] = [x + 1, y + 1];
  }
  return matches;
}

interface Sides {
  readonly axes: Axes;
  readonly out: Axes;
  readonly from: readonly SizeOrName[];
  readonly to: readonly SizeOrName[];
}

function pass(walk: Walk, node: NodeProto, { from, to }: Match, sides: Sides): void {
  const labelled = from.filter((x) => sides.axes[x] !== null);
  const [only] = labelled;
  if (only === undefined) return;
  if (labelled.length > 1) {
    for (const axis of labelled) walk.units.fix(sides.axes[axis]);
    return;
  }
  const labels = sides.axes[only] ?? null;
  if (labels === null) return;
  if (from.length === 1 && to.length === 1) {
    sides.out[to[0] ?? 0] = labels;
    return;
  }
  const sizes = from.map((x) => Number(sides.from[x]));
  const at = from.indexOf(only);
  const inner = sizes.slice(at + 1).reduce((a, b) => a * b, 1);
  const outer = sizes.slice(0, at).reduce((a, b) => a * b, 1);
  const flat = Int32Array.from(
    { length: outer * labels.length * inner },
    (_, i) => labels[Math.floor(i / inner) % labels.length] ?? 0,
  );
  const parts = to.map((x) => Number(sides.to[x]));
  const large = to.filter((_, i) => (parts[i] ?? 1) > 1);
  const isShuffle = isShuffled(walk, node, large);
  const isApart = large.length > 1 && isTakenApart(walk, node, large[0] ?? 0);
  const { axis, units, isTied } = cut(walk, flat, parts, isShuffle || isApart);
  // Separate queries, keys and values are heads only where they are split once more.
  if (isTied && !isShuffle && (!isApart || large.length > 2)) walk.heads.push(units);
  const place = to[axis];
  if (place !== undefined) sides.out[place] = units;
}

/** Labels of the part of a split axis along which units can be cut. */
interface Cut {
  readonly axis: number;
  readonly units: Labels;
  /** Whether units had to be tied for it. */
  readonly isTied: boolean;
}

/** Chooses the part along which units can be cut, ties the units of each of its indices, and returns its labels. */
function cut(walk: Walk, flat: Labels, parts: readonly number[], isInner: boolean): Cut {
  const large = [...parts.keys()].filter((x) => (parts[x] ?? 1) > 1);
  const step = (axis: number): number => parts.slice(axis + 1).reduce((a, b) => a * b, 1);
  const place = (axis: number, i: number): number => Math.floor(i / step(axis)) % (parts[axis] ?? 1);
  const isFree = (axis: number): boolean => {
    const first = new Map<number, number>();
    return flat.every((unit, i) => {
      const root = walk.units.find(unit);
      const known = first.get(place(axis, i));
      if (known === undefined) first.set(place(axis, i), root);
      return known === undefined || known === root;
    });
  };
  const [outermost = 0, second = outermost] = large;
  const free = large.find(isFree);
  const usual = isInner ? second : outermost;
  const axis = free ?? usual;
  const units = new Int32Array(parts[axis] ?? 1).fill(-1);
  for (const [i, unit] of flat.entries()) {
    const at = place(axis, i);
    if (units[at] === -1) units[at] = unit;
    else walk.units.join(units[at] ?? 0, unit);
  }
  return { axis, units, isTied: free === undefined };
}

/** Whether two parts are split only to be transposed and merged again: Reshape, Transpose, Reshape. */
function isShuffled(walk: Walk, node: NodeProto, parts: readonly number[]): boolean {
  const next = walk.graph.onlyConsumer(node.output[0] ?? "");
  const [a, b] = parts;
  if (next?.opType !== "Transpose" || a === undefined || b === undefined || parts.length !== 2) return false;
  const order = integersAt(next, "perm") ?? [];
  const isSwap = order.every((x, i) => x === (i === a ? b : i === b ? a : i));
  return isSwap && walk.graph.onlyConsumer(next.output[0] ?? "")?.opType === "Reshape";
}

/** Whether the parts of an axis are then taken one by one, as queries, keys and values are: by Gather or Split. */
function isTakenApart({ graph }: Walk, node: NodeProto, axis: number): boolean {
  let [at, name] = [axis, node.output[0] ?? ""];
  for (;;) {
    const users = graph.consumers(name);
    const [next] = users;
    if (next === undefined) return false;
    const ends = (x: NodeProto): boolean =>
      (x.opType === "Gather" && graph.constant(x.input[1] ?? "")?.dims.length === 0) || x.opType === "Split";
    if (users.every((x) => ends(x) && integerOf(x, "axis", 0) === at)) return true;
    if (users.length > 1) return false;
    if (next.opType === "Transpose") at = (integersAt(next, "perm") ?? []).indexOf(at);
    else if (next.opType === "Unsqueeze" || next.opType === "Squeeze") {
      const listed = listAt(graph, next, "axes", 1);
      if (listed?.length !== 1 || (listed[0] ?? -1) < 0) return false;
      if ((listed[0] ?? 0) <= at) at += next.opType === "Unsqueeze" ? 1 : -1;
    } else if (next.opType !== "Identity") return false;
    name = next.output[0] ?? "";
    if (at < 0) return false;
  }
}

/**
 * Makes the target shape follow: a constant is rewritten; in a computed one, elements must be the lengths of the same
 * axes.
 */
function targetOfReshape(walk: Walk, node: NodeProto, listed: readonly number[] | undefined, out: Axes): void {
  if (listed !== undefined) {
    if (!out.some((x) => x !== null)) return;
    walk.adaptations.push((_kept, count) => {
      const values = listed.map((x, i) => {
        const labels = out[i] ?? null;
        return labels !== null && x > 0 ? count(labels) : x;
      });
      const name = walk.graph.freshName(`${node.output[0] ?? ""}/shape`);
      node.input = [node.input[0] ?? "", walk.graph.addInitializer(int64Tensor(name, [values.length], values))];
    });
    return;
  }
  // The list is the output of a Concat whose constants can be replaced for this node.
  const source = walk.graph.producer(node.input[1] ?? "");
  const isJoined = source?.opType === "Concat";
  const elements = walk.dims(node.input[1] ?? "") ?? [];
  const followed: Axes = out.map(() => null);
  for (let i = 0; i < Math.max(out.length, elements.length); i++) {
    const labels = out[i] ?? null;
    const element = elements[i] ?? null;
    const given = typeof element === "object" && element !== null ? element.labels : null;
    if (labels !== null && (element === -1 || (given !== null && walk.isSame(labels, given)))) continue;
    if (labels !== null && isJoined && element === labels.length) followed[i] = labels;
    else {
      walk.units.fix(labels);
      walk.units.fix(given);
    }
  }
  if (source === undefined || followed.every((x) => x === null)) return;
  walk.adaptations.push((_kept, count) => {
    let at = 0;
    const input = source.input.map((name) => {
      const list = walk.isConstant(name) ? listOf(walk, name) : undefined;
      const start = at;
      at += list?.length ?? walk.dims(name)?.length ?? Number(walk.dim(name, 0) ?? 1);
      if (list === undefined || !followed.slice(start, at).some((x) => x !== null)) return name;
      const values = list.map((x, i) => {
        const labels = followed[start + i] ?? null;
        return labels === null ? x : count(labels);
      });
      return walk.graph.addInitializer(int64Tensor(walk.graph.freshName(`${name}/kept`), [values.length], values));
    });
    const output = walk.graph.freshName(`${node.output[0] ?? ""}/shape`);
    walk.graph.insertBefore(node, { opType: "Concat", input, output: [output], attributes: { axis: 0 } });
    node.input = [node.input[0] ?? "", output];
    walk.graph.changed();
  });
}

function listOf(walk: Walk, name: string): number[] {
  const constant = walk.graph.constant(name);
  return constant === undefined ? [] : integersOf(constant);
}
