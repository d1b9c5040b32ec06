// A folder in the Hugging Face layout as the source of a compression: which of its graphs are compressed, and how its
// files describe them (tokenizer, images, labels, lengths). The facts are read by lib/source, as a page reads them.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve, sep } from "node:path";
import { filesToRead, licenceOf, readRepository, TOKENIZER } from "../source/repository.ts";
import type { RepositoryFacts } from "../source/repository.ts";
import { listGraphs } from "../source/onnx-files.ts";
import type { GraphFile } from "../source/onnx-files.ts";
import { stepsOf } from "../source/describe.ts";
import type { BundleInput, BundleOutput, DecodeSpec, PortSteps } from "../core/bundle.ts";
import { fixedSize } from "../core/image-spec.ts";
import { planImage } from "../worker/processing/plan-image.ts";
import type { Description } from "./bundle/describe.ts";
import type { PackFile } from "./bundle/pack.ts";

/** A repository in a folder. */
export interface Repository {
  readonly folder: string;
  /** Name for bundles. */
  readonly name: string;
  /** As the model card's head states it; "unknown" without one. */
  readonly licence: string;
  readonly facts: RepositoryFacts;
  readonly steps: PortSteps;
  /** Text of tokenizer.json; undefined where there is none. */
  readonly tokenizer: string | undefined;
  /** Graphs to compress, by their base name, as `model` or `encoder_model`. */
  readonly graphs: readonly { readonly base: string; readonly path: string }[];
}

/** Encodings that can be compressed, the best first. */
const ENCODINGS: readonly string[] = ["fp32", "fp16"];
/** Graphs that another one holds, by the name of that one. */
const HELD: Readonly<Record<string, readonly string[]>> = {
  decoder_model_merged: ["decoder_model", "decoder_with_past_model"],
};
const DEPTH_MAX = 3;

/** Whether a path is a folder. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/**
 * Reads the small files of a repository and lists its graphs.
 * @throws TypeError for a folder without a graph that can be compressed; SelvedgeError `bundle-invalid` for broken JSON
 */
export function openRepository(folder: string): Repository {
  const repository = readFolder(folder);
  return { ...repository, graphs: graphsOf(folder, repository.paths) };
}

/** Reads the small files of a repository; `paths` are all of its files. */
export function readFolder(folder: string): Omit<Repository, "graphs"> & { readonly paths: readonly string[] } {
  const paths = listFiles(folder);
  const texts = new Map(
    [...filesToRead(paths), ...paths.filter((x) => x === TOKENIZER)].map((x) => [
      x,
      readFileSync(join(folder, x), "utf8"),
    ]),
  );
  const facts = readRepository(texts);
  const tokenizer = texts.get(TOKENIZER);
  const card = join(folder, "README.md");
  return {
    folder,
    name: wordOf(basename(resolve(folder))),
    licence: (existsSync(card) ? licenceOf(readFileSync(card, "utf8")) : null) ?? "unknown",
    ...{ facts, tokenizer },
    steps: stepsOf(facts, tokenizer !== undefined),
    paths,
  };
}

