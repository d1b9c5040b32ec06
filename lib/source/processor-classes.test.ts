// The defaults of image processors, row by row, against the arguments of `__init__` in transformers 4.57.6 (the slow
// classes; those that 5.x has no more are in its folder `deprecated`).
import { expect, test } from "vitest";
import { PROCESSOR_CLASSES } from "./processor-classes.ts";
import { readProcessor } from "./processor.ts";

const MEANS = { standard: 0.5, imagenet: 0.485, clip: 0.48145466, none: 0 };

/**
 * Class, `resample`, `image_mean` (none: it does not normalise), the side that a `size` of one number is (null: the class
 * takes none), and the side of the crop. ConvNext crops by `crop_pct` to its size, here 100.
 */
const ROWS: readonly (readonly [
  name: string,
  filter: string,
  mean: keyof typeof MEANS,
  side: "both" | "short" | "long" | null,
  crop: number | null,
])[] = [
  ["Beit", "bicubic", "standard", "both", 224],
  ["Bit", "bicubic", "clip", "short", 224],
  ["Blip", "bicubic", "clip", "both", null],
  ["CLIP", "bicubic", "clip", "short", 224],
  ["ChineseCLIP", "bicubic", "clip", "short", 224],
  ["ConditionalDetr", "bilinear", "imagenet", "short", null],
  ["ConvNext", "bilinear", "standard", "short", 100],
  ["DPT", "bicubic", "standard", "both", null],
  ["DeformableDetr", "bilinear", "imagenet", "short", null],
  ["DeiT", "bicubic", "standard", "both", 224],
  ["Deta", "bilinear", "imagenet", "short", null],
  ["Detr", "bilinear", "imagenet", "short", null],
  ["EfficientFormer", "bicubic", "imagenet", "both", 224],
  ["EfficientNet", "nearest", "standard", "both", null],
  ["Flava", "bicubic", "clip", "both", 224],
  ["GroundingDino", "bilinear", "imagenet", "short", null],
  ["LayoutLMv2", "bilinear", "none", "both", null],
  ["LayoutLMv3", "bilinear", "standard", "both", null],
  ["Levit", "bicubic", "imagenet", "short", 224],
  ["Llava", "bicubic", "clip", "short", 224],
  ["MobileNetV1", "bilinear", "standard", "short", 224],
  ["MobileNetV2", "bilinear", "standard", "short", 224],
  ["MobileViT", "bilinear", "none", "short", 256],
  ["OwlViT", "bicubic", "clip", "both", null],
  ["PoolFormer", "bicubic", "imagenet", "short", 224],
  ["Pvt", "bilinear", "imagenet", "both", null],
  ["RTDetr", "bilinear", "none", null, null],
  ["Sam", "bilinear", "imagenet", "long", null],
  ["Segformer", "bilinear", "imagenet", "both", null],
  ["Siglip", "bicubic", "standard", "both", null],
  ["ViT", "bilinear", "standard", "both", null],
  ["ViTHybrid", "bicubic", "clip", "short", 224],
  ["Yolos", "bilinear", "imagenet", "short", null],
];

const read = (config: object) => readProcessor(config).image;

test.each(ROWS)(
  "%s resamples by %s, with the mean %s, one number is: %s, crop: %s",
  (name, filter, mean, side, crop) => {
    const size = side === null ? { height: 100, width: 100 } : 100;
    const image = read({ image_processor_type: `${name}ImageProcessor`, size });
    const resize = image?.resize;
    if (image === null || resize?.mode !== "resample") throw new Error("no image");
    expect(resize.filter).toBe(`pil-${filter}`);
    expect((image.mean as readonly number[])[0]).toBe(MEANS[mean]);
    expect(Object.keys(resize.to ?? {})).toContain(side === null || side === "both" ? "width" : side);
    expect(resize.crop?.width ?? null).toBe(crop);
    const isBgr = ["LayoutLMv2", "MobileViT"].includes(name);
    expect(image.channels).toBe(isBgr ? "bgr" : "rgb");
  },
);

test("every class that is computed is in the table", () => {
  const computed = Object.entries(PROCESSOR_CLASSES).filter(([, x]) => x.unsupported === undefined);
  const others = [
    "BeitFast",
    "CLIPFast",
    "DINOv3ViT",
    "GLPN",
    "OwlViTFast",
    "SiglipFast",
    "SuperPoint",
    "SuperPointFast",
  ];
  expect(computed.map(([name]) => name).sort()).toEqual([...ROWS.map(([name]) => name), ...others].sort());
});

