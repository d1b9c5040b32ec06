// Checks and resolves an app's own description of a bare model, and the options of an update, which has none. Imported
// when `load` has `image` or `labels`, and by `update`: the page's script has no room for it.
import { withoutCredentials } from "../core/credentials.ts";
import { kindOf, show } from "../core/check-inputs.ts";
import { IMAGE_NORMALIZE } from "../core/describe-model.ts";
import { resolveAddress } from "../core/resolve-source.ts";
import type { OwnDescription } from "../cache/messages.ts";
import type { LabelsOption, LoadOptions, UpdateOptions } from "./options.ts";

/**
 * Returns the description in the form that the fetch worker takes, with the address of the labels absolute.
 * @throws TypeError or RangeError that names the option, and for a bundle, which declares its own
 */
export function ownDescription(
  from: string | Blob,
  { image, labels }: Pick<LoadOptions, "image" | "labels">,
  base: string,
): OwnDescription {
  const url = typeof from === "string" ? withoutCredentials(from) : "";
  const [kind] = /\.json$|\/$/.exec(url === "" ? "" : new URL(url).pathname) ?? [];
  if (kind !== undefined)
    throw new TypeError(
      `${image === undefined ? "labels" : "image"}: ${url} is a ${kind === "/" ? "repository" : "bundle"}, which declares its own images and labels: leave the option out, or load the .onnx`,
    );
  return {
    ...(image !== undefined && { image: checkedImage(image) }),
    ...(labels !== undefined && { labels: checkedLabels(labels, base) }),
  };
}

/** Options that `engine.update` takes; the others of a load describe a model that is not made there. */
const UPDATE_OPTIONS: ReadonlySet<string> = new Set<keyof UpdateOptions>([
  ...(["onProgress", "onSaveData", "signal", "backend", "variant", "identity", "name", "keepInMemory"] as const),
]);

/**
 * Refuses options that `engine.update` would ignore; undefined ones may stay.
 * @throws TypeError that names the option
 */
export function checkUpdateOptions(options: UpdateOptions): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !UPDATE_OPTIONS.has(name))
      throw new TypeError(`update: ${name} is an option of load: pass it there, and leave it out here`);
}

function checkedImage(image: NonNullable<LoadOptions["image"]>): NonNullable<OwnDescription["image"]> {
  keys("image", image, ["size", "channels", "normalize", "resize", "layout", "input"]);
  const { size, channels, normalize, resize, layout, input } = image;
  if (size !== undefined && !(Array.isArray(size) && size.length === 2 && size.every(isSide)))
    throw new RangeError(`image.size: expected [width, height] of 1 to 32768 pixels, got ${shown(size)}`);
  word("image.channels", channels, ["rgb", "bgr", "gray"]);
  word("image.layout", layout, ["nchw", "nhwc"]);
  if (typeof normalize === "object") {
    keys("image.normalize", normalize, ["mean", "std"]);
    for (const key of ["mean", "std"] as const) {
      const numbers: unknown[] = [normalize[key] ?? 1].flat();
      if (!numbers.every((x) => typeof x === "number" && Number.isFinite(x) && (key === "mean" || x > 0)))
        throw new TypeError(
          `image.normalize.${key}: expected a number${key === "std" ? " above 0" : ""}, or one for each channel, got ${shown(normalize[key])}`,
        );
    }
  } else word("image.normalize", normalize, IMAGE_NORMALIZE, ", or { mean, std }");
  if (typeof resize === "object") {
    keys("image.resize", resize, ["shortSide"]);
    if (!isSide(resize.shortSide))
      throw new RangeError(`image.resize.shortSide: expected 1 to 32768 pixels, got ${shown(resize.shortSide)}`);
  } else word("image.resize", resize, ["exact", "fit", "crop"], ", or { shortSide }");
  name("image.input", input);
  return image;
}

function checkedLabels(labels: NonNullable<LoadOptions["labels"]>, base: string): OwnDescription["labels"] {
  // A Set, a Blob or a typed array has no fields of the option: it is named as the labels that it was meant to be.
  const isAlone = typeof labels === "string" || Array.isArray(labels) || kindOf(labels) !== "Object";
  const option = (isAlone ? { from: labels } : labels) as LabelsOption;
  if (!isAlone) keys("labels", option, ["from", "top", "logits", "output"]);
  const { from, top, logits, output } = option;
  const isList = Array.isArray(from);
  // A copy has undefined for each hole, which `some` skips.
  const list = isList ? Array.from<unknown>(from) : [];
  const hole = list.findIndex((x) => typeof x !== "string");
  if (hole !== -1) throw new TypeError(`labels: expected texts in an array, got ${show(list[hole])} at index ${hole}`);
  if (!isList && typeof from !== "string" && kindOf(from) !== "URL")
    throw new TypeError(`labels: expected texts in an array, or the URL of a file of labels, got ${shown(from)}`);
  if (from === "") throw new TypeError("labels: the URL is empty: is its variable set?");
  if (top !== undefined && !isSide(top))
    throw new RangeError(`labels.top: expected a whole number from 1 to 32768, got ${shown(top)}`);
  if (logits !== undefined && typeof logits !== "boolean")
    throw new TypeError(`labels.logits: expected true or false, got ${shown(logits)}`);
  name("labels.output", output);
  return {
    from: isList ? (list as string[]) : resolveAddress(from as string | URL, base),
    top,
    logits,
    output,
  };
}

function keys(option: string, value: object, names: readonly string[]): void {
  if (typeof value !== "object" || (value as unknown) === null || Array.isArray(value))
    throw new TypeError(`${option}: expected an object with ${names.join(", ")}, got ${shown(value)}`);
  const other = Object.keys(value).find((x) => !names.includes(x));
  if (other !== undefined) throw new TypeError(`${option}: there is no field "${other}", only ${names.join(", ")}`);
}

function word(option: string, value: unknown, words: readonly string[], more = ""): void {
  if (value !== undefined && !words.includes(value as string))
    throw new TypeError(`${option}: expected ${words.map((x) => `"${x}"`).join(", ")}${more}, got ${shown(value)}`);
}

function name(option: string, value: unknown): void {
  if (value !== undefined && typeof value !== "string")
    throw new TypeError(`${option}: expected the name of a port, got ${shown(value)}`);
}

function isSide(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 32_768;
}

function shown(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(show).join(", ")}]` : show(value);
}
