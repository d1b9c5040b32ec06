// Fixes inputs of a model to values that never change in its application, such as a sampling rate: nodes that depend on
// them alone can be folded, and branches for other values are removed (inline-if-branches.ts).
import { create } from "@bufbuild/protobuf";
import { SelvedgeError } from "../../core/errors.ts";
import { TensorProto_DataType, TensorProtoSchema } from "../onnx/onnx.gen.js";
import type { TensorProto, ValueInfoProto } from "../onnx/onnx.gen.js";
import type { Transform } from "../onnx/model.ts";

/**
 * Turns inputs into constants: each is filled with one number, in its own type (int32, int64, float32 or bool) and
 * dims. The model then no longer has those inputs.
 * @throws SelvedgeError `model-invalid` where a name is not the model's, a type is another, or dims are not fixed.
 */
export function fixInputs(values: Readonly<Record<string, number>>): Transform {
  return (model) => {
    const { proto } = model.graph;
    for (const [name, value] of Object.entries(values)) {
      const input = proto.input.find((x) => x.name === name);
      if (input === undefined) throw new SelvedgeError("model-invalid", `the model has no input "${name}"`, { name });
      const tensor = filled(input, value);
      proto.input = proto.input.filter((x) => x !== input);
      proto.initializer = [...proto.initializer.filter((x) => x.name !== name), tensor];
    }
    model.graph.changed();
  };
}

function filled({ name, type }: ValueInfoProto, value: number): TensorProto {
  const refuse = (why: string): SelvedgeError =>
    new SelvedgeError("model-invalid", `input "${name}" cannot be fixed to ${value}: ${why}`, { name });
  if (type?.value.case !== "tensorType") throw refuse("it is not a tensor");
  const { elemType, shape } = type.value.value;
  const dims = (shape?.dim ?? []).map((x) => {
    if (x.value.case !== "dimValue") throw refuse("its dims are not all fixed");
    return x.value.value;
  });
  const length = dims.reduce((count, x) => count * Number(x), 1);
  const isWhole = elemType === TensorProto_DataType.INT64 || elemType === TensorProto_DataType.INT32;
  if (isWhole && !Number.isSafeInteger(value)) throw refuse("its type is integer");
  const data = (): { buffer: ArrayBuffer } => {
    switch (elemType as TensorProto_DataType) {
      case TensorProto_DataType.INT64:
        return new BigInt64Array(length).fill(BigInt(value));
      case TensorProto_DataType.INT32:
        return new Int32Array(length).fill(value);
      case TensorProto_DataType.FLOAT:
        return new Float32Array(length).fill(value);
      case TensorProto_DataType.BOOL:
        return new Uint8Array(length).fill(value === 0 ? 0 : 1);
      default:
        throw refuse("only int32, int64, float32 and bool can be");
    }
  };
  return create(TensorProtoSchema, { name, dims, dataType: elemType, rawData: new Uint8Array(data().buffer) });
}
