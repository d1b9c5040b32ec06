// Reads `pretrained_cfg`, in which timm writes how a model is evaluated: an image is scaled by Pillow, so that the crop from
// its centre is a share of it, `crop_pct`. Such a repository has it in config.json, and often no preprocessor_config.json.
// Tests for other sizes than those of training (`test_input_size`) are not read, as transformers doesn't.
import type { ImageSpec, ResampleSpec } from "../core/image-spec.ts";
import { countOf, listOf, numberOf, objectOf, textOf } from "./json.ts";
import type { JsonObject } from "./json.ts";

/** Key of the settings in config.json. */
export const EVALUATION = "pretrained_cfg";

const USUAL = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: [3, 224, 224], share: 0.875 };
const FILTERS = ["nearest", "bilinear", "bicubic", "lanczos"];
const SIDE_MAX = 32_768;

/** Returns the conversion of an image, or the setting that the steps don't compute; null for a file without any. */
export function readEvaluation(config: JsonObject): ImageSpec | string | null {
  const own = objectOf(config[EVALUATION]);
  if (Object.keys(own).length === 0) return null;
  const numbers = (key: "mean" | "std"): number[] | null => {
    const list = listOf(own[key] ?? USUAL[key]).map(numberOf);
    return list.length === 3 && !list.includes(null) ? (list as number[]) : null;
  };
  const [mean, std] = [numbers("mean"), numbers("std")];
  const resize = resizeOf(own);
  if (mean === null || std === null) return `${EVALUATION}.${mean === null ? "mean" : "std"}`;
  if (typeof resize === "string") return `${EVALUATION}.${resize}`;
  return { resize, channels: "rgb", scale: 1 / 255, mean, std, layout: "nchw" };
}

function resizeOf(own: JsonObject): ResampleSpec | string {
  const kind = textOf(own["interpolation"]) ?? "bicubic";
  if (!FILTERS.includes(kind)) return "interpolation";
  const [channels, height, width] = listOf(own["input_size"] ?? USUAL.size).map((x) => countOf(x, SIDE_MAX));
  if (channels !== 3 || height == null || width == null) return "input_size";
  const share = numberOf(own["crop_pct"]) ?? USUAL.share;
  if (share <= 0 || share > 1) return "crop_pct";
  const [scaledHeight, scaledWidth] = [height, width].map((x) => Math.floor(x / share)) as [number, number];
  const mode = textOf(own["crop_mode"]) ?? "center";
  const isSquash = mode === "squash";
  if (!isSquash && mode !== "center") return "crop_mode";
  if (!isSquash && height !== width) return "input_size";
  return {
    mode: "resample",
    filter: `pil-${kind as "bicubic"}`,
    to: isSquash ? { width: scaledWidth, height: scaledHeight } : { short: scaledHeight },
    crop: { width, height, margin: "even" },
  };
}
