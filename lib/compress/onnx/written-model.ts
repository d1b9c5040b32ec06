// A finished model, written where ONNX Runtime loads it: in memory, or past 128 MiB in a temporary folder, with its
// weights as external data, which ONNX Runtime maps. There the model that is handed on reads its weights from that file,
// so memory holds none. A weight that lies in a file already is not written again where that file can be linked to.
import { randomUUID } from "node:crypto";
import { link, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { temporaryFolder } from "./at-exit.ts";
import type { TemporaryFolder } from "./at-exit.ts";
import { writeSynced } from "./durable.ts";
import { modelPieces } from "./encode.ts";
import type { OnnxModel } from "./model.ts";
import { alignedPieces, setPlace } from "./external-data.ts";
import type { TensorProto } from "./onnx.gen.js";
import { LARGE_BYTES, rawLength, rawPiece, setRaw, StoredBytes, storedOf } from "./stored-bytes.ts";

/** A model that ONNX Runtime loads: the bytes of an ONNX file, or the path of one. */
export type OnnxSource = Uint8Array | string;

/** A finished model. It is not changed: a transform takes a copy. */
export interface WrittenModel {
  readonly model: OnnxModel;
  readonly source: OnnxSource;
  /** Size in bytes as one file. */
  readonly byteLength: number;
}

/** Weights from this size on are written apart. */
const APART_MIN_BYTES = 2 ** 16;
/** Weights that begin at a multiple of this are mapped as they lie. */
const LINK_ALIGN_BYTES = 64;

/** A temporary folder for large models, made when it is first needed. */
export class Scratch {
  #folder: TemporaryFolder | null = null;

  /** Returns the folder; a process that exits removes it too. */
  folder(): string {
    return (this.#folder ??= temporaryFolder("selvedge-models-")).path;
  }

  /** Removes the folder; models that were written there cannot be used any more. */
  async close(): Promise<void> {
    const folder = this.#folder;
    this.#folder = null;
    await folder?.remove();
  }
}

/** Writes a finished model, once for all that load it: a large one to `scratch`. */
export async function writeModel(
  model: OnnxModel,
  scratch: Scratch,
  least: number = LARGE_BYTES,
): Promise<WrittenModel> {
  const { byteLength } = model;
  if (byteLength < least) return { model, source: model.write(), byteLength };
  const folder = scratch.folder();
  const path = join(folder, `${randomUUID()}.onnx`);
  const moved = model.copy();
  await moveWeights(moved, folder, `${path}.data`);
  await writeSynced(path, graphPieces(moved));
  return { model: moved, source: path, byteLength };
}

/** Has the model read its weights from files of the folder: from links where that is possible, else from a new file. */
async function moveWeights({ graph }: OnnxModel, folder: string, path: string): Promise<void> {
  const links = new Map<string, string | null>();
  const moving: TensorProto[] = [];
  for (const tensor of graph.proto.initializer) {
    if (rawLength(tensor) < APART_MIN_BYTES) continue;
    const stored = storedOf(tensor);
    if (stored === undefined || stored.start % LINK_ALIGN_BYTES > 0) {
      moving.push(tensor);
      continue;
    }
    if (!links.has(stored.path)) links.set(stored.path, await linkInto(folder, stored.path));
    const linked = links.get(stored.path);
    if (typeof linked === "string") setRaw(tensor, new StoredBytes(linked, stored.start, stored.length));
    else moving.push(tensor);
  }
  if (moving.length === 0) return;
  const { pieces, offsets } = alignedPieces(moving.map(rawPiece));
  await writeSynced(path, pieces);
  for (const [i, tensor] of moving.entries()) setRaw(tensor, new StoredBytes(path, offsets[i] ?? 0, rawLength(tensor)));
}

/**
 * Links a file into a folder; null where it lies on another file system, or the system refuses. A symbolic link is
 * followed first: a hard link to it would be one more symbolic link, whose relative target is another place here.
 */
async function linkInto(folder: string, path: string): Promise<string | null> {
  if (dirname(path) === folder) return path;
  const linked = join(folder, randomUUID());
  try {
    await link(await realpath(path), linked);
    return linked;
  } catch {
    return null;
  }
}

/** Returns the model's bytes with its stored weights as external data. */
function graphPieces(model: OnnxModel): ReturnType<typeof modelPieces> {
  const graph = model.copy();
  for (const tensor of graph.graph.proto.initializer) {
    const stored = storedOf(tensor);
    if (stored === undefined) continue;
    setPlace(tensor, { location: basename(stored.path), offset: stored.start, length: stored.length });
  }
  return modelPieces(graph.proto);
}
