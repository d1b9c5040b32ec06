// Reads a model file with its external data, and writes one atomically.
//
// External data is read from the model's own folder only: a location that is absolute, climbs, or leads out through a
// link is refused (in the cache of huggingface_hub, links lead to the model's blobs), as are ranges past the end or that
// overlap. A tensor's values are read once, directly into memory of
// their own; those of a large model stay on disk, and are read when a step needs them. Afterwards the model equals one
// that came in a single file.
import { createHash, randomUUID } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, realpathSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { isSelvedgeError, SelvedgeError } from "../../core/errors.ts";
import { syncFolder, writeSynced } from "./durable.ts";
import { hubCacheOf, isBelow, leadsOut } from "./hub-cache.ts";
import { KIND_BYTES, kindOf } from "./file-kind.ts";
import { makeFolder } from "./make-folder.ts";
import { checkModel, decodeModel } from "./model.ts";
import type { OnnxModel } from "./model.ts";
import { readLight, STORED_MIN_BYTES } from "./light-file.ts";
import { fill, LARGE_BYTES, passingParts, rawLength, rawPiece, setRaw, StoredBytes } from "./stored-bytes.ts";
import type { FileSlice } from "./stored-bytes.ts";
import { TensorProto_DataLocation, TensorProto_DataType } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { tensorsIn } from "./tensors-in.ts";
import { byteCount } from "./tensor-proto.ts";
import { countBytes, modelPieces } from "./encode.ts";
import { alignedPieces, clearPlace, setPlace } from "./external-data.ts";

/** Protobuf's limit is 2 GB; a larger model must store its weights externally. */
const INLINE_MAX_BYTES = 2 ** 31 - 1;
/** Weights of at least this size are written as external data, if any are. */
const EXTERNAL_MIN_BYTES = 1024;

/** An external data file: its real path, and a location by which the graph names it. */
export interface DataFile {
  readonly file: string;
  readonly location: string;
}

/** A model, and its external data files: one with several locations is listed once for each. */
export interface ModelAndFiles {
  readonly model: OnnxModel;
  readonly files: readonly DataFile[];
}

/**
 * Reads a model file and its external data. The weights of a model of 128 MiB and more stay on disk: its files must not
 * change while the model is in use.
 * @throws SelvedgeError `model-invalid`, naming the file and the place; `details.path` is the file.
 */
export function readModelFile(path: string): OnnxModel {
  return readModelAndFiles(path).model;
}

/** Reads a model file as `readModelFile` does; also returns its external data files. */
export function readModelAndFiles(path: string): ModelAndFiles {
  try {
    return readParts(path);
  } catch (error) {
    if (!isSelvedgeError(error) || error.code !== "model-invalid") throw error;
    throw new SelvedgeError("model-invalid", `${path}: ${error.message}`, { ...error.details, path }, error);
  }
}

function readParts(path: string): ModelAndFiles {
  const model = readGraph(path);
  const folder = realpathSync(dirname(path));
  const places = new Map<string, Extent[]>();
  const files = new Map<string, DataFile>();
  for (const { tensor } of tensorsIn(model.proto)) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const { file, location, start, length } = placeOf(tensor, folder);
    files.set(location, { file, location });
    const others = places.get(file) ?? [];
    others.push({ tensor, start, end: start + length });
    places.set(file, others);
  }
  const bytes = [...places.values()].flat().reduce((sum, x) => sum + x.end - x.start, 0);
  for (const [file, inside] of places) {
    checkApart(inside);
    readPlaces(file, inside, bytes >= LARGE_BYTES);
  }
  checkModel(model);
  return { model, files: [...files.values()] };
}

/** A tensor's byte range in an external data file. */
export interface Extent {
  readonly tensor: TensorProto;
  readonly start: number;
  readonly end: number;
}

/**
 * Refuses ranges of one file that overlap, before any of them is read; exported for its test. Equal ranges are allowed:
 * exporters write tied weights once.
 */
