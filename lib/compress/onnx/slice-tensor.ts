// Slices constants of any byte-sized type along their axes.
import { create } from "@bufbuild/protobuf";
import { TensorProto_DataType, TensorProtoSchema } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { elementCount, floatsOf, int64Of, integersOf } from "./tensor-proto.ts";

/** Whether a constant's values can be sliced: they are in raw_data, or of a supported type. */
export function isSliceable(tensor: TensorProto): boolean {
  const count = elementCount(tensor);
  if (tensor.rawData.length > 0) return tensor.rawData.length % count === 0;
  return tensor.dataType === TensorProto_DataType.FLOAT || tensor.dataType === TensorProto_DataType.INT64;
}

/** Returns a constant with only some indices of its axes; null keeps a whole axis. */
export function sliceTensor(tensor: TensorProto, kept: readonly (readonly number[] | null)[]): TensorProto {
  const raw = rawOf(tensor);
  const dims = tensor.dims.map(Number);
  const size = raw.length / Math.max(1, elementCount(tensor));
  let bytes = raw;
  let tail = size;
  // From the last axis, so that the preceding axes are still whole.
  const lengths = [...dims];
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const list = kept[axis];
    const length = dims[axis] ?? 1;
    if (list) {
      const outer = bytes.length / (length * tail);
      const cut = new Uint8Array(outer * list.length * tail);
      for (let o = 0; o < outer; o++)
        for (const [to, from] of list.entries())
          cut.set(
            bytes.subarray((o * length + from) * tail, (o * length + from + 1) * tail),
            (o * list.length + to) * tail,
          );
      bytes = cut;
      lengths[axis] = list.length;
    }
    tail *= lengths[axis] ?? 1;
  }
  const { name, dataType } = tensor;
  return create(TensorProtoSchema, { name, dataType, dims: lengths.map(BigInt), rawData: bytes });
}

function rawOf(tensor: TensorProto): Uint8Array {
  if (tensor.rawData.length > 0 || elementCount(tensor) === 0) return tensor.rawData;
  const values =
    tensor.dataType === TensorProto_DataType.FLOAT ? floatsOf(tensor) : BigInt64Array.from(integersOf(tensor), int64Of);
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
