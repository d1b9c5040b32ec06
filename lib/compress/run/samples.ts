// Inputs on which a model is measured: from .npy, .npz, JSON lines, a folder of arrays, images or texts, or a module.
// Samples are converted lazily to feeds of the model's own types: a set of samples may be larger than memory, so each
// form iterates over it again, and it is never held.
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { createInterface } from "node:readline";
import type { BundleInput, ImageSpec } from "../../core/bundle.ts";
import { imageToTensor } from "../../worker/processing/image.ts";
import { pixelMask } from "../../worker/processing/pixel-mask.ts";
import { planImage } from "../../worker/processing/plan-image.ts";
import type { Port, Tensor } from "../../core/tensor.ts";
import { arrayOf, countOf, fit, orderHint, tensorOf } from "./feeds.ts";
import type { Feed, GivenArray } from "./feeds.ts";
import { openNpy, openNpz } from "./npy.ts";
import type { ArraySource } from "./npy.ts";
import { classFolders, inTurn } from "./class-folders.ts";
import { importModule } from "./import-module.ts";
import { loadSharp } from "./optional-peers.ts";
import { tensorBesideIds } from "./beside-ids.ts";
import { ARRAYS, IMAGES, SOUNDS, TEXTS } from "./sample-files.ts";
import { openSounds } from "./sound-samples.ts";
import { readTexts } from "./text-samples.ts";
import type { SampleReader } from "./text-samples.ts";

export type { Feed } from "./feeds.ts";

/** Text readers by the input that they are for. */
type Readers = Readonly<Record<string, SampleReader>>;

/** A set of samples that can be iterated over any number of times. */
export interface Samples {
  /** Number of samples. */
  readonly n: number;
  /** Whether they are synthetic. */
  readonly isSynthetic: boolean;
  /** Notes for the report. */
  readonly notes: readonly string[];
  /** Iterates over all of them. */
  each(): AsyncIterable<Feed>;
}

const MODULES: ReadonlySet<string> = new Set([".js", ".mjs", ".ts", ".mts"]);

/** Wraps existing feeds as a set of samples. */
export function samplesOf(feeds: readonly Feed[], isSynthetic = false): Samples {
  return {
    n: feeds.length,
    isSynthetic,
    notes: isSynthetic ? ["The inputs are synthetic: give --samples to measure accuracy."] : [],
    async *each() {
      yield* feeds;
    },
  };
}

/** Reads the first samples into memory, at most `count`, and as many as fit into `bytes`. */
export async function firstFeeds(samples: Samples, count: number, bytes: number = 2 ** 28): Promise<Feed[]> {
  const feeds: Feed[] = [];
  let left = bytes;
  for await (const feed of samples.each()) {
    left -= Object.values(feed).reduce((sum, x) => sum + ("byteLength" in x.data ? x.data.byteLength : 0), 0);
    if (feeds.length >= count || (left < 0 && feeds.length > 0)) break;
    feeds.push(feed);
  }
  return feeds;
}

/**
 * Opens samples and counts them, up to `limit`; each is checked against the inputs when it is read. Where `readers` has
 * one for an input, a sample may be a text.
 * @throws TypeError naming the mismatch.
 */
export async function openSamples(
  path: string,
  inputs: readonly BundleInput[],
  limit: number,
  readers: Readers = {},
): Promise<Samples> {
  if (!existsSync(path)) throw new TypeError(`samples: ${path} does not exist`);
  const { each: all, count, notes = [] } = await open(path, inputs, readers);
  let n = count ?? 0;
  // A source of unknown size is counted by iterating over it once.
  if (count === undefined)
    for await (const _ of all()) {
      void _;
      n++;
      if (n >= limit) break;
    }
  if (n === 0) throw new TypeError(`samples: ${path} contains no samples`);
  n = Math.min(n, limit);
  return {
    n,
    isSynthetic: false,
    notes,
    async *each() {
      let left = n;
      for await (const feed of all()) {
        yield feed;
        if (--left <= 0) break;
      }
    },
  };
}

