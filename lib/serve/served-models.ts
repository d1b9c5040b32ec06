// Models of the server: the chosen variant of each bundle, expanded into a temporary folder, from which each lane loads
// it. Their metadata state the bundle's identity and the variant, so that a client can tell whether they are its own.
import { join } from "node:path";
import { goldenFiles } from "../core/bundle.ts";
import type { BundleInput, BundleOutput } from "../core/bundle.ts";
import { readTensors } from "../core/read-tensors.ts";
import { zeros } from "../core/tensor.ts";
import type { Port, Tensor } from "../core/tensor.ts";
import { readBundle, readBundleFile } from "../compress/bundle/read-bundle.ts";
import { writeWhole } from "../compress/onnx/model-file.ts";
import { chooseModel } from "../export/exported-model.ts";
import type { ChosenModel } from "../export/exported-model.ts";
import { datatypeOf } from "../remote/datatypes.ts";
import { batchingOf } from "../worker/join-batch.ts";
import type { Batching } from "../worker/join-batch.ts";
import type { LaneModel, ServeTensors } from "./lane.ts";
import { createEmbedder } from "./text-vectors.ts";
import type { TextEmbedder } from "./text-vectors.ts";

/** A model that is served. */
export interface ServedModel extends LaneModel {
  readonly name: string;
  readonly version: string;
  readonly inputs: readonly BundleInput[];
  readonly outputs: readonly BundleOutput[];
  readonly batching: Batching;
  /** Identifies the model's bytes for the estimate of run times. */
  readonly key: string;
  /** Inputs of a first run. */
  readonly warmUp: ServeTensors;
  /** Metadata as the protocol states them. */
  readonly metadata: object;
  /** The bundle's identity, and the id of the variant. */
  readonly identity: string;
  readonly variant: string;
  /** Makes vectors of texts; null for a model that does not. */
  readonly embedder: TextEmbedder | null;
}

/**
 * Reads bundles and writes their models below `into`.
 * @throws TypeError where two have one name; as `chooseModel`
 */
export async function openModels(
  folders: readonly string[],
  into: string,
  variant: string | undefined,
): Promise<ReadonlyMap<string, ServedModel>> {
  const models = new Map<string, ServedModel>();
  for (const [id, folder] of folders.entries()) {
    const chosen = await chooseModel(folder, { variant });
    if (models.has(chosen.name)) throw new TypeError(`two bundles have the name "${chosen.name}": serve one of them`);
    for (const file of chosen.files) await writeWhole(join(into, String(id), file.path), await file.read());
    const path = join(into, String(id), chosen.files[0]?.path ?? "");
    const model = served(id, chosen, path, await goldenOf(folder, chosen));
    models.set(chosen.name, { ...model, embedder: await createEmbedder(folder, chosen, model.batching.canJoin) });
  }
  return models;
}

function served(
  id: number,
  chosen: ChosenModel,
  path: string,
  golden: ServeTensors | null,
): Omit<ServedModel, "embedder"> {
  const { name, bundle, variant, identity, mixesRows } = chosen;
  const { inputs, outputs, version, exampleDims = {} } = bundle.model;
  const batching = batchingOf(inputs, outputs, true);
  const port = ({ name: own, dtype, dims }: Port): object => ({
    name: own,
    datatype: datatypeOf(dtype),
    shape: dims.map((x) => (typeof x === "number" ? x : -1)),
  });
  return {
    ...{ id, path, name, version, inputs, outputs, identity, variant: variant.id },
    // A server's CPU runs the kernels of WebAssembly's CPU.
    extra: variant.session?.wasm ?? {},
    batching: { ...batching, canJoin: batching.canJoin && !mixesRows },
    key: `${identity} ${variant.id}`,
    warmUp: golden ?? Object.fromEntries(inputs.map((x) => [x.name, zerosOf(x, exampleDims)])),
    metadata: {
      ...{ name, versions: [version], platform: "onnxruntime_onnx" },
      ...{ inputs: inputs.map(port), outputs: outputs.map(port) },
      parameters: { identity, variant: variant.id },
    },
  };
}

/** Reads the known inputs of a bundle; null where it has none. */
async function goldenOf(folder: string, { variant }: ChosenModel): Promise<ServeTensors | null> {
  const [file] = goldenFiles(variant.golden);
  if (file === undefined) return null;
  const read = await readTensors(new Blob([await readBundleFile(await readBundle(folder), file)]));
  return read?.tensors ?? null;
}

function zerosOf({ dtype, dims }: Port, example: Readonly<Record<string, number>>): Tensor {
  const sizes = dims.map((x) => (typeof x === "number" ? x : (example[x] ?? 1)));
  const count = sizes.reduce((product, x) => product * x, 1);
  const data = dtype === "string" ? new Array<string>(count).fill("") : zeros(dtype, count);
  return { dtype, dims: sizes, data } as Tensor;
}
