// Reads preprocessor_config.json: how a picture or a sound becomes a model's input. An image is described where the
// steps of a bundle compute the same; else `unsupported` names the setting, and the model takes tensors.
//
// Releases of transformers differ in what they write: `size` is a number or an object, and a number means the shorter
// side for some classes and both sides for others, which processor-classes.ts holds.
import type { ImageSpec } from "../core/bundle.ts";
import type { FbankSpec, LogMelSpec, SamplesSpec, SoundSpec } from "../core/sound-spec.ts";
import type { ResampleFilter, ResampleSpec, ScaledSize } from "../core/image-spec.ts";
import { countOf, listOf, numberOf, objectOf, textOf, truthOf } from "./json.ts";
import type { JsonObject } from "./json.ts";
import { PLAIN_SOUND, PROCESSOR_CLASSES, RARE_SETTINGS, SOUND_CLASSES } from "./processor-classes.ts";
import { readEvaluation } from "./evaluation.ts";
import type { ProcessorClass } from "./processor-classes.ts";

/** Facts of a processor. */
export interface ProcessorFacts {
  /** The file that says so. */
  readonly file: string;
  /** The class, as `ViTImageProcessor`; null where the file does not say. */
  readonly className: string | null;
  /** Conversion of an image; null where there is none, or `unsupported` says why not. */
  readonly image: ImageSpec | null;
  /** Conversion of a sound; null where there is none, or `unsupported` says why not. */
  readonly sound: SoundSpec | null;
  /** The setting that the steps of a bundle don't compute; null for none. */
  readonly unsupported: string | null;
  /** The most boxes of an answer; null for as many as queries. */
  readonly boxes: number | null;
  /** The tokens that texts beside the pictures are padded to; null for any. */
  readonly textLength: number | null;
  /** Whether it is one of sounds. */
  readonly isSound: boolean;
}

/** Means and deviations that a class has where its file has none. */
const VALUES = {
  standard: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  clip: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
};
/** Pillow's numbers of its filters. */
const FILTERS = ["nearest", "lanczos", "bilinear", "bicubic"] as const;
/** The side from which a convolutional network takes the whole picture instead of a crop of it. */
const NO_CROP_FROM = 384;
const SIDE_MAX = 32_768;
const SOUND_MAX = 768_000;
const BANDS_MAX = 1_024;
/** Keys of a spectrogram's parameters in the file. */
const SOUND_KEYS: Readonly<Record<string, string>> = {
  ...{ sampleRate: "sampling_rate", bands: "feature_size", fftLength: "n_fft" },
  ...{ hopLength: "hop_length", seconds: "chunk_length" },
};

/** Reads a parsed preprocessor_config.json, or a part of another file. */
export function readProcessor(json: unknown, file = "preprocessor_config.json"): ProcessorFacts {
  const config = objectOf(json);
  const className = textOf(config["image_processor_type"]) ?? textOf(config["feature_extractor_type"]);
  const name = nameOf(className);
  const isFast = /Fast$/.test(className ?? "");
  const key = isFast && Object.hasOwn(PROCESSOR_CLASSES, `${name}Fast`) ? `${name}Fast` : name;
  const row = Object.hasOwn(PROCESSOR_CLASSES, key) ? PROCESSOR_CLASSES[key] : undefined;
  // Models that write texts about pictures have the class for their pictures alone.
  const isOwn = config["processor_class"] === `${name}Processor`;
  const textLength = isOwn ? (row?.textLength ?? null) : null;
  const facts = {
    file,
    className,
    textLength,
    ...{ image: null, sound: null, unsupported: null, boxes: null, isSound: false },
  };
  if (config["sampling_rate"] !== undefined || Object.hasOwn(SOUND_CLASSES, name)) {
    const sound = soundOf(config, name);
    return { ...facts, isSound: true, ...(typeof sound === "string" ? { unsupported: sound } : { sound }) };
  }
  const evaluation = readEvaluation(config);
  if (evaluation !== null)
    return { ...facts, ...(typeof evaluation === "string" ? { unsupported: evaluation } : { image: evaluation }) };
  const { own = {}, unknown = null } = row === undefined ? explicitOf(config, isFast) : { own: row };
  const told = row === undefined ? config : withoutRare(isFast ? config : withoutNulls(config), row);
  const resize =
    unknown ?? own.unsupported ?? wrongValues(told, own) ?? resizeOf(told, own, isFast ? "torchvision" : "pil");
  if (typeof resize === "string") return { ...facts, unsupported: resize };
  // With torchvision some classes pad that don't with Pillow.
  if (isFast && told["pad_size"] !== config["pad_size"] && truthOf(config["do_pad"], false))
    return { ...facts, unsupported: "pad_size" };
  const image: ImageSpec = {
    resize,
    channels: truthOf(told["do_flip_channel_order"], own.isBgr ?? false) ? "bgr" : "rgb",
    ...valuesOf(told, own),
    layout: "nchw",
  };
  return { ...facts, image, boxes: own.boxes ?? null };
}

