import { expect, test } from "vitest";
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import { TensorProto_DataType as T } from "../../compress/onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../../compress/onnx/tensor-proto.ts";
import type { Tensor } from "../../core/tensor.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { checkIds, tablesOf } from "./table-rows.ts";

const table = (name: string, rows: number): ReturnType<typeof floatTensor> =>
  floatTensor(name, [rows, 4], seededFloats(rows * 4, 3));
const node = (opType: string, input: string, output: string, attributes: NodeSpec["attributes"] = {}): NodeSpec => ({
  opType,
  input: input.split(" "),
  output: output.split(" "),
  attributes,
});
const int64 = (...ids: number[]): Tensor => ({
  dtype: "int64",
  dims: [1, ids.length],
  data: BigInt64Array.from(ids, BigInt),
});

/** Tables of a graph over the int64 input `ids`, with tables of 10 and of 6 rows. */
function tables(...nodes: NodeSpec[]): ReturnType<typeof tablesOf> {
  const model = smallModel({
    opset: 13,
    inputs: { ids: ["batch", "length"] },
    types: { ids: T.INT64 },
    outputs: ["y"],
    nodes,
    initializers: [table("words", 10), table("types", 6), int64Tensor("shape", [2], [-1, 4])],
  });
  return tablesOf(model.write());
}

test("an id that the table has no row for is refused with its place", () => {
  const found = tables(node("Gather", "words ids", "y"));
  expect(found).toEqual(new Map([["ids", { name: "words", rows: 10 }]]));
  const check = (ids: Tensor): void => {
    checkIds(found, { ids });
  };
  check(int64(0, 9, -1, -10));
  check({ dtype: "int32", dims: [2], data: Int32Array.of(9, -10) });
  const text = 'input "ids": element 2 is 10, and the model\'s table "words" has 10 rows';
  expect(() => check(int64(0, 1, 10))).toThrow(new RangeError(text));
  expect(() => check(int64(0, -11))).toThrow(/element 1 is -11,/);
  expect(() => check({ dtype: "int32", dims: [1], data: Int32Array.of(10) })).toThrow(/element 0 is 10,/);
});

test("ids reach a table through casts and other shapes, and a table is read through its scales", () => {
  const through = [node("Cast", "ids", "cast", { to: T.INT32 }), node("Reshape", "cast shape", "flat")];
  expect(tables(...through, node("Gather", "words flat", "y")).get("ids")?.rows).toBe(10);
  const scaled = [node("DequantizeLinear", "words scale", "floats"), node("Gather", "floats ids", "y")];
  expect(tables(...scaled).get("ids")).toEqual({ name: "floats", rows: 10 });
});

test("an input that indexes two tables has the smaller one", () => {
  expect(tables(node("Gather", "types ids", "a"), node("Gather", "words ids", "y")).get("ids")?.rows).toBe(6);
  expect(tables(node("Gather", "words ids", "a"), node("Gather", "types ids", "y")).get("ids")?.rows).toBe(6);
});

test("another axis, and integers that the graph changes, are not checked", () => {
  expect(tables(node("Gather", "words ids", "y", { axis: 1 })).size).toBe(0);
  expect(tables(node("Abs", "ids", "more"), node("Gather", "words more", "y")).has("ids")).toBe(false);
  expect(tablesOf(Uint8Array.of(1, 2, 3)).size).toBe(0);
});
