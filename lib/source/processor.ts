// Reads preprocessor_config.json: how a picture or a sound becomes a model's input. An image is described where the
// steps of a bundle compute the same; else `unsupported` names the setting, and the model takes tensors.
//
// Releases of transformers differ in what they write: `size` is a number or an object, and a number means the shorter
// side for some classes and both sides for others, which the table below holds. No other file names an architecture.
import type { ImageSpec, ResizeSpec } from "../core/bundle.ts";
import { countOf, listOf, numberOf, objectOf, textOf, truthOf } from "./json.ts";
import type { JsonObject } from "./json.ts";

/** Facts of a processor. */
export interface ProcessorFacts {
  /** The class, as `ViTImageProcessor`; null where the file does not say. */
  readonly className: string | null;
  /** Conversion of an image; null where there is none, or `unsupported` says why not. */
  readonly image: ImageSpec | null;
  /** Spectrogram of a sound; null where there is none. */
  readonly audio: AudioFacts | null;
  /** The setting that the steps of a bundle don't compute; null for none. */
  readonly unsupported: string | null;
}

/** Parameters of a log-mel spectrogram. */
export interface AudioFacts {
  /** Samples a second. */
  readonly sampleRate: number;
  /** Number of mel bands. */
  readonly bands: number;
  /** Samples between two frames; null for a model that takes the samples themselves. */
  readonly hopLength: number | null;
  /** Samples of a Fourier transform; null for a model that takes the samples themselves. */
  readonly fftLength: number | null;
  /** Length of a piece in seconds; null for any. */
  readonly seconds: number | null;
}

/** Classes, without `ImageProcessor[Fast]` or `FeatureExtractor`, for which a `size` that is a number is the shorter side. */
const SHORT_SIDE: ReadonlySet<string> = new Set([
  ...(["CLIP", "ChineseCLIP", "ConvNext", "Detr", "ConditionalDetr", "DeformableDetr", "Yolos", "Deta"] as const),
  ...(["MobileNetV1", "MobileNetV2", "MobileViT", "LeViT", "Levit", "Bit", "PoolFormer", "Perceiver"] as const),
  ...(["VideoMAE", "Vivit", "TvltImage", "Flava", "MaskFormer", "Mask2Former", "OneFormer", "Owlv2"] as const),
]);
/** The settings of ImageNet, which a processor has where its file gives none. */
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
/** The side from which a convolutional network takes the whole picture instead of a crop of it. */
const NO_CROP_FROM = 384;
const SIDE_MAX = 32_768;

/** Reads a parsed preprocessor_config.json. */
export function readProcessor(json: unknown): ProcessorFacts {
  const config = objectOf(json);
  const className = textOf(config["image_processor_type"]) ?? textOf(config["feature_extractor_type"]);
  const audio = audioOf(config);
  if (audio !== null) return { className, image: null, audio, unsupported: null };
  const resize = resizeOf(config, nameOf(className));
  if (typeof resize === "string") return { className, image: null, audio: null, unsupported: resize };
  const image: ImageSpec = {
    resize,
    channels: truthOf(config["do_flip_channel_order"], false) ? "bgr" : "rgb",
    ...valuesOf(config),
    layout: "nchw",
  };
  return { className, image, audio: null, unsupported: null };
}

function audioOf(config: JsonObject): AudioFacts | null {
  const sampleRate = countOf(config["sampling_rate"]);
  if (sampleRate === null) return null;
  return {
    sampleRate,
    bands: countOf(config["feature_size"]) ?? countOf(config["num_mel_bins"]) ?? 1,
    hopLength: countOf(config["hop_length"]),
    fftLength: countOf(config["n_fft"]),
    seconds: numberOf(config["chunk_length"]),
  };
}

/** Returns the scale, the mean and the deviation: value = (pixel · scale − mean) / std. */
function valuesOf(config: JsonObject): Pick<ImageSpec, "scale" | "mean" | "std"> {
  const rescales = truthOf(config["do_rescale"], true);
  const scale = rescales ? (numberOf(config["rescale_factor"]) ?? 1 / 255) : 1;
  const offset = rescales && truthOf(config["rescale_offset"], false) ? 1 : 0;
  const normalizes = truthOf(config["do_normalize"], true);
  const mean = normalizes ? (numbersOf(config["image_mean"]) ?? IMAGENET.mean) : [0, 0, 0];
  const std = normalizes ? (numbersOf(config["image_std"]) ?? IMAGENET.std) : [1, 1, 1];
  return { scale, mean: mean.map((x) => x + offset), std };
}

/** Returns one number for each channel; null for another value. */
function numbersOf(value: unknown): number[] | null {
  const one = numberOf(value);
  const list = one === null ? listOf(value) : [one, one, one];
  const numbers = list.filter((x): x is number => typeof x === "number" && Number.isFinite(x));
  return numbers.length === 3 && list.length === 3 ? numbers : null;
}

/** Returns the resizing, or the setting that is none of a bundle's. */
function resizeOf(config: JsonObject, name: string): ResizeSpec | string {
  const size = sizeOf(config["size"], SHORT_SIDE.has(name));
  const crop = truthOf(config["do_center_crop"], false) ? sizeOf(config["crop_size"] ?? config["size"], false) : null;
  if (truthOf(config["do_pad"], false) && size?.short != null && crop === null)
    return "images of any size: do_pad, size.shortest_edge";
  const ratio = numberOf(config["crop_pct"]);
  if (size?.short != null && ratio !== null && crop === null) {
    const side = size.short;
    if (side >= NO_CROP_FROM) return { mode: "exact", width: side, height: side };
    return { mode: "crop", width: side, height: side, shortSide: Math.floor(side / ratio) };
  }
  if (!truthOf(config["do_resize"], true)) return "do_resize: false";
  if (size === null) return "size";
  if (size.short !== null) {
    if (crop === null || crop.short !== null) return "images of any size: size.shortest_edge";
    const { width, height } = crop;
    if (size.short < Math.max(width, height)) return "crop_size larger than size";
    return { mode: "crop", width, height, shortSide: size.short };
  }
  const { width, height } = size;
  if (crop === null || (crop.width === width && crop.height === height)) {
    if (truthOf(config["keep_aspect_ratio"], false)) return "keep_aspect_ratio";
    return { mode: "exact", width, height };
  }
  return "crop_size beside a size of both sides";
}

/** A size of both sides, or of the shorter one. */
interface Size {
  /** Null where both sides are given. */
  readonly short: number | null;
  readonly width: number;
  readonly height: number;
}

function sizeOf(value: unknown, isShort: boolean): Size | null {
  const one = countOf(value, SIDE_MAX);
  if (one !== null) return { short: isShort ? one : null, width: one, height: one };
  const [height, width] = listOf(value);
  const size: JsonObject = Array.isArray(value) ? { height, width } : objectOf(value);
  const short = countOf(size["shortest_edge"], SIDE_MAX);
  if (short !== null) return { short, width: short, height: short };
  const [w, h] = [countOf(size["width"], SIDE_MAX), countOf(size["height"], SIDE_MAX)];
  return w === null || h === null ? null : { short: null, width: w, height: h };
}

/** Returns a class without its common ending. */
function nameOf(className: string | null): string {
  return className?.replace(/(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/, "") ?? "";
}
