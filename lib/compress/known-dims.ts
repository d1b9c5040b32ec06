// Makes constants of those dims of a shape that are the same in every run. An exporter that traces with a free batch
// computes all of them, the number of channels too, and what is divided and joined from them could not be followed.
import { inferValues, foldConstants } from "./infer.ts";
import type { NodeProto } from "./onnx.gen.js";
import type { OnnxModel } from "./onnx.ts";
import { prune } from "./prune.ts";
import { int64Tensor, integersOf } from "./weights.ts";

/** Replaces each picked element of a Shape that is known, and computes what follows from it. */
export async function foldKnownDims(model: OnnxModel): Promise<void> {
  const { graph } = model;
  // What is settled lets ONNX Runtime infer more: twice is enough for what exporters write.
  for (let round = 0; round < 2; round++) {
    const values = await inferValues(model);
    const settled = new Set<NodeProto>();
    for (const node of graph.nodes) {
      const shape = graph.producer(node.input[0] ?? "");
      if (node.opType !== "Gather" || node.domain !== "" || shape?.opType !== "Shape") continue;
      const index = graph.constant(node.input[1] ?? "");
      const dims = values.get(shape.input[0] ?? "")?.dims;
      if (index === undefined || dims === undefined || shape.attribute.length > 0) continue;
      const picked = integersOf(index).map((i) => dims.at(i));
      const [name] = node.output;
      if (name === undefined || graph.isOutput(name) || picked.length === 0) continue;
      if (!picked.every((x): x is number => typeof x === "number" && x > 0)) continue;
      settled.add(node);
      graph.addInitializer(int64Tensor(name, index.dims.map(Number), picked));
    }
    if (settled.size === 0) return;
    graph.remove(settled);
    await foldConstants(model);
    model.transform(prune());
  }
}
