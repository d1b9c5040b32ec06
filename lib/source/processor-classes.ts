// The image processors of transformers by class, as release 4.57.6 computes them: the one place in this package that names
// architectures. A class without a row has no defaults: its file must state every setting (processor.ts).
import type { SoundSpec } from "../core/sound-spec.ts";

/** Behaviour of a class where preprocessor_config.json does not say, and that no setting states. */
export interface ProcessorClass {
  /** The `size` where it is missing, in the forms of the file. Default: 224. */
  readonly size?: number | readonly [height: number, width: number];
  /** Whether a `size` that is one number is the shorter side. Default: both sides. */
  readonly isShort?: true;
  /** Whether a `size` that is one number is the longer side. */
  readonly isLong?: true;
  /** The most pixels of the longer side, beside a `size` that is one number and no `max_size`. Default: any. */
  readonly longSide?: number;
  /** Filter where `resample` is missing. Default: bilinear. */
  readonly filter?: "nearest" | "bicubic" | "lanczos";
  /** Whether values are resampled as floats, which bicubic and Lanczos then take past white and black: these are refused. */
  readonly isFloat?: true;
  /** Mean and deviation where they are missing. Default: 0.5 for all. */
  readonly values?: "imagenet" | "clip";
  /** Whether the centre is cropped where `do_center_crop` is missing. Default: no. */
  readonly crops?: true;
  /** The side of the crop where `crop_size` is missing. Default: 224. */
  readonly cropSize?: number;
  /** Whether it normalises where `do_normalize` is missing, or `never`, whatever the file says. Default: yes. */
  readonly normalizes?: false | "never";
  /** Whether pixels stay from 0 to 255, whatever the file says. */
  readonly rescales?: false;
  /** Meaning of a `size` with a shorter side: scaled to it; `crop_pct` or a factor more, and cropped to it. */
  readonly short?: "crop-pct" | "levit";
  /** The share of the scaled image that is cropped where `crop_pct` is missing. Default: 224 / 256. */
  readonly cropShare?: number;
  /** How half of an odd margin is rounded with torchvision: `center_crop` itself is called. Default: down. */
  readonly margin?: "even";
  /** The side that it pads to where `do_pad` and `pad_size` are missing. Default: it does not pad. */
  readonly padSize?: number;
  /** Settings of RARE_SETTINGS that the class knows. Default: none. */
  readonly knows?: readonly string[];
  /** Settings that no step computes where they are on. */
  readonly refuses?: readonly string[];
  /** The number that both sides are rounded down to a multiple of, after scaling. */
  readonly multipleOf?: number;
  /** Whether sides are rounded down to a multiple of `size_divisor`, and nothing else is resized. */
  readonly isDivisor?: true;
  /** Whether `do_flip_channel_order` is on where it is missing: BGR. */
  readonly isBgr?: true;
  /** Whether values are divided by the deviation once more at the end, unless `include_top` is off. */
  readonly dividesTwice?: true;
  /** The tokens that texts beside the pictures are padded to, for a model that takes no mask of them. Default: none. */
  readonly textLength?: number;
  /** The most boxes of an answer. Default: the number of queries. */
  readonly boxes?: number;
  /** Why the steps of a bundle don't compute the same. */
  readonly unsupported?: string;
}

/** Settings that few classes know; the others ignore them. */
export const RARE_SETTINGS: readonly string[] = [
  ...["do_pad", "pad_size", "max_size", "use_square_size", "keep_aspect_ratio", "ensure_multiple_of"],
  ...["rescale_offset", "do_flip_channel_order"],
];
const PADS = ["do_pad", "pad_size"];

const CLIP: ProcessorClass = { isShort: true, filter: "bicubic", values: "clip", crops: true };
const DETR: ProcessorClass = {
  size: 800,
  isShort: true,
  longSide: 1333,
  values: "imagenet",
  knows: [...PADS, "max_size"],
};
const MOBILE: ProcessorClass = { size: 256, isShort: true, crops: true };
const PATCHES: ProcessorClass = { unsupported: "images as a list of patches" };
const ROUNDED_UP: ProcessorClass = { unsupported: "sides that are rounded up to a multiple" };
const SUPERPOINT: ProcessorClass = {
  size: [480, 640],
  normalizes: "never",
  refuses: ["do_grayscale", "do_center_crop"],
};
const SEVERAL: ProcessorClass = { unsupported: "several tiles of an image" };

/**
 * Rows by class, without `ImageProcessor`, `ImageProcessorFast` or `FeatureExtractor`; a fast class whose defaults differ
 * has a row with `Fast`.
 */
