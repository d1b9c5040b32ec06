// A folder in the Hugging Face layout as the source of a compression: which of its graphs are compressed, and how its
// files describe them (tokenizer, images, labels, lengths). The facts are read by lib/source, as a page reads them.
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, join, resolve, sep } from "node:path";
import { filesToRead, licenceOf, readRepository, TOKENIZER, tokenizerPath } from "../source/repository.ts";
import type { RepositoryFacts } from "../source/repository.ts";
import { furtherFiles } from "../source/vocabulary.ts";
import { listGraphs } from "../source/onnx-files.ts";
import type { GraphFile } from "../source/onnx-files.ts";
import { stepsOf } from "../source/describe.ts";
import { WITHOUT_PROMPT } from "../core/bundle.ts";
import type { BundleInput, PortSteps } from "../core/bundle.ts";
import {
  fitDecode,
  fitImage,
  fitSound,
  fitText,
  isMaskPort,
  namesOf,
  pictureLayout,
  soundDims,
} from "../core/fit-steps.ts";
import type { PortNames } from "../core/fit-steps.ts";
import { planImage } from "../worker/processing/plan-image.ts";
import type { Description } from "./bundle/describe.ts";
import type { PackFile } from "./bundle/pack.ts";
import { checkLinks, hubCacheOf, snapshotOf } from "./onnx/hub-cache.ts";

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
  return { ...repository, graphs: graphsOf(repository.folder, repository.paths) };
}

/** Reads the small files of a repository; `paths` are all of its files. */
export function readFolder(given: string): Omit<Repository, "graphs"> & { readonly paths: readonly string[] } {
  const folder = snapshotOf(given);
  const paths = listFiles(folder);
  checkLinks(folder, paths);
  const file = tokenizerPath(new Set(paths));
  const texts = new Map(
    [...filesToRead(paths), ...paths.filter((x) => x === file)].map((x) => [x, readFileSync(join(folder, x), "utf8")]),
  );
  for (const x of furtherFiles(texts)) if (paths.includes(x)) texts.set(x, readFileSync(join(folder, x), "utf8"));
  const facts = readRepository(texts);
  const tokenizer = file === undefined ? undefined : texts.get(file);
  const card = join(folder, "README.md");
  return {
    folder,
    name: wordOf(hubCacheOf(realpathSync(folder))?.name ?? basename(resolve(folder))),
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
  const names = namesOf(description.inputs, description.outputs);
  const [first] = Object.entries(steps.images);
  const picture = first === undefined ? null : fitImage(description.inputs, ...first);
  const inputs = description.inputs.map((input) => withSteps(input, description.inputs, steps, { names, picture }));
  const outputs = description.outputs.map((output) => {
    const told = steps.decodes[output.name];
    const asked = told !== undefined && "image" in told && picture !== null ? { ...told, image: picture.name } : told;
    const decode = asked === undefined ? null : fitDecode(output, asked, names, steps.assets);
    return decode === null ? output : { ...output, decode };
  });
  const assets: PackFile[] = [];
  const add = (path: string, text: string): void => void assets.push({ path, bytes: new TextEncoder().encode(text) });
  if (tokenizer !== undefined && inputs.some((x) => x.text !== undefined)) add(TOKENIZER, tokenizer);
  for (const { decode } of outputs)
    if (decode !== undefined && "asset" in decode && decode.asset !== undefined)
      add(decode.asset, steps.assets[decode.asset] ?? "");
  const exampleDims = { ...description.exampleDims, ...openSizes(inputs) };
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
  { texts, sounds = {} }: PortSteps,
  { names, picture }: { readonly names: PortNames; readonly picture: ReturnType<typeof fitImage> },
): BundleInput {
  const asked = texts[input.name];
  const text = asked === undefined ? null : fitText(input, asked, names);
  // A bundle says nothing of a pooling that is not computed.
  if (text !== null) {
    const { unsupported, prompts, prompt, ...own } = text;
    return { ...input, text: unsupported === WITHOUT_PROMPT ? own : { ...own, prompts, prompt } };
  }
  const heard = sounds[input.name];
  const sound = heard === undefined ? null : fitSound(input, heard, all);
  if (sound !== null) return { ...input, sound };
  if (picture?.name !== input.name || pictureLayout(input, picture.image) !== picture.image.layout) return input;
  const { mask, ...image } = picture.image;
  const hasMask = all.some((x) => x.name === mask && isMaskPort(x) && x.batchAxis === input.batchAxis);
  return { ...input, image: hasMask ? { ...image, mask } : image };
}

/** A usual photograph, for models whose tensor's size follows from the image's. */
const PHOTO = { width: 640, height: 480 };

/** Sizes of the open dims of inputs for images and sounds. */
function openSizes(inputs: readonly BundleInput[]): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const input of inputs)
    for (const [i, size] of sizesOf(input).entries()) {
      const dim = input.dims[i];
      if (typeof dim === "string" && size !== undefined) sizes[dim] = size;
    }
  return sizes;
}

/** Returns the usual size of each dim but the batch's. */
function sizesOf({ image, sound }: BundleInput): (number | undefined)[] {
  if (sound !== undefined)
    return sound.op === "samples" ? [undefined, sound.sampleRate] : [undefined, ...soundDims(sound).slice(1)];
  if (image === undefined) return [];
  const { width, height } = planImage(PHOTO.width, PHOTO.height, image.resize);
  return [undefined, image.channels === "gray" ? 1 : 3, height, width];
}

function wordOf(name: string): string {
  const word = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return word === "" ? "model" : word.slice(0, 64);
}
