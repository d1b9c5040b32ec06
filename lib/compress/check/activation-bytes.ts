// Estimates the memory that one run takes beside the weights (core/plan-buffers.ts), with the sizes of values that ONNX
// Runtime infers for inputs of given sizes.
import { bytesOfRun } from "../../core/plan-buffers.ts";
import type { RunBytes } from "../../core/plan-buffers.ts";
import { uses } from "../onnx/graph.ts";
import { copyMessage, OnnxModel } from "../onnx/model.ts";
import { TensorShapeProto_DimensionSchema } from "../onnx/onnx.gen.js";
import { inferValues } from "../run/infer-values.ts";
import { create } from "@bufbuild/protobuf";

/**
 * Estimates the bytes of a run.
 * @param dims - sizes of each input, by its name
 * @param folds - for each backend, whether the session expands quantized weights while loading
 * @throws SelvedgeError `model-invalid` where ONNX Runtime refuses the model with these sizes
 */
export async function runBytes(
  model: OnnxModel,
  dims: Readonly<Record<string, readonly number[]>>,
  folds: { readonly webgpu: boolean; readonly wasm: boolean },
): Promise<RunBytes> {
  const facts = await inferValues(withDims(model, dims));
  const { proto, nodes } = model.graph;
  const constants = new Map(proto.initializer.map((x) => [x.name, x.dims.map(Number)]));
  return bytesOfRun(
    {
      ...{ facts, constants },
      nodes: nodes.map((node) => {
        const { opType, domain, input, output } = node;
        return { opType, domain, input, output, reads: uses(node) };
      }),
      inputs: proto.input.map((x) => x.name).filter((x) => !constants.has(x)),
      outputs: proto.output.map((x) => x.name),
    },
    folds,
  );
}

/** Returns a model whose inputs have given sizes. */
function withDims({ proto, graph }: OnnxModel, dims: Readonly<Record<string, readonly number[]>>): OnnxModel {
  const input = graph.proto.input.map((each) => {
    const sizes = dims[each.name];
    if (sizes === undefined) return each;
    const fixed = copyMessage(each);
    const type = fixed.type?.value;
    if (type?.case === "tensorType" && type.value.shape !== undefined)
      type.value.shape.dim = sizes.map((size) =>
        create(TensorShapeProto_DimensionSchema, { value: { case: "dimValue", value: BigInt(size) } }),
      );
    return fixed;
  });
  return new OnnxModel({ ...proto, graph: { ...graph.proto, input, valueInfo: [] } });
}
