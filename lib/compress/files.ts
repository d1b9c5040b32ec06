// Reads a model from a file with the external data that it names, and writes one so that it appears whole or not at all.
//
// External data is read from the model's own folder alone: a location that is absolute, climbs, or leads out through a
// link is refused, and so are ranges that lie past the end or over one another. A tensor's values are read once, straight
// into memory of its own, so that files past 2 GB work; afterwards a model is the same as one that came in one file.
import { clearField } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, sep } from "node:path";
import { SelvedgeError } from "../errors.ts";
import { checkModel, decodeModel } from "./onnx.ts";
import type { OnnxModel } from "./onnx.ts";
import { TensorProto_DataLocation, TensorProto_DataType, TensorProtoSchema } from "./onnx.gen.js";
import type { GraphProto, NodeProto, TensorProto } from "./onnx.gen.js";
import { byteCount } from "./weights.ts";
import { countBytes, modelPieces } from "./wire.ts";

/** Protobuf ends at 2 GB; what is larger must keep its weights outside. */
const INLINE_MAX_BYTES = 2 ** 31 - 1;
/** Weights from this size on are written as external data where any are. */
const EXTERNAL_MIN_BYTES = 1024;
/** Begins each tensor at a page, so that a runtime can map it. */
const ALIGN_BYTES = 4096;

/**
 * Reads a model file and its external data.
 * @throws SelvedgeError `model-invalid`, naming the place.
 */
export function readModelFile(path: string): OnnxModel {
  const model = decodeModel(readBytes(path));
  const folder = realpathSync(dirname(path));
  const taken = new Map<string, { start: number; end: number; name: string }[]>();
  for (const tensor of tensorsIn(
    model.proto.graph,
    model.proto.functions.flatMap((x) => x.node),
  )) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const { file, start, length } = placeOf(tensor, folder);
    const end = start + length;
    const others = taken.get(file) ?? [];
    const other = length === 0 ? undefined : others.find((x) => start < x.end && x.start < end);
    if (other !== undefined) throw invalid(tensor, `lies over the external data of "${other.name}"`);
    taken.set(file, [...others, { start, end, name: tensor.name }]);
    tensor.rawData = readRange(file, start, length, tensor);
    clearField(tensor, TensorProtoSchema.field.dataLocation);
    tensor.externalData = [];
  }
  checkModel(model);
  return model;
}

/** Writes a model to a file, and past 2 GB its weights to `<path>.data`; returns the bytes written. */
export async function writeModelFile(
  path: string,
  model: OnnxModel,
  options: { external?: boolean } = {},
): Promise<number> {
  const { graph } = model.proto;
  const weights = graph?.initializer.reduce((sum, x) => sum + x.rawData.length, 0) ?? 0;
  if (!(options.external ?? weights > INLINE_MAX_BYTES - 2 ** 26)) return writeWhole(path, modelPieces(model.proto));
  const outside = (graph?.initializer ?? []).filter((x) => x.rawData.length >= EXTERNAL_MIN_BYTES);
  const values = outside.map((x) => x.rawData);
  const pieces: Uint8Array[] = [];
  let at = 0;
  try {
    for (const [i, tensor] of outside.entries()) {
      const raw = values[i] ?? new Uint8Array();
      const gap = (ALIGN_BYTES - (at % ALIGN_BYTES)) % ALIGN_BYTES;
      pieces.push(new Uint8Array(gap), raw);
      const place = { location: `${basename(path)}.data`, offset: String(at + gap), length: String(raw.length) };
      at += gap + raw.length;
      tensor.rawData = new Uint8Array();
      tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
      tensor.externalData = Object.entries(place).map(([key, value]) => ({
        $typeName: "onnx.StringStringEntryProto" as const,
        key,
        value,
      }));
    }
    const data = await writeWhole(`${path}.data`, pieces);
    return data + (await writeWhole(path, modelPieces(model.proto)));
  } finally {
    for (const [i, tensor] of outside.entries()) {
      tensor.rawData = values[i] ?? new Uint8Array();
      clearField(tensor, TensorProtoSchema.field.dataLocation);
      tensor.externalData = [];
    }
  }
}