/** Returns the settings with switches that are null off, as classes without `Fast` read them; those take the default. */
function withoutNulls(config: JsonObject): JsonObject {
  const isSwitch = (key: string): boolean => /^do_|^include_top$/.test(key);
  return Object.fromEntries(Object.entries(config).map(([key, x]) => [key, x === null && isSwitch(key) ? false : x]));
}

/** Returns the settings without the rare ones that a class does not know, and so ignores. */
function withoutRare(config: JsonObject, { knows = [] }: ProcessorClass): JsonObject {
  const isKnown = (key: string): boolean => !RARE_SETTINGS.includes(key) || knows.includes(key);
  return Object.fromEntries(Object.entries(config).filter(([key]) => isKnown(key)));
}

/** Returns the conversion of a class, or the setting that no step computes. */
function soundOf(config: JsonObject, name: string): SoundSpec | string {
  const isPlain =
    name === "" &&
    config["feature_size"] === 1 &&
    typeof config["do_normalize"] === "boolean" &&
    config["num_mel_bins"] === undefined;
  const own = isPlain ? PLAIN_SOUND : name;
  const usual = Object.hasOwn(SOUND_CLASSES, own) ? SOUND_CLASSES[own] : undefined;
  switch (usual?.op) {
    case "log-mel":
      return logMelOf(config, usual);
    case "fbank":
      return fbankOf(config, usual);
    case "samples":
      return samplesOf(config, usual);
    case undefined:
      return "feature_extractor_type";
  }
}

function samplesOf(config: JsonObject, { op, ...usual }: Required<SamplesSpec>): SamplesSpec | string {
  if ((config["feature_size"] ?? 1) !== 1) return "feature_size";
  const sampleRate = countOf(config["sampling_rate"] ?? usual.sampleRate, SOUND_MAX);
  return sampleRate === null
    ? "sampling_rate"
    : { op, sampleRate, normalize: truthOf(config["do_normalize"], true), mask: usual.mask };
}

function fbankOf(config: JsonObject, { op, sampleRate, ...usual }: Required<FbankSpec>): FbankSpec | string {
  // At another rate the class itself computes otherwise with torchaudio than without.
  if ((config["sampling_rate"] ?? sampleRate) !== sampleRate) return "sampling_rate";
  const bands = countOf(config["num_mel_bins"] ?? usual.bands, BANDS_MAX);
  if (bands === null) return "num_mel_bins";
  const frames = countOf(config["max_length"] ?? usual.frames, SIDE_MAX);
  if (frames === null) return "max_length";
  const spec = { op, sampleRate, bands, frames };
  if (!truthOf(config["do_normalize"], true)) return spec;
  const std = numberOf(config["std"]);
  return { ...spec, mean: numberOf(config["mean"]) ?? usual.mean, std: std === null ? usual.std : 2 * std };
}

function logMelOf(config: JsonObject, usual: Required<LogMelSpec>): LogMelSpec | string {
  const isOn = (x: string): boolean => config[x] != null && config[x] !== false && config[x] !== 0;
  const other = ["do_normalize", "dither", "padding_value"].find(isOn);
  if (other !== undefined) return other;
  const sound = {
    sampleRate: config["sampling_rate"] ?? usual.sampleRate,
    bands: config["feature_size"] ?? usual.bands,
    fftLength: config["n_fft"] ?? usual.fftLength,
    hopLength: config["hop_length"] ?? usual.hopLength,
    seconds: config["chunk_length"] ?? usual.seconds,
  };
  const wrong = Object.entries(sound).find(([, x]) => countOf(x, SOUND_MAX) === null);
  return wrong === undefined ? ({ op: usual.op, ...sound } as LogMelSpec) : (SOUND_KEYS[wrong[0]] ?? wrong[0]);
}