test.each([
  ["Beit", { width: 256, height: 256 }],
  ["BeitFast", { width: 224, height: 224 }],
  ["CLIP", { short: 224 }],
  ["ConvNext", { width: 384, height: 384 }],
  ["Detr", { short: 800, long: 1333 }],
  ["EfficientNet", { width: 346, height: 346 }],
  ["Levit", { short: 256 }],
  ["MobileNetV2", { short: 256 }],
  ["RTDetr", { width: 640, height: 640 }],
  ["Sam", { long: 1024 }],
  ["SuperPoint", { width: 640, height: 480 }],
  ["ViT", { width: 224, height: 224 }],
])("%s scales to its own size where the file states none", (name, to) => {
  const [, own = "", fast = ""] = /^(.*?)(Fast)?$/.exec(name) ?? [];
  expect(read({ image_processor_type: `${own}ImageProcessor${fast}` })?.resize).toMatchObject({ to });
});

test.each(["MobileViT", "LayoutLMv2", "GLPN", "SuperPoint"])("%s never normalises, whatever its file says", (name) => {
  const told = { do_normalize: true, image_mean: [0.1, 0.2, 0.3], image_std: 2 };
  const image = read({ image_processor_type: `${name}ImageProcessor`, ...told });
  expect(image).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1] });
});

test("EfficientNet divides by the deviation at its end, normalised or not", () => {
  const config = { image_processor_type: "EfficientNetImageProcessor", image_mean: 0.5, image_std: [0.5, 0.25, 2] };
  expect(read(config)).toMatchObject({ mean: [0.5, 0.5, 0.5], std: [0.25, 0.0625, 4] });
  expect(read({ ...config, do_normalize: false })).toMatchObject({ mean: [0, 0, 0], std: [0.5, 0.25, 2] });
  expect(read({ ...config, do_normalize: false, include_top: false })).toMatchObject({ std: [1, 1, 1] });
});

test("settings that a class does not know are ignored, as by its code", () => {
  const size = { height: 40, width: 50 };
  const rare = {
    ...{ rescale_offset: true, do_flip_channel_order: true, keep_aspect_ratio: true, ensure_multiple_of: 14 },
    ...{ use_square_size: true, do_pad: true, pad_size: { height: 99, width: 99 } },
  };
  const vit = { image_processor_type: "ViTImageProcessor", size };
  expect(read({ ...vit, ...rare })).toEqual(read(vit));
  const short = { image_processor_type: "BitImageProcessor", size: { shortest_edge: 40 } };
  expect(read({ ...short, ...rare })).toEqual(read(short));
  expect(read({ ...short, size: 40, max_size: 60 })?.resize).toMatchObject({ to: { short: 40 } });
  const bgr = { image_processor_type: "LayoutLMv2ImageProcessor", size };
  expect(read({ ...bgr, do_flip_channel_order: false })?.channels).toBe("bgr");
  // With torchvision some classes pad that don't with Pillow.
  const fast = { ...vit, image_processor_type: "ViTImageProcessorFast", do_pad: true, pad_size: 99 };
  expect(readProcessor(fast)).toMatchObject({ image: null, unsupported: "pad_size" });
});

test("a longer side beside the shorter one counts for DETR's classes, and with torchvision for others", () => {
  const to = (name: string) => {
    const resize = read({ image_processor_type: name, size: { shortest_edge: 40, longest_edge: 60 } })?.resize;
    return resize?.mode === "resample" ? resize.to : undefined;
  };
  expect(to("DetrImageProcessor")).toEqual({ short: 40, long: 60 });
  expect(to("MobileNetV2ImageProcessor")).toEqual({ short: 40 });
  expect(to("MobileNetV2ImageProcessorFast")).toEqual({ short: 40, long: 60 });
  expect(to("LevitImageProcessorFast")).toEqual({ short: 45 });
  expect(to("SamImageProcessor")).toEqual({ long: 60 });
});

test("a number is the shorter side for Siglip with torchvision alone", () => {
  const to = (name: string) => read({ image_processor_type: name, size: 40 })?.resize;
  expect(to("SiglipImageProcessor")).toMatchObject({ to: { width: 40, height: 40 } });
  expect(to("SiglipImageProcessorFast")).toMatchObject({ to: { short: 40 } });
});