export const PROCESSOR_CLASSES: Readonly<Record<string, ProcessorClass>> = {
  Beit: { size: 256, filter: "bicubic", crops: true },
  BeitFast: { filter: "bicubic", cropSize: 224 },
  Bit: CLIP,
  Blip: { size: 384, filter: "bicubic", values: "clip" },
  CLIP: { ...CLIP, knows: ["use_square_size"] },
  CLIPFast: CLIP,
  Chameleon: { unsupported: "transparent pixels over white" },
  ChineseCLIP: CLIP,
  ConditionalDetr: { ...DETR, boxes: 100 },
  ConvNext: { size: 384, isShort: true, short: "crop-pct", margin: "even" },
  DINOv3ViT: { values: "imagenet", cropSize: 224, isFloat: true },
  DPT: { size: 384, filter: "bicubic", knows: [...PADS, "keep_aspect_ratio", "ensure_multiple_of"] },
  DeformableDetr: { ...DETR, boxes: 100 },
  DepthPro: { unsupported: "a scaling without antialias" },
  DeiT: { size: 256, filter: "bicubic", crops: true },
  Deta: DETR,
  Detr: DETR,
  Donut: { unsupported: "an image that is turned and made a thumbnail" },
  EfficientFormer: { filter: "bicubic", values: "imagenet", crops: true },
  EfficientNet: { size: 346, filter: "nearest", cropSize: 289, dividesTwice: true, knows: ["rescale_offset"] },
  Flava: { filter: "bicubic", values: "clip", crops: true },
  Fuyu: PATCHES,
  GLPN: { isDivisor: true, normalizes: "never" },
  GroundingDino: DETR,
  Idefics2: SEVERAL,
  Idefics3: SEVERAL,
  ImageGPT: { unsupported: "colours as classes" },
  LayoutLMv2: { isBgr: true, rescales: false, normalizes: "never", refuses: ["do_center_crop"] },
  LayoutLMv3: {},
  Levit: { isShort: true, filter: "bicubic", values: "imagenet", crops: true, short: "levit" },
  // `do_pad` pads to a square before the scaling, in the colour of the mean.
  Llava: { ...CLIP, knows: ["do_pad"], refuses: ["do_pad"] },
  LlavaNext: SEVERAL,
  LlavaOnevision: SEVERAL,
  Mask2Former: ROUNDED_UP,
  MaskFormer: ROUNDED_UP,
  Mllama: SEVERAL,
  MobileNetV1: MOBILE,
  MobileNetV2: MOBILE,
  MobileViT: {
    isShort: true,
    crops: true,
    cropSize: 256,
    normalizes: "never",
    isBgr: true,
    knows: ["do_flip_channel_order"],
  },
  Nougat: { unsupported: "margins that are cropped" },
  OneFormer: ROUNDED_UP,
  OwlViT: { size: 768, filter: "bicubic", values: "clip", cropSize: 768 },
  OwlViTFast: { size: 768, filter: "bicubic", values: "clip", cropSize: 768, normalizes: false },
  Owlv2: { unsupported: "an image that is padded to a square before it is scaled" },
  Perceiver: { unsupported: "a crop before the scaling" },
  Pix2Struct: PATCHES,
  Pixtral: PATCHES,
  PoolFormer: {
    isShort: true,
    filter: "bicubic",
    values: "imagenet",
    crops: true,
    short: "crop-pct",
    cropShare: 0.9,
  },
  Pvt: { values: "imagenet" },
  Qwen2VL: PATCHES,
  RTDetr: { size: 640, longSide: 1333, values: "imagenet", normalizes: false, knows: PADS },
  Sam: { size: 1024, isLong: true, values: "imagenet", padSize: 1024, knows: PADS },
  Segformer: { size: 512, values: "imagenet", refuses: ["do_center_crop"] },
  Siglip: { filter: "bicubic", textLength: 64 },
  SiglipFast: { size: [224, 224], isShort: true, filter: "bicubic", textLength: 64 },
  Siglip2: { ...PATCHES, textLength: 64 },
  SmolVLM: SEVERAL,
  SuperPoint: SUPERPOINT,
  SuperPointFast: { ...SUPERPOINT, isShort: true },
  Swin2SR: { unsupported: "mirrored borders" },
  TextNet: ROUNDED_UP,
  Tvp: { unsupported: "frames of a video" },
  ViT: {},
  ViTHybrid: CLIP,
  VideoMAE: { unsupported: "frames of a video" },
  Vilt: { unsupported: "a size by both sides and a divisor" },
  VitMatte: { unsupported: "a trimap beside the image" },
  VitPose: { unsupported: "a box of a person, which the image is turned to" },
  Vivit: { unsupported: "frames of a video" },
  Yolos: { ...DETR, multipleOf: 16 },
  ZoeDepth: { unsupported: "mirrored borders" },
};

/** The feature extractors of sounds, with what a class has where its file says nothing. */
export const SOUND_CLASSES: Readonly<Record<string, Required<SoundSpec>>> = {
  AST: { op: "fbank", sampleRate: 16_000, bands: 128, frames: 1_024, mean: -4.2677393, std: 2 * 4.5689974 },
  Wav2Vec2: { op: "samples", sampleRate: 16_000, normalize: true, mask: "attention_mask" },
  Whisper: { op: "log-mel", sampleRate: 16_000, bands: 80, fftLength: 400, hopLength: 160, seconds: 30 },
};

/** The class of a file that names none, has one feature a sample and says whether it normalises. */
export const PLAIN_SOUND = "Wav2Vec2";

/** Tokenizers whose texts are the characters of vocab.json, with a mark between words. */
export const CTC_TOKENIZERS: readonly string[] = ["Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer"];
