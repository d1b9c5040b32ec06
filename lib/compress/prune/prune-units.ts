// Removes units of a model, or sets them to 0: the two sides of an equality that tests check.
import { create } from "@bufbuild/protobuf";
import type { Dependencies, ChannelGroup } from "./channel-groups.ts";
import type { Labels } from "./dependency-units.ts";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { TensorProto_DataType, TensorProtoSchema } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { sliceTensor } from "../onnx/slice-tensor.ts";

/** The units to remove; chosen by scores, or by hand in tests. */
export type Removal = ReadonlySet<number>;

/**
 * Restricts a choice of units so that no axis of any value loses its last index. Units are taken in the given order,
 * until each group has lost the requested number.
 */
export function chooseUnits(
  { walk }: Dependencies,
  wishes: readonly { readonly group: ChannelGroup; readonly order: readonly number[]; readonly count: number }[],
): Set<number> {
  const axes = [...distinctAxes([...walk.values.values()].flat(), (x) => walk.units.find(x))];
  const byUnit = new Map<number, { left: number }[]>();
  for (const roots of axes) {
    const axis = { left: roots.size };
    for (const root of roots) byUnit.set(root, [...(byUnit.get(root) ?? []), axis]);
  }
  const removed = new Set<number>();
  for (const { order, count, group } of wishes) {
    const allowed = new Set(group.units);
    let open = count;
    for (const unit of order) {
      if (open <= 0) break;
      const on = byUnit.get(unit) ?? [];
      if (!allowed.has(unit) || removed.has(unit) || on.some((x) => x.left <= 1)) continue;
      for (const axis of on) axis.left--;
      removed.add(unit);
      open--;
    }
  }
  return removed;
}

/** Iterates over the sets of units that axes consist of, each once; a set with a unit that stays needs no guard. */
function* distinctAxes(all: readonly (Labels | null)[], find: (unit: number) => number): Generator<Set<number>> {
  const seen = new Set<string>();
  const arrays = new Set<Labels>();
  for (const labels of all) {
    if (labels === null || arrays.has(labels)) continue;
    arrays.add(labels);
    const roots = new Set<number>();
    for (const unit of labels) {
      const root = find(unit);
      if (root === 0) break;
      roots.add(root);
    }
    if (labels.some((x) => find(x) === 0)) continue;
    const key = [...roots].sort((a, b) => a - b).join();
    if (seen.has(key)) continue;
    seen.add(key);
    yield roots;
  }
}

/** Removes units from the model that the dependencies were found in: cuts every constant and corrects every count. */
export function removeUnits(model: OnnxModel, { walk }: Dependencies, removed: Removal): void {
  const { graph } = model;
  const kept = (unit: number): boolean => !removed.has(walk.units.find(unit));
  const count = (labels: Labels): number => labels.reduce((sum, x) => sum + (kept(x) ? 1 : 0), 0);
  for (const adapt of walk.adaptations) adapt(kept, count);
  for (const [name, axes] of walk.values) {
    const constant = graph.constant(name);
    if (constant === undefined) continue;
    const lists = axes.map((labels) => (labels === null ? null : keptIndices(labels, kept)));
    if (lists.every((x) => x === null)) continue;
    replaceConstant(model, sliceTensor(constant, lists));
  }
  // Recorded shapes of inner values are no longer valid.
  graph.proto.valueInfo = [];
  graph.changed();
}

/** Returns the indices of an axis that stay; null where all do. */
export function keptIndices(labels: Labels, kept: (unit: number) => boolean): number[] | null {
  const list = [...labels.keys()].filter((i) => kept(labels[i] ?? 0));
  return list.length === labels.length ? null : list;
}

/** Replaces the constant of the same name by another tensor. */
export function replaceConstant({ graph }: OnnxModel, tensor: TensorProto): void {
  const at = graph.proto.initializer.findIndex((x) => x.name === tensor.name);
  if (at >= 0) graph.proto.initializer[at] = tensor;
  else {
    const value = graph.producer(tensor.name)?.attribute.find((x) => x.name === "value");
    if (value !== undefined) value.t = tensor;
  }
  graph.changed();
}

/**
 * Sets units of the model to 0 wherever they are read, by a multiplication: same size as before, and equal to
 * `removeUnits`.
 */
export function maskUnits(model: OnnxModel, { walk }: Dependencies, removed: Removal): void {
  const { graph } = model;
  for (const { node, input, axis, rank, labels } of walk.reads) {
    const kept = Float32Array.from(labels, (x) => (removed.has(walk.units.find(x)) ? 0 : 1));
    if (kept.every((x) => x === 1)) continue;
    const value = node.input[input] ?? "";
    const mask = create(TensorProtoSchema, {
      name: graph.freshName(`${value}/mask`),
      dataType: TensorProto_DataType.FLOAT,
      dims: Array.from({ length: rank - axis }, (_, i) => (i === 0 ? BigInt(labels.length) : 1n)),
      rawData: new Uint8Array(kept.buffer),
    });
    const output = graph.freshName(`${value}/masked`);
    graph.addInitializer(mask);
    graph.insertBefore(node, { opType: "Mul", input: [value, mask.name], output: [output] });
    node.input[input] = output;
    graph.changed();
  }
}
