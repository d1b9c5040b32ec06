// Steps that are given by the names of ports, as a repository's files lead to, and the ports of the graph itself: a step
// that does not fit its port is left out, and the port's tensors stay. Used at a load and by `selvedge import` alike.
import type { BundleInput, DecodeSpec, ImageSpec, SoundSpec, TextSpec } from "./bundle.ts";
import { fixedSize } from "./image-spec.ts";
import type { Port } from "./tensor.ts";

/** Number of dims that an output has for each step. */
const RANKS: Readonly<Record<DecodeSpec["op"], readonly number[]>> = {
  ...{ softmax: [2], sigmoid: [2], argmax: [2], labels: [2], ctc: [3], pool: [3] },
  ...{ tokens: [3], detect: [3], segment: [4], mask: [3, 4], depth: [3, 4], points: [3, 4] },
};

/** The names of a graph's ports. */
export interface PortNames {
  readonly inputs: ReadonlySet<string>;
  readonly outputs: ReadonlySet<string>;
}

/**
 * Returns the decoding of an output; null where it does not fit.
 * @param assets - texts of assets by path, for the number of classes
 */
export function fitDecode(
  { dims }: Pick<Port, "dims">,
  decode: DecodeSpec,
  { inputs, outputs }: PortNames,
  assets: Readonly<Record<string, string>>,
): DecodeSpec | null {
  if (!RANKS[decode.op].includes(dims.length)) return null;
  if (decode.op === "pool") {
    const { mask, ...spec } = decode;
    if (mask === undefined || inputs.has(mask)) return decode;
    // Of a fixed length, vectors of padding would count.
    return typeof dims[1] === "number" && spec.mode !== "cls" ? null : spec;
  }
  const named = "image" in decode ? decode.image : "text" in decode ? decode.text : undefined;
  if (named !== undefined && !inputs.has(named)) return null;
  if ("boxes" in decode && decode.boxes !== undefined && !outputs.has(decode.boxes)) return null;
  // A graph that takes texts beside the picture has them as its classes.
  if (decode.op === "detect" && inputs.has(TEXT_INPUT)) return null;
  // "ctc" may have a class more than its asset, the blank; decode.ts compares them.
  const hasMore = decode.op === "ctc" && decode.blank === undefined;
  const asset = "asset" in decode && !hasMore ? decode.asset : undefined;
  const classes = asset === undefined ? undefined : (assets[asset] ?? "").split("\n").length - 1;
  const found = dims[decode.op === "segment" ? 1 : dims.length - 1];
  // Boxes may have one class more, for no object.
  const isOther = typeof found === "number" && found !== classes && !(decode.op === "detect" && found - 1 === classes);
  return classes !== undefined && isOther ? null : decode;
}

/**
 * Returns the tokenization of an input, at most as long as a graph of fixed length; null where it does not fit. A graph of
 * a fixed number of rows takes tensors.
 */
export function fitText(
  { dims, dtype, batchAxis }: Pick<BundleInput, "dims" | "dtype" | "batchAxis">,
  { mask, types, positions, ...text }: TextSpec,
  { inputs }: PortNames,
): TextSpec | null {
  if (dims.length !== 2 || !/^int(32|64)$/.test(dtype) || batchAxis === null) return null;
  const length = dims[1 - batchAxis];
  return {
    ...text,
    ...(typeof length === "number" && { maxLength: Math.min(text.maxLength, length) }),
    ...(mask !== undefined && inputs.has(mask) && { mask }),
    ...(types !== undefined && inputs.has(types) && { types }),
    ...(positions !== undefined && inputs.has(positions) && { positions }),
  };
}

/**
 * Returns the conversion of sounds of an input, without a mask that the graph lacks, or that takes no mask's type or dims;
 * null where it does not fit.
 * @param inputs - all inputs of the graph
 */
