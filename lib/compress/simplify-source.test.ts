import { create } from "@bufbuild/protobuf";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import {
  TensorProto_DataType,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from "./onnx/onnx.gen.js";
import type { OnnxModel } from "./onnx/model.ts";
import { floatTensor, int64Tensor } from "./onnx/tensor-proto.ts";
import type { Feed } from "./run/feeds.ts";
import { openModel } from "./run/session.ts";
import { shapeOf } from "./simplify/set-dims.ts";

const [WIDTH, HEADS, LENGTH] = [8, 2, 3];

/** Makes y = relu(x · w) as [batch, length, heads, rest], whose target is computed from the dims of x · w. */
function splitHeads(): OnnxModel {
  const pick = (axis: string, output: string) => ({ opType: "Gather", input: ["dims", axis], output: [output] });
  return smallModel({
    opset: 13,
    inputs: { x: ["batch", "length", WIDTH] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Shape", input: ["h"], output: ["dims"] },
      pick("zero", "batch"),
      pick("one", "length"),
      { opType: "Concat", input: ["batch", "length", "heads", "rest"], output: ["target"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["r", "target"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [WIDTH, WIDTH], seededFloats(WIDTH * WIDTH)),
      ...(["zero", "one"] as const).map((name, i) => int64Tensor(name, [1], [i])),
      int64Tensor("heads", [1], [HEADS]),
      int64Tensor("rest", [1], [WIDTH / HEADS]),
    ],
  });
}

/** Records a shape of an inner value in a model. */
function record({ graph }: OnnxModel, name: string, dims: readonly (number | string)[]): void {
  const tensor = create(TypeProto_TensorSchema, { elemType: TensorProto_DataType.FLOAT, shape: shapeOf(dims) });
  const type = create(TypeProtoSchema, { value: { case: "tensorType", value: tensor } });
  graph.proto.valueInfo.push(create(ValueInfoProtoSchema, { name, type }));
}

test("shapes that a model records for one row do not end up in the forms", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-recorded-"));
  try {
    const model = splitHeads();
    record(model, "h", [1, "length", WIDTH]);
    const [path, out] = [join(folder, "model.onnx"), join(folder, "out")];
    writeFileSync(path, model.write());
    const report = await compress(path, { out, targets: ["wasm"], forms: [], sensitivityMs: 0 });
    expect(report.notes.join(" ")).toContain("records shapes of inner values that do not hold in every run");
    const dims = [2, LENGTH, WIDTH];
    const two: Feed = { x: { dtype: "float32", dims, data: seededFloats(2 * LENGTH * WIDTH) } };
    const form = await openModel(join(out, "f32.onnx"), "cpu");
    expect((await form.run(two))["y"]?.dims).toEqual([2, LENGTH, HEADS, WIDTH / HEADS]);
    await form.release();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
