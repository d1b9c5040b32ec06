// Requests of the Open Inference Protocol, version 2: JSON followed by the tensors' bytes (the binary tensor extension),
// or JSON alone. The tensors were checked before.
import { concatBytes } from "../core/concat-bytes.ts";
import type { Tensor } from "../core/tensor.ts";
import { toBfloat16 } from "./datatypes.ts";
import type { Datatype } from "./datatypes.ts";

/** An input of a request: its name, its type on the wire and its elements. */
export interface WireInput {
  readonly name: string;
  readonly datatype: Datatype;
  readonly tensor: Tensor;
}

/** A request before it is encoded. */
export interface InferRequest {
  /** Printable ASCII: Triton cuts an id at NUL, MLServer copies it into a header. */
  readonly id: string;
  readonly inputs: readonly WireInput[];
  /** Names of the outputs to return; undefined for all. */
  readonly outputs: readonly string[] | undefined;
}

/** A request's body. */
export interface EncodedRequest {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Length of the JSON in front of tensor bytes (`Inference-Header-Content-Length`); null where JSON is all. */
  readonly headerLength: number | null;
}

/** Writes tensors in JSON: json-tensors.ts, which is loaded for servers without the binary extension. */
export interface JsonWriter {
  writeData(datatype: Datatype, tensor: Tensor): string;
}

/** Encodes a request and asks for outputs of the same kind: as bytes, or in JSON where a writer is given. */
export function encodeRequest({ id, inputs, outputs }: InferRequest, json: JsonWriter | null): EncodedRequest {
  const parts = json === null ? inputs.map(toBytes) : [];
  const entries = inputs.map(({ name, datatype, tensor }, i) => {
    const data = json?.writeData(datatype, tensor);
    const field = data === undefined ? `"parameters":{"binary_data_size":${parts[i]?.byteLength}}` : `"data":${data}`;
    return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${tensor.dims.join()}],${field}}`;
  });
  const wanted = outputs?.map((x) => `{"name":${JSON.stringify(x)},"parameters":{"binary_data":${json === null}}}`);
  const rest = wanted ? `"outputs":[${wanted.join()}]` : `"parameters":{"binary_data_output":${json === null}}`;
  const head = new TextEncoder().encode(`{"id":${JSON.stringify(id)},"inputs":[${entries.join()}],${rest}}`);
  return { body: concatBytes([head, ...parts]), headerLength: json === null ? head.length : null };
}

/** Returns a tensor's bytes: little-endian, row by row; strings with a length of 4 bytes before each. */
export function toBytes({ datatype, tensor }: Pick<WireInput, "datatype" | "tensor">): Uint8Array {
  if (tensor.dtype === "string") return stringBytes(tensor.data);
  const data = datatype === "BF16" ? toBfloat16(tensor.data as Float32Array) : tensor.data;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function stringBytes(values: readonly string[]): Uint8Array {
  const encoder = new TextEncoder();
  return concatBytes(
    values.flatMap((value) => {
      const text = encoder.encode(value);
      return [new Uint8Array(Uint32Array.of(text.length).buffer), text];
    }),
  );
}
