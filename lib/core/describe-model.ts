// Resolves a short description of a model (how an image becomes its input, and which classes it has) to the specs of a
// bundle, against the model's own inputs and outputs. Used by `selvedge compress --image --classes` and, in the fetch
// worker, by `engine.load` with `image` or `labels`; both differ in the names of their options alone (`Wording`).
//
// What the description leaves out follows from the model's dims; what contradicts them is refused before anything runs.
import type { DecodeSpec, ImageSpec, ResizeSpec } from "./bundle.ts";
import type { Port } from "./tensor.ts";

/** How an image becomes an input of a model; all is optional where the model's dims say it. */
export interface ImageOption {
  /** Width and height in pixels. Default: the model's own. */
  readonly size?: readonly [width: number, height: number] | undefined;
  /** Order of the channels. Default `"gray"` for a model of one channel, else `"rgb"`. */
  readonly channels?: ImageSpec["channels"] | undefined;
  /**
   * Range of the values, or the mean and standard deviation of pixels in 0…1 (one number, or one for each channel in
   * the order of `channels`). `"imagenet"` and `"clip"` are such pairs. Default `"0..1"`; `"0..255"` for uint8.
   */
  readonly normalize?: "imagenet" | "clip" | "0..1" | "-1..1" | "0..255" | MeanStd | undefined;
  /**
   * `"exact"` stretches; `"fit"` keeps the proportion and pads; `"crop"` scales the shorter side to 8/7 of the size (256
   * for 224) and crops the centre; `{ shortSide }` crops from another size. Default `"exact"`.
   */
  readonly resize?: "exact" | "fit" | "crop" | { readonly shortSide: number } | undefined;
  /** Order of the axes. Default: by the place of the channels in the model's dims. */
  readonly layout?: ImageSpec["layout"] | undefined;
  /** Name of the input. Default: the only one that has the dims of an image. */
  readonly input?: string | undefined;
}

/** Normalisation of pixels in 0…1: value = (pixel − mean) / std. */
export interface MeanStd {
  /** Default 0. */
  readonly mean?: number | readonly number[] | undefined;
  /** Above 0. Default 1. */
  readonly std?: number | readonly number[] | undefined;
}

/** The classes of a model. */
export interface ClassesOption {
  /** Name of each class, in the order of the output. */
  readonly labels: readonly string[];
  /** Number of best classes in an answer, 1 to 32,768. Default 5. */
  readonly top?: number | undefined;
  /** Whether the output holds logits, which softmax turns into probabilities. Default: no softmax ends the graph. */
  readonly logits?: boolean | undefined;
  /** Name of the output. Default: the only one, or the only one with as many classes. */
  readonly output?: string | undefined;
}

/** Names of the options in messages. */
export interface Wording {
  /** As `--image`. */
  readonly image: string;
  /** As `--classes`. */
  readonly classes: string;
  /** Sentence part that says how to set the size, with the sides that the model has. */
  readonly size: (width: number | "width", height: number | "height") => string;
  /** Sentence parts that say how to set another field of the image. */
  readonly layout: string;
  readonly input: string;
  readonly output: string;
}

/** The part of a graph's node that shows where an output comes from. */
export interface GraphNode {
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
}

/** Path of the asset that holds the labels of a described model. */
export const LABELS_ASSET = "labels.txt";

/** Names of the words that an option may have. */
export const IMAGE_NORMALIZE = ["imagenet", "clip", "0..1", "-1..1", "0..255"] as const;

const PAIRS: Readonly<Record<string, { readonly mean: readonly number[]; readonly std: readonly number[] }>> = {
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  clip: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
};
const IMAGE_DTYPES: readonly string[] = ["float32", "float16", "uint8"];
/** Default side that a crop is taken from, as a multiple of the crop's longer side. */
const CROP_FROM = 8 / 7;

/**
 * Resolves the image option against a model's inputs.
 * @throws TypeError that names the option, the contradiction and the fix
 */
