// The words of `--image`: a list in any order, as `224x224,rgb,imagenet,crop`, with the name of the input before it where
// the model has several, as `pixels=224x224,rgb`.
import { IMAGE_NORMALIZE } from "../../core/describe-model.ts";
import type { ImageOption, Wording } from "../../core/describe-model.ts";

/** Names of the options and of the fixes in messages of the toolchain. */
export const FLAGS: Wording = {
  image: "--image",
  classes: "--classes",
  size: (width, height) =>
    `add the size to its words, as --image ${width === "width" ? 224 : width}x${height === "height" ? 224 : height}`,
  layout: "add nchw or nhwc to its words",
  input: "name one, as --image NAME=224x224,rgb",
  output: "name one, as --classes NAME=labels.txt",
};

/** Words that set a field, by the field; a word stands in one list only. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  channels: ["rgb", "bgr", "gray"],
  normalize: IMAGE_NORMALIZE,
  resize: ["exact", "fit", "crop"],
  layout: ["nchw", "nhwc"],
};
const FORMS = "WIDTHxHEIGHT, crop=SIDE, mean=N/N/N, std=N/N/N";

/**
 * Parses the words of `--image`.
 * @throws TypeError that names the wrong word
 */
export function parseImageWords(text: string): ImageOption {
  const [, name, rest] = /^(?!(?:crop|mean|std)=)([^,]+?)=(.*)$/s.exec(text) ?? [undefined, undefined, text];
  const found: Record<string, unknown> = {};
  const set = (field: string, value: unknown, word: string): void => {
    if (field in found) throw new TypeError(`--image: "${word}" sets the ${field} a second time`);
    found[field] = value;
  };
  for (const word of rest?.split(",").map((x) => x.trim().toLowerCase()) ?? []) {
    if (word === "") continue;
    const field = Object.keys(WORDS).find((x) => WORDS[x]?.includes(word));
    if (field !== undefined) set(field, word, word);
    else if (/^\d+(x\d+)?$/.test(word)) set("size", sizeOf(word), word);
    else setValue(word, set);
  }
  return { ...meanAndStd(found), ...(name !== undefined && { input: name }) };
}

/** Sets a field by a word with a value. */
function setValue(word: string, set: (field: string, value: unknown, word: string) => void): void {
  const [, key = "", value = ""] = /^(crop|mean|std)=(.*)$/.exec(word) ?? [];
  if (key === "")
    throw new TypeError(
      `--image: unknown word "${word}"; choose from ${Object.values(WORDS).flat().join(", ")}, ${FORMS}`,
    );
  const numbers = value.split("/").map((x) => (x === "" ? Number.NaN : Number(x)));
  const isWrong = numbers.some((x) => !Number.isFinite(x) || (key === "std" && x === 0));
  if (isWrong || (key === "crop" && !(numbers.length === 1 && isSide(numbers[0]))))
    throw new TypeError(
      `--image: ${key} needs ${key === "crop" ? "a side in pixels, as crop=256" : `numbers, as ${key}=0.485/0.456/0.406`}, got "${value}"`,
    );
  if (key === "crop") set("resize", { shortSide: numbers[0] }, word);
  else set(key, numbers.length === 1 ? numbers[0] : numbers, word);
}

/** Puts mean and std together; they leave no room for a preset. */
function meanAndStd({ mean, std, ...found }: Record<string, unknown>): ImageOption {
  if (mean === undefined && std === undefined) return found;
  const { normalize } = found;
  if (typeof normalize === "string")
    throw new TypeError(`--image: "${normalize}" has a mean and std of its own: leave it out, or mean= and std=`);
  return {
    ...found,
    normalize: { ...(mean !== undefined && { mean }), ...(std !== undefined && { std }) },
  } as ImageOption;
}

function sizeOf(word: string): readonly [number, number] {
  const sides = word.split("x").map(Number);
  const [width = 0, height = width] = sides;
  if (!isSide(width) || !isSide(height))
    throw new TypeError(`--image: a size has 1 to 32768 pixels on each side, got "${word}"`);
  return [width, height];
}

function isSide(side: number | undefined): boolean {
  return side !== undefined && Number.isInteger(side) && side >= 1 && side <= 32_768;
}
