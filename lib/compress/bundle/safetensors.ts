// Writes tensors as a safetensors file: a header of JSON behind its length in 8 bytes, then the values, little-endian.
// Values are sorted by the size of their elements, largest first, and begin at a multiple of 8 bytes: so each tensor is
// aligned to its element size, and can be read as a view. https://huggingface.co/docs/safetensors, "Format"
import type { Dtype, Tensor } from "../../core/tensor.ts";

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

/** A tensor on its way into a file. */
interface Values {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: Exclude<Tensor["data"], readonly string[]>;
}

/** The key of the header that the format keeps for free text. */
const METADATA = "__metadata__";

/**
 * Writes tensors by name, with texts by name as the file's metadata; returns null where one holds strings, for which the
 * format has no type.
 * @throws TypeError where a tensor is named `__metadata__`
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> | null {
  const values: Values[] = [];
  for (const [name, { dtype, dims, data }] of Object.entries(tensors)) {
    const type = DTYPES[dtype];
    if (type === undefined || Array.isArray(data)) return null;
    if (name === METADATA)
      throw new TypeError(`safetensors: the name "${METADATA}" is reserved by the format; rename the tensor`);
    values.push({ name, type, shape: dims, data });
  }
  values.sort((a, b) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT); // keeps the order of equal ones
  const header: (readonly [string, object])[] = Object.keys(metadata).length === 0 ? [] : [[METADATA, metadata]];
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const { name, type, shape, data } of values) {
    header.push([name, { dtype: type, shape, data_offsets: [at, at + data.byteLength] }]);
    pieces.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    at += data.byteLength;
  }
  // Padded with spaces, so that values begin where any type may lie.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
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
