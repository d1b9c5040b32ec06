// A model's description by `--image` and `--classes`: added to what the model says of itself.
import { readFileSync } from "node:fs";
import { resolveClasses, resolveImage } from "../../core/describe-model.ts";
import type { ClassesOption } from "../../core/describe-model.ts";
import { readLabels } from "../../core/read-labels.ts";
import type { CompressOptions } from "../compress-options.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { describeBy, openRepository } from "../repository.ts";
import { assetsOf, describe } from "./describe.ts";
import type { Description } from "./describe.ts";
import { FLAGS, parseImageWords } from "./image-words.ts";
import type { PackFile } from "./pack.ts";

/** A model's description, and the files that it refers to. */
export interface Described {
  readonly description: Description;
  readonly assets: readonly PackFile[];
}

/** Options that describe a model. */
export type DescribeOptions = Pick<CompressOptions, "bundle" | "repository" | "image" | "classes" | "top" | "logits">;

/** The parts of the options that need no model; wrong ones are refused before it is read. */
export interface OwnOptions {
  readonly image: ReturnType<typeof parseImageWords> | undefined;
  readonly classes: ClassesOption | undefined;
}

/**
 * Reads the options that describe a model, and the file of its classes.
 * @throws TypeError that names the option
 */
export function readOwnOptions({ bundle, image, classes, top, logits }: DescribeOptions): OwnOptions {
  if (bundle !== undefined && (image !== undefined || classes !== undefined))
    throw new TypeError(
      `--${image === undefined ? "classes" : "image"}: --bundle describes the model already: leave one of them out`,
    );
  if (classes === undefined) {
    const wrong =
      top !== undefined ? "--top" : logits !== undefined ? (logits ? "--logits" : "--no-logits") : undefined;
    if (wrong !== undefined) throw new TypeError(`${wrong} is about the labels of --classes: add --classes labels.txt`);
  }
  return {
    image: image === undefined ? undefined : parseImageWords(image),
    classes: classes === undefined ? undefined : { ...readClasses(classes), top, logits },
  };
}

/** Describes a model: as a bundle.json does, or as the model itself does together with the options. */
export async function describeWith(
  model: OnnxModel,
  path: string,
  { bundle, repository }: Pick<DescribeOptions, "bundle" | "repository">,
  { image, classes }: OwnOptions,
): Promise<Described> {
  let description = await describe(model, path, bundle);
  let assets: readonly PackFile[] = await assetsOf(bundle);
  // A bundle.json describes the model altogether; a repository's files what is not said otherwise.
  if (repository !== undefined && bundle === undefined)
    ({ description, assets } = describeBy(openRepository(repository), description));
  if (image !== undefined) {
    const { input, image: spec } = resolveImage(image, description.inputs, FLAGS);
    const port = description.inputs.find((x) => x.name === input);
    const { width, height } = spec.resize as { readonly width: number; readonly height: number };
    const channels = spec.channels === "gray" ? 1 : 3;
    const sizes = spec.layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels];
    const exampleDims = Object.fromEntries(
      (port?.dims ?? []).flatMap((dim, i) => (typeof dim === "string" && i > 0 ? [[dim, sizes[i] ?? 1]] : [])),
    );
    description = {
      ...description,
      inputs: description.inputs.map((x) => (x.name === input ? { ...x, image: spec } : x)),
      ...(Object.keys(exampleDims).length > 0 && { exampleDims }),
    };
  }
  if (classes === undefined) return { description, assets };
  const { output, decode, text } = resolveClasses(classes, description.outputs, model.graph.nodes, FLAGS);
  const outputs = description.outputs.map((x) => (x.name === output ? { ...x, decode } : x));
  return {
    description: { ...description, outputs },
    assets:
      "asset" in decode && decode.asset !== undefined
        ? [
            ...assets.filter((x) => x.path !== decode.asset),
            { path: decode.asset, bytes: new TextEncoder().encode(text) },
          ]
        : assets,
  };
}

/** Reads `FILE`, or `OUTPUT=FILE` where the model has several outputs; a file of that whole name comes first. */
function readClasses(option: string): ClassesOption {
  const whole = bytesOf(option);
  if (whole !== null) return { labels: readLabels(whole, `--classes: ${option}`) };
  const [, output, path] = /^([^=]+)=(.+)$/s.exec(option) ?? [];
  const bytes = path === undefined ? null : bytesOf(path);
  if (path === undefined || bytes === null) throw new TypeError(`--classes: ${path ?? option} does not exist: ${GIVE}`);
  return { labels: readLabels(bytes, `--classes: ${path}`), output };
}

const GIVE = 'give a file with one label a line, a JSON array, or a config.json with "id2label"';

function bytesOf(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return null;
    if (code === "EISDIR") throw new TypeError(`--classes: ${path} is a folder: ${GIVE}`, { cause: error });
    throw error;
  }
}