test("crop_pct counts for the classes that have it alone", () => {
  const config = { size: { shortest_edge: 96 }, crop_pct: 0.5 };
  const to = (name: string) => read({ image_processor_type: `${name}ImageProcessor`, ...config })?.resize;
  expect(to("ConvNext")).toMatchObject({ to: { short: 192 } });
  expect(to("PoolFormer")).toMatchObject({ to: { short: 192 } });
  expect(to("CLIP")).toMatchObject({ to: { short: 96 }, crop: { width: 224 } });
  expect(to("Levit")).toMatchObject({ to: { short: 109 } });
});

test("DPT's sides are multiples with and without the aspect ratio", () => {
  const config = { image_processor_type: "DPTImageProcessor", size: { height: 75, width: 61 }, ensure_multiple_of: 14 };
  expect(read(config)?.resize).toMatchObject({ to: { width: 56, height: 70 } });
  expect(read({ ...config, ensure_multiple_of: 10 })?.resize).toMatchObject({ to: { width: 60, height: 80 } });
});

test("an image that is not scaled is padded all the same", () => {
  const config = { image_processor_type: "SamImageProcessor", do_resize: false, pad_size: 64 };
  expect(read(config)?.resize).toMatchObject({ pad: { width: 64, height: 64 } });
  const detr = { image_processor_type: "DetrImageProcessor", do_resize: false, do_pad: true, pad_size: 64 };
  expect(read(detr)?.resize).toMatchObject({ pad: { width: 64, height: 64 } });
});

test("DINOv3 resamples floats, which bicubic would take past white: that is refused", () => {
  const config = { image_processor_type: "DINOv3ViTImageProcessorFast", size: 224 };
  expect(read(config)?.resize).toMatchObject({ filter: "torchvision-bilinear" });
  for (const resample of [1, 3])
    expect(readProcessor({ ...config, resample })).toMatchObject({ image: null, unsupported: "resample" });
});

test("a grey image of SuperPoint is refused", () => {
  const config = { image_processor_type: "SuperPointImageProcessor" };
  expect(readProcessor({ ...config, do_grayscale: false }).unsupported).toBeNull();
  expect(readProcessor({ ...config, do_grayscale: true })).toMatchObject({ image: null, unsupported: "do_grayscale" });
});

test("GLPN rounds sides down to a multiple of 32, and does not normalise", () => {
  expect(read({ image_processor_type: "GLPNImageProcessor" })).toMatchObject({
    resize: { filter: "pil-bilinear", to: { multipleOf: 32 } },
    mean: [0, 0, 0],
  });
  expect(read({ image_processor_type: "GLPNImageProcessor", do_resize: false })?.resize).not.toHaveProperty("to");
});

test.each([
  ["EfficientNet", 289],
  ["OwlViT", 768],
])("%s crops to %i where the crop is on and has no size", (name, width) => {
  const config = { image_processor_type: `${name}ImageProcessor`, size: 100, do_center_crop: true };
  expect(read(config)?.resize).toMatchObject({ crop: { width, height: width } });
});

test("Sam pads to 1024 unless its file says otherwise", () => {
  const config = { image_processor_type: "SamImageProcessor", size: { longest_edge: 512 } };
  expect(read(config)?.resize).toMatchObject({ to: { long: 512 }, pad: { width: 1024, height: 1024 } });
  expect(read({ ...config, pad_size: 512 })?.resize).toMatchObject({ pad: { width: 512, height: 512 } });
  expect(read({ ...config, do_pad: false })?.resize).not.toHaveProperty("pad");
});

test("Llava's padding to a square is named as not computed", () => {
  const config = { image_processor_type: "LlavaImageProcessor", size: { shortest_edge: 336 } };
  expect(readProcessor(config).unsupported).toBeNull();
  expect(readProcessor({ ...config, do_pad: true })).toMatchObject({ image: null, unsupported: "do_pad" });
});

test("CLIP with use_square_size stretches to both sides", () => {
  const config = { image_processor_type: "CLIPImageProcessor", size: { shortest_edge: 224 }, use_square_size: true };
  expect(read(config)?.resize).toMatchObject({ to: { width: 224, height: 224 } });
});

test("Beit's fast class does not crop where its file does not say", () => {
  const config = { image_processor_type: "BeitImageProcessorFast", size: 256 };
  expect(read(config)?.resize).not.toHaveProperty("crop");
  expect(read({ ...config, do_center_crop: true })?.resize).toMatchObject({ crop: { width: 224, height: 224 } });
  expect(read(config)?.resize).toMatchObject({ filter: "torchvision-bicubic" });
});