export function resolveImage(
  option: ImageOption,
  inputs: readonly Port[],
  say: Wording,
): { readonly input: string; readonly image: ImageSpec } {
  const port = imagePort(option, inputs, say);
  const layout = layoutOf(option, port, say);
  const [height, width, channelDim] = axesOf(port, layout);
  if (typeof port.dims[0] === "number" && port.dims[0] !== 1)
    throw new TypeError(
      `${say.image}: ${shown(port)} takes ${port.dims[0]} images at once, but an image fills one row: export the model with a free batch axis, or with 1`,
    );
  const channels = channelsOf(option, port, layout, channelDim, say);
  const size = sizeOf([width, height], option, port, say);
  const image = {
    resize: resizeOf(option, size, say),
    channels,
    ...normalisationOf(option, channels, port, say),
    layout,
  };
  return { input: port.name, image };
}

/**
 * Resolves the classes of a model against its outputs.
 * @throws TypeError that names the option, the contradiction and the fix
 */
export function resolveClasses(
  { labels, top, logits, output: name }: ClassesOption,
  outputs: readonly Port[],
  nodes: readonly GraphNode[],
  say: Wording,
): { readonly output: string; readonly decode: DecodeSpec; readonly text: string } {
  const n = labels.length;
  if (n === 0) throw new TypeError(`${say.classes}: there is no label: give one for each class of the model`);
  const broken = labels.findIndex((x) => /[\r\n]/.test(x));
  if (broken !== -1)
    throw new TypeError(`${say.classes}: label ${broken} has a line break: labels are stored one a line`);
  const port = classPort(n, name, outputs, say);
  const classes = port.dims.at(-1);
  if (!hasScores(port, n))
    throw new TypeError(
      `${say.classes}: ${shown(port)} holds no score for each class, but the class itself, as of an ArgMax: ${outputs.some((x) => hasScores(x, n)) ? say.output : "export the model with its scores as an output"}`,
    );
  if (port.dims.slice(1, -1).some((x) => typeof x === "number" && x !== 1))
    throw new TypeError(
      `${say.classes}: labels need an output [batch, class], but ${shown(port)} has more axes: end the model with a Flatten`,
    );
  if (typeof classes === "number" && classes !== n) {
    const background = classes === n + 1 ? "; if the first class is the background, add a label for it at the top" : "";
    throw new TypeError(
      `${say.classes}: ${n} labels, but ${shown(port)} has ${classes} classes on its last axis: give one label for each class, in the model's order${background}`,
    );
  }
  const decode: DecodeSpec = {
    op: "labels",
    asset: LABELS_ASSET,
    ...(top !== undefined && { top: Math.min(top, n) }),
    logits: logits ?? !endsInProbabilities(nodes, port.name),
  };
  return { output: port.name, decode, text: `${labels.join("\n")}\n` };
}

/** Whether an output holds probabilities: softmax or sigmoid is the last operator that computes. */
export function endsInProbabilities(nodes: readonly GraphNode[], output: string): boolean {
  const made = new Map(nodes.flatMap((node) => node.output.map((x) => [x, node] as const)));
  const moves = [
    "Identity",
    "Cast",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "QuantizeLinear",
    "DequantizeLinear",
  ];
  let node = made.get(output);
  for (let left = nodes.length; node !== undefined && left > 0 && moves.includes(node.opType); left -= 1)
    node = made.get(node.input[0] ?? "");
  if (node === undefined) return false;
  if (node.opType !== "Div") return ["Softmax", "Sigmoid", "HardSigmoid", "Hardmax"].includes(node.opType);
  // Softmax as its parts: Exp / ReduceSum(Exp).
  const [top, bottom] = node.input.map((x) => made.get(x));
  return top?.opType === "Exp" && bottom?.opType === "ReduceSum" && top.output[0] === bottom.input[0];
}

function imagePort({ input: name }: ImageOption, inputs: readonly Port[], say: Wording): Port {
  const able = inputs.filter(isImagePort);
  if (name !== undefined) {
    const found = inputs.find((x) => x.name === name);
    if (found === undefined)
      throw new TypeError(`${say.image}: the model has no input "${name}", only ${listed(inputs)}`);
    if (!isImagePort(found))
      throw new TypeError(
        `${say.image}: ${shown(found)} can't take an image: it must be float32, float16 or uint8 with 4 dims`,
      );
    return found;
  }
  const [first, second] = able;
  if (first === undefined)
    throw new TypeError(
      `${say.image}: the model has no input for an image (float32, float16 or uint8 with 4 dims), only ${listed(inputs)}: leave the option out`,
    );
  if (second !== undefined)
    throw new TypeError(`${say.image}: the model has several inputs for images, ${listed(able)}: ${say.input}`);
  return first;
}

