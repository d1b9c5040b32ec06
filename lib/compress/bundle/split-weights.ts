// A model as a bundle stores it: a graph of some kB, and its weights in a second file that the graph names (external data
// of ONNX). A runtime then takes the weights from where they lie, and needs a third of the memory that one file needs.
// Two variants with the same weights share chunks, and a new graph costs some kB.
//
// Vectors of int64 and int32 stay in the graph: shape inference reads sizes, axes and indices from the initializers of
// Reshape, Slice, Split and the like, and ONNX Runtime refuses to load a model where one of those is external ("Cannot
// parse data from external tensors"). `checkSplit` proves by a load that a split model is what ONNX Runtime takes.
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SelvedgeError } from "../../core/errors.ts";
import { decodeModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataLocation, TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { loadError } from "../run/session.ts";
import { countBytes, joinPieces } from "../onnx/encode.ts";
import { alignedPieces, clearPlace, setPlace } from "../onnx/external-data.ts";
import { writeSynced } from "../onnx/durable.ts";
import { LARGE_BYTES, rawLength, rawPiece, StoredBytes } from "../onnx/stored-bytes.ts";
import { writeModel } from "../onnx/written-model.ts";
import type { Scratch } from "../onnx/written-model.ts";

/** Tensors from this size on are stored apart. */
const APART_MIN_BYTES = 1024;
/** Scalars and vectors of int64 and int32 up to this size are not: shape inference may read them. */
const SHAPE_MAX_BYTES = 64 * 1024;
/** Begins each tensor where any element type may begin, and a GPU copy too. */
const ALIGN_BYTES = 64;
/** Name of a large model's graph, in the temporary folder of its weights. */
const GRAPH = "selvedge-graph.onnx";

/** A graph and its weights. */
export interface SplitModel {
  readonly graph: Uint8Array<ArrayBuffer>;
  /** Null where no weight is large enough; those of a large model lie in a temporary file beside the graph. */
  readonly weights: Uint8Array<ArrayBuffer> | StoredBytes | null;
  /** Offsets at which tensors begin in the weights, ascending. */
  readonly borders: readonly number[];
}

/** Splits a model; `location` is the path of the weights, relative to the graph. A large model is written to `scratch`. */
export async function splitWeights(whole: OnnxModel, location: string, scratch: Scratch): Promise<SplitModel> {
  const model = whole.copy();
  const apart = model.graph.proto.initializer.filter((x) => rawLength(x) >= APART_MIN_BYTES && !mayBeShape(x));
  const { pieces, offsets: borders } = alignedPieces(apart.map(rawPiece), ALIGN_BYTES);
  for (const [i, tensor] of apart.entries())
    setPlace(tensor, { location, offset: borders[i] ?? 0, length: rawLength(tensor) });
  const graph = model.write();
  if (borders.length === 0) return { graph, weights: null, borders };
  const length = countBytes(pieces);
  if (length < LARGE_BYTES) return { graph, weights: joinPieces(pieces), borders };
  const folder = join(scratch.folder(), randomUUID());
  const path = join(folder, location);
  await mkdir(dirname(path), { recursive: true });
  await writeSynced(path, pieces);
  await writeSynced(join(folder, GRAPH), [graph]);
  return { graph, weights: new StoredBytes(path, 0, length), borders };
}

/**
 * Loads a split model once in onnxruntime-node.
 * @throws SelvedgeError `model-invalid` where it does not load although the model in one file does
 */
export async function checkSplit(
  whole: OnnxModel,
  location: string,
  { graph, weights }: SplitModel,
  scratch: Scratch,
): Promise<void> {
  if (weights === null) return;
  const isStored = weights instanceof StoredBytes;
  const error = isStored
    ? await loadError(join(weights.path.slice(0, -location.length), GRAPH))
    : await loadError(graph, [{ path: location, data: weights }]);
  if (error === null || (await loadError((await writeModel(whole, scratch)).source)) !== null) return;
  throw new SelvedgeError(
    "model-invalid",
    `ONNX Runtime does not load the model with its weights in a separate file, "${location}": ${error.message}`,
    { location },
    error,
  );
}

function mayBeShape(tensor: TensorProto): boolean {
  const { dataType, dims } = tensor;
  const isIndex = dataType === TensorProto_DataType.INT64 || dataType === TensorProto_DataType.INT32;
  return isIndex && dims.length <= 1 && rawLength(tensor) <= SHAPE_MAX_BYTES;
}

/**
 * Joins a graph with its weights to the bytes of one ONNX file.
 * @throws SelvedgeError `model-invalid` where a tensor's place is not inside `weights`
 */
export function joinWeights(graph: Uint8Array, weights: Uint8Array): Uint8Array<ArrayBuffer> {
  const model = decodeModel(graph);
  for (const tensor of model.graph.proto.initializer) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const number = (key: string): number => Number(tensor.externalData.find((x) => x.key === key)?.value ?? Number.NaN);
    const [start, length] = [number("offset"), number("length")];
    if (!(start >= 0 && length >= 0 && start + length <= weights.length))
      throw new SelvedgeError("model-invalid", `the tensor "${tensor.name}" lies outside its file`, {
        tensor: tensor.name,
      });
    clearPlace(tensor, weights.subarray(start, start + length));
  }
  return model.write();
}
