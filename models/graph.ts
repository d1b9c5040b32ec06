// Graphs of the models trained here: converts nodes and weights to a model, and reads weights from NumPy archives.
import { create } from "@bufbuild/protobuf";
import type { BundleInput, BundleOutput } from "../lib/core/bundle.ts";
import { makeNode } from "../lib/compress/onnx/graph.ts";
import type { NodeSpec } from "../lib/compress/onnx/graph.ts";
import { readNpz } from "../lib/compress/run/npy.ts";
import { ModelProtoSchema, TensorProto_DataType } from "../lib/compress/onnx/onnx.gen.js";
import type { TensorProto } from "../lib/compress/onnx/onnx.gen.js";
import { OnnxModel } from "../lib/compress/onnx/model.ts";
import { setDims } from "../lib/compress/simplify/set-dims.ts";
import { floatTensor } from "../lib/compress/onnx/tensor-proto.ts";
import { readBytes } from "./recipe.ts";

/** Weights with their shape, the slowest axis first. */
export interface Weights {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Reads an archive of weights; returns a lookup by name. */
export function readWeights(path: string): (name: string) => Weights {
  const arrays = readNpz(readBytes(path));
  return (name) => {
    const array = arrays[name];
    if (array === undefined) throw new Error(`${path} has no "${name}"`);
    return { dims: array.dims, data: Float32Array.from(array.data) };
  };
}

/** Makes a model of operator set 17 from its ports, nodes and weights; `constants` are weights of other types. */
export function buildGraph(
  ports: { readonly inputs: readonly BundleInput[]; readonly outputs: readonly BundleOutput[] },
  nodes: readonly NodeSpec[],
  weights: Readonly<Record<string, Weights>>,
  constants: readonly TensorProto[] = [],
): OnnxModel {
  const value = ({ name, dtype }: BundleInput | BundleOutput) => {
    const elemType = dtype === "int32" ? TensorProto_DataType.INT32 : TensorProto_DataType.FLOAT;
    return { name, type: { value: { case: "tensorType" as const, value: { elemType } } } };
  };
  const model = new OnnxModel(
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: "selvedge",
      opsetImport: [{ domain: "", version: 17n }],
      graph: {
        name: "main",
        input: ports.inputs.map(value),
        output: ports.outputs.map(value),
        node: nodes.map(makeNode),
        initializer: [
          ...Object.entries(weights).map(([name, { dims, data }]) => floatTensor(name, dims, data)),
          ...constants,
        ],
      },
    }),
  );
  return model.transform(setDims(Object.fromEntries([...ports.inputs, ...ports.outputs].map((x) => [x.name, x.dims]))));
}
