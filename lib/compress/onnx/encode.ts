// Serializes a model as a list of pieces, in which the weights are views, or ranges of files: concatenating them once is the only copy, and
// writing them to a file needs none. The protobuf library concatenates at every level of nesting, which triples the
// memory of a large model.
//
// Only large parts are serialized here: the model around its graph, the graph around its initializers, a tensor around
// its raw_data. The library writes the rest, and fields come in the order of their numbers, as the library writes them.
import { create, isFieldSet, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from "./onnx.gen.js";
import type { GraphProto, ModelProto, TensorProto } from "./onnx.gen.js";
import { passingParts, rawLength, rawPiece } from "./stored-bytes.ts";
import type { FileSlice } from "./stored-bytes.ts";
import { varint } from "../../core/varint.ts";

/** Tensors below this size are serialized by the library. */
const LARGE_BYTES = 4096;
const LENGTH_DELIMITED = 2;

/** Returns the serialized model, in pieces. */
export function modelPieces(model: ModelProto): FileSlice[] {
  return around(ModelProtoSchema, model, "graph", () => (model.graph === undefined ? [] : [graphPieces(model.graph)]));
}

/** Concatenates pieces. */
export function joinPieces(pieces: readonly FileSlice[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(countBytes(pieces));
  let at = 0;
  for (const part of passingParts(pieces)) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Returns the total size of pieces in bytes. */
export function countBytes(pieces: readonly FileSlice[]): number {
  return pieces.reduce((sum, x) => sum + x.length, 0);
}

function graphPieces(graph: GraphProto): FileSlice[] {
  return around(GraphProtoSchema, graph, "initializer", () => graph.initializer.map(tensorPieces));
}

function tensorPieces(tensor: TensorProto): FileSlice[] {
  if (rawLength(tensor) < LARGE_BYTES) return [toBinary(TensorProtoSchema, tensor)];
  return around(TensorProtoSchema, tensor, "rawData", () => [[rawPiece(tensor)]]);
}

/** Serializes a message with one field given as pieces, an item per occurrence. */
function around<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  name: string,
  items: () => readonly (readonly FileSlice[])[],
): FileSlice[] {
  const large = schema.fields.find((x) => x.localName === name);
  if (large === undefined) throw new Error(`${schema.typeName} has no field ${name}`);
  const [before, after] = [create(schema), create(schema)];
  const from = message as unknown as Readonly<Record<string, unknown>>;
  for (const field of schema.fields) {
    if (field === large || !isFieldSet(message, field)) continue;
    const part = (field.number < large.number ? before : after) as unknown as Record<string, unknown>;
    part[field.localName] = from[field.localName];
  }
  if (message.$unknown !== undefined) after.$unknown = message.$unknown;
  const pieces: FileSlice[] = [toBinary(schema, before)];
  for (const item of items()) {
    pieces.push(Uint8Array.from([...varint((large.number << 3) | LENGTH_DELIMITED), ...varint(countBytes(item))]));
    // No spread into push(): a model may have more initializers than a call may have arguments.
    for (const piece of item) pieces.push(piece);
  }
  pieces.push(toBinary(schema, after));
  return pieces;
}
