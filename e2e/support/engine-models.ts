// Models that the inference servers serve in tests, and ONNX Runtime's own answers to them in Node.
import { create } from "@bufbuild/protobuf";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import type { Tensor } from "../../lib/core/tensor.ts";
import { makeNode } from "../../lib/compress/onnx/graph.ts";
import { ModelProtoSchema, TensorProto_DataType as T } from "../../lib/compress/onnx/onnx.gen.js";
import { OnnxModel } from "../../lib/compress/onnx/model.ts";
import { buildMlp } from "../../models/fashion-mlp.ts";
import { ocrAsset, readBytes } from "../../models/recipe.ts";

/** Element types of the model "types", by their names in the protocol. */
export const TYPES = {
  BOOL: T.BOOL,
  INT8: T.INT8,
  INT16: T.INT16,
  INT32: T.INT32,
  INT64: T.INT64,
  UINT8: T.UINT8,
  UINT16: T.UINT16,
  UINT32: T.UINT32,
  UINT64: T.UINT64,
  FP16: T.FLOAT16,
  FP32: T.FLOAT,
  FP64: T.DOUBLE,
  BYTES: T.STRING,
} as const;

/** Builds a model that returns an input of each type: `in_X` [n] as `out_X`. */
function buildTypes(): Uint8Array {
  const port = (name: string, elemType: number) => {
    const shape = { dim: [{ value: { case: "dimParam" as const, value: "n" } }] };
    return { name, type: { value: { case: "tensorType" as const, value: { elemType, shape } } } };
  };
  const types = Object.entries(TYPES);
  const proto = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "types",
      input: types.map(([name, type]) => port(`in_${name}`, type)),
      output: types.map(([name, type]) => port(`out_${name}`, type)),
      node: types.map(([name]) => makeNode({ opType: "Identity", input: [`in_${name}`], output: [`out_${name}`] })),
    },
  });
  return new OnnxModel(proto).write();
}

/** Makes the models: `types`, `fashion-mlp`, and `ocr-rec` where it is asked for. */
export function makeModels({ withOcr = false } = {}): Record<string, Uint8Array> {
  return {
    types: buildTypes(),
    "fashion-mlp": buildMlp().write(),
    ...(withOcr && { "ocr-rec": readBytes(ocrAsset("ch_PP-OCRv4_rec_infer.onnx")) }),
  };
}

/** Runs a model in Node; returns its first output, of float32. */
export async function runLocally(model: Uint8Array, inputs: Readonly<Record<string, Tensor>>): Promise<Float32Array> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const feeds = Object.entries(inputs).map(
    ([name, { dtype, data, dims }]) =>
      [name, new OrtTensor(dtype as "float32", data as Float32Array, [...dims])] as const,
  );
  const outputs = await session.run(Object.fromEntries(feeds));
  const [output] = Object.values(outputs);
  await session.release();
  return output?.data as Float32Array;
}
