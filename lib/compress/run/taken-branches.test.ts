// Which branches of an If samples take.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { mergedDecoder } from "../../test-support/compress/fixtures.ts";
import { TensorProto_DataType, TensorProtoSchema } from "../onnx/onnx.gen.js";
import type { Feed } from "./feeds.ts";
import { takenBranches } from "./taken-branches.ts";

const feedOf = (isCached: number): Feed => ({
  ids: { dtype: "int64", dims: [1], data: BigInt64Array.of(1n) },
  isCached: { dtype: "bool", dims: [], data: Uint8Array.of(isCached) },
});

/** Names of the values that the taken branch computes, and the number of samples that take it. */
async function takenIn(model: ReturnType<typeof mergedDecoder>, feeds: readonly Feed[]): Promise<[string, number][]> {
  const found: [string, number][] = [];
  for await (const taken of takenBranches(model, feeds))
    found.push([taken.model.graph.nodes[0]?.output[0] ?? "", taken.feeds.length]);
  return found;
}

test("a condition that each sample gives decides for it, the one of most samples first", async () => {
  const feeds = [1, 0, 0].map(feedOf);
  expect(await takenIn(mergedDecoder(4, 2), feeds)).toEqual([
    ["else_branch/row", 2],
    ["then_branch/row", 1],
  ]);
});

test.each([
  [1, "then_branch/row"],
  [0, "else_branch/row"],
])("a condition that is stored as %i decides for all samples", async (value, row) => {
  for (const stored of [{ rawData: Uint8Array.of(value) }, { int32Data: [value] }]) {
    const model = mergedDecoder(4, 2);
    const [node] = model.graph.nodes;
    const tensor = { name: "always", dataType: TensorProto_DataType.BOOL, dims: [], ...stored };
    if (node) node.input[0] = model.graph.addInitializer(create(TensorProtoSchema, tensor));
    model.graph.changed();
    expect(await takenIn(model, [feedOf(1 - value)])).toEqual([[row, 1]]);
  }
});