test("LayoutLMv2 gives pixels from 0 to 255, as its model takes them", () => {
  const read255 = (config: object) => read({ image_processor_type: "LayoutLMv2ImageProcessor", size: 224, ...config });
  expect(read255({})).toMatchObject({ scale: 1, mean: [0, 0, 0], std: [1, 1, 1], channels: "bgr" });
  expect(read255({ do_rescale: true, rescale_factor: 1 / 255 })?.scale).toBe(1);
});

test("DepthPro scales without antialias, which no filter here does", () => {
  const config = {
    do_normalize: true,
    image_mean: 0.5,
    image_std: 0.5,
    resample: 2,
    size: { height: 1536, width: 1536 },
  };
  expect(readProcessor({ image_processor_type: "DepthProImageProcessorFast", ...config })).toMatchObject({
    ...{ image: null, unsupported: "a scaling without antialias" },
  });
});

test("a crop that a class does not know is refused, unless it takes all of the picture", () => {
  const read = (config: object) => readProcessor({ image_processor_type: "ViTImageProcessor", size: 224, ...config });
  expect(read({ do_center_crop: true, crop_size: 224 }).image).not.toBeNull();
  expect(read({ do_center_crop: true, crop_size: 192 })).toMatchObject({ image: null, unsupported: "do_center_crop" });
  expect(read({ do_center_crop: false, crop_size: 192 }).image).not.toBeNull();
  expect(read({ do_resize: false, do_center_crop: true })).toMatchObject({ unsupported: "do_center_crop" });
  const detr = { image_processor_type: "DetrImageProcessor", size: 800, do_center_crop: true };
  expect(readProcessor(detr)).toMatchObject({ image: null, unsupported: "do_center_crop" });
});

test("a filter is a number of Pillow or its name; another one is refused", () => {
  const filterOf = (resample: unknown): unknown => {
    const { image, unsupported } = readProcessor({ image_processor_type: "ViTImageProcessor", size: 224, resample });
    return unsupported ?? (image?.resize.mode === "resample" ? image.resize.filter : null);
  };
  expect([0, 1, 2, 3].map(filterOf)).toEqual(["pil-nearest", "pil-lanczos", "pil-bilinear", "pil-bicubic"]);
  expect(["bicubic", "BICUBIC", null].map(filterOf)).toEqual(["pil-bicubic", "pil-bicubic", "pil-bilinear"]);
  expect([4, 2.5, "box", {}].map(filterOf)).toEqual(["resample", "resample", "resample", "resample"]);
});

test("a switch that is null is off, but the default for a class with Fast", () => {
  const read = (config: object) => readProcessor(config).image;
  const nulls = { do_resize: null, do_center_crop: null, do_rescale: null, do_normalize: null };
  expect(read({ ...nulls, image_processor_type: "CLIPImageProcessor" })).toMatchObject({
    ...{ resize: { mode: "resample", filter: "pil-bicubic" }, scale: 1, mean: [0, 0, 0], std: [1, 1, 1] },
  });
  expect(read({ ...nulls, image_processor_type: "CLIPImageProcessor" })?.resize).not.toHaveProperty("crop");
  expect(read({ ...nulls, image_processor_type: "CLIPImageProcessorFast" })).toEqual(
    read({ image_processor_type: "CLIPImageProcessorFast" }),
  );
  const efficient = { image_processor_type: "EfficientNetImageProcessor", image_std: 0.5 };
  expect(read({ ...efficient, include_top: null })?.std).toEqual([0.5, 0.5, 0.5]);
  expect(read(efficient)?.std).toEqual([0.25, 0.25, 0.25]);
});

test("PoolFormer's crop_pct is none where it is null, ConvNext's the default", () => {
  const to = (config: object): unknown => {
    const resize = readProcessor({ size: { shortest_edge: 90 }, ...config }).image?.resize;
    return resize?.mode === "resample" ? resize.to : null;
  };
  const pool = { image_processor_type: "PoolFormerImageProcessor", crop_size: 90 };
  expect(to({ ...pool, crop_pct: null })).toEqual({ short: 90 });
  expect(to(pool)).toEqual({ short: 100 });
  const convnext = { image_processor_type: "ConvNextImageProcessor" };
  expect(to({ ...convnext, crop_pct: null })).toEqual(to(convnext));
});