/** An opened source. */
interface Opened {
  each(): AsyncIterable<Feed> | Iterable<Feed>;
  readonly count?: number;
  readonly notes?: readonly string[];
}

async function open(path: string, inputs: readonly BundleInput[], readers: Readers): Promise<Opened> {
  if (statSync(path).isDirectory()) return openFolder(path, inputs, readers);
  const extension = extname(path).toLowerCase();
  if (extension === ".npy") return cut({ [only(inputs, path).name]: openNpy(path) }, inputs);
  if (extension === ".npz") return cut(openNpz(path), inputs);
  if (extension === ".json") {
    const list: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (!Array.isArray(list)) throw new TypeError(`samples: ${path} contains no list of samples`);
    return { count: list.length, each: () => list.map((x) => fromJson(x, inputs, readers)) };
  }
  if (extension === ".jsonl" || extension === ".ndjson") return { each: () => jsonLines(path, inputs, readers) };
  if (extension === ".txt" || extension === ".tsv") return openLines(path, extension, inputs, readers);
  if (MODULES.has(extension)) return openModule(path, inputs, readers);
  if (IMAGES.test(path)) return openImages([path], inputs, path);
  if (SOUNDS.test(path)) return openSounds([path], inputs);
  throw new TypeError(
    `samples: ${path} is not a .npy, .npz, .json, .jsonl, .txt, .tsv, image, sound, module or folder`,
  );
}

/** Whether samples are images, which sharp reads: a file, or a folder without arrays. */
export function holdsImages(path: string): boolean {
  if (IMAGES.test(path)) return true;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return false;
  if (classFolders(path) !== null) return true;
  const names = readdirSync(path);
  return names.some((x) => IMAGES.test(x)) && !names.some((x) => ARRAYS.test(x));
}

async function openFolder(path: string, inputs: readonly BundleInput[], readers: Readers): Promise<Opened> {
  const names = readdirSync(path).sort();
  const arrays = names.filter((x) => ARRAYS.test(x));
  const images = names.filter((x) => IMAGES.test(x));
  const texts = names.filter((x) => TEXTS.test(x));
  if (texts.length > 0 && arrays.length === 0 && images.length === 0 && Object.keys(readers).length > 0)
    return {
      count: texts.length,
      *each() {
        for (const name of texts) yield fromJson(readFileSync(join(path, name), "utf8"), inputs, readers);
      },
    };
  const sounds = names.filter((x) => SOUNDS.test(x)).map((x) => join(path, x));
  if (sounds.length > 0 && arrays.length === 0 && images.length === 0) return openSounds(sounds, inputs);
  const classes = classFolders(path);
  if (classes !== null)
    return openImages(
      inTurn(classes).map((x) => x.image),
      inputs,
      path,
    );
  if (arrays.length === 0 && images.length === 0)
    throw new TypeError(
      `samples: the folder ${path} contains no .npy, .npz, image or .wav, and no folder of images for each class`,
    );
  if (arrays.length === 0)
    return openImages(
      images.map((x) => join(path, x)),
      inputs,
      path,
    );
  // A file for each input, or files that each hold samples.
  const byInput = inputs.map((input) => arrays.find((x) => x === `${fileWord(input.name)}.npy`));
  if (byInput.every((x) => x !== undefined))
    return cut(Object.fromEntries(inputs.map((x, i) => [x.name, openNpy(join(path, byInput[i] ?? ""))])), inputs);
  const parts = await Promise.all(arrays.map((file) => open(join(path, file), inputs, readers)));
  return {
    count: parts.reduce((sum, x) => sum + (x.count ?? 0), 0),
    *each() {
      for (const part of parts) yield* part.each() as Iterable<Feed>;
    },
  };
}

/** Converts an input's name to a valid file name. */
function fileWord(name: string): string {
  return name.replace(/[/\\:]/g, "_");
}