function isImagePort({ dtype, dims }: Port): boolean {
  return dims.length === 4 && IMAGE_DTYPES.includes(dtype);
}

/** The channels are the axis of 1 or 3, else the axis that is named after them. */
function layoutOf({ layout }: ImageOption, port: Port, say: Wording): ImageSpec["layout"] {
  if (layout !== undefined) return layout;
  const [, first, , last] = port.dims;
  const isCount = (x: unknown): boolean => x === 1 || x === 3;
  if (isCount(first)) return "nchw";
  if (isCount(last)) return "nhwc";
  const isNamed = (x: unknown): boolean => typeof x === "string" && /^c$|chan/i.test(x);
  if (isNamed(first) !== isNamed(last)) return isNamed(first) ? "nchw" : "nhwc";
  if (typeof first === "number" && typeof last === "number")
    throw new TypeError(
      `${say.image}: an image has 1 or 3 channels, but ${shown(port)} has neither on axis 1 nor on axis 3: leave the option out, and pass tensors`,
    );
  throw new TypeError(`${say.image}: the dims of ${shown(port)} don't show where its channels are: ${say.layout}`);
}

function axesOf({ dims }: Port, layout: ImageSpec["layout"]): (number | string | undefined)[] {
  const [, a, b, c] = dims;
  return layout === "nchw" ? [b, c, a] : [a, b, c];
}

function channelsOf(
  { channels }: ImageOption,
  port: Port,
  layout: ImageSpec["layout"],
  dim: number | string | undefined,
  say: Wording,
): ImageSpec["channels"] {
  if (typeof dim !== "number") return channels ?? "rgb";
  if (dim !== 1 && dim !== 3)
    throw new TypeError(
      `${say.image}: ${layout} sets the channels to axis ${layout === "nchw" ? 1 : 3}, where ${shown(port)} has ${dim}, not 1 or 3: use ${layout === "nchw" ? "nhwc" : "nchw"}, or pass tensors`,
    );
  const fallback = dim === 1 ? "gray" : "rgb";
  const wanted = channels ?? fallback;
  if ((wanted === "gray") === (dim === 1)) return wanted;
  const fix = dim === 1 ? "gray" : "rgb or bgr";
  throw new TypeError(
    `${say.image}: ${wanted} has ${wanted === "gray" ? "1 channel" : "3 channels"}, but ${shown(port)} takes ${dim}: use ${fix}`,
  );
}

/** Returns width and height: the model's, or those of the option where the model takes any. */
function sizeOf(
  [width, height]: readonly [number | string | undefined, number | string | undefined],
  { size }: ImageOption,
  port: Port,
  say: Wording,
): readonly [number, number] {
  const [own, given] = [
    { width, height },
    { width: size?.[0], height: size?.[1] },
  ];
  const side = (what: "width" | "height"): number => {
    const [dim, wanted] = [own[what], given[what]];
    if (typeof dim !== "number" && wanted !== undefined) return wanted;
    if (typeof dim !== "number") {
      const fix = say.size(typeof width === "number" ? width : "width", typeof height === "number" ? height : "height");
      throw new TypeError(`${say.image}: ${shown(port)} takes images of any ${what}: ${fix}`);
    }
    if (wanted === undefined || wanted === dim) return dim;
    throw new TypeError(
      `${say.image}: ${what} ${wanted}, but ${shown(port)} has ${dim} there: leave the size out, or set the model's own`,
    );
  };
  return [side("width"), side("height")];
}

function resizeOf(
  { resize = "exact" }: ImageOption,
  [width, height]: readonly [number, number],
  say: Wording,
): ResizeSpec {
  if (resize === "exact" || resize === "fit") return { mode: resize, width, height };
  const longer = Math.max(width, height);
  const shortSide = resize === "crop" ? Math.round(longer * CROP_FROM) : resize.shortSide;
  if (shortSide < longer)
    throw new TypeError(
      `${say.image}: can't crop ${width} × ${height} from an image whose shorter side is ${shortSide}: at least ${longer} is needed`,
    );
  return { mode: "crop", width, height, shortSide };
}