export function fitSound(
  { dims, dtype }: Pick<Port, "dims" | "dtype">,
  sound: SoundSpec,
  inputs: readonly Pick<Port, "name" | "dims" | "dtype">[],
): SoundSpec | null {
  const wanted = soundDims(sound);
  const fits = dims.every((dim, i) => typeof dim === "string" || wanted[i] === undefined || dim === wanted[i]);
  if (dims.length !== wanted.length || !fits || !/^float(32|16)$/.test(dtype)) return null;
  if (sound.op !== "samples" || sound.mask === undefined) return sound;
  return inputs.some((x) => x.name === sound.mask && isMaskPort(x, 2)) ? sound : { ...sound, mask: undefined };
}

/** Names of the inputs for a picture and for a text's tokens in most exports. */
export const IMAGE_INPUT = "pixel_values";
export const TEXT_INPUT = "input_ids";

/** Whether an input may take a picture, by its type and the number of its axes; caches of attention have four too. */
export function isPicturePort({ name, dims, dtype }: Pick<Port, "name" | "dims" | "dtype">): boolean {
  return dims.length === 4 && /^(float32|float16)$/.test(dtype) && !/past|cache/.test(name);
}

/**
 * Returns the image's input among a graph's, with its conversion in the axes' order: the one of the name that exporters use,
 * if there is one, else the only one that a picture fits; null where it does not fit, or several do.
 * @param named - the name that exporters use
 */
export function fitImage(
  inputs: readonly Pick<Port, "name" | "dims" | "dtype">[],
  named: string,
  image: ImageSpec,
): { readonly name: string; readonly image: ImageSpec } | null {
  const own = inputs.filter((x) => x.name === named);
  const fitting = (own.length > 0 ? own : inputs).flatMap((port) => {
    // An input without dims has any.
    const layout = port.name === named && port.dims.length === 0 ? image.layout : pictureLayout(port, image);
    return layout === null ? [] : [{ name: port.name, image: { ...image, layout } }];
  });
  const [only, second] = fitting;
  return only === undefined || second !== undefined ? null : only;
}

/** Returns the order of the axes in which an input takes a picture of such a conversion; null where it takes none. */
export function pictureLayout(
  port: Pick<Port, "name" | "dims" | "dtype">,
  image: ImageSpec,
): ImageSpec["layout"] | null {
  if (!isPicturePort(port)) return null;
  const { dims } = port;
  const { width, height } = fixedSize(image.resize) ?? {};
  const channels = image.channels === "gray" ? 1 : 3;
  const fits = (wanted: readonly (number | undefined)[]): boolean =>
    dims.every((dim, i) => typeof dim === "string" || wanted[i] === undefined || dim === wanted[i]);
  // Where the picture's size is open, only the channels tell.
  const isLast = dims[3] === channels && dims[1] !== channels;
  if (!isLast && fits([1, channels, height, width])) return "nchw";
  return fits([1, height, width, channels]) ? "nhwc" : null;
}

/** Returns the dims of a sound's tensor; undefined for one that follows from the sound. */
export function soundDims(sound: SoundSpec): readonly (number | undefined)[] {
  switch (sound.op) {
    case "samples":
      return [1, undefined];
    case "fbank":
      return [1, sound.frames, sound.bands];
    case "log-mel": {
      const { seconds, sampleRate, bands, hopLength = 160 } = sound;
      return [1, bands, seconds === undefined ? undefined : Math.floor(Math.round(seconds * sampleRate) / hopLength)];
    }
  }
}

/** Element types of a mask. */
const MASK_DTYPES: readonly string[] = ["int64", "int32", "uint8", "bool", "float32"];

/** Whether an input can take a mask: of pixels, [batch, height, width], or with 2 axes of samples, [batch, length]. */
export function isMaskPort({ dims, dtype }: Pick<Port, "dims" | "dtype">, axes: 2 | 3 = 3): boolean {
  return dims.length === axes && MASK_DTYPES.includes(dtype);
}

/** Returns the names of ports. */
export function namesOf(inputs: readonly Port[], outputs: readonly Port[]): PortNames {
  return { inputs: new Set(inputs.map((x) => x.name)), outputs: new Set(outputs.map((x) => x.name)) };
}