function listFiles(folder: string): string[] {
  const found: string[] = [];
  const walk = (inside: string, depth: number): void => {
    for (const entry of readdirSync(join(folder, inside), { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      const path = join(inside, entry.name);
      if (entry.isDirectory() && depth < DEPTH_MAX) walk(path, depth + 1);
      else if (!entry.isDirectory()) found.push(path.split(sep).join("/"));
    }
  };
  walk("", 1);
  return found;
}

function graphsOf(folder: string, paths: readonly string[]): { base: string; path: string }[] {
  const best = new Map<string, GraphFile>();
  const rank = ({ dtype }: GraphFile): number => ENCODINGS.indexOf(dtype);
  const all = listGraphs(paths);
  for (const graph of all) {
    const known = best.get(graph.base);
    if (rank(graph) >= 0 && (known === undefined || rank(graph) < rank(known))) best.set(graph.base, graph);
  }
  for (const [whole, parts] of Object.entries(HELD)) if (best.has(whole)) for (const x of parts) best.delete(x);
  if (best.size > 0) return [...best].map(([base, x]) => ({ base, path: join(folder, x.path) }));
  const found = all.map((x) => x.path);
  throw new TypeError(
    found.length === 0
      ? `model: ${folder} holds no .onnx file: export the model with "optimum-cli export onnx", or give the path of a .onnx file`
      : `model: ${folder} holds quantized models alone (${found.join(", ")}): download onnx/model.onnx too`,
  );
}

/**
 * Describes a model by the files of its repository: adds the steps for its inputs and outputs, where they fit its dims.
 * @returns the description, and the files that it refers to
 */
export function describeBy(
  { name, licence, steps, tokenizer }: Omit<Repository, "graphs">,
  description: Description,
): { readonly description: Description; readonly assets: readonly PackFile[] } {
  const names = new Set(description.inputs.map((x) => x.name));
  const inputs = description.inputs.map((input) => withSteps(input, description.inputs, steps, names));
  const outputs = description.outputs.map((output) => withDecode(output, steps, names));
  const assets: PackFile[] = [];
  const add = (path: string, text: string): void => void assets.push({ path, bytes: new TextEncoder().encode(text) });
  if (tokenizer !== undefined && inputs.some((x) => x.text !== undefined)) add(TOKENIZER, tokenizer);
  for (const { decode } of outputs)
    if (decode !== undefined && "asset" in decode && decode.asset !== undefined)
      add(decode.asset, steps.assets[decode.asset] ?? "");
  const exampleDims = { ...description.exampleDims, ...imageSizes(inputs) };
  return {
    description: {
      ...description,
      ...{ name, licence, inputs, outputs },
      ...(Object.keys(exampleDims).length > 0 && { exampleDims }),
    },
    assets,
  };
}

function withSteps(
  input: BundleInput,
  all: readonly BundleInput[],
  { texts, images }: PortSteps,
  names: ReadonlySet<string>,
): BundleInput {
  const text = texts[input.name];
  if (text !== undefined && input.dims.length === 2 && /^int(32|64)$/.test(input.dtype)) {
    const { mask, types, unsupported: _, ...spec } = text;
    const has = (name: string | undefined): name is string => name !== undefined && names.has(name);
    return { ...input, text: { ...spec, ...(has(mask) && { mask }), ...(has(types) && { types }) } };
  }
  const image = images[input.name] ?? (all.length === 1 ? Object.values(images)[0] : undefined);
  if (image === undefined || input.dims.length !== 4) return input;
  const { width, height } = fixedSize(image.resize) ?? {};
  const wanted = [input.dims[0], image.channels === "gray" ? 1 : 3, height, width];
  const isFit = input.dims.every((dim, i) => typeof dim === "string" || i === 0 || dim === wanted[i]);
  return isFit ? { ...input, image } : input;
}

/** Number of dims that an output has for each step. */
const RANKS: Readonly<Record<DecodeSpec["op"], readonly number[]>> = {
  ...{ softmax: [2], sigmoid: [2], argmax: [2], labels: [2], ctc: [3], pool: [3] },
  ...{ tokens: [3], detect: [3], segment: [4], mask: [3, 4], depth: [3, 4], points: [3, 4] },
};

function withDecode(output: BundleOutput, { decodes, assets }: PortSteps, names: ReadonlySet<string>): BundleOutput {
  const decode = decodes[output.name];
  if (decode?.op === "pool") {
    const { mask, ...spec } = decode;
    const hasMask = mask !== undefined && names.has(mask);
    return output.dims.length === 3 ? { ...output, decode: { ...spec, ...(hasMask && { mask }) } } : output;
  }
  if (decode === undefined || !RANKS[decode.op].includes(output.dims.length)) return output;
  const named = "image" in decode ? decode.image : "text" in decode ? decode.text : undefined;
  if (named !== undefined && !names.has(named)) return output;
  const asset = "asset" in decode ? decode.asset : undefined;
  const classes = asset === undefined ? undefined : (assets[asset] ?? "").split("\n").length - 1;
  const found = output.dims[decode.op === "segment" ? 1 : output.dims.length - 1];
  // Boxes may have one class more, for no object.
  const isOther = typeof found === "number" && found !== classes && !(decode.op === "detect" && found - 1 === classes);
  return classes !== undefined && isOther ? output : { ...output, decode };
}

/** A usual photograph, for models whose tensor's size follows from the image's. */
const PHOTO = { width: 640, height: 480 };

/** Sizes of the open dims of image inputs. */
function imageSizes(inputs: readonly BundleInput[]): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const { dims, image } of inputs) {
    if (image === undefined) continue;
    const { width, height } = planImage(PHOTO.width, PHOTO.height, image.resize);
    for (const [i, size] of [undefined, image.channels === "gray" ? 1 : 3, height, width].entries()) {
      const dim = dims[i];
      if (typeof dim === "string" && size !== undefined) sizes[dim] = size;
    }
  }
  return sizes;
}

function wordOf(name: string): string {
  const word = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return word === "" ? "model" : word.slice(0, 64);
}
