import { expect, test } from "vitest";
import { readProcessor } from "./processor.ts";
import { readRepository } from "./repository.ts";
import { stepsOf } from "./describe.ts";

const settings = {
  input_size: [3, 160, 160],
  interpolation: "bicubic",
  crop_pct: 0.95,
  mean: [0.5, 0.4, 0.3],
  std: [0.1, 0.2, 0.3],
};
const read = (change: object) => readProcessor({ pretrained_cfg: { ...settings, ...change } }, "config.json");

test("timm scales the shorter side, so that the crop is a share of it", () => {
  expect(read({}).image).toEqual({
    resize: {
      mode: "resample",
      filter: "pil-bicubic",
      to: { short: 168 },
      crop: { width: 160, height: 160, margin: "even" },
    },
    ...{ channels: "rgb", layout: "nchw", scale: 1 / 255, mean: [0.5, 0.4, 0.3], std: [0.1, 0.2, 0.3] },
  });
});

test("timm's usual settings stand for those that are not stated", () => {
  expect(readProcessor({ pretrained_cfg: { tag: "in1k" } }).image).toMatchObject({
    resize: { filter: "pil-bicubic", to: { short: 256 }, crop: { width: 224, height: 224 } },
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  });
});

test("squash stretches both sides, of any lengths", () => {
  const image = read({ crop_mode: "squash", input_size: [3, 100, 200], crop_pct: 0.5 }).image;
  expect(image?.resize).toMatchObject({ to: { width: 400, height: 200 }, crop: { width: 200, height: 100 } });
});

test.each([
  ["crop_mode", { crop_mode: "border" }],
  ["crop_pct", { crop_pct: 1.1 }],
  ["input_size", { input_size: [1, 28, 28] }],
  ["input_size", { input_size: [3, 100, 200] }],
  ["interpolation", { interpolation: "random" }],
  ["mean", { mean: [0.5] }],
  ["std", { std: "none" }],
])("%s that the steps don't compute is named: %o", (setting, change) => {
  expect(read(change)).toMatchObject({ image: null, unsupported: `pretrained_cfg.${setting}` });
});

test("a repository of timm has its picture and its labels in config.json", () => {
  const config = { architecture: "resnet18", num_classes: 2, label_names: ["cat", "dog"], pretrained_cfg: settings };
  const facts = readRepository(new Map([["config.json", JSON.stringify(config)]]));
  const steps = stepsOf(facts, false);
  expect(steps.images["pixel_values"]?.resize).toMatchObject({ to: { short: 168 } });
  expect(steps.decodes["logits"]).toEqual({ op: "labels", asset: "labels.txt", logits: true });
  expect(steps.assets["labels.txt"]).toBe("cat\ndog\n");
  // Without names timm takes them from a table of its own: none are invented.
  const bare = readRepository(new Map([["config.json", JSON.stringify({ ...config, label_names: undefined })]]));
  expect(stepsOf(bare, false).decodes).toEqual({});
});
