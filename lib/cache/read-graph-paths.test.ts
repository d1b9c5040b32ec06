// Paths of external data in a graph: which lie in its folder.
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProtoSchema,
} from "../compress/onnx/onnx.gen.js";
import { readLocations } from "./read-graph.ts";

/** Reads the locations of a graph with one weight at a path. */
function locationsOf(path: string): Promise<string[]> {
  const externalData = [create(StringStringEntryProtoSchema, { key: "location", value: path })];
  const initializer = [create(TensorProtoSchema, { name: "w", externalData })];
  const model = create(ModelProtoSchema, { irVersion: 8n, graph: create(GraphProtoSchema, { initializer }) });
  return readLocations(new Blob([toBinary(ModelProtoSchema, model)]));
}

test.each(["data:x", "blob:x", "HTTPS:x"])("%j is an address, which leaves the folder", async (path) => {
  await expect(locationsOf(path)).rejects.toMatchObject({ code: "model-invalid", details: { path } });
});

test.each(["x/a:b", "x/./y", "a.b/c", "x./y"])("%j is in the folder as it stands", async (path) => {
  expect(await locationsOf(path)).toEqual([path]);
});

test("the dots of the own folder are left out at the beginning alone", async () => {
  expect(await locationsOf("././x/./y")).toEqual(["x/./y"]);
});
