// Packs a repository as a bundle, for one's own origin: its files as they are, each encoding a variant, with the tokenizer,
// images, labels and pooling that its files describe. `selvedge compress FOLDER` makes smaller or faster forms instead.
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Port } from "../core/tensor.ts";
import { describeRepository } from "../source/describe.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { describe } from "./bundle/describe.ts";
import type { Description } from "./bundle/describe.ts";
import { keepGeneration } from "./bundle/keep-generation.ts";
import { writeBundle } from "./bundle/pack.ts";
import type { WrittenBundle, PackModel, PackVariant } from "./bundle/pack.ts";
import { fetchRepository } from "./fetch-repository.ts";
import type { FetchRepositoryOptions } from "./fetch-repository.ts";
import { readModelFile } from "./onnx/model-file.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { modelMixesRows } from "./onnx/rows-mix.ts";
import { describeBy, isFolder, readFolder } from "./repository.ts";

/** Options of an import. */
export interface ImportOptions extends FetchRepositoryOptions {
  /** Folder for the results: `bundle`, and `source` with the files of a repository that was fetched. */
  readonly out: string;
}

/** An imported repository. */
export interface Imported extends WrittenBundle {
  /** Folder of the bundle. */
  readonly folder: string;
  /** Encodings that were left out, with the reason. */
  readonly notes: readonly string[];
}

/**
 * Imports a folder in the Hugging Face layout, or a repository by its name, as a bundle.
 * @throws TypeError for a wrong option; SelvedgeError as the download, `model-invalid` for a broken model
 */
export async function importRepository(from: string, options: ImportOptions): Promise<Imported> {
  const { out, onProgress = () => undefined } = options;
  const isLocal = isFolder(from);
  const source = isLocal ? from : join(out, "source");
  const commit = isLocal ? "" : await fetchRepository(from, source, options);
  const repository = readFolder(source);
  const name = isLocal ? repository.name : (from.split("/").at(-1) ?? from);
  const { variants } = describeRepository({
    ...{ name, version: commit, facts: repository.facts, file: options.file },
    files: repository.paths.map((path) => fileOf(repository.folder, path)),
    locate: ({ path }) => ({ url: path, sha256: "" }),
  });
  const notes = [...new Set(Object.values(repository.steps.unsupported ?? {}))].map((x) => `${x}: tensors alone`);
  const packs: PackVariant<PackModel>[] = [];
  let model: Description | undefined;
  for (const { id, needs, speed, unchecked, files } of variants) {
    if (options.dtypes?.includes(id) === false) continue;
    const path = join(repository.folder, files[0]?.url ?? "");
    onProgress(`reading ${path}`);
    const read = readModelFile(path);
    const own = await describe(read, path, undefined);
    model ??= own;
    const other = differsFrom(model, own);
    if (other !== null) {
      notes.push(`${id} is left out: ${other}, and a bundle has one set of inputs and outputs`);
      continue;
    }
    packs.push(packOf(read, { id, needs, speed, ...(unchecked && { unchecked }) }));
  }
  if (model === undefined) throw new TypeError(`dtype: ${name} has only ${variants.map((x) => x.id).join(", ")}`);
  const { description, assets } = describeBy({ ...repository, name: wordOf(name) }, model);
  onProgress("packing");
  const folder = join(out, "bundle");
  const input = { model: { ...description, version: commit || "1" }, variants: packs, assets };
  const packed = await writeBundle(folder, input);
  const kept = await keepGeneration(repository.folder, out);
  return { ...packed, folder, notes: kept === null ? notes : [...notes, kept] };
}

function packOf(model: OnnxModel, variant: Omit<PackVariant, "files">): PackVariant<PackModel> {
  return { ...variant, mixesRows: modelMixesRows(model), files: [{ path: "model.onnx", model }] };
}

function fileOf(folder: string, path: string): RepositoryFile {
  return {
    path,
    bytes: statSync(join(folder, path), { throwIfNoEntry: false })?.size ?? null,
    sha256: null,
    oid: null,
  };
}

/** Returns the first port in which two models differ; null where they agree. */
function differsFrom(model: Description, own: Description): string | null {
  const say = ({ name, dtype, dims }: Port): string => `"${name}" is ${dtype} of ${dims.length} dims`;
  const all = (x: Description): string[] => [...x.inputs, ...x.outputs].map(say).sort();
  const [wanted, found] = [all(model), all(own)];
  const other = found.find((x) => !wanted.includes(x)) ?? wanted.find((x) => !found.includes(x));
  return other ?? null;
}

function wordOf(name: string): string {
  const word = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return word === "" ? "model" : word.slice(0, 64);
}