async function openImages(paths: readonly string[], inputs: readonly BundleInput[], from: string): Promise<Opened> {
  const masks = new Set(inputs.map((x) => x.image?.mask));
  const input = only(
    inputs.filter((x) => !masks.has(x.name)),
    from,
  );
  const image = input.image ?? guessedImage(input);
  const notes =
    input.image === undefined
      ? [`Images were converted to "${input.name}" with pixels in 0…1: give --image if the model expects others.`]
      : [];
  const sharp = await loadSharp();
  return {
    count: paths.length,
    notes,
    async *each() {
      for (const path of paths) {
        const { data, info } = await sharp(path).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
        const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
        const mask = inputs.find((x) => x.name === image.mask);
        const plan = planImage(info.width, info.height, image.resize);
        yield {
          [input.name]: imageToTensor(pixels, image, input.dtype),
          ...(mask !== undefined && { [mask.name]: pixelMask(mask, plan) }),
        };
      }
    },
  };
}

/** Guesses how an image becomes an input of four dims; where its size is free, that of most networks is used. */
function guessedImage({ name, dims }: BundleInput): ImageSpec {
  const [, a, b, c] = dims;
  const layout = a === 1 || a === 3 ? "nchw" : c === 1 || c === 3 ? "nhwc" : undefined;
  if (dims.length !== 4 || layout === undefined)
    throw new TypeError(
      `samples: the input "${name}" [${dims.join(", ")}] does not have the dims of an image; give --image or --bundle, which describes it, or .npz samples`,
    );
  const [height, width, channels] = layout === "nchw" ? [b, c, a] : [a, b, c];
  const size = (x: number | string | undefined): number => (typeof x === "number" ? x : 224);
  return {
    resize: { mode: "exact", width: size(width), height: size(height) },
    channels: channels === 1 ? "gray" : "rgb",
    layout,
  };
}

async function openModule(path: string, inputs: readonly BundleInput[], readers: Readers): Promise<Opened> {
  const module = await importModule(path, "samples");
  const given = module["samples"] ?? module["default"];
  if (given === undefined) throw new TypeError(`samples: ${path} exports no "samples"`);
  const list = (): unknown => (typeof given === "function" ? (given as () => unknown)() : given);
  return {
    async *each() {
      const made = (await list()) as AsyncIterable<unknown> | Iterable<unknown> | undefined;
      const isList =
        typeof made === "object" && made !== null && (Symbol.iterator in made || Symbol.asyncIterator in made);
      if (!isList) throw new TypeError(`samples: the export "samples" of ${path} is not iterable`);
      if ("next" in made && typeof given !== "function")
        throw new TypeError(`samples: ${path} exports a generator, which ends after one use; export its function`);
      for await (const each of made) yield fromJson(each, inputs, readers);
    },
  };
}

async function* jsonLines(path: string, inputs: readonly Port[], readers: Readers): AsyncGenerator<Feed> {
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    number++;
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw new TypeError(`samples: line ${number} of ${path} is not JSON`, { cause: error });
    }
    yield fromJson(value, inputs, readers);
  }
}

/** Opens a text a line, or in .tsv a pair a line. */
function openLines(path: string, extension: string, inputs: readonly Port[], readers: Readers): Opened {
  if (Object.keys(readers).length === 0)
    throw new TypeError(
      `samples: ${path} holds texts, but nothing says how texts become the model's inputs: give the folder of the repository, with its tokenizer.json, in place of the .onnx file`,
    );
  const lines = readFileSync(path, "utf8")
    .split(/\r?\n/)
    .filter((x) => x.trim() !== "");
  const of = (line: string): unknown => (extension === ".tsv" ? line.split("\t").slice(0, 2) : line);
  return { count: lines.length, each: () => lines.map((x) => fromJson(of(x), inputs, readers)) };
}

