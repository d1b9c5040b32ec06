// Reads the sizes of a model's inputs from config.json, preprocessor_config.json and tokenizer.json. A size that only one
// of many layouts states is taken all the same: these are sizes to try a model with, not what its steps compute.
import { countOf, listOf, objectOf } from "./json.ts";

/** Sizes that a model's files state. */
export interface InputSizes {
  readonly channels?: number;
  readonly height?: number;
  readonly width?: number;
  /** Mel bins of a spectrogram. */
  readonly features?: number;
  /** Frames of a spectrogram. */
  readonly frames?: number;
}

/** Reads the sizes from the parsed files; anything but an object states none. */
export function readInputSizes(config: unknown, processor: unknown): InputSizes {
  const [model, image] = [objectOf(config), objectOf(processor)];
  const crop = image["do_center_crop"] === false ? undefined : image["crop_size"];
  const size = [crop, image["size"], model["image_size"]].find((x) => sideOf(x, "height") !== null);
  const [height, width] = [sideOf(size, "height"), sideOf(size, "width")];
  const isImage = height !== null || image["image_mean"] !== undefined;
  const channels = countOf(image["num_channels"]) ?? countOf(model["num_channels"]) ?? (isImage ? 3 : null);
  const features = countOf(image["feature_size"]) ?? countOf(model["num_mel_bins"]);
  const frames = countOf(image["nb_max_frames"]);
  return {
    ...(channels !== null && { channels }),
    ...(height !== null && { height }),
    ...(width !== null && { width }),
    ...(features !== null && features > 1 && { features }),
    ...(frames !== null && { frames }),
  };
}

/** Reads the number of tokens from the parsed files: the tokenizer's, else the configuration's; null where neither says. */
export function readVocabularySize(config: unknown, tokenizer: unknown): number | null {
  const vocab = objectOf(objectOf(tokenizer)["model"])["vocab"];
  const entries = listOf(vocab).length + Object.keys(objectOf(vocab)).length;
  if (entries > 0) return entries;
  const model = objectOf(config);
  return countOf(model["vocab_size"]) ?? countOf(objectOf(model["text_config"])["vocab_size"]);
}

/** A size is a number, `{ height, width }`, or `{ shortest_edge }`. */
function sideOf(value: unknown, side: "height" | "width"): number | null {
  const sides = objectOf(value);
  return countOf(value) ?? countOf(sides[side]) ?? countOf(sides["shortest_edge"]);
}
