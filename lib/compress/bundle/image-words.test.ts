import { expect, test } from "vitest";
import { parseImageWords } from "./image-words.ts";

test("words are read in any order, in any case, each once", () => {
  const all = { size: [224, 192], channels: "rgb", normalize: "imagenet", resize: "crop", layout: "nchw" };
  expect(parseImageWords("224x192,rgb,imagenet,crop,nchw")).toEqual(all);
  expect(parseImageWords("NCHW, crop, ImageNet, RGB, 224X192")).toEqual(all);
  expect(parseImageWords("224")).toEqual({ size: [224, 224] });
  expect(parseImageWords("")).toEqual({});
  expect(() => parseImageWords("rgb,224,bgr")).toThrow('"bgr" sets the channels a second time');
});

test("mean, std and the side of a crop have values", () => {
  expect(parseImageWords("mean=0.5,std=0.1/0.2/0.3,crop=256")).toEqual({
    normalize: { mean: 0.5, std: [0.1, 0.2, 0.3] },
    resize: { shortSide: 256 },
  });
  for (const wrong of ["std=0", "mean=", "mean=1//2", "crop=1.5", "crop=a", "mean"])
    expect(() => parseImageWords(wrong), wrong).toThrow(/^--image: /);
  expect(() => parseImageWords("clip,mean=1")).toThrow('"clip" has a mean and std of its own');
});

test("a name before the words is the input's", () => {
  expect(parseImageWords("pixels=224x224,mean=0.5")).toEqual({
    ...{ input: "pixels", size: [224, 224], normalize: { mean: 0.5 } },
  });
  expect(parseImageWords("serving_default:0=rgb")).toEqual({ input: "serving_default:0", channels: "rgb" });
});