export function checkApart(places: readonly Extent[]): void {
  let before: Extent | undefined;
  for (const place of places.filter((x) => x.start < x.end).sort((a, b) => a.start - b.start || a.end - b.end)) {
    const isSame = place.start === before?.start && place.end === before.end;
    if (before !== undefined && place.start < before.end && !isSame)
      throw invalid(place.tensor, `overlaps the external data of "${before.tensor.name}"`);
    before = place;
  }
}

function readPlaces(path: string, places: readonly Extent[], isLarge: boolean): void {
  const file = openFile(path);
  try {
    const { size } = fstatSync(file);
    for (const { tensor, start, end } of places) {
      if (end > size) throw invalid(tensor, whyShort(path, file, { start, end, size }));
      const place = new StoredBytes(path, start, end - start);
      clearPlace(tensor, isLarge && place.length >= STORED_MIN_BYTES ? place : place.read());
    }
  } finally {
    closeSync(file);
  }
}

/** Explains why external data ends before a tensor does: the file is a pointer or another kind, or its download stopped. */
function whyShort(
  path: string,
  file: number,
  { start, end, size }: { readonly start: number; readonly end: number; readonly size: number },
): string {
  const head = new Uint8Array(Math.min(KIND_BYTES, size));
  fill(file, head, 0);
  const kind = kindOf(head);
  if (kind !== undefined) return `has its values in ${basename(path)}, which is no weights: ${kind}`;
  return `is declared at bytes ${start} to ${end} of ${basename(path)}, a file of ${size} bytes: its download is incomplete`;
}

/** Names the files of a folder that look like a model's external data. */
function namedLikeData(folder: string): string {
  const names = readdirSync(folder).filter((x) => /[._]data(_\d+)?$/.test(x));
  return names.length === 0 ? "download it into the model's folder" : `${names.join(", ")} is there: rename it`;
}

/**
 * Writes a model to a file, and past 2 GB its weights to `<path>.<hash>.data`; returns the number of bytes written. The
 * hash is of the weights, so an existing model keeps its own weights until the new one replaces it; they are not
 * deleted.
 */
export async function writeModelFile(
  path: string,
  model: OnnxModel,
  options: { external?: boolean } = {},
): Promise<number> {
  const { graph } = model.proto;
  const weights = graph?.initializer.reduce((sum, x) => sum + rawLength(x), 0) ?? 0;
  if (!(options.external ?? weights > INLINE_MAX_BYTES - 2 ** 26)) return writeWhole(path, modelPieces(model.proto));
  const outside = (graph?.initializer ?? []).filter((x) => rawLength(x) >= EXTERNAL_MIN_BYTES);
  const values = outside.map(rawPiece);
  const dataPath = `${path}.${hashOf(values).slice(0, 16)}.data`;
  const { pieces, offsets } = alignedPieces(values);
  try {
    for (const [i, tensor] of outside.entries())
      setPlace(tensor, { location: basename(dataPath), offset: offsets[i] ?? 0, length: values[i]?.length ?? 0 });
    const data = await writeWhole(dataPath, pieces);
    return data + (await writeWhole(path, modelPieces(model.proto)));
  } finally {
    for (const [i, tensor] of outside.entries()) clearPlace(tensor, values[i] ?? new Uint8Array());
  }
}

function hashOf(pieces: readonly FileSlice[]): string {
  const hash = createHash("sha256");
  for (const part of passingParts(pieces)) hash.update(part);
  return hash.digest("hex");
}

/** Writes a temporary file, flushes it to disk and renames it into place; returns its size in bytes. */
export async function writeWhole(path: string, pieces: readonly FileSlice[]): Promise<number> {
  await makeFolder(dirname(path));
  const fresh = join(dirname(path), `.${basename(path)}.new-${randomUUID()}`);
  try {
    await writeSynced(fresh, pieces);
    await rename(fresh, path);
    await syncFolder(dirname(path));
  } finally {
    await rm(fresh, { force: true });
  }
  return countBytes(pieces);
}

