// Writes tensors as a safetensors file: a header of JSON behind its length in 8 bytes, then the values, little-endian.
// https://huggingface.co/docs/safetensors, "Format"
import type { Dtype, Tensor } from "../tensor.ts";

const DTYPES: Readonly<Partial<Record<Dtype, string>>> = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  int8: "I8",
  uint8: "U8",
  int16: "I16",
  uint16: "U16",
  int32: "I32",
  uint32: "U32",
  int64: "I64",
  uint64: "U64",
  bool: "BOOL",
};

/** Writes tensors by name; null where one holds strings, for which the format has no type. */
export function writeSafetensors(tensors: Readonly<Record<string, Tensor>>): Uint8Array<ArrayBuffer> | null {
  const header: Record<string, unknown> = {};
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const [name, { dtype, dims, data }] of Object.entries(tensors)) {
    const type = DTYPES[dtype];
    if (type === undefined || Array.isArray(data)) return null;
    header[name] = { dtype: type, shape: dims, data_offsets: [at, at + data.byteLength] };
    pieces.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    at += data.byteLength;
  }
  // Padded with spaces, so that values begin where any type may lie.
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + at).fill(0x20, 8, 8 + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  let to = 8 + length;
  for (const piece of pieces) {
    bytes.set(piece, to);
    to += piece.length;
  }
  return bytes;
}
