// Processing steps of schema 2: `preprocess` of an input and `postprocess` of an output are open lists of `{ "step":
// word, … }`. This file converts such lists to the specs that workers run (ImageSpec, TextSpec, SoundSpec, DecodeSpec), and back;
// bundle-shape.ts defines their parameters. A list that this version can't run is not an error here: the first unknown
// step is returned, and the model needs a newer release.
import type { BundleInput, BundleOutput, DecodeSpec, ImageSpec, SoundSpec, TextSpec } from "./bundle.ts";
import { RESAMPLE_FILTERS } from "./image-spec.ts";

/** A step with its parameters. */
export type ProcessingStep = { readonly step: string };

/** The steps that this version knows before a model, and after one. */
export const STEPS: Readonly<Record<"preprocess" | "postprocess", readonly string[]>> = {
  preprocess: ["image", "text", "log-mel", "fbank", "samples"],
  postprocess: [
    ...["softmax", "sigmoid", "argmax", "labels", "ctc", "pool"],
    ...["tokens", "detect", "segment", "mask", "depth", "points"],
  ],
};

/** The words that this version knows in a step `image`. */
export const IMAGE_WORDS = {
  mode: ["exact", "fit", "crop", "height", "side", "resample"],
  channels: ["rgb", "bgr", "gray"],
  layout: ["nchw", "nhwc"],
} as const;

/** The spec that workers run for a list of steps, or the step that this version can't run. */
export type Converted<T> = { readonly spec: T; readonly unknown?: undefined } | { readonly unknown: string };

/** The field of an input that holds the spec of a step. */
const FIELDS: Readonly<Record<string, "image" | "text" | "sound">> = {
  image: "image",
  text: "text",
  "log-mel": "sound",
  fbank: "sound",
  samples: "sound",
};
type PostStep = { readonly step: DecodeSpec["op"] };

/** The words of `pool.mode`. */
export const POOL_MODES = ["mean", "cls", "last", "max", "sqrt-mean", "weighted-mean"] as const;

/** A word that a newer release may add to: letters, digits and some signs. */
export const OPEN_WORD = "[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}";
const IS_OPEN = new RegExp(`^${OPEN_WORD}$`);

/** Fields of steps whose words a newer release may add to, by step: path and known words. */
export const STEP_WORDS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  image: {
    "resize.mode": IMAGE_WORDS.mode,
    "resize.filter": RESAMPLE_FILTERS,
    "resize.crop.margin": ["down", "even"],
    channels: IMAGE_WORDS.channels,
    layout: IMAGE_WORDS.layout,
  },
  text: { keeps: ["begin", "end"] },
  pool: { mode: POOL_MODES },
  tokens: { aggregate: ["none", "simple", "first", "average", "max"] },
  detect: { form: ["queries", "anchors"], scores: ["softmax", "sigmoid"] },
  points: { form: ["heatmaps", "shares"] },
};
/** Fields of a scaled size (core/image-spec.ts). */
const SIZE_FIELDS = ["width", "height", "short", "long", "nearWidth", "nearHeight", "multipleOf"];

/**
 * Returns the first word in a step that this version does not know, as `image.channels=rgba`; undefined where it knows
 * all, and for a step that it does not know.
 */
export function newerWord(step: unknown): string | undefined {
  const fields = fieldsOf(step);
  const word = String(fields["step"]);
  const words = Object.hasOwn(STEP_WORDS, word) ? STEP_WORDS[word] : undefined;
  for (const [path, known] of Object.entries(words ?? {})) {
    const value = path.split(".").reduce<unknown>((x, key) => fieldsOf(x)[key], fields);
    if (typeof value === "string" && IS_OPEN.test(value) && !known.includes(value)) return `${word}.${path}=${value}`;
  }
  if (word !== "image") return undefined;
  const form = Object.keys(fieldsOf(fieldsOf(fields["resize"])["to"])).find((x) => !SIZE_FIELDS.includes(x));
  return form !== undefined && IS_OPEN.test(form) ? `image.resize.to=${form}` : undefined;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

/** Converts the steps before a model: at most one, for images, texts or sounds. */
export function inputSpec(
  steps: readonly ProcessingStep[] = [],
): Converted<{ image?: ImageSpec; text?: TextSpec; sound?: SoundSpec }> {
  const [first, second] = steps;
  if (first === undefined) return { spec: {} };
  if (!STEPS.preprocess.includes(first.step)) return { unknown: first.step };
  const newer = newerWord(first);
  if (newer !== undefined) return { unknown: newer };
  if (second !== undefined) return { unknown: second.step };
  const { step, ...spec } = first;
  const field = FIELDS[step] ?? step;
  return { spec: { [field]: field === "sound" ? { op: step, ...spec } : spec } };
}

/** Converts the steps after a model: one, or `softmax` or `sigmoid` and then `labels`. */
export function outputSpec(steps: readonly ProcessingStep[] = []): Converted<{ decode?: DecodeSpec }> {
  if (steps.length === 0) return { spec: {} };
  const other = steps.find((x) => !STEPS.postprocess.includes(x.step));
  if (other !== undefined) return { unknown: other.step };
  const newer = steps.map(newerWord).find((x) => x !== undefined);
  if (newer !== undefined) return { unknown: newer };
  const [first, second, third] = steps as readonly PostStep[];
  if (first === undefined) return { spec: {} };
  const isLabels = second?.step === "labels";
  const logits = isLabels && (first.step === "softmax" || (first.step === "sigmoid" && first.step));
  const extra = logits === false ? second : third;
  if (extra !== undefined) return { unknown: extra.step };
  const { step, ...rest } = logits !== false && isLabels ? second : first;
  return { spec: { decode: { op: step, ...rest, ...(logits !== false && { logits }) } as DecodeSpec } };
}

/** Returns the steps of an input. */
export function preprocessSteps({
  image,
  text,
  sound,
}: Pick<BundleInput, "image" | "text" | "sound">): ProcessingStep[] {
  const { op = "", ...heard } = sound ?? {};
  return [
    ...(image === undefined ? [] : [{ step: "image", ...image }]),
    ...(text === undefined ? [] : [{ step: "text", ...text }]),
    ...(sound === undefined ? [] : [{ step: op, ...heard }]),
  ];
}

/** Returns the steps that decode an output. */
export function postprocessSteps({ decode }: Pick<BundleOutput, "decode">): ProcessingStep[] {
  if (decode === undefined) return [];
  if (decode.op !== "labels") {
    const { op, ...rest } = decode;
    return [{ step: op, ...rest }];
  }
  const { op, logits, ...rest } = decode;
  const before = logits === true ? "softmax" : logits;
  return [...(before === "softmax" || before === "sigmoid" ? [{ step: before }] : []), { step: op, ...rest }];
}
