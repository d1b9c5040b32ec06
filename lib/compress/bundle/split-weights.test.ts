import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { TensorProto_DataLocation, TensorProto_DataType, TensorProtoSchema } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { decodeModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { packBundle } from "./pack.ts";
import { checkSplit, joinWeights, splitWeights } from "./split-weights.ts";
import type { SplitModel } from "./split-weights.ts";
import { StoredBytes } from "../onnx/stored-bytes.ts";
import { Scratch } from "../onnx/written-model.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const LOCATION = "model.onnx.data";
const { INT64, INT32, UINT8 } = TensorProto_DataType;

const integers = (name: string, dims: readonly number[], values: readonly number[]): TensorProto =>
  create(TensorProtoSchema, {
    name,
    dataType: INT64,
    dims: dims.map(BigInt),
    rawData: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
  });

/** A model that splits a vector into single values, and multiplies the first one by weights. */
function splitter(count: number): OnnxModel {
  const names = Array.from({ length: count }, (_, i) => `s${i}`);
  return smallModel({
    opset: 17,
    inputs: { x: [count] },
    outputs: ["y"],
    nodes: [
      { opType: "Split", input: ["x", "sizes"], output: names },
      { opType: "Mul", input: ["s0", "w"], output: ["y"] },
    ],
    initializers: [
      integers("sizes", [count], Array<number>(count).fill(1)),
      floatTensor("w", [32, 32], seededFloats(1_024)),
    ],
  });
}

const scratch = new Scratch();
afterAll(() => scratch.close());

/** Splits a model whose weights fit into memory. */
async function splitOf(model: OnnxModel): Promise<SplitModel & { readonly weights: Uint8Array<ArrayBuffer> }> {
  const { graph, weights, borders } = await splitWeights(model, LOCATION, scratch);
  return { graph, weights: weights instanceof StoredBytes || weights === null ? new Uint8Array() : weights, borders };
}

/** Names the tensors of a graph that are external. */
const externalIn = (graph: Uint8Array): string[] =>
  decodeModel(graph)
    .graph.proto.initializer.filter((x) => x.dataLocation === TensorProto_DataLocation.EXTERNAL)
    .map((x) => x.name);

test("vectors that shape inference reads stay in the graph, so that the split model loads (tool-split)", async () => {
  const model = splitter(200);
  const split = await splitOf(model);
  expect(externalIn(split.graph)).toEqual(["w"]);
  const externalData = [{ path: LOCATION, data: split.weights }];
  const session = await InferenceSession.create(split.graph, { logSeverityLevel: 4, externalData });
  await session.release();
  await checkSplit(model, LOCATION, split, scratch);
  expect(joinWeights(split.graph, split.weights)).toEqual(model.write());
});

test("integers stay where they have at most one axis and 64 kB; all else from 1 kB on is external (tool-split)", async () => {
  const types = fc.constantFrom(INT64, INT32, UINT8, TensorProto_DataType.FLOAT);
  const sizes = fc.constantFrom(8, 1_016, 1_024, 65_536, 65_544);
  await fc.assert(
    fc.asyncProperty(types, fc.constantFrom(0, 1, 2), sizes, async (type, rank, n) => {
      const width = type === INT64 ? 8 : type === UINT8 ? 1 : 4;
      const count = rank === 0 ? 1 : n / width;
      const dims = [[], [count], [1, count]][rank] ?? [];
      const tensor = create(TensorProtoSchema, {
        name: "t",
        dataType: type,
        dims: dims.map(BigInt),
        rawData: new Uint8Array(count * width),
      });
      const nodes = [{ opType: "Identity", input: ["t"], output: ["y"] }];
      const model = smallModel({ opset: 17, inputs: {}, outputs: ["y"], nodes, initializers: [tensor] });
      const isIndex = type === INT64 || type === INT32;
      const bytes = count * width;
      const isExternal = bytes >= 1_024 && !(isIndex && rank <= 1 && bytes <= 65_536);
      expect(externalIn((await splitOf(model)).graph)).toEqual(isExternal ? ["t"] : []);
    }),
  );
});

test("a model that ONNX Runtime loads in one file alone is refused before it is published (tool-split-load)", async () => {
  // 8,193 sizes of 8 bytes: more than stays in the graph.
  const whole = splitter(8_193);
  const message = /does not load the model with its weights in a separate file, "model.onnx.data": .*external tensors/;
  await expect(checkSplit(whole, LOCATION, await splitOf(whole), scratch)).rejects.toThrow(message);
  const ports = { name: "x", dtype: "float32", dims: [8_193], batchAxis: null } as const;
  const model = { name: "m", version: "1", licence: "MIT", inputs: [ports], outputs: [{ ...ports, name: "y" }] };
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model: whole }] }];
  await expect(packBundle({ model, variants })).rejects.toMatchObject({ code: "model-invalid" });
});

test("a model that does not load in one file either is left to the checks of its variant", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [32] },
    outputs: ["y"],
    nodes: [{ opType: "Later", domain: "test.later", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [32, 32], seededFloats(1_024))],
  });
  await checkSplit(model, LOCATION, await splitOf(model), scratch);
});