/** Writes a file beside its place and renames it into it; returns its bytes. */
export async function writeWhole(path: string, pieces: readonly Uint8Array[]): Promise<number> {
  await mkdir(dirname(path), { recursive: true });
  const fresh = join(dirname(path), `.${basename(path)}.new-${randomUUID()}`);
  try {
    const file = await open(fresh, "wx");
    try {
      for (const piece of pieces) if (piece.length > 0) await writeAll(file, piece);
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } finally {
    await rm(fresh, { force: true });
  }
  return countBytes(pieces);
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;)
    at += (await file.write(bytes, at, Math.min(bytes.length - at, 2 ** 30))).bytesWritten;
}

function readBytes(path: string): Uint8Array<ArrayBuffer> {
  const file = openSync(path, "r");
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new SelvedgeError("model-invalid", `${path} is no file`, { path });
    if (stat.size > INLINE_MAX_BYTES)
      throw new SelvedgeError("model-invalid", `${path} is past 2 GB, which no ONNX file may be`, { path });
    const bytes = new Uint8Array(stat.size);
    fill(file, bytes, 0);
    return bytes;
  } finally {
    closeSync(file);
  }
}

function readRange(path: string, start: number, length: number, tensor: TensorProto): Uint8Array {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    if (start + length > size)
      throw invalid(tensor, `is said to lie at ${start} to ${start + length} of a file of ${size} bytes`);
    const bytes = new Uint8Array(length);
    fill(file, bytes, start);
    return bytes;
  } finally {
    closeSync(file);
  }
}

function fill(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) {
    const read = readSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30), position + at);
    if (read === 0) throw new SelvedgeError("model-invalid", "the file became shorter while it was read");
    at += read;
  }
}

/** Reads where a tensor's external data lies, and refuses any place but the model's own folder. */
function placeOf(tensor: TensorProto, folder: string): { file: string; start: number; length: number } {
  const entry = (key: string): string | undefined => tensor.externalData.find((x) => x.key === key)?.value;
  const location = entry("location") ?? "";
  const parts = location.split(/[/\\]/);
  if (location === "" || isAbsolute(location) || /^[A-Za-z]:|^[/\\]|\0/.test(location) || parts.includes(".."))
    throw invalid(tensor, `keeps its values in "${location}", which is not inside the model's folder`);
  if (tensor.rawData.length > 0) throw invalid(tensor, "holds its values twice, inside and outside the file");
  let file: string;
  try {
    file = realpathSync(join(folder, ...parts));
  } catch {
    throw invalid(tensor, `keeps its values in "${location}", which is not there`);
  }
  if (!file.startsWith(folder.endsWith(sep) ? folder : folder + sep))
    throw invalid(tensor, `keeps its values in "${location}", which leads out of the model's folder`);
  const number = (key: string): number | undefined => {
    const text = entry(key);
    if (text === undefined) return undefined;
    if (!/^\d{1,15}$/.test(text)) throw invalid(tensor, `has the ${key} "${text}", which is no number of bytes`);
    return Number(text);
  };
  const length = byteCount(tensor, `the tensor "${tensor.name}"`);
  const said = number("length");
  if (said !== undefined && said !== length)
    throw invalid(tensor, `has ${said} bytes outside, and its dims need ${length}`);
  return { file, start: number("offset") ?? 0, length };
}

/** Lists all tensors of a graph, of its nodes and of what they hold; nesting is bounded by the decoder. */
function* tensorsIn(graph: GraphProto | undefined, nodes: readonly NodeProto[]): Generator<TensorProto> {
  yield* graph?.initializer ?? [];
  for (const node of [...(graph?.node ?? []), ...nodes])
    for (const { t, tensors, g, graphs } of node.attribute) {
      if (t !== undefined) yield t;
      yield* tensors;
      if (g !== undefined) yield* tensorsIn(g, []);
      for (const inner of graphs) yield* tensorsIn(inner, []);
    }
}

function invalid(tensor: TensorProto, what: string): SelvedgeError {
  const type = Object.entries(TensorProto_DataType).find(([, x]) => x === tensor.dataType)?.[0] ?? "";
  return new SelvedgeError("model-invalid", `the tensor "${tensor.name}" ${what}`, { tensor: tensor.name, type });
}