function readGraph(path: string): OnnxModel {
  const file = openFile(path);
  try {
    const { size } = fstatSync(file);
    if (size > INLINE_MAX_BYTES)
      throw new SelvedgeError("model-invalid", `${path} exceeds 2 GB, the limit of an ONNX file`, { path });
    const light = size < LARGE_BYTES ? null : readLight(path, file, size);
    if (light !== null) {
      const model = decodeModel(light.bytes);
      for (const [i, tensor] of model.graph.proto.initializer.entries()) {
        const stored = light.stored.get(i);
        if (stored !== undefined) setRaw(tensor, stored);
      }
      return model;
    }
    const bytes = new Uint8Array(size);
    fill(file, bytes, 0);
    return decodeModel(bytes);
  } finally {
    closeSync(file);
  }
}

/** Opens a regular file; refuses a folder, and a named pipe, whose opening would block until a writer comes. */
function openFile(path: string): number {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new SelvedgeError("model-invalid", `${path} is not a regular file`, { path });
}

/** Reads the location of a tensor's external data, and refuses any place but the model's own folder. */
function placeOf(tensor: TensorProto, folder: string): DataFile & { start: number; length: number } {
  const entry = (key: string): string | undefined => tensor.externalData.find((x) => x.key === key)?.value;
  const twice = tensor.externalData.find(({ key }, i, all) => all.findIndex((x) => x.key === key) < i);
  if (twice !== undefined) throw invalid(tensor, `names the ${twice.key} of its external data twice`);
  const location = entry("location") ?? "";
  const parts = location.split(/[/\\]/);
  if (location === "" || isAbsolute(location) || /^[A-Za-z]:|^[/\\]|\0/.test(location) || parts.includes(".."))
    throw invalid(tensor, `stores its values in "${location}", which is not inside the model's folder`);
  if (tensor.rawData.length > 0) throw invalid(tensor, "holds its values twice, inside and outside the file");
  const file = dataFileOf(tensor, location, join(folder, ...parts), folder);
  const number = (key: string): number | undefined => {
    const text = entry(key);
    if (text === undefined) return undefined;
    if (!/^\d{1,15}$/.test(text)) throw invalid(tensor, `has the ${key} "${text}", which is not a number of bytes`);
    return Number(text);
  };
  const length = byteCount(tensor, `the tensor "${tensor.name}"`);
  const said = number("length");
  if (said !== undefined && said !== length)
    throw invalid(tensor, `has ${said} bytes of external data, but its dims need ${length}`);
  return { file, location, start: number("offset") ?? 0, length };
}

/** Follows the links of an external data file, and refuses one that leads out of the model's folder, or nowhere. */
function dataFileOf(tensor: TensorProto, location: string, path: string, folder: string): string {
  const stores = `stores its values in "${location}", which`;
  let file: string;
  try {
    file = realpathSync(path);
  } catch {
    const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    throw invalid(
      tensor,
      isLink
        ? `${stores} is a link to a file that does not exist: download the model again`
        : `${stores} does not exist: ${namedLikeData(folder)}`,
    );
  }
  const cache = hubCacheOf(folder);
  if (isBelow(file, folder) || (cache !== null && isBelow(file, join(cache.root, "blobs")))) return file;
  throw invalid(tensor, `${stores} ${cache === null ? "leads out of the model's folder" : leadsOut(file, cache)}`);
}

function invalid(tensor: TensorProto, what: string): SelvedgeError {
  const type = Object.entries(TensorProto_DataType).find(([, x]) => x === tensor.dataType)?.[0] ?? "";
  return new SelvedgeError("model-invalid", `the tensor "${tensor.name}" ${what}`, { tensor: tensor.name, type });
}
