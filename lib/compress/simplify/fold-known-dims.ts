// Turns dims of a shape that are the same in every run into constants, and with them the targets of Reshape and Expand
// that follow from them and from the names of the others. An exporter that traces with a free batch computes all dims,
// even the numbers of channels and heads, and what is divided and joined from them could not be followed.
import { inferValues, foldConstants } from "../run/infer-values.ts";
import type { NodeProto } from "../onnx/onnx.gen.js";
import type { OnnxModel } from "../onnx/model.ts";
import { removeUnused } from "./remove-unused.ts";
import { makeExpandConstant, makeReshapeConstant } from "./constant-reshapes.ts";
import { elementsOf } from "./shape-elements.ts";
import type { DimsOf } from "./shape-elements.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";

/**
 * Folds what depends on constants alone, and what follows from dims that never change: the last step of simplification.
 */
export async function foldKnown(model: OnnxModel): Promise<void> {
  await foldConstants(model);
  model.transform(removeUnused());
  await foldKnownDims(model);
}

/** Replaces elements picked from known Shapes, and the targets of Reshape that follow, until nothing changes. */
export async function foldKnownDims(model: OnnxModel): Promise<void> {
  // Each replacement lets ONNX Runtime infer more: one attention layer after the other.
  for (;;) {
    const values = await inferValues(model);
    const dimsOf: DimsOf = (name) => values.get(name)?.dims;
    const isFolded = await foldPicked(model, dimsOf);
    const { graph } = model;
    const changed = [...graph.nodes].filter(
      (node) => makeReshapeConstant(graph, node, dimsOf) || makeExpandConstant(graph, node, dimsOf),
    );
    if (changed.length > 0) model.transform(removeUnused());
    if (!isFolded && changed.length === 0) return;
  }
}

/** Replaces each Gather and Slice of known elements of a Shape; returns whether there was one. */
async function foldPicked(model: OnnxModel, dimsOf: DimsOf): Promise<boolean> {
  const { graph } = model;
  const changed = new Set<NodeProto>();
  for (const node of graph.nodes) {
    const [name] = node.output;
    if (node.domain !== "" || (node.opType !== "Gather" && node.opType !== "Slice")) continue;
    if (name === undefined || graph.isOutput(name) || graph.producer(node.input[0] ?? "")?.opType !== "Shape") continue;
    const picked = elementsOf(graph, name, dimsOf)?.map((x) => (typeof x === "object" ? dimsOf(x.of)?.[x.axis] : x));
    if (picked === undefined || picked.length === 0) continue;
    if (!picked.every((x): x is number => typeof x === "number" && x > 0)) continue;
    changed.add(node);
    const index = graph.constant(node.input[1] ?? "");
    const dims = node.opType === "Gather" ? index?.dims.map(Number) : [picked.length];
    graph.addInitializer(int64Tensor(name, dims ?? [], picked));
  }
  if (changed.size === 0) return false;
  graph.remove(changed);
  await foldConstants(model);
  model.transform(removeUnused());
  return true;
}
