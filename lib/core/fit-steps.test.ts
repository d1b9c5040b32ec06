// Steps by the names of ports: which fit a graph.
import { expect, test } from "vitest";
import type { BundleInput, DecodeSpec } from "./bundle.ts";
import { fitDecode, fitImage, fitSound, fitText, namesOf, pictureLayout } from "./fit-steps.ts";

const port = (name: string, dims: readonly (number | string)[]): BundleInput => ({
  ...{ name, dtype: "int64", dims, batchAxis: typeof dims[0] === "string" ? 0 : null },
});
const names = namesOf(
  [port("input_ids", []), port("pixel_values", []), port("attention_mask", [])],
  [port("logits", []), port("pred_boxes", [])],
);
const assets = { "labels.txt": "a\nb\n" };

test("a decoding stays where rank, classes and named ports are those of the graph", () => {
  const fit = (decode: DecodeSpec, dims: readonly (number | string)[]): DecodeSpec | null =>
    fitDecode({ dims }, decode, names, assets);
  const labels = { op: "labels", asset: "labels.txt", logits: true } as const;
  expect(fit(labels, ["b", 2])).toBe(labels);
  expect(fit(labels, ["b", "n"])).toBe(labels);
  expect(fit(labels, ["b", 3])).toBeNull();
  expect(fit(labels, ["b", "s", 2])).toBeNull();
  const pool = { op: "pool", mode: "mean", mask: "attention_mask" } as const;
  expect(fit(pool, ["b", "s", 4])).toEqual(pool);
  expect(fit({ ...pool, mask: "mask" }, ["b", "s", 4])).toEqual({ op: "pool", mode: "mean" });
  expect(fit(pool, ["b", 4])).toBeNull();
  // Every text is padded to a fixed length: without a mask its padding would be pooled too.
  expect(fit({ ...pool, mask: "mask" }, ["b", 8, 4])).toBeNull();
  expect(fit(pool, ["b", 8, 4])).toEqual(pool);
  expect(fit({ op: "pool", mode: "cls", mask: "mask" }, ["b", 8, 4])).toEqual({ op: "pool", mode: "cls" });
});

test("boxes have the classes of the labels, unless the graph takes texts as classes", () => {
  const detect = {
    op: "detect",
    form: "queries",
    asset: "labels.txt",
    boxes: "pred_boxes",
    image: "pixel_values",
  } as const;
  const ofPictures = { ...names, inputs: new Set(["pixel_values"]) };
  const dims = ["b", "q", 3];
  expect(fitDecode({ dims }, detect, ofPictures, assets)).toBe(detect);
  expect(fitDecode({ dims }, { ...detect, boxes: "boxes" }, ofPictures, assets)).toBeNull();
  expect(fitDecode({ dims }, { ...detect, image: "picture" }, ofPictures, assets)).toBeNull();
  // OWL-ViT: a class for each text, and no labels of its own.
  expect(fitDecode({ dims: ["b", "q", "t"] }, detect, names, assets)).toBeNull();
});

test("a tokenization is at most as long as the graph, and needs a batch of any size", () => {
  const text = { tokenizer: "t", maxLength: 512, mask: "attention_mask", types: "token_type_ids" };
  expect(fitText(port("input_ids", ["b", 128]), text, names)).toEqual({
    ...{ tokenizer: "t", maxLength: 128, mask: "attention_mask" },
  });
  expect(fitText(port("input_ids", ["b", "s"]), text, names)?.maxLength).toBe(512);
  const positions = "position_ids";
  expect(fitText(port("input_ids", ["b", "s"]), { ...text, positions }, names)).not.toHaveProperty("positions");
  const all = { ...names, inputs: new Set([...names.inputs, positions]) };
  expect(fitText(port("input_ids", ["b", "s"]), { ...text, positions }, all)).toMatchObject({ positions });
  expect(fitText(port("input_ids", [1, 128]), text, names)).toBeNull();
  expect(fitText(port("input_ids", ["b", 2, 4]), text, names)).toBeNull();
});