function normalisationOf(
  { normalize }: ImageOption,
  channels: ImageSpec["channels"],
  port: Port,
  say: Wording,
): Pick<ImageSpec, "scale" | "mean" | "std"> {
  const isBytes = port.dtype === "uint8";
  if (normalize === undefined) return isBytes ? { scale: 1 } : {};
  if (normalize === "0..255") return { scale: 1 };
  if (isBytes)
    throw new TypeError(
      `${say.image}: ${shown(port)} takes pixels as whole numbers, which can't be normalised: leave the normalisation out`,
    );
  if (normalize === "0..1") return {};
  const count = channels === "gray" ? 1 : 3;
  const all = (value: number): number[] => Array.from({ length: count }, () => value);
  if (normalize === "-1..1") return { mean: all(0.5), std: all(0.5) };
  if (typeof normalize === "string") {
    const pair = PAIRS[normalize];
    if (pair === undefined || count === 1)
      throw new TypeError(
        `${say.image}: "${normalize}" is for three channels, but ${shown(port)} has one: use another, or mean and std`,
      );
    const order = (x: readonly number[]): readonly number[] => (channels === "bgr" ? [...x].reverse() : x);
    return { mean: order(pair.mean), std: order(pair.std) };
  }
  const found: { mean?: readonly number[]; std?: readonly number[] } = {};
  for (const key of ["mean", "std"] as const) {
    const value = normalize[key];
    if (value === undefined) continue;
    const list = typeof value === "number" ? all(value) : value;
    if (list.length !== count)
      throw new TypeError(
        `${say.image}: ${key} has ${list.length} values for ${count} channels: give one, or ${count}`,
      );
    const wrong = list.find((x) =>
      key === "std" ? !(x > 0 && x < Infinity && 1 / x < Infinity) : !Number.isFinite(x),
    );
    if (wrong !== undefined)
      throw new TypeError(
        `${say.image}: ${key} is ${wrong}: ${key === "std" ? "pixels are divided by it, so it must be above 0" : "it must be finite"}`,
      );
    // No pixel of 0 to 1 has such a mean: these are numbers for 0 to 255.
    const byte = list.find((x) => x > (key === "mean" ? 1 : 10));
    if (byte !== undefined)
      throw new TypeError(
        `${say.image}: ${key} is ${byte}, for pixels of 0 to 255, and pixels are 0 to 1: divide mean and std by 255`,
      );
    found[key] = list;
  }
  return found;
}

function classPort(n: number, name: string | undefined, outputs: readonly Port[], say: Wording): Port {
  if (name !== undefined) {
    const found = outputs.find((x) => x.name === name);
    if (found === undefined)
      throw new TypeError(`${say.classes}: the model has no output "${name}", only ${listed(outputs)}`);
    return found;
  }
  const scores = outputs.filter((x) => hasScores(x, n));
  const whole = scores.filter(isWhole);
  const able = scores.filter((x) => x.dims.at(-1) === n && !isWhole(x));
  // One whose number of classes is open may have as many.
  const open = scores.filter((x) => typeof x.dims.at(-1) !== "number");
  const several = [able, open, whole].find((x) => x.length > 0) ?? [];
  const [first, second] = outputs.length === 1 ? outputs : several;
  if (outputs.length === 0) throw new TypeError(`${say.classes}: the model has no output`);
  if (first === undefined)
    throw new TypeError(`${say.classes}: ${n} labels, and no output has ${n} classes, only ${listed(outputs)}`);
  if (second === undefined) return first;
  throw new TypeError(
    `${say.classes}: ${n} labels, and the model has several outputs, ${listed(outputs)}: ${say.output}`,
  );
}

/**
 * Whether an output may hold scores of n classes: numbers, also quantized ones, and no texts. Whole numbers of 32 or 64
 * bits are indices, as of an ArgMax, unless there is one for each class.
 */
function hasScores({ dtype, dims }: Port, n: number): boolean {
  if (/^(?:bool|string)$/.test(dtype)) return false;
  return !isWhole({ dtype }) || (n > 1 && dims.length > 1 && dims.at(-1) === n);
}

function isWhole({ dtype }: Pick<Port, "dtype">): boolean {
  return /^u?int(?:32|64)$/.test(dtype);
}

function listed(ports: readonly Port[]): string {
  return ports.length === 0 ? "none" : ports.map(shown).join(", ");
}

function shown({ name, dtype, dims }: Port): string {
  return `"${name}" (${dtype} [${dims.join(", ")}])`;
}
