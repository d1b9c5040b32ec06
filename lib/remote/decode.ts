// Replies of the Open Inference Protocol, version 2, in JSON and with binary tensors. Nothing of a reply is trusted:
// names, types, shapes and lengths must agree with each other and with the bytes. Whether they are what was asked for is
// the caller's to check.
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import { ReplyError } from "./failure.ts";
import { asObject, brief, decodeText, parse, textOf } from "./plain-json.ts";
import { DTYPE_OF, elementBytes, fromBfloat16, isDatatype } from "./datatypes.ts";
import type { Datatype } from "./datatypes.ts";

/** An output of a reply. */
export interface WireOutput {
  readonly name: string;
  readonly datatype: Datatype;
  readonly tensor: Tensor;
}

/** A decoded reply. */
export interface InferReply {
  /** Name of the model that answered; null where the server states none. */
  readonly modelName: string | null;
  /** Version of the model that answered; null where the server states none. */
  readonly modelVersion: string | null;
  /** Outputs, in the server's order. */
  readonly outputs: readonly WireOutput[];
  /** Whether the tensors came as bytes. */
  readonly isBinary: boolean;
}

/** Reads JSON with tensors in it: json-tensors.ts, which is loaded for replies that have any. */
interface JsonReader {
  parseJson(text: string): unknown;
  readData(at: string, datatype: Datatype, data: unknown, dims: readonly number[]): Tensor["data"];
}

/**
 * Decodes a reply. `headerLength` is the header `Inference-Header-Content-Length`, which alone marks a binary reply; a
 * reply without it whose outputs are all empty, or whose header CORS hides, is recognised by its content.
 * @throws ReplyError where the reply breaks the protocol
 */
export async function decodeReply(bytes: Uint8Array, headerLength: string | null): Promise<InferReply> {
  const length = headerLength === null ? jsonLength(bytes) : Number(headerLength);
  if (!Number.isSafeInteger(length) || length < 1 || length > bytes.length)
    throw new ReplyError(`Inference-Header-Content-Length is ${headerLength}, the reply has ${bytes.length} bytes`);
  const text = decodeText(bytes.subarray(0, length), "the reply");
  const json = text.includes('"data"') ? await import("./json-tensors.ts") : null;
  const reply = asObject(parse(text, json?.parseJson), "the reply");
  const { outputs, error } = reply;
  const words = typeof error === "string" ? `: ${error.slice(0, 300)}` : "";
  if (!Array.isArray(outputs)) throw new ReplyError(`the reply has no outputs${words}`);
  const rest = { bytes: bytes.subarray(length), offset: 0, isBinary: false, json };
  const decoded = outputs.map((output: unknown) => decodeTensor(asObject(output, "an output"), rest));
  if (rest.offset !== rest.bytes.length && (rest.isBinary || !isBlank(rest.bytes)))
    throw new ReplyError(`outputs have ${rest.offset} bytes, the reply has ${rest.bytes.length} after its JSON`);
  if (new Set(decoded.map((x) => x.name)).size < decoded.length) throw new ReplyError("two outputs have one name");
  return {
    modelName: textOf(reply["model_name"]),
    modelVersion: textOf(reply["model_version"]),
    outputs: decoded,
    isBinary: rest.isBinary,
  };
}

/** Tensors' bytes behind JSON, and where the next one begins. */
export interface Rest {
  /** All bytes behind the JSON. */
  readonly bytes: Uint8Array;
  /** Where the next tensor's bytes begin. */
  offset: number;
  /** Whether a tensor had bytes. */
  isBinary: boolean;
  /** Reader of tensors in JSON; null where there are none. */
  readonly json: JsonReader | null;
}

/** Decodes an output, or an input of a request: its bytes are the next ones of `rest`. @throws ReplyError */
export function decodeTensor(
  entry: Readonly<Record<string, unknown>>,
  rest: Rest,
  kind: "output" | "input" = "output",
): WireOutput {
  const { name, datatype, shape, data, parameters } = entry;
  if (typeof name !== "string") throw new ReplyError(`an ${kind} has no name`);
  const at = `${kind} ${brief(name)}`;
  if (!isDatatype(datatype)) throw new ReplyError(`${at} has the datatype ${brief(datatype)}`);
  const dims = dimsOf(shape, at);
  const count = dims.reduce((product, dim) => product * dim, 1);
  const size = (parameters as Readonly<Record<string, unknown>> | null | undefined)?.["binary_data_size"];
  const dtype = DTYPE_OF[datatype];
  if (size === undefined) {
    const values = rest.json?.readData(at, datatype, data, dims);
    if (values === undefined) throw new ReplyError(`${at} has no data`);
    return { name, datatype, tensor: { dtype, dims, data: values } as Tensor };
  }
  rest.isBinary = true;
  const left = rest.bytes.length - rest.offset;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0 || size > left)
    throw new ReplyError(`${at} has binary_data_size ${brief(size)}, ${left} bytes are left`);
  const bytes = rest.bytes.subarray(rest.offset, rest.offset + size);
  rest.offset += size;
  return { name, datatype, tensor: { dtype, dims, data: fromBytes(at, datatype, bytes, count) } as Tensor };
}

/** Returns the elements of a binary tensor, copied, since its bytes begin at any offset. */
function fromBytes(at: string, datatype: Datatype, bytes: Uint8Array, count: number): Tensor["data"] {
  if (datatype === "BYTES") return stringsOf(at, bytes, count);
  const size = elementBytes(datatype) * count;
  if (bytes.length !== size) throw new ReplyError(`${at} needs ${size} bytes for its shape and has ${bytes.length}`);
  if (datatype === "BOOL" && bytes.some((x) => x > 1)) throw new ReplyError(`${at}: elements of BOOL must be 0 or 1`);
  const { buffer } = bytes.slice();
  if (datatype === "BF16") return fromBfloat16(new Uint16Array(buffer));
  return new ARRAY_TYPES[DTYPE_OF[datatype] as NumericDtype](buffer);
}

function stringsOf(at: string, bytes: Uint8Array, count: number): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: string[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const end = offset + 4 <= bytes.length ? offset + 4 + view.getUint32(offset, true) : Infinity;
    if (end > bytes.length) throw new ReplyError(`${at}: a length of its BYTES exceeds the tensor`);
    values.push(decodeText(bytes.subarray(offset + 4, end), at));
    offset = end;
  }
  if (values.length !== count) throw new ReplyError(`${at} needs ${count} elements and has ${values.length}`);
  return values;
}

/** Returns a shape. @throws ReplyError for anything but sizes whose product is a number of elements */
function dimsOf(shape: unknown, at: string): number[] {
  const dims = Array.isArray(shape) ? (shape as unknown[]) : null;
  const isSize = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
  if (dims?.every(isSize) && Number.isSafeInteger(dims.reduce((product, dim) => product * dim, 1))) return dims;
  throw new ReplyError(`${at} has the shape ${brief(shape)}`);
}

/** Whether bytes are white space, which may follow JSON. */
function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((x) => x === 0x20 || (x >= 0x09 && x <= 0x0d));
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Returns the length of the JSON object that bytes begin with; their whole length where it does not end. */
export function jsonLength(bytes: Uint8Array): number {
  let depth = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      for (i += 1; i < bytes.length && bytes[i] !== QUOTE; i += 1) if (bytes[i] === BACKSLASH) i += 1;
    } else if (byte === 0x7b) depth += 1;
    else if (byte === 0x7d) {
      depth -= 1;
      if (depth === 0) return i + 1;
    }
  }
  return bytes.length;
}
