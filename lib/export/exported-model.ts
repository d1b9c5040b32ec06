// A bundle's model as an inference server takes it: one variant, its files, and its tensors by their names in the Open
// Inference Protocol. Processing steps are not part of it: a server takes and returns tensors.
import type { Bundle, BundleFile, Variant } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { Port } from "../core/tensor.ts";
import { readBundle, readBundleFile, readChunk } from "../compress/bundle/read-bundle.ts";
import type { FolderBundle } from "../compress/bundle/read-bundle.ts";
import { decodeModel } from "../compress/onnx/model.ts";
import type { OnnxModel } from "../compress/onnx/model.ts";
import { modelMixesRows } from "../compress/onnx/rows-mix.ts";
import type { Ports } from "../compress/run/model-process.ts";
import { openSession } from "../compress/run/ort-session.ts";
import { datatypeOf } from "../remote/datatypes.ts";
import type { Datatype } from "../remote/datatypes.ts";

/** Ids of float32 variants: of `selvedge compress`, and of `selvedge import`. */
const FLOAT32: readonly string[] = ["f32", "fp32"];

/** Name of a model's graph on servers. */
export const GRAPH = "model.onnx";

/** An input or output as a server declares it. */
export interface ServerPort {
  readonly name: string;
  readonly datatype: Datatype;
  /** Size of each axis, the slowest first; -1 where any size is accepted. */
  readonly dims: readonly number[];
}

/** A file of a model. */
export interface ServerFile {
  /** Path relative to the folder of the graph. */
  readonly path: string;
  /** Size in bytes. */
  readonly bytes: number;
  /** Reads it, in pieces that are verified and expanded. @throws SelvedgeError `integrity-failed` */
  read(): Promise<readonly Uint8Array<ArrayBuffer>[]>;
}

/** The model of a bundle, before it is written. */
export interface ChosenModel {
  /** Name of the model: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  readonly bundle: Bundle;
  /** The bundle's identity, as 64 hex digits. */
  readonly identity: string;
  readonly variant: Variant;
  /** The graph, and the files that it names. */
  readonly files: readonly ServerFile[];
  /** Size of the files in bytes. */
  readonly bytes: number;
  /** Names of tensors whose number of axes neither the bundle nor the graph states. */
  readonly openRanks: readonly string[];
  /** Whether a row's answer depends on the other rows of its batch. */
  readonly mixesRows: boolean;
}

/** A model for a server. */
export interface ServerModel extends ChosenModel {
  readonly inputs: readonly ServerPort[];
  readonly outputs: readonly ServerPort[];
  /** Whether requests may run together: axis 0 of each tensor is a batch of any size whose rows are independent. */
  readonly isBatchable: boolean;
}

/** Options of `chooseModel`. */
export interface ServerModelOptions {
  /** Id of the variant. Default: the float32 one, or the only one. */
  readonly variant?: string | undefined;
  /** Name on the server. Default: the bundle's. */
  readonly name?: string | undefined;
}

/**
 * Chooses the variant of the bundle in a folder.
 * @throws TypeError for a wrong option; SelvedgeError `bundle-invalid`, `integrity-failed`
 */
export async function chooseModel(folder: string, options: ServerModelOptions = {}): Promise<ChosenModel> {
  const read = await readFolder(folder);
  const { bundle } = read;
  const { unknown } = bundle;
  if (unknown !== undefined && unknown.kind !== "step")
    throw new TypeError(
      `${folder}: this release does not know the ${unknown.kind} "${unknown.word}" of "${unknown.at}"; use the release that wrote it`,
    );
  const variant = variantOf(bundle, options.variant);
  const [graph, ...data] = variant.files as [BundleFile, ...BundleFile[]];
  const files = [{ ...graph, path: GRAPH }, ...data];
  const model = decodeModel(await readBundleFile(read, graph));
  return {
    name: nameOf(options.name ?? bundle.model.name),
    bundle,
    identity: read.identity,
    variant,
    files: files.map(({ path, bytes, chunks }) => ({
      path,
      bytes,
      read: async () => {
        const pieces: Uint8Array<ArrayBuffer>[] = [];
        for (const chunk of chunks) pieces.push(await readChunk(read, chunk));
        return pieces;
      },
    })),
    bytes: files.reduce((sum, x) => sum + x.bytes, 0),
    openRanks: openRanks(bundle, model),
    mixesRows: variant.mixesRows ?? modelMixesRows(model),
  };
}