/** Settings that mean the same for every class, and keys that say nothing of the arithmetic. */
const GENERAL: ReadonlySet<string> = new Set([
  ...["image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "_valid_processor_keys"],
  ...["do_resize", "size", "default_to_square", "resample"],
  ...["do_center_crop", "crop_size", "do_pad", "pad_size", "do_convert_rgb"],
  ...["do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"],
  ...["data_format", "input_data_format", "return_tensors", "device", "disable_grouping"],
]);

/**
 * Reads the settings of a class without a row, which has no defaults: returns the meaning of its `size`, or the setting
 * that is missing or unknown.
 */
function explicitOf(config: JsonObject, isFast: boolean): { readonly own?: ProcessorClass; readonly unknown?: string } {
  const has = (key: string): boolean => config[key] != null;
  const isSwitch = (key: string): boolean => typeof config[key] === "boolean";
  const isOff = (key: string): boolean => /^do_/.test(key) && config[key] === false;
  const isIdle = (key: string): boolean => RARE_SETTINGS.includes(key) && (config[key] === false || config[key] === 1);
  const other = Object.keys(config).find((x) => has(x) && !GENERAL.has(x) && !isOff(x) && !isIdle(x));
  if (other !== undefined) return { unknown: other };
  const square = config["default_to_square"];
  const size = objectOf(config["size"]);
  // With Pillow some classes ignore a longer side beside the shorter one.
  const isBounded = size["shortest_edge"] != null && size["longest_edge"] != null;
  const isSizeClear = typeof config["size"] === "object" ? isFast || !isBounded : isSwitch("default_to_square");
  const wanted: readonly (readonly [key: string, isStated: boolean])[] = [
    ["size", isOff("do_resize") || (has("size") && isSizeClear)],
    ["resample", isOff("do_resize") || has("resample")],
    ["do_normalize", isSwitch("do_normalize")],
    ["image_mean", isOff("do_normalize") || numbersOf(config["image_mean"]) !== null],
    ["image_std", isOff("do_normalize") || numbersOf(config["image_std"]) !== null],
    ["do_center_crop", isSwitch("do_center_crop") || !has("crop_size")],
    ["crop_size", config["do_center_crop"] !== true || has("crop_size")],
    ["pad_size", config["do_pad"] !== true || (has("pad_size") && typeof config["pad_size"] === "object")],
  ];
  const missing = wanted.find(([, isStated]) => !isStated);
  if (missing !== undefined) return { unknown: missing[0] };
  // The size of the crop is stated, if there is one.
  return {
    own: {
      cropSize: NO_CROP_FROM,
      ...(square === false && typeof config["size"] === "number" && { isShort: true as const }),
    },
  };
}

/** Returns the scale, the mean and the deviation: value = (pixel · scale − mean) / std. */
function valuesOf(config: JsonObject, own: ProcessorClass): Pick<ImageSpec, "scale" | "mean" | "std"> {
  const rescales = own.rescales ?? truthOf(config["do_rescale"], true);
  const scale = rescales ? (numberOf(config["rescale_factor"]) ?? 1 / 255) : 1;
  const offset = rescales && truthOf(config["rescale_offset"], false) ? 1 : 0;
  const normalizes = isNormalizing(config, own);
  const usual = VALUES[own.values ?? "standard"];
  const told = numbersOf(config["image_std"]) ?? usual.std;
  const mean = normalizes ? (numbersOf(config["image_mean"]) ?? usual.mean) : [0, 0, 0];
  const std = normalizes ? told : [1, 1, 1];
  const last = own.dividesTwice === true && truthOf(config["include_top"], true) ? told : [1, 1, 1];
  return { scale, mean: mean.map((x) => x + offset), std: std.map((x, i) => x * (last[i] ?? 1)) };
}

function isNormalizing(config: JsonObject, { normalizes }: ProcessorClass): boolean {
  return normalizes !== "never" && truthOf(config["do_normalize"], normalizes ?? true);
}

/** Returns the key of a mean or deviation that is not of three channels, as that of a grey image; null for none. */
function wrongValues(config: JsonObject, own: ProcessorClass): string | null {
  if (!isNormalizing(config, own) && own.dividesTwice !== true) return null;
  return ["image_mean", "image_std"].find((x) => config[x] != null && numbersOf(config[x]) === null) ?? null;
}

/** Returns one number for each channel; null for another value. */
function numbersOf(value: unknown): number[] | null {
  const one = numberOf(value);
  const list = one === null ? listOf(value) : [one, one, one];
  const numbers = list.filter((x): x is number => typeof x === "number" && Number.isFinite(x));
  return numbers.length === 3 && list.length === 3 ? numbers : null;
}

/** Returns the resizing, or the setting that is none of a bundle's. */
function resizeOf(config: JsonObject, own: ProcessorClass, library: "pil" | "torchvision"): ResampleSpec | string {
  const filter = filterOf(config, own, library);
  if (filter === null) return "resample";
  const usual = { mode: "resample", filter } as const;
  const resizes = truthOf(config["do_resize"], true);
  if (own.isDivisor === true)
    return resizes ? { ...usual, to: { multipleOf: countOf(config["size_divisor"], SIDE_MAX) ?? 32 } } : usual;
  const refused = own.refuses?.find((x) => truthOf(config[x], false));
  if (refused !== undefined) return refused;
  const crops = truthOf(config["do_center_crop"], own.crops ?? false);
  const crop = crops ? squareOf(config["crop_size"] ?? own.cropSize ?? 224) : undefined;
  if (crop === null) return "crop_size";
  const size = resizes ? sidesOf(config, own) : undefined;
  if (size === null) return "size";
  const scaled = size === undefined ? {} : scaleOf(config, own, size, library);
  // Classes that know no crop ignore it, or don't with torchvision, by their release. With Pillow those of both sides take
  // no shorter side at all.
  const knowsCrop = own.crops === true || own.cropSize !== undefined;
  const mayCrop = knowsCrop || (own.isShort !== true && size !== undefined && "short" in size);
  if (crop !== undefined && !mayCrop && !isWhole(crop, scaled)) return "do_center_crop";
  if (truthOf(config["do_pad"], false) && config["size_divisor"] != null) return "do_pad with size_divisor";
  const pad = padOf(config, own);
  if (pad === null) return "pad_size";
  return { ...usual, ...(crop !== undefined && { crop }), ...(pad !== undefined && { pad }), ...scaled };
}

/** Whether a crop takes all of an image that was scaled. */
function isWhole(
  { width, height }: { readonly width: number; readonly height: number },
  scaled: Pick<ResampleSpec, "to" | "crop">,
): boolean {
  const size = scaled.crop ?? scaled.to;
  return size !== undefined && "width" in size && size.width === width && size.height === height;
}

/** Returns the size after scaling, with the crop that belongs to it. */
function scaleOf(
  config: JsonObject,
  own: ProcessorClass,
  size: ScaledSize,
  library: "pil" | "torchvision",
): Pick<ResampleSpec, "to" | "crop"> {
  const { crop_pct: share } = config;
  // A class with a share of its own takes null for none.
  const hasRatio = own.short === "crop-pct" && !(share === null && own.cropShare !== undefined);
  const ratio = hasRatio ? (numberOf(share) ?? own.cropShare ?? DEFAULT_CROP_SHARE) : null;
  if ("width" in size) {
    if (own.crops === true && ratio !== null && ratio > 0) return { to: cropScale(size, ratio) };
    const multipleOf = countOf(config["ensure_multiple_of"], SIDE_MAX) ?? 1;
    if (truthOf(config["keep_aspect_ratio"], false))
      return { to: { nearWidth: size.width, nearHeight: size.height, multipleOf } };
    return { to: { width: nearest(size.width, multipleOf), height: nearest(size.height, multipleOf) } };
  }
  if (!("short" in size)) return { to: size };
  const isNumber = typeof sizeSetting(config, own) === "number";
  const { short } = size;
  const long = isNumber
    ? (countOf(config["max_size"], SIDE_MAX) ?? own.longSide)
    : knowsLong(own, library)
      ? size.long
      : undefined;
  const multipleOf = own.multipleOf === undefined ? {} : { multipleOf: own.multipleOf };
  if (long !== undefined) return { to: { short, long, ...multipleOf } };
  if (own.short === "levit") return { to: { short: Math.floor((256 / 224) * short) } };
  if (ratio === null || ratio <= 0) return { to: { short, ...multipleOf } };
  if (own.crops === true) return { to: { short: Math.floor(short / ratio) } };
  if (short >= NO_CROP_FROM) return { to: { width: short, height: short } };
  const margin = own.margin === "even" && library === "torchvision" ? { margin: "even" as const } : {};
  return { to: { short: Math.floor(short / ratio) }, crop: { width: short, height: short, ...margin } };
}

/** Whether a class knows a longer side beside a shorter one; the others ignore it. */
function knowsLong({ longSide, short }: ProcessorClass, library: "pil" | "torchvision"): boolean {
  return longSide !== undefined || (library === "torchvision" && short === undefined);
}

/** Returns the nearest multiple, of two the one by an even number, as Python rounds. */
function nearest(size: number, multipleOf: number): number {
  const count = size / multipleOf;
  return multipleOf * (count % 1 === 0.5 ? 2 * Math.round(count / 2) : Math.round(count));
}

/** The share of the scaled image that is cropped, for classes that have one and a file that does not say. */
const DEFAULT_CROP_SHARE = 224 / 256;

/** Returns the size from which both sides are cropped: equal ones are the shorter side. */
function cropScale({ width, height }: { readonly width: number; readonly height: number }, share: number): ScaledSize {
  const [scaledWidth, scaledHeight] = [Math.floor(width / share), Math.floor(height / share)];
  return width === height ? { short: scaledWidth } : { width: scaledWidth, height: scaledHeight };
}

function filterOf(config: JsonObject, own: ProcessorClass, library: "pil" | "torchvision"): ResampleFilter | null {
  const told = config["resample"] ?? config["interpolation"];
  const kind =
    told == null
      ? (own.filter ?? "bilinear")
      : FILTERS.find((x, i) => i === told || (typeof told === "string" && x === told.toLowerCase()));
  const isClipped = own.isFloat === true && (kind === "bicubic" || kind === "lanczos");
  if (kind === undefined || isClipped) return null;
  // Torchvision has no Lanczos for tensors.
  if (library === "pil" || kind === "lanczos") return `pil-${kind}`;
  return kind === "nearest" ? "torchvision-nearest-exact" : `torchvision-${kind}`;
}

/** A padding to a fixed size; undefined for none, and for that of a batch to its largest image, which an image alone has not. */
function padOf(
  config: JsonObject,
  { padSize }: ProcessorClass,
): { readonly width: number; readonly height: number } | undefined | null {
  const size = config["pad_size"] ?? padSize;
  if (!truthOf(config["do_pad"], padSize !== undefined) || size == null) return undefined;
  return squareOf(size);
}

/** The `size` of a class; CLIP's `use_square_size` makes both sides of a shorter one. */
function sidesOf(config: JsonObject, own: ProcessorClass): ScaledSize | null {
  const told = sizeSetting(config, own);
  const one = own.isLong === true ? countOf(told, SIDE_MAX) : null;
  const any = one === null ? sizeOf(told, own.isShort === true) : { long: one };
  const size =
    own.isLong === true && any !== null && "long" in any && any.long !== undefined ? { long: any.long } : any;
  const isSquare = truthOf(config["use_square_size"], false) && size !== null && "short" in size;
  return isSquare ? { width: size.short, height: size.short } : size;
}

function sizeSetting(config: JsonObject, { size = 224 }: ProcessorClass): unknown {
  return config["size"] ?? size;
}

/** A size of both sides, of which one number is a square. */
function squareOf(value: unknown): { readonly width: number; readonly height: number } | null {
  const size = sizeOf(value, false);
  return size !== null && "width" in size ? size : null;
}

/** Reads a size: a number, [height, width], or an object of sides or edges; null for anything else. */
function sizeOf(value: unknown, isShort: boolean): ScaledSize | null {
  const one = countOf(value, SIDE_MAX);
  if (one !== null) return isShort ? { short: one } : { width: one, height: one };
  const [first, second] = listOf(value);
  const size: JsonObject = Array.isArray(value) ? { height: first, width: second } : objectOf(value);
  const [short, long] = [countOf(size["shortest_edge"], SIDE_MAX), countOf(size["longest_edge"], SIDE_MAX)];
  if (short !== null) return long === null ? { short } : { short, long };
  if (long !== null) return { long };
  const [width, height] = [countOf(size["width"], SIDE_MAX), countOf(size["height"], SIDE_MAX)];
  return width === null || height === null ? null : { width, height };
}

/** Returns a class without its common ending. */
function nameOf(className: string | null): string {
  return className?.replace(/(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/, "") ?? "";
}