/** Splits arrays into samples along their first axis. */
function cut(arrays: Readonly<Record<string, ArraySource>>, inputs: readonly Port[]): Opened {
  const lists = inputs.map((input, i) => {
    const array =
      arrays[input.name] ?? arrays[`arr_${i}`] ?? (inputs.length === 1 ? Object.values(arrays)[0] : undefined);
    if (array === undefined)
      throw new TypeError(
        `samples: there is no array for the input "${input.name}", only ${Object.keys(arrays).join(", ")}`,
      );
    return slices(input, array, inputs.length === 1);
  });
  const counts = lists.map((x) => x.count);
  const count = Math.max(...counts);
  // An array of one sample is used for all.
  if (counts.some((x) => x !== 1 && x !== count))
    throw new TypeError(
      `samples: the counts differ: ${inputs.map((x, i) => `"${x.name}" has ${counts[i]}`).join(", ")}`,
    );
  return {
    count,
    *each() {
      for (let at = 0; at < count; at++)
        yield Object.fromEntries(
          inputs.map((input, i) => [input.name, tensorOf(input, lists[i]?.at(counts[i] === 1 ? 0 : at))]),
        );
    },
  };
}

/**
 * Returns how an array holds an input's samples: in its dims as they are, one after the other, or with an additional
 * leading axis.
 */
function slices(
  input: Port,
  { dims, read }: ArraySource,
  isOnly: boolean,
): { count: number; at(index: number): GivenArray } {
  const [first = 1, ...inner] = dims;
  const [batch, ...rest] = input.dims;
  const isLike = (dims: readonly number[], wanted: readonly (number | string)[]): boolean =>
    dims.length === wanted.length && wanted.every((x, i) => typeof x === "string" || x === dims[i]);
  let [step, shape] = [1, inner as readonly number[]];
  if (isLike(inner, input.dims)) step = 1;
  // A single axis without a size is a length, not a number of items: the array is one sample.
  else if (isOnly && input.dims.length === 1 && typeof batch === "string" && dims.length === 1)
    [step, shape] = [first, dims];
  else if (isLike(inner, rest)) {
    step = typeof batch === "number" ? batch : 1;
    shape = [step, ...inner];
  } else if (isLike(dims, input.dims)) [step, shape] = [first, dims];
  else if (fit(input.dims, inner) === undefined) {
    // Neither many samples nor one: named as what it nearly is.
    if (fit(input.dims, dims) === undefined && orderHint(input.dims, inner) !== "")
      tensorOf(input, { dims: inner, data: read(0, countOf(inner)) });
    [step, shape] = [first, dims];
  }
  const length = countOf(shape);
  if (first < step)
    throw new TypeError(`samples: "${input.name}" takes ${step} items at a time, but there are ${first}`);
  return {
    count: Math.floor(first / Math.max(1, step)),
    at: (index) => ({ dims: shape, data: read(index * length, length) }),
  };
}

function fromJson(value: unknown, inputs: readonly Port[], readers: Readers): Feed {
  const isNamed =
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !ArrayBuffer.isView(value) &&
    !("data" in value);
  const read: Record<string, Tensor> = readTexts(value, readers);
  const isText = !isNamed && Object.keys(read).length > 0;
  const given = inputs.map(({ name }) => (isNamed ? (value as Record<string, unknown>)[name] : value));
  for (const [i, input] of inputs.entries())
    if (read[input.name] === undefined && given[i] !== undefined && !isText)
      read[input.name] = tensorOf(input, arrayOf(given[i], input.name));
  return Object.fromEntries(
    inputs.map((input) => [input.name, read[input.name] ?? tensorBesideIds(input, read) ?? tensorOf(input, undefined)]),
  );
}

function only(inputs: readonly BundleInput[], path: string): BundleInput {
  const [input] = inputs;
  if (input === undefined || inputs.length > 1) {
    const names = inputs.map((x) => `"${x.name}"`).join(", ");
    throw new TypeError(
      `samples: ${basename(path)} is for one input, but the model has ${inputs.length} (${names}); use .npz with an array for each, or .jsonl`,
    );
  }
  return input;
}