/**
 * Loads a written model in onnxruntime-node, and returns it with the shapes that the runtime reports: Triton compares
 * those of its configuration with them, and a bundle may state more or less.
 * @throws SelvedgeError `model-invalid` where it does not load, `setup-failed` without onnxruntime-node
 */
export async function describeWritten(chosen: ChosenModel, path: string): Promise<ServerModel> {
  const options = { logSeverityLevel: 4, intraOpNumThreads: 1 } as const;
  const session = await openSession(path, "cpu", options).catch((error: unknown) => {
    if (isSelvedgeError(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    const { id } = chosen.variant;
    throw new SelvedgeError(
      "model-invalid",
      `ONNX Runtime does not load the variant ${id}: ${reason}`,
      { path },
      error,
    );
  });
  const { inputMetadata, outputMetadata } = session;
  await session.release();
  const { inputs, outputs } = chosen.bundle.model;
  const described = {
    inputs: inputs.map((x) => portOf(x, inputMetadata)),
    outputs: outputs.map((x) => portOf(x, outputMetadata)),
  };
  const hasBatches =
    [...inputs, ...outputs].every((x) => x.batchAxis === 0) &&
    // Triton and MLServer change the shape of an item without axes.
    [...described.inputs, ...described.outputs].every(({ dims }) => dims[0] === -1 && dims.length > 1);
  return { ...chosen, ...described, isBatchable: hasBatches && !chosen.mixesRows };
}

async function readFolder(folder: string): Promise<FolderBundle> {
  return readBundle(folder).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      throw new TypeError(`${folder} contains no bundle.json: give the folder that contains it`);
    throw error;
  });
}

function variantOf({ variants }: Bundle, id: string | undefined): Variant {
  const ids = variants.map((x) => x.id).join(", ");
  if (id !== undefined) {
    const named = variants.find((x) => x.id === id);
    if (named === undefined) throw new TypeError(`variant: the bundle has no variant "${id}", only ${ids}`);
    return named;
  }
  const found = variants.find((x) => FLOAT32.includes(x.id)) ?? (variants.length === 1 ? variants[0] : undefined);
  if (found === undefined) throw new TypeError(`variant: the bundle has no float32 variant; name one of ${ids}`);
  return found;
}

/** Checks the name of a model, which is a folder's and a part of an address. @throws TypeError */
function nameOf(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return name;
  throw new TypeError(
    `name: expected a letter or digit, and at most 63 more letters, digits, ".", "_" and "-", got "${name}"`,
  );
}

function portOf({ name, dtype, dims }: Port, found: Ports): ServerPort {
  const own = found.find((x) => x.name === name);
  const shape: readonly (number | string)[] = own?.isTensor === true ? own.shape : dims;
  return { name, datatype: datatypeOf(dtype), dims: shape.map((x) => (typeof x === "number" && x >= 0 ? x : -1)) };
}

function openRanks({ model: { inputs, outputs } }: Bundle, { graph }: OnnxModel): string[] {
  const known = new Set<string>();
  for (const { name, type } of [...graph.proto.input, ...graph.proto.output])
    if (type?.value.case === "tensorType" && type.value.value.shape !== undefined) known.add(name);
  return [...inputs, ...outputs].filter((x) => x.dims.length === 0 && !known.has(x.name)).map((x) => x.name);
}
