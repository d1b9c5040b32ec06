// Processing steps of schema 2: `preprocess` of an input and `postprocess` of an output are open lists of
// `{ "step": word, … }`. This file holds the parameters of the steps that this version knows, and converts lists of them
// to the specs that workers run (ImageSpec, TextSpec, DecodeSpec), and back. A list that this version can't run is no
// error here: the first step that it does not know is returned, and the model is not for this release.
import * as v from "valibot";
import type { BundleInput, BundleOutput, DecodeSpec, ImageSpec, TextSpec } from "./bundle.ts";
import { asset, finite, name, path, size, word } from "./bundle-values.ts";

const resize = v.variant("mode", [
  v.object({ mode: v.literal("exact"), width: size, height: size }),
  v.object({ mode: v.literal("fit"), width: size, height: size }),
  v.object({
    mode: v.literal("height"),
    height: size,
    minWidth: v.optional(size),
    maxWidth: v.optional(size),
    multipleOf: v.optional(size),
  }),
  v.object({
    mode: v.literal("side"),
    maxSide: size,
    minSide: v.optional(size),
    multipleOf: v.optional(size),
  }),
]);

/** The parameters of the step `image`. */
export const image = {
  resize,
  channels: v.picklist(["rgb", "bgr", "gray"]),
  scale: v.optional(finite),
  mean: v.optional(v.array(finite)),
  std: v.optional(v.array(v.pipe(finite, v.notValue(0)))),
  layout: v.picklist(["nchw", "nhwc"]),
};

/** The parameters of the step `text`. */
export const text = {
  tokenizer: path,
  maxLength: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1_048_576)),
  mask: v.optional(name),
  types: v.optional(name),
};

/** The schemas of the steps that this version knows, by their words. */
export type StepSchemas = Readonly<Record<string, v.GenericSchema<unknown, Step>>>;

/** A step with its parameters. */
export type Step = { readonly step: string };

/** The steps before a model. */
export const PREPROCESS = {
  image: v.object({ step: v.literal("image"), ...image }),
  text: v.object({ step: v.literal("text"), ...text }),
};

/** The steps after a model. */
export const POSTPROCESS = {
  softmax: v.object({ step: v.literal("softmax") }),
  argmax: v.object({ step: v.literal("argmax") }),
  labels: v.object({ step: v.literal("labels"), asset, top: v.optional(size) }),
  ctc: v.object({ step: v.literal("ctc"), asset }),
};

/** Makes the schema of a step: checked where it is known, else any object with a word. */
export function step(known: StepSchemas, published: boolean): v.GenericSchema<unknown, Step> {
  const names = Object.keys(known);
  if (published) {
    const other = v.pipe(word, v.regex(new RegExp(`^(?!(?:${names.join("|")})$)`)));
    return v.union([...Object.values(known), v.object({ step: other })]);
  }
  const unknown = v.object({ step: word });
  return v.lazy((value) => {
    const word: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "step") : undefined;
    return (typeof word === "string" && names.includes(word) ? known[word] : undefined) ?? unknown;
  });
}

/** A list of steps as the spec that workers run, or the step that this version can't run where it stands. */
export type Converted<T> = { readonly spec: T; readonly unknown?: undefined } | { readonly unknown: string };

type PreStep = v.InferOutput<(typeof PREPROCESS)["image" | "text"]>;
type PostStep = v.InferOutput<(typeof POSTPROCESS)["softmax" | "argmax" | "labels" | "ctc"]>;

/** Converts the steps before a model: at most one, which takes images or texts. */
export function inputSpec(steps: readonly Step[] = []): Converted<{ image?: ImageSpec; text?: TextSpec }> {
  const [first, second] = steps;
  if (first === undefined) return { spec: {} };
  if (!Object.hasOwn(PREPROCESS, first.step)) return { unknown: first.step };
  if (second !== undefined) return { unknown: second.step };
  const { step, ...spec } = first as PreStep;
  return { spec: step === "image" ? { image: spec as ImageSpec } : { text: spec as TextSpec } };
}

/** Converts the steps after a model: one, or `softmax` and then `labels`. */
export function outputSpec(steps: readonly Step[] = []): Converted<{ decode?: DecodeSpec }> {
  if (steps.length === 0) return { spec: {} };
  const other = steps.find((x) => !Object.hasOwn(POSTPROCESS, x.step));
  if (other !== undefined) return { unknown: other.step };
  const [first, second, third] = steps as readonly PostStep[];
  if (first === undefined) return { spec: {} };
  const logits = first.step === "softmax" && second?.step === "labels";
  const extra = logits ? third : second;
  if (extra !== undefined) return { unknown: extra.step };
  const { step, ...rest } = logits && second !== undefined ? second : first;
  return { spec: { decode: { op: step, ...rest, ...(logits && { logits }) } as DecodeSpec } };
}

/** Writes what an input takes as steps. */
export function preprocessSteps({ image, text }: Pick<BundleInput, "image" | "text">): Step[] {
  return [
    ...(image === undefined ? [] : [{ step: "image", ...image }]),
    ...(text === undefined ? [] : [{ step: "text", ...text }]),
  ];
}

/** Writes how an output is decoded as steps. */
export function postprocessSteps({ decode }: Pick<BundleOutput, "decode">): Step[] {
  if (decode === undefined) return [];
  if (decode.op !== "labels") {
    const { op, ...rest } = decode;
    return [{ step: op, ...rest }];
  }
  const { op, logits, ...rest } = decode;
  return [...(logits === true ? [{ step: "softmax" }] : []), { step: op, ...rest }];
}