test("the image's input goes by its name, else it is the only one that such a picture fits", () => {
  const float = (name: string, dims: readonly (number | string)[]): BundleInput => ({
    ...{ name, dtype: "float32", dims, batchAxis: null },
  });
  const to = { width: 8, height: 6 };
  const image = { resize: { mode: "resample", filter: "pil-bilinear", to }, channels: "rgb", layout: "nchw" } as const;
  const fit = (...inputs: readonly BundleInput[]): string | null => {
    const found = fitImage(inputs, "pixel_values", image);
    return found && `${found.name} ${found.image.layout}`;
  };
  const open = float("input", ["b", 3, "h", "w"]);
  expect(fit(open)).toBe("input nchw");
  expect(fit(float("pixel_values", ["b", 3, "h", "w"]), open)).toBe("pixel_values nchw");
  expect(fit(float("pixel_values", ["b", 6, 8, 3]), open)).toBe("pixel_values nhwc");
  expect(fit(float("pixel_values", []))).toBe("pixel_values nchw");
  // Another size, several pictures, a batch of two, bytes: a run with a picture would fail or be wrong.
  for (const dims of [
    ["b", 3, 9, 9],
    ["b", 4],
    ["b", "n", 3, 6, 8],
    [2, 3, 6, 8],
    ["b", 1, 6, 8],
  ])
    expect(fit(float("pixel_values", dims), open)).toBeNull();
  expect(fit({ ...float("pixel_values", ["b", 3, 6, 8]), dtype: "uint8" }, open)).toBeNull();
  expect(fit(float("input", [1, 3, 6, 8]))).toBe("input nchw");
  expect(fit(float("input", [1, 6, 8, 3]))).toBe("input nhwc");
  expect(fit(float("input", [1, 3, 8, 8]))).toBeNull();
  expect(fit(float("input", [2, 3, 6, 8]))).toBeNull();
  expect(fit(float("input", ["b", 1, "h", "w"]))).toBeNull();
  expect(fit(float("input", ["b", 3, "n"]))).toBeNull();
  expect(fit(open, float("other", ["b", "c", "h", "w"]))).toBeNull();
  expect(fit(open, float("past_key_values.0.key", ["b", 3, "past", 8]), float("sizes", ["b", 2]))).toBe("input nchw");
  expect(fit({ ...open, dtype: "int64" })).toBeNull();
  const anySize = { ...image, resize: { ...image.resize, to: { short: 8 } } };
  const layoutOf = (...dims: (number | string)[]): string | null => pictureLayout(float("input", dims), anySize);
  expect(layoutOf("b", "h", "w", 3)).toBe("nhwc");
  expect(layoutOf("b", 3, "h", "w")).toBe("nchw");
  expect(layoutOf("b", 3, 3, 3)).toBe("nchw");
});

test("samples keep a mask that the graph has, and fit two axes of floats alone", () => {
  const sound = { op: "samples", sampleRate: 16_000, normalize: true, mask: "m" } as const;
  const port = { dtype: "float32", dims: ["batch", "length"] } as const;
  const mask = { ...port, name: "m", dtype: "int64" } as const;
  const fit = (inputs: Parameters<typeof fitSound>[2], change: object = {}): unknown =>
    fitSound({ ...port, ...change }, sound, inputs);
  expect(fit([mask])).toEqual(sound);
  const alone = { op: "samples", sampleRate: 16_000, normalize: true };
  expect(fit([])).toEqual(alone);
  expect(fit([{ ...mask, name: "n" }])).toEqual(alone);
  for (const change of [{ dims: ["batch", 80, "frames"] }, { dims: ["length"] }, { dtype: "int64" }])
    expect(fit([mask], change)).toBeNull();
  for (const dtype of ["int32", "uint8", "bool", "float32"] as const)
    expect(fit([{ ...mask, dtype }]), dtype).toEqual(sound);
  for (const dtype of ["float16", "uint64", "string"] as const) expect(fit([{ ...mask, dtype }]), dtype).toEqual(alone);
  expect(fit([{ ...mask, dims: ["batch", 1, "length"] }])).toEqual(alone);
});

test("a text by CTC fits where the classes are the lines, with one for the blank where it is stated", () => {
  const table = { "labels.txt": "a\nb\n-\n" };
  const fit = (classes: number, blank?: number): boolean =>
    fitDecode(
      { dims: ["batch", "time", classes] },
      { op: "ctc", asset: "labels.txt", blank },
      { inputs: new Set(), outputs: new Set() },
      table,
    ) !== null;
  expect([fit(3, 2), fit(4, 2), fit(4)]).toEqual([true, false, true]);
});
