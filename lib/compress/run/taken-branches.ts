// Branches of a model's Ifs, each as a model of its own in which the samples that take it can be observed: the values
// inside an If are none of the graph around it.
import { create } from "@bufbuild/protobuf";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType, TensorProtoSchema } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../onnx/onnx.gen.js";
import { inlineIfBranches } from "../simplify/inline-if-branches.ts";
import { removeUnused } from "../simplify/remove-unused.ts";
import type { Feed } from "./feeds.ts";
import { openWith } from "./infer-values.ts";
import type { SampleFeeds } from "./statistics.ts";

/** A model in which the Ifs of the main graph are decided, and the samples that decide so. */
export interface TakenBranches {
  readonly model: OnnxModel;
  readonly feeds: readonly Feed[];
}

/** Yields a model for each combination of branches that samples take, that of most samples first; none without an If. */
export async function* takenBranches(model: OnnxModel, feeds: SampleFeeds): AsyncGenerator<TakenBranches> {
  const { graph } = model;
  const isIf = (node: NodeProto): boolean => node.opType === "If" && node.domain === "";
  const conditions = [...new Set(graph.nodes.filter(isIf).map((node) => node.input[0] ?? ""))];
  if (conditions.length === 0) return;
  const computed = conditions.filter((name) => graph.producer(name) !== undefined && !graph.isOutput(name));
  const groups = new Map<string, Feed[]>();
  const session = await openWith(model, computed);
  try {
    for await (const feed of feeds) {
      const values: Feed = { ...feed, ...(await session.run(feed)) };
      const key = conditions.map((name) => Number(values[name]?.data[0] ?? truthOf(graph.constant(name)))).join();
      groups.set(key, [...(groups.get(key) ?? []), feed]);
    }
  } finally {
    await session.release();
  }
  for (const [key, taken] of [...groups].sort(([, a], [, b]) => b.length - a.length)) {
    const truths = new Map(key.split(",").map((x, i) => [conditions[i] ?? "", x === "1"]));
    yield { model: decided(model, isIf, truths), feeds: taken };
  }
}

/** Reads a condition that is stored; 0 where it is none. */
function truthOf(condition: TensorProto | undefined): number {
  return (condition && (condition.rawData[0] ?? condition.int32Data[0])) ?? 0;
}

function decided(
  model: OnnxModel,
  isIf: (node: NodeProto) => boolean,
  truths: ReadonlyMap<string, boolean>,
): OnnxModel {
  const copy = model.copy();
  const { graph } = copy;
  for (const node of graph.nodes.filter(isIf)) {
    const rawData = Uint8Array.of(truths.get(node.input[0] ?? "") === true ? 1 : 0);
    const constant = { name: graph.freshName("decided"), dataType: TensorProto_DataType.BOOL, dims: [], rawData };
    node.input[0] = graph.addInitializer(create(TensorProtoSchema, constant));
  }
  graph.changed();
  return copy.transform(inlineIfBranches(), removeUnused());
}
