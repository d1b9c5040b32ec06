// Names or fixes the symbolic dims of a model's inputs and outputs, as a bundle declares them: exporters write
// "p2o.DynamicDimension.0", and the same size under two names.
import { create } from "@bufbuild/protobuf";
import { SelvedgeError } from "../../core/errors.ts";
import { TensorShapeProto_DimensionSchema, TensorShapeProtoSchema } from "../onnx/onnx.gen.js";
import type { TensorShapeProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";

/** Dims of inputs and outputs by name: a number for a fixed size, a text for a symbolic one. */
export type DimsByName = Readonly<Record<string, readonly (number | string)[]>>;

/**
 * Sets the declared dims of inputs and outputs. Recorded shapes of inner values are dropped, since they may use the old
 * names.
 * @throws SelvedgeError `model-invalid` where a name or a rank is not the model's.
 */
export function setDims(dims: DimsByName): Transform {
  return (model) => {
    const { input, output } = model.graph.proto;
    for (const [name, sizes] of Object.entries(dims)) {
      const type = [...input, ...output].find((x) => x.name === name)?.type?.value;
      if (type?.case !== "tensorType")
        throw new SelvedgeError("model-invalid", `the model has no input or output "${name}"`, { name });
      const rank = type.value.shape?.dim.length ?? sizes.length;
      if (rank !== sizes.length)
        throw new SelvedgeError("model-invalid", `"${name}" has ${rank} dims, not ${sizes.length}`, { name });
      type.value.shape = shapeOf(sizes);
    }
    model.graph.proto.valueInfo = [];
    model.graph.changed();
  };
}

/** Makes a shape from dims: a number for a fixed size, a text for a symbolic one, "" for one without a name. */
export function shapeOf(dims: readonly (number | string)[]): TensorShapeProto {
  const dim = dims.map((size) => {
    if (size === "") return create(TensorShapeProto_DimensionSchema);
    return create(TensorShapeProto_DimensionSchema, {
      value: typeof size === "number" ? { case: "dimValue", value: BigInt(size) } : { case: "dimParam", value: size },
    });
  });
  return create(TensorShapeProtoSchema, { dim });
}
