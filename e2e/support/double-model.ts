// The smallest useful model, for tests of apps.
import { create, toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema, TensorProto_DataType } from "../../lib/compress/onnx/onnx.gen.js";

/** Builds the model y = x + x, batch of any size, three columns. */
export function doubleModel(): Uint8Array {
  const port = (name: string) => ({
    name,
    type: {
      value: {
        case: "tensorType" as const,
        value: {
          elemType: TensorProto_DataType.FLOAT,
          shape: {
            dim: [
              { value: { case: "dimParam" as const, value: "batch" } },
              { value: { case: "dimValue" as const, value: 3n } },
            ],
          },
        },
      },
    },
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "double",
      node: [{ opType: "Add", input: ["x", "x"], output: ["y"] }],
      input: [port("x")],
      output: [port("y")],
    },
  });
  return toBinary(ModelProtoSchema, model);
}
