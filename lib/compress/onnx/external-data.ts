// External data of tensors as it is written: each begins at a page, so that a runtime can map it.
import { clearField } from "@bufbuild/protobuf";
import { TensorProto_DataLocation, TensorProtoSchema } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { setRaw } from "./stored-bytes.ts";
import type { FileSlice } from "./stored-bytes.ts";

/** Multiple of bytes at which each tensor begins. */
const ALIGN_BYTES = 4096;

/** A byte range of a file in the model's folder. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Returns the pieces of a file that holds `values`, and the offset of each. */
export function alignedPieces(
  values: readonly FileSlice[],
  align: number = ALIGN_BYTES,
): { readonly pieces: FileSlice[]; readonly offsets: number[] } {
  const pieces: FileSlice[] = [];
  const offsets: number[] = [];
  let at = 0;
  for (const value of values) {
    const gap = (align - (at % align)) % align;
    pieces.push(new Uint8Array(gap), value);
    offsets.push(at + gap);
    at += gap + value.length;
  }
  return { pieces, offsets };
}

/** Has a tensor name the place of its values instead of holding them. */
export function setPlace(tensor: TensorProto, place: ExternalPlace): void {
  setRaw(tensor, new Uint8Array());
  tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
  tensor.externalData = Object.entries(place).map(([key, value]) => ({
    $typeName: "onnx.StringStringEntryProto" as const,
    key,
    value: String(value),
  }));
}

/** Has a tensor hold its values, in memory or as a range of a file. */
export function clearPlace(tensor: TensorProto, values: FileSlice): void {
  setRaw(tensor, values);
  clearField(tensor, TensorProtoSchema.field.dataLocation);
  tensor.externalData = [];
}
